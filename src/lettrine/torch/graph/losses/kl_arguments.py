"""Evidence "kl arguments": what `kl_div` is given, where its values say that it is another thing than it takes them for.

It takes the logarithms of the answers' probabilities, and probabilities as targets, or their logarithms with log_target=True.
words: "what", "shares" where the answers are probabilities themselves, "logarithms" where targets taken for probabilities go
below 0, "targets" where shares of 1 are taken for logarithms. figures: "looks" that showed it, "all" looks with this function;
"low": the lowest target.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.losses.comparisons import readable
from lettrine.torch.graph.losses.twice import are_shares

_ROUNDING: Final = 1e-3  # below 0


@reader
class KlArguments:
    """Reads the values that it is given."""

    def __init__(self) -> None:
        self._steps: dict[str, list[int]] = {}
        self._all = 0
        self._low = 0.0

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        for call in look.outside:
            answers, targets = call.given(0, "input"), call.given(1, "target")
            if call.name != "kl_div" or not (_rows(answers) and _rows(targets)) or not answers.requires_grad:
                continue  # answers without a graph have changed places with the targets, which is another fault
            self._all += 1
            for what in _mistaken(call, answers, targets):
                self._steps.setdefault(what, []).append(look.step)
            self._low = float(targets.min())
            break
        return ()

    def finish(self) -> Iterator[Evidence]:
        """What was so at every look."""
        for what, steps in self._steps.items():
            if len(steps) == self._all:
                figures = {"looks": float(len(steps)), "all": float(self._all), "low": self._low}
                yield Evidence("kl arguments", (), (steps[0], steps[-1]), figures, {"what": what})


def _mistaken(call: FunctionCall, answers: Tensor, targets: Tensor) -> Iterator[str]:
    logarithms: Any = call.given(5, "log_target", False)
    if _shares(answers):
        yield "shares"
    if not logarithms and float(targets.min()) < -_ROUNDING:
        yield "logarithms"
    if logarithms and _shares(targets):
        yield "targets"


def _rows(value: Any) -> bool:
    return isinstance(value, Tensor) and readable(value) and value.is_floating_point() and value.ndim > 1


def _shares(values: Tensor) -> bool:
    """Whether they are shares along the last axis, or the one after the examples."""
    return any(are_shares(values, axis) for axis in (-1, 1))
