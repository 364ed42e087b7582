"""Evidence "hinge": a loss cuts c + x or c - x at 0, as a hinge loss does, and x comes from a bounded activation of the network.

where: the module that made x. words: "last", the activation. figures: "looks" that showed it; "all" such cuts; "least": the
smallest c + x that the activation can give, of the cut that is farthest out of reach; "margin": its c.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import isfinite
from typing import Final

from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.losses.heads import head_of
from lettrine.torch.graph.makers import makers

CUTS: Final = frozenset("relu relu_ clamp clamp_min clip".split())  # noqa: SIM905
_ADDING: Final = frozenset("add __add__ __radd__".split())  # noqa: SIM905
_LESS: Final = frozenset(("sub", "__sub__"))
_FROM: Final = frozenset(("rsub", "__rsub__"))
_TURNING: Final = frozenset(("neg", "__neg__", "negative"))


@reader
class Hinges:
    """Looks for cuts at 0 outside of the network."""

    def __init__(self) -> None:
        self._steps: list[int] = []
        self._found: Evidence | None = None

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        made = look.once(makers)
        for call in look.outside:
            inner = call.given(0, "input")
            if not (call.name in CUTS and cut_at_0(call)) or not isinstance(inner, Tensor):
                continue
            found = parts(inner, made.get(id(inner)))
            if found is None:
                continue
            margin, sign, x = found
            if (before := made.get(id(x))) is not None and before.name in _TURNING and isinstance(before.args[0], Tensor):
                x, sign = before.args[0], -sign
            head = head_of(x, look.parameters)
            least = margin + (head.low if sign > 0 else -head.high)
            if not head.place or not isfinite(least) or least <= 0:
                continue
            self._steps.append(look.step)
            if self._found is None or least > self._found.figure("least"):
                figures = {"least": least, "margin": margin}
                self._found = Evidence("hinge", (head.module,), (0, look.step), figures, {"last": head.last})
        return ()

    def finish(self) -> Iterator[Evidence]:
        """What the looks showed."""
        if self._found is not None:
            figures = {**self._found.figures, "looks": float(len(set(self._steps)))}
            yield Evidence("hinge", self._found.where, (self._steps[0], self._steps[-1]), figures, self._found.words)


def cut_at_0(call: FunctionCall) -> bool:
    """Whether one of `CUTS` keeps what is above 0."""
    return call.name in ("relu", "relu_") or (call.given(1, "min") == 0 and call.given(2, "max") is None)


def parts(inner: Tensor, call: FunctionCall | None) -> tuple[float, int, Tensor] | None:
    """The number, the sign of the tensor, and the tensor, of a sum or difference of a number and a tensor."""
    if call is None or len(call.args) < 2 or not inner.requires_grad:
        return None
    first, second = call.args[:2]
    number, tensor = (first, second) if isinstance(first, int | float) else (second, first)
    if not isinstance(number, int | float) or not isinstance(tensor, Tensor):
        return None
    if call.name in _ADDING:
        return float(number), 1, tensor
    if call.name in _LESS | _FROM:
        minus = (tensor is second) is (call.name in _LESS)
        return (float(number), -1, tensor) if minus or call.name in _FROM else (-float(number), 1, tensor)
    return None
