"""Evidence "late weights": one number for each example is multiplied with a mean or sum over the examples, instead of with the
loss of each.

where: the module that made the answers, () if that is not clear. words: "of", "mean" or "sum"; "how", "product" or "ratio";
"mean" and "weights": their shapes. figures: "looks" that showed it; "all" looks with a loss; "rows" in the mean.

The mean is of the loss, or of log-probabilities. The weights are data: they differ from example to example and from look to look,
and there are as many as rows in the mean. In a ratio of probabilities, exp(new - old), the new one is summed over all examples,
and the old ones are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import torch
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.devices import double
from lettrine.torch.graph.losses.comparisons import LOSSES, readable
from lettrine.torch.graph.losses.heads import head_of
from lettrine.torch.graph.makers import makers

_WEIGHING: Final = frozenset("mul multiply __mul__ __rmul__ div true_divide __truediv__".split())  # noqa: SIM905
_PASSING: Final = frozenset(
    "neg __neg__ negative unsqueeze squeeze view reshape float double to".split()  # noqa: SIM905
)
_LESS: Final = frozenset(("sub", "__sub__"))
_JOINING: Final = frozenset(("mean", "sum", "__matmul__", "dot"))
_LEADING: Final = frozenset("min minimum max maximum neg __neg__ negative add __add__ __radd__ sub __sub__".split())  # noqa: SIM905
_LEAST: Final = 4  # rows: fewer may be parts of a loss, each with a weight of its own
_BACK: Final = 6  # calls followed from a product to the mean


@reader
class LateWeights:
    """Looks for products of a mean with a column of numbers."""

    def __init__(self) -> None:
        self._steps: list[int] = []
        self._all = 0
        self._marks: set[float] = set()
        self._last: Evidence | None = None

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        if look.loss is None:
            return ()
        self._all += 1
        made = look.once(makers)
        joined = _joined(look.outside)
        powers = {id(each) for call in look.outside if call.name == "exp" for each in call.args[:1]}
        for call in look.outside:
            ratio = call.name in _LESS and id(call.result) in powers
            pair = _pair(call, made) if ratio or (call.name in _WEIGHING and id(call.result) in joined) else None
            if pair is not None:
                answers, weights, shape, of = pair
                self._steps.append(look.step)
                # Old probabilities are the same for some steps.
                self._marks.add(float(look.step) if ratio else _mark(weights))
                module = head_of(answers, look.parameters).module
                told = {"of": of, "how": "ratio" if ratio else "product", "mean": shape, "weights": str(tuple(weights.shape))}
                self._last = Evidence(
                    "late weights", (module,) if module else (), (0, look.step), {"rows": weights.numel()}, told
                )
                break
        return ()

    def finish(self) -> Iterator[Evidence]:
        """What the looks showed, if the weights were new ones each time."""
        if self._last is not None and len(self._marks) == len(self._steps):
            figures = {**self._last.figures, "looks": float(len(self._steps)), "all": float(self._all)}
            yield Evidence(self._last.kind, self._last.where, (self._steps[0], self._steps[-1]), figures, self._last.words)


def _mark(weights: Tensor) -> float:
    """A number that tells the weights of two looks apart, the same ones in another order too."""
    flat = double(weights.detach()).flatten()
    return float(flat @ torch.arange(1, len(flat) + 1, dtype=flat.dtype, device=flat.device))


def _joined(calls: Sequence[FunctionCall]) -> set[int]:
    """The tensors of which a mean or a sum is taken, perhaps after a minimum or beside other terms, by identity."""
    joined: set[int] = set()
    for call in reversed(calls):
        if call.name in _JOINING or (call.name in _LEADING and id(call.result) in joined):
            joined |= {id(each) for each in call.args if isinstance(each, Tensor)}
    return joined


def _pair(call: FunctionCall, made: Mapping[int, FunctionCall]) -> tuple[Tensor, Tensor, str, str] | None:
    """What the mean was taken of, the weights, the shape of the mean, and whether it is a mean or a sum."""
    first, second = call.given(0, "input"), call.given(1, "other")
    if not (isinstance(first, Tensor) and isinstance(second, Tensor)):
        return None
    divides = "div" in call.name
    for mean, weights in ((first, second),) if divides else ((first, second), (second, first)):
        if mean.numel() != 1 or mean.grad_fn is None or weights.requires_grad or not readable(weights):
            continue
        several = weights.is_floating_point() and weights.numel() >= _LEAST and bool(weights.min() < weights.max())
        answers, of = _averaged(mean, made) if several else (None, "")
        if answers is not None and _rows(answers) == weights.numel() == max(weights.shape):
            return answers, weights, str(tuple(mean.shape)), of
    return None


def _averaged(mean: Tensor, made: Mapping[int, FunctionCall]) -> tuple[Tensor | None, str]:
    """What a number is the mean or the sum of: the answers of a loss function, or a tensor."""
    for _ in range(_BACK):
        call = made.get(id(mean))
        given = None if call is None else call.given(0, "input")
        if call is None or not isinstance(given, Tensor):
            break
        if call.name in LOSSES or (call.name in ("mean", "sum") and given.numel() > 1):
            return (given if given.requires_grad and readable(given) else None), "sum" if call.name == "sum" else "mean"
        if call.name not in _PASSING:
            break
        mean = given
    return None, ""


def _rows(answers: Tensor) -> int:
    return len(answers) if answers.ndim else 0
