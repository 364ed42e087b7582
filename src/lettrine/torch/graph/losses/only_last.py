"""Evidence "only last": errors of many calls of the model in a step, of which the loss holds the last one alone.

where: the root that is called. figures: "looks" at which it was so, of "all" looks before a step's first backward pass; "errors"
of the last of these looks. words: "function" that made them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Final

from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.losses.terms import FUNCTIONS

_FEWEST: Final = 4  # errors of a step


@reader
class OnlyLast:
    """Compares the errors that were computed with those in the loss."""

    whole: ClassVar[bool] = False

    def __init__(self) -> None:
        self._looks = self._all = self._errors = 0
        self._steps = (0, 0)
        self._name = self._function = ""

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        if look.loss is None or look.loss.grad_fn is None or look.place:
            return ()
        self._all += 1
        errors = [call for call in look.outside if call.name in FUNCTIONS and _open(call.result)]
        called = {root.name for root in look.roots}
        if len(errors) < _FEWEST or len(called) > 1 or len(look.roots) < _FEWEST or len({call.name for call in errors}) > 1:
            return ()
        known = set(look.nodes)
        if [call.result.grad_fn in known for call in errors] == [False] * (len(errors) - 1) + [True]:
            first = self._steps[0] if self._looks else look.step
            self._looks, self._errors, self._steps = self._looks + 1, len(errors), (first, look.step)
            self._name, self._function = called.pop(), errors[-1].name
        return ()

    def finish(self) -> Iterable[Evidence]:
        """How often."""
        if self._looks:
            figures = {"looks": float(self._looks), "all": float(self._all), "errors": float(self._errors)}
            yield Evidence("only last", (self._name,), self._steps, figures, {"function": self._function})


def _open(result: object) -> bool:
    """Whether this is a number from which gradients can go back."""
    return isinstance(result, Tensor) and result.numel() == 1 and result.grad_fn is not None
