"""Evidence "softmax twice": a softmax is taken of the shares that another softmax made.

where: the module that takes the first one. figures: "looks" that showed it, "all" looks with this second softmax, "size" along
its axis. words: "what", "loss" if the second one is that of a cross-entropy or a log-softmax outside of the model, "logits" if it
is that of a distribution which was given them as logits (x - logsumexp(x)), else "inside".

The values are read: along the axis they lie between 0 and 1 and sum to 1. The graph shows that they come from a softmax, by sums,
views and products with constants only. Such sums add the shares of examples up to shares of classes, for instance.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.devices import double
from lettrine.torch.graph.losses.comparisons import readable
from lettrine.torch.graph.reading import Node, operation

_LOSSES: Final = ("cross_entropy", "log_softmax")
_TOTAL: Final = "logsumexp"
_NAMES: Final = (*_LOSSES, "softmax", _TOTAL)
_LESS: Final = ("sub", "__sub__")
_MOST: Final = 64  # calls examined in one look
_REACH: Final = 12  # operations followed backwards
_ROWS: Final = 256  # rows read
_ONE: Final = 1e-3  # by which the sum of shares may miss 1: rounding, and what is added to keep a logarithm finite


@dataclass
class _Met:
    first: int
    last: int
    looks: int = 0
    all: int = 0
    size: int = 0


@reader
class Twice:
    """Follows the inputs of softmaxes."""

    def __init__(self) -> None:
        self._met: dict[tuple[str, str], _Met] = {}

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        makers = {call.result.grad_fn: call for call in look.calls if call.name == "softmax" and isinstance(call.result, Tensor)}
        makers.pop(None, None)
        for call in [each for each in look.calls if each.name in _NAMES][:_MOST] if makers else ():
            given: Any = call.given(0, "input")
            if not isinstance(given, Tensor) or given.grad_fn is None or not readable(given):
                continue
            if given.ndim < 2 and call.name != _TOTAL:
                continue
            before = _softmax_before(given.grad_fn)
            if before not in makers or (call.name == _TOTAL and not _taken_off(call, look)):
                continue
            axis = 1 if call.name == "cross_entropy" else _axis(call)
            what = "loss" if call.name in _LOSSES and not call.where else "logits" if call.name == _TOTAL else "inside"
            met = self._met.setdefault((makers[before].where, what), _Met(look.step, look.step))
            met.last, met.all, met.size = look.step, met.all + 1, given.shape[axis]
            met.looks += are_shares(given, axis)
        return ()

    def finish(self) -> Iterable[Evidence]:
        """Those whose input were shares at every look."""
        for (where, what), met in self._met.items():
            if met.looks == met.all:
                figures = {"looks": float(met.looks), "all": float(met.all), "size": float(met.size)}
                yield Evidence("softmax twice", (where,) if where else (), (met.first, met.last), figures, {"what": what})


def _taken_off(total: FunctionCall, look: Look) -> bool:
    """Whether the sum of exponentials is taken off what it is the sum of."""
    given = total.given(0, "input")
    return any(call.name in _LESS and call.args[0] is given and call.args[1] is total.result for call in look.calls)


def _softmax_before(node: Node | None) -> Node | None:
    """The softmax that a value comes from along the only way that gradients take; None if there is none."""
    for _ in range(_REACH):
        if node is None or operation(node) == "Softmax":
            return node
        following = [each for each, _ in node.next_functions if each is not None]
        node = following[0] if len(following) == 1 else None
    return None


def _axis(call: FunctionCall) -> int:
    axis: Any = call.given(1, "dim")
    return axis if isinstance(axis, int) else -1


def are_shares(given: Tensor, axis: int) -> bool:
    """Whether numbers lie between 0 and 1 and sum to 1 along an axis, in the first rows."""
    moved = given.detach().movedim(axis, -1)
    rows = double(moved.reshape(-1, moved.shape[-1])[:_ROWS])
    if rows.shape[-1] < 2 or not bool((rows >= 0).all()):
        return False
    return bool(((rows.sum(-1) - 1).abs() <= _ONE).all())
