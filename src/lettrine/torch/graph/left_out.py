"""Evidence "left out": numbers that are computed from the model's outputs, with their graphs, and are not in the loss.

where: the parameters that reach only such numbers, and no loss of any look. figures: "looks" at which it was so. words:
"function" that computed the number, "" if it is none of torch's losses.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.terms import FUNCTIONS, OTHERS
from lettrine.torch.graph.walks import leaves, walk


@reader
class LeftOut:
    """Follows numbers that no loss contains."""

    whole: ClassVar[bool] = False

    def __init__(self) -> None:
        self._trained: set[str] = set()  # what a loss of some look reaches
        self._only: dict[str, int] = {}  # by parameter: looks at which only such a number reached it
        self._function = ""
        self._last = 0

    def look(self, look: Look) -> Iterable[Evidence]:
        """Compare the numbers that were computed with the loss."""
        if look.loss is None or look.loss.grad_fn is None:
            return ()
        self._last = look.step
        inside = walk([look.loss.grad_fn])
        self._trained |= _names(look, inside)
        known, nodes = set(inside), []
        for call in look.outside:
            made = call.result
            if isinstance(made, Tensor) and made.numel() == 1 and made.grad_fn is not None and made.grad_fn not in known:
                nodes.append(made.grad_fn)
                self._function = call.name if call.name in FUNCTIONS or call.name in OTHERS else self._function
        for name in _names(look, walk(nodes)) - self._trained if nodes else ():
            self._only[name] = self._only.get(name, 0) + 1
        return ()

    def finish(self) -> Iterable[Evidence]:
        """What no loss reached."""
        names = tuple(name for name in self._only if name not in self._trained)
        if names:
            looks = float(min(self._only[name] for name in names))
            yield Evidence("left out", names, (0, self._last), {"looks": looks}, {"function": self._function})


def _names(look: Look, nodes: Iterable[object]) -> set[str]:
    return {look.parameters[id(leaf)] for leaf in leaves(nodes) if id(leaf) in look.parameters}
