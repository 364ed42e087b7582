"""Evidence "neighbours": in eval mode, too, the model takes statistics of the batch it is given and puts them into every row.

A mean, standard deviation or norm over the batch that goes back into the rows; a batch norm without running statistics; a softmax
along the axis that grows with the batch. Then the answer to one example depends on which others lie beside it.

where: the module it is called in. figures: "looks" (passes in eval mode that showed it), "all" (of them), "batch" (rows in
training), "rows" (in eval mode). words: "function".

The batch is known only if there is one target for each row in training, no other axis of the inputs is as long, and the rows in
eval mode are another number: the nodes of one graph are always as many. What stays outside of the output's rows, such as a mean
that goes into the loss, is not reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.capture.outputs import tensors_in
from lettrine.torch.graph.losses.comparisons import readable
from lettrine.torch.graph.losses.softmaxes import batch_of

_SOFTMAXES: Final = ("softmax", "log_softmax")
_SUMMARIES: Final = {"mean": 1, "std": 1, "var": 1, "std_mean": 1, "var_mean": 1, "norm": 2, "linalg_norm": 2}
"""What makes one number of many, and at which place it is given the axes."""

Key = tuple[str, str]  # where, function


@reader
class Neighbours:
    """Compares the rows in eval mode with those in training."""

    def __init__(self) -> None:
        self._batch = -1
        self._axes: set[tuple[str, int]] = set()  # modules with a softmax along an axis as long as the batch, in training
        self._found: dict[Key, int] = {}
        self._passes = self._rows = self._last = 0

    def look(self, look: Look) -> Iterable[Evidence]:
        """Note the batch in training, and the softmaxes along it."""
        self._batch, self._last = batch_of(look), look.step
        for call in look.calls:
            if call.name in _SOFTMAXES and call.root >= 0 and (axis := _axis(call, self._batch)) is not None:
                self._axes.add((call.where, axis))
        return ()

    def held_out(self, look: Look) -> Iterable[Evidence]:
        """Look for what mixes rows."""
        rows = {len(each) for root in look.roots for each in root.inputs if each.ndim}
        told = {len(each) for root in look.roots for each in root.outputs if each.ndim}
        count = next(iter(rows), 0)
        if self._batch < 2 or len(rows) != 1 or count not in told or count in (1, self._batch):
            return ()
        if any(count in each.shape[1:] for root in look.roots for each in root.inputs):
            return ()
        self._passes, self._rows = self._passes + 1, count
        own = {each.data_ptr() for each in look.named.values()}
        for key in dict.fromkeys([*self._softmaxes(look, count), *_norms(look), *_summaries(look, count, own)]):
            self._found[key] = self._found.get(key, 0) + 1
        return ()

    def finish(self) -> Iterable[Evidence]:
        """What was seen."""
        for (where, function), looks in self._found.items():
            figures = {"looks": looks, "all": self._passes, "batch": self._batch, "rows": self._rows}
            told = {name: float(value) for name, value in figures.items()}
            yield Evidence("neighbours", (where,), (0, self._last), told, {"function": function})

    def _softmaxes(self, look: Look, rows: int) -> Iterator[Key]:
        for call in look.calls:
            if call.name in _SOFTMAXES and (call.where, _axis(call, rows)) in self._axes:
                yield call.where, call.name


def _axis(call: FunctionCall, rows: int) -> int | None:
    """The axis of a softmax, if it is as long as the batch and no other is."""
    given, result = call.given(0, "input"), call.result
    axis = call.given(1, "dim")
    if not isinstance(given, Tensor) or not isinstance(result, Tensor) or not isinstance(axis, int) or result.ndim < 2:
        return None
    lengths = list(result.shape)
    return axis % result.ndim if lengths[axis] == rows and lengths.count(rows) == 1 and result.numel() > rows else None


def _norms(look: Look) -> Iterator[Key]:
    """Batch norms that take the batch's own statistics."""
    for call in look.calls:
        given = call.given(0, "input")
        if call.name == "batch_norm" and isinstance(given, Tensor) and bool(call.given(5, "training", default=False)):
            yield call.where, "batch_norm"


def _summaries(look: Look, rows: int, own: set[int]) -> Iterator[Key]:
    """Statistics over the rows that meet the rows again."""
    made: dict[int, Key] = {}  # by tensor: the summary it comes from
    for call in look.calls:
        if call.root < 0:
            continue
        result = call.result
        if call.name == "normalize":
            given = call.given(0, "input")
            if _over_rows(given, call.given(2, "dim", 1), rows, own):
                yield call.where, call.name
        elif call.name in _SUMMARIES:
            given = call.given(0, "input")
            if _over_rows(given, call.given(_SUMMARIES[call.name], "dim"), rows, own):
                made |= {id(each): (call.where, call.name) for each in tensors_in(result)}
        else:
            given_tensors = [each for each in (*call.args, *call.kwargs.values()) if isinstance(each, Tensor)]
            source = next((made[id(each)] for each in given_tensors if id(each) in made), None)
            if source is None or not isinstance(result, Tensor):
                continue
            if any(each.ndim and len(each) == rows and id(each) not in made for each in given_tensors):
                yield source
            elif not (result.ndim and len(result) == rows):
                made[id(result)] = source


def _over_rows(given: Any, axes: Any, rows: int, own: set[int]) -> bool:
    """Whether a summary along these axes runs over the rows."""
    if not isinstance(given, Tensor) or not readable(given) or given.ndim == 0 or len(given) != rows or given.data_ptr() in own:
        return False
    chosen = (axes,) if isinstance(axes, int) else axes
    return not chosen or any(isinstance(each, int) and each % given.ndim == 0 for each in chosen)
