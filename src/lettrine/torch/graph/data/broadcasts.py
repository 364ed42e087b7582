"""Evidence "broadcast": two columns of N numbers, one for each example, became a table of N times N; or one column of
predictions was compared with several columns of targets.

where: the module that made the predictions, "" if that is not clear. words: "function", "answers" and "others": their shapes.
figures: "looks" that showed it, "size" N, "columns" K of the targets, 1 for a table of N times N; "weights": 1 if the table is a
difference of data, such as advantages, that weights the answers.

Intended broadcasts are not reported: both sides have the same number of axes, both come from the model, or the code added the
axis to the predictions explicitly. No loss function of torch broadcasts on purpose.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Final

from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.devices import double
from lettrine.torch.graph.losses.comparisons import LOSSES, readable
from lettrine.torch.graph.losses.heads import head_of

_ELEMENTWISE: Final = frozenset("sub add mul div true_divide rsub __sub__ __add__ __mul__ __rsub__ __truediv__".split())  # noqa: SIM905
_DIFFERENCES: Final = ("sub", "__sub__", "rsub", "__rsub__")
_PRODUCTS: Final = ("mul", "__mul__", "__rmul__", "multiply")
_PAIRED: Final = 8  # rows of a column, or more
_LOSING: Final = frozenset(("pow", "square", "__pow__", "abs", "absolute", "__abs__"))
_ADDED: Final = frozenset(("unsqueeze", "expand_dims"))
_PICKED: Final = 4  # times that rows are picked of rows
_DISTANCES: Final = frozenset(LOSSES) - {"cross_entropy", "nll_loss"}


@reader
class Broadcasts:
    """Finds differences and products of N predictions and N other values that have N times N entries."""

    whole: ClassVar[bool] = True

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, int, Evidence]] = {}

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        makers = {id(call.result): call for call in look.calls}
        uses: dict[int, set[str]] = {}
        for call in look.outside:
            for given in call.args:
                uses.setdefault(id(given), set()).add(call.name)
        for call in look.calls:
            pair = _pair(call, makers)
            columns = 1
            if pair is None:
                pair = _one_against_many(call, uses.get(id(call.result), set()))
                columns = pair[1].shape[1] if pair is not None else 0
            weighted = pair is None and (table := _table(call, look.outside))
            if weighted:
                pair = table
            if pair is None:
                continue
            answers, others = pair
            module = head_of(answers, look.parameters).module
            first, looks, _ = self._seen.get(module, (look.step, 0, None))
            evidence = Evidence(
                "broadcast",
                (module,) if module else (),
                (first, look.step),
                {"looks": looks + 1, "size": answers.numel(), "columns": max(columns, 1), "weights": float(bool(weighted))},
                {"function": call.name, "answers": str(tuple(answers.shape)), "others": str(tuple(others.shape))},
            )
            self._seen[module] = first, looks + 1, evidence
            yield evidence
            return  # later calls of this step only pass the table on

    def finish(self) -> Iterable[Evidence]:
        """Nothing more."""
        return ()


def _pair(call: FunctionCall, makers: dict[int, FunctionCall]) -> tuple[Tensor, Tensor] | None:
    """The predictions and the other values, if they should have been paired one by one and were not."""
    first, second = call.given(0, "input"), call.given(1, "target", call.given(1, "other"))
    named = call.name in _DISTANCES
    if not (named or (call.name in _ELEMENTWISE and not call.where)):
        return None
    if not (isinstance(first, Tensor) and isinstance(second, Tensor)) or first.requires_grad is second.requires_grad:
        return None
    answers, others = (first, second) if first.requires_grad else (second, first)
    size = answers.numel()
    if answers.grad_fn is None or not (readable(answers) and readable(others)):
        return None
    if size < 2 or others.numel() != size or answers.shape == others.shape:
        return None
    if _together(answers, others) <= size or (answers.ndim == others.ndim and not named):
        return None
    meant = not named and _axis_added(answers if answers.ndim > others.ndim else others, makers)
    return None if meant else (answers, others)


def _table(call: FunctionCall, calls: Sequence[FunctionCall]) -> tuple[Tensor, Tensor] | None:
    """Answers (N,) that are weighted by the difference of a column (N,) and a column (N, 1), and the difference, (N, N)."""
    first, second = call.given(0, "input"), call.given(1, "other")
    if call.name not in _DIFFERENCES or call.where or not (isinstance(first, Tensor) and isinstance(second, Tensor)):
        return None
    size = first.numel()
    shapes = {tuple(first.shape), tuple(second.shape)}
    if first.requires_grad or second.requires_grad or size < _PAIRED or shapes != {(size,), (size, 1)}:
        return None
    for product in calls:
        sides = (product.given(0, "input"), product.given(1, "other")) if product.name in _PRODUCTS else ()
        for table, answers in (sides, sides[::-1]) if sides else ():
            if table is call.result and isinstance(answers, Tensor) and answers.requires_grad and answers.shape == (size,):
                return answers, table
    return None


def _axis_added(tensor: Tensor, makers: dict[int, FunctionCall]) -> bool:
    """Whether the code gave a tensor one more axis, and since then at most picked rows of it."""
    for _ in range(_PICKED):
        maker = makers.get(id(tensor))
        if maker is None or maker.name in _ADDED:
            return maker is not None
        before = maker.given(0, "input")
        if maker.name != "__getitem__" or not isinstance(before, Tensor):
            return False
        if tensor.ndim > before.ndim:
            return True  # by [:, None]
        tensor = before
    return False


def _one_against_many(call: FunctionCall, uses: set[str]) -> tuple[Tensor, Tensor] | None:
    """Predictions (N, 1) and targets (N, K) of one distance. uses: names of the functions that take its result."""
    first, second = call.given(0, "input"), call.given(1, "target", call.given(1, "other"))
    distance = call.name in _DISTANCES or (call.name in _DIFFERENCES and not call.where and not uses.isdisjoint(_LOSING))
    if (
        not distance
        or not (isinstance(first, Tensor) and isinstance(second, Tensor))
        or first.requires_grad is second.requires_grad
    ):
        return None
    answers, others = (first, second) if first.requires_grad else (second, first)
    fits = answers.ndim == others.ndim == 2 and answers.shape[1] == 1 < others.shape[1] and len(answers) == len(others) > 1
    return (answers, others) if fits and answers.grad_fn is not None and readable(answers) and readable(others) else None


def _together(first: Tensor, second: Tensor) -> int:
    """How many entries the two have after broadcasting."""
    total = 1
    for place in range(1, max(first.ndim, second.ndim) + 1):
        sizes = [each.shape[-place] for each in (first, second) if place <= each.ndim]
        total *= max(sizes)
    return total


@reader
class BatchSizes:
    """Evidence "batch sizes": one input of a root has a single row where the other inputs have one row for each example.

    where: the root. figures: "looks"; "size" of the others; "fresh": 1 if the single row changed from look to look, as data do;
    tables and constants do not change. words: "shape" of the single row.
    """

    def __init__(self) -> None:
        # step, batch size, fingerprint of the single row, its shape
        self._seen: dict[str, list[tuple[int, int, float, str]]] = {}

    def look(self, look: Look) -> Iterable[Evidence]:
        """Compare the first axes of the floating-point inputs."""
        for root in look.roots:
            tables = [each for each in root.inputs if each.is_floating_point() and each.ndim > 1 and readable(each)]
            if len(tables) < 2 or len({each.ndim for each in tables}) > 1:
                continue
            single, size = min(tables, key=len), max(map(len, tables))
            inside = single.ndim > 2 and single.shape[1] == size  # its examples are along axis 1: the state of a recurrent layer
            alone = len(single) == 1 and size > 1 and not inside
            mark = float(double(single.detach()).sum()) if alone else 0.0
            self._seen.setdefault(root.name, []).append((look.step, size if alone else 0, mark, str(tuple(single.shape))))
        return ()

    def finish(self) -> Iterable[Evidence]:
        """Inputs that had a single row at every look."""
        for name, seen in self._seen.items():
            if all(size for _, size, _, _ in seen):
                fresh = len({mark for _, _, mark, _ in seen}) == len(seen)
                figures = {"looks": float(len(seen)), "size": float(seen[-1][1]), "fresh": float(fresh)}
                yield Evidence("batch sizes", (name,), (seen[0][0], seen[-1][0]), figures, {"shape": seen[-1][3]})
