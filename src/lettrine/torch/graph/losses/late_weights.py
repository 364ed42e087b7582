"""Evidence "late weights": one number for each example is multiplied with a mean over the examples, instead of with the loss of
each.

where: the module that made the answers, () if that is not clear. words: "mean" and "weights": their shapes. figures: "looks" that
showed it; "all" looks with a loss; "rows" in the mean.

The mean is of the loss, or of log-probabilities. The weights are data: they differ from example to example and from look to look,
and there are as many as rows in the mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.losses.comparisons import LOSSES, readable
from lettrine.torch.graph.losses.heads import head_of
from lettrine.torch.graph.makers import makers

_WEIGHING: Final = frozenset("mul multiply __mul__ __rmul__ div true_divide __truediv__".split())  # noqa: SIM905
_PASSING: Final = frozenset("neg __neg__ negative unsqueeze squeeze view reshape float double to".split())  # noqa: SIM905
_JOINING: Final = frozenset(("mean", "sum", "__matmul__", "dot"))
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
        joined = {id(each) for call in look.outside if call.name in _JOINING for each in call.args if isinstance(each, Tensor)}
        for call in look.outside:
            pair = _pair(call, made) if call.name in _WEIGHING and id(call.result) in joined else None
            if pair is not None:
                answers, weights, shape = pair
                self._steps.append(look.step)
                self._marks.add(float(weights.detach().double().sum()))
                module = head_of(answers, look.parameters).module
                told = {"mean": shape, "weights": str(tuple(weights.shape))}
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


def _pair(call: FunctionCall, made: Mapping[int, FunctionCall]) -> tuple[Tensor, Tensor, str] | None:
    """What the mean was taken of, the weights, and the shape of the mean."""
    first, second = call.given(0, "input"), call.given(1, "other")
    if not (isinstance(first, Tensor) and isinstance(second, Tensor)):
        return None
    divides = "div" in call.name
    for mean, weights in ((first, second),) if divides else ((first, second), (second, first)):
        if mean.numel() != 1 or mean.grad_fn is None or weights.requires_grad or not readable(weights):
            continue
        several = weights.is_floating_point() and weights.numel() >= _LEAST and bool(weights.min() < weights.max())
        answers = _averaged(mean, made) if several else None
        if answers is not None and _rows(answers) == weights.numel() == max(weights.shape):
            return answers, weights, str(tuple(mean.shape))
    return None


def _averaged(mean: Tensor, made: Mapping[int, FunctionCall]) -> Tensor | None:
    """What a number is the mean of: the answers of a loss function, or a tensor."""
    for _ in range(_BACK):
        call = made.get(id(mean))
        given = None if call is None else call.given(0, "input")
        if call is None or not isinstance(given, Tensor):
            return None
        if call.name in LOSSES or (call.name == "mean" and given.numel() > 1):
            return given if given.requires_grad and readable(given) else None
        if call.name not in _PASSING:
            return None
        mean = given
    return None


def _rows(answers: Tensor) -> int:
    return len(answers) if answers.ndim else 0
