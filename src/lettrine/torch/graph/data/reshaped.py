"""Evidence "reshaped": a view or reshape swaps the lengths of axes, which only a transposition does correctly.

A view keeps the order of the values in memory. Wrong examples: (B, T, F) viewed as (T, B, F); a picture (B, H, W, C) viewed as
(B, C, H, W); maps (B, C, H, W) viewed as (B, H * W, C) or (B * H * W, C), and back; heads (B, H, T, D) viewed as (B, T, H * D);
steps laid one after another, (T * B, F), viewed as (B, T, F). Each makes rows of values that do not belong together.

Of data, whose memory may hold them in another order than their shape says, such a view counts only if neighbours along the axes
before it are more alike than those after it.

where: the module it was called in, "loss" outside of all. figures: "looks" that showed it; "batch" 1 if examples of a batch are
mixed; "ahead" 1 if the target at each place is the next element of the sequence. words: "function"; "before", "after": the
shapes; "what": "axes", "data" (the same, of data), "heads" (of an attention, joined or split) or "parts" (concatenated before).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import accumulate, pairwise, permutations
from operator import mul
from typing import ClassVar, Final

from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.data.ahead import asked_ahead
from lettrine.torch.graph.losses.comparisons import readable
from lettrine.torch.graph.memory import memory
from lettrine.torch.graph.reading import operation
from lettrine.torch.private import saved

_RESHAPING: Final = ("view", "reshape")
_PRODUCTS: Final = ("Bmm", "UnsafeView", "ScaledDotProductFlashAttentionForCpu", "ScaledDotProductAttentionMath")
_PASSING: Final = ("Clone", "NativeDropout", "Mul", "Alias")
_BACK: Final = 3  # operations followed backwards to a product, none of which moves an axis
_PARTS: Final = 2  # least number of tensors concatenated
_PICTURE: Final = 3  # axes of data in which neighbours may be alike
_READ: Final = 2**22  # numbers of data read
_TORN: Final = 0.8  # times the differences of neighbours after the view; of noise both are the same
_AXES: Final = 6  # axes that a reshape between whose order is tried


@reader
class Reshaped:
    """Compares the shapes before and after."""

    whole: ClassVar[bool] = True

    def __init__(self) -> None:
        self._found: Counter[tuple[str, str, str]] = Counter()  # where, function, what
        self._shapes: dict[tuple[str, str, str], tuple[int, str, str, bool, bool]] = {}

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        if look.place:
            return ()
        found, moved = {}, _moved(look)
        fed = {memory(each) for root in look.roots for each in root.inputs if readable(each)}
        for call in (*look.earlier, *look.calls):
            given, result = call.given(0, "input"), call.result
            if call.name not in _RESHAPING or not isinstance(given, Tensor) or not isinstance(result, Tensor):
                continue
            before, after = tuple(given.shape), tuple(result.shape)
            if given.requires_grad:
                what = _mixed(given, before, after) if id(result) not in moved else ""
            else:
                mixed = readable(result) and memory(result) in fed and _swapped(before, after)
                what = "data" if mixed and _torn(given.detach(), result.detach()) else ""
            if what:
                found[call.where or "loss", call.name, what] = before, after
        for key, (before, after) in found.items():
            batch = key[2] == "parts" or _crossing(before, after)
            self._found[key] += 1
            self._shapes[key] = look.step, _shape(before), _shape(after), batch, look.once(asked_ahead) is not None
        return ()

    def finish(self) -> Iterable[Evidence]:
        """The reshapes found so far."""
        for key, looks in self._found.items():
            (where, function, what), (step, before, after, batch, ahead) = key, self._shapes[key]
            figures = {"looks": float(looks), "batch": float(batch), "ahead": float(ahead)}
            words = {"function": function, "before": before, "after": after, "what": what}
            yield Evidence("reshaped", (where,), (0, step), figures, words)


def _mixed(given: Tensor, before: tuple[int, ...], after: tuple[int, ...]) -> str:
    """What a reshape mixes; "" for nothing."""
    long, new = [each for each in before if each > 1], [each for each in after if each > 1]
    if len(long) > 1 and len(long) == len(new) and long != new and sorted(long) == sorted(new):
        return "" if _shifts(given, before, after) else "axes"
    # Joined: (B, X, Y, D) to (B, Y, X * D), while the values are still in the order of X. Split: (B, T, H * D) to (B, H, T, D).
    joined = len(before) == 4 and len(after) == 3 and after == (before[0], before[2], before[1] * before[3])
    if joined and before[1] != before[2] and min(before[1:3]) > 1 and _of_product(given):
        return "heads"
    split = len(before) == 3 and len(after) == 4 and after[0] == before[0] and after[2] == before[1]
    if split and after[1] * after[3] == before[2] and after[1] != after[2] and min(after[1:]) > 1:
        return "heads"
    if _exchanged(long, new):
        return "axes"
    return "parts" if len(after) > 1 and _put_together(given, after) else ""


def _swapped(before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    """Whether axes of different lengths have changed places."""
    long, new = [each for each in before if each > 1], [each for each in after if each > 1]
    return 1 < len(long) == len(new) and long != new and sorted(long) == sorted(new)


def _torn(given: Tensor, result: Tensor) -> bool:
    """Whether neighbours along the axes of the data are clearly more alike than those along the axes of the view."""
    same = given.shape[0] == result.shape[0]
    if not given.is_floating_point() or (same and given.ndim < _PICTURE) or given.numel() > _READ:
        return False
    before, after = (_unlike(each, range(same, each.ndim)) for each in (given, result))
    return before < _TORN * after


def _unlike(data: Tensor, axes: Iterable[int]) -> float:
    """How far neighbours along these axes are from each other, on the whole."""
    return sum(float(data.diff(dim=axis).abs().mean()) for axis in axes if data.shape[axis] > 1)


def _moved(look: Look) -> set[int]:
    """The results, by identity, of both reshapes that move scores by position to scores by distance without a column of padding:
    (Q, K) as (K, Q), its first row cut off, and that as (Q, K - 1) (Yang et al. 2019, XLNet).
    """
    calls = [call for call in look.calls if call.name in _RESHAPING and isinstance(call.result, Tensor)]
    made = {call.result.grad_fn: call for call in calls if call.result.grad_fn is not None}
    moved: set[int] = set()
    for last in calls:
        rest = last.given(0, "input")
        node = rest.grad_fn if isinstance(rest, Tensor) else None
        while node is not None and operation(node) in ("Slice", "Alias"):
            node = node.next_functions[0][0]
        first = made.get(node)
        scores = first.given(0, "input") if first is not None else None
        if first is None or first is last or not isinstance(scores, Tensor) or scores.ndim < 2:
            continue
        *rows, queries, keys = scores.shape
        shapes = [tuple(each.shape) for each in (first.result, rest, last.result)]
        if shapes == [(*rows, keys, queries), (*rows, keys - 1, queries), (*rows, queries, keys - 1)]:
            moved |= {id(first.result), id(last.result)}
    return moved


def _turned(before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    """Whether the lengths of the last two axes changed places."""
    return before[:-2] == after[:-2] and before[-2:] == after[-2:][::-1]


def _shifts(given: Tensor, before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    """Whether a column of padding was put to the last axis: cut anew, each row moves by one more place (Dai et al. 2019,
    Transformer-XL, appendix B: scores by position become scores by distance).
    """
    node = given.grad_fn
    if node is None or not _turned(before, after):
        return False
    padded = operation(node) == "Cat" and any(each is None for each, _ in node.next_functions)  # the column has no gradient
    return padded or operation(node) == "ConstantPadNd"


def _exchanged(before: list[int], after: list[int]) -> bool:
    """Whether a transposition, and then joining and splitting of whole axes, gives this shape, but not without it."""
    if not 1 < len(before) < _AXES or len(after) < 2 or len(before) == len(after) == 2 or _in_order(before, after):
        return False
    return any(_in_order(list(order), after) for order in permutations(before))


def _in_order(before: list[int], after: list[int]) -> bool:
    """Whether each axis is kept, joined with its neighbours or split."""
    cuts, new = [list(accumulate(each, mul, initial=1)) for each in (before, after)]
    both = sorted({*cuts} & {*new})
    return all(
        sum(low < each <= high for each in cuts) == 1 or sum(low < each <= high for each in new) == 1
        for low, high in pairwise(both)
    )


def _crossing(before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    """Whether the rows after a reshape go from one example of the batch into the next."""
    if before[0] == 1 or after[0] == before[0]:
        return False
    return after[0] < before[0] or len(before) == len(after) or after[0] % before[0] != 0


def _of_product(given: Tensor) -> bool:
    """Whether a matrix product made it."""
    node = given.grad_fn
    for _ in range(_BACK):
        if node is None:
            return False
        if operation(node) in _PRODUCTS or operation(node).startswith("ScaledDot"):
            return True
        if operation(node) not in _PASSING:
            return False
        node = node.next_functions[0][0]
    return False


def _put_together(given: Tensor, after: tuple[int, ...]) -> bool:
    """Whether T parts of B rows each were concatenated, and the result was split into rows of T."""
    node = given.grad_fn
    if node is None or operation(node) != "Cat":
        return False
    parts = len(node.next_functions)
    axis = saved(node, "dim")
    rows = given.shape[0] // parts if parts else 0
    flat = axis == 0 and parts >= _PARTS and rows * parts == given.shape[0]
    return flat and rows > 1 and rows != parts and after[:2] == (rows, parts) and after[2:] == tuple(given.shape[1:])


def _shape(shape: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, shape))})"
