"""Checks attention masks against the data they mask, and finds sequences given along the wrong axis."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Final

import torch
from torch import Tensor, nn

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.data.ahead import asked_ahead
from lettrine.torch.graph.data.counted import Ends, padded_ends
from lettrine.torch.graph.losses.comparisons import LOSSES, readable

MOVED: Final = 3  # rows that came back at another place, to know the axis of examples
_MOST_ROWS, _LONG, _VARIED = 64, 4, 4  # rows read of a batch; least length of one; least number of different values in it
HIDDEN: Final = -1e3  # scores below leave no weight
_KEYS, _PLACES, _FILL = "key_padding_mask", "attn_mask", "masked_fill"
ADDED: Final = "added mask"
_MASKS: Final = {
    "multi_head_attention_forward": _KEYS,
    "scaled_dot_product_attention": _PLACES,
    "masked_fill": _FILL,
    "masked_fill_": _FILL,
    "add": ADDED,
    "add_": ADDED,
}
"""Functions that take a mask of keys, and what reports call it."""
_ARGUMENTS: Final = {"multi_head_attention_forward": _KEYS, "scaled_dot_product_attention": _PLACES} | dict.fromkeys(
    ("masked_fill", "masked_fill_"), "mask"
)


@reader
class PaddingMask:
    """Evidence "key padding": a mask of an attention that hides the real places and leaves only padding visible.

    It is a `key_padding_mask`, an `attn_mask` of `scaled_dot_product_attention` that is the same for all queries, what is filled
    with minus infinity before a softmax, or data that are added to the scores, 0 where a place is seen.

    where: the module in which the attention is called. figures: looks; inverted (looks at which all visible places held the same
    token, or zeros, and the masked places held several); masked (share of places masked out); empty (looks at which nothing was
    masked out although rows end in padding); run and rows (of padding, at the last of these looks). words: token, mask (name of
    the argument, or of the function).

    The mask is compared with the model's integer input if that has as many places, otherwise with the values the attention is
    given. Extra places in front, such as a class token, are left out.
    """

    whole: ClassVar[bool] = True

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], list[tuple[bool, float, str]]] = {}
        self._empty: dict[tuple[str, str], list[Ends]] = {}
        self._last = 0

    def look(self, look: Look) -> Iterable[Evidence]:
        """Read every mask."""
        self._last = look.step
        # indices used for padding
        kept = {call.given(2, "padding_idx") for call in look.calls if call.name == "embedding"} | {0}
        padded = [ends for root in look.roots for each in root.inputs if (ends := padded_ends(each)) is not None]
        padded = [ends for ends in padded if ends.token in kept]
        tokens = [each for root in look.roots for each in root.inputs if each.ndim == 2 and not each.is_floating_point()]
        weighed = {id(call.given(0, "input")) for call in look.calls if call.name == "softmax"}
        for call in look.calls:
            mask = _mask(call, weighed)
            if mask is not None:
                place = call.where, _MASKS[call.name]
                ends = next((each for each in padded if each.places.shape == mask.shape), None)
                inverted, masked, token = _judge(mask, tokens, call)
                if place[1] != _KEYS:  # other masks hide other things too, such as moves that are not allowed
                    inverted = inverted and ends is not None and bool((ends.places == ~mask).all())
                self._found.setdefault(place, []).append((inverted, masked, token))
                if ends is None or place[1] == _FILL or bool(mask.any()):
                    continue
                if place[1] == ADDED and any(each.where == call.where and _hides(each) for each in look.calls):
                    continue  # beside a causal mask it may hide nothing, and do no harm
                self._empty.setdefault(place, []).append(ends)
        return ()

    def finish(self) -> Iterable[Evidence]:
        """The result over all looks."""
        for (where, name), found in self._found.items():
            inverted = [each for each in found if each[0]]
            figures = {
                "looks": float(len(found)),
                "inverted": float(len(inverted)),
                "masked": sum(each[1] for each in found) / len(found),
            }
            token, empty = inverted[0][2] if inverted else "", self._empty.get((where, name), [])
            if empty:
                figures |= {"empty": float(len(empty)), "run": empty[-1].run, "rows": empty[-1].rows}
                token = str(empty[-1].token)
            yield Evidence("key padding", (where,), (0, self._last), figures, {"token": token, "mask": name})


def _hides(call: FunctionCall) -> bool:
    """Whether a call hides scores."""
    if _MASKS.get(call.name) == ADDED:
        return any(isinstance(each, Tensor) and readable(each) and bool((each < HIDDEN).any()) for each in call.args[:2])
    return _MASKS.get(call.name) == _FILL


def added_to(call: FunctionCall) -> tuple[Tensor | None, Tensor | None]:
    """The scores, and the data that are added to them, with as many axes; None unless it is that."""
    pair = [each for each in call.args[:2] if isinstance(each, Tensor) and readable(each) and each.is_floating_point()]
    scores, data = [each for each in pair if each.requires_grad], [each for each in pair if not each.requires_grad]
    fits = len(scores) == len(data) == 1 and scores[0].ndim == data[0].ndim > 2
    return (scores[0], data[0]) if fits else (None, None)


def _mask(call: FunctionCall, weighed: set[int]) -> Tensor | None:
    """True where a key is masked out, (B, T). weighed: ids of what a softmax is taken of."""
    if _MASKS.get(call.name) == ADDED:
        data = added_to(call)[1] if id(call.result) in weighed else None
        if data is None or not bool(((data == 0) | (data < HIDDEN)).all()):
            return None  # a bias
        return _of_keys(data < HIDDEN)
    place = {"scaled_dot_product_attention": 3, "masked_fill": 1, "masked_fill_": 1}.get(call.name, 15)
    mask: Any = call.given(place, _ARGUMENTS.get(call.name, ""))
    if call.name not in _MASKS or not isinstance(mask, Tensor) or not readable(mask):
        return None
    hidden = mask if mask.dtype is torch.bool else mask < HIDDEN if mask.is_floating_point() else mask != 0
    if _MASKS[call.name] == _KEYS:
        return hidden if mask.ndim == 2 else None
    if _MASKS[call.name] == _PLACES:
        hidden = ~mask if mask.dtype is torch.bool else hidden
        added = mask.is_floating_point() and not bool(hidden.any())  # a bias of the scores
        return None if added or mask.ndim < 3 else _of_keys(hidden)  # (Q, T) is of all examples
    value, scores = call.given(2, "value"), call.given(0, "input")
    hides = isinstance(value, int | float) and value < HIDDEN and id(call.result) in weighed
    return _of_keys(hidden) if hides and mask.ndim == getattr(scores, "ndim", 0) else None


def _of_keys(mask: Tensor) -> Tensor | None:
    """A mask (B, ..., T) as (B, T), if it is the same for all heads and queries of an example; (B, T, 1) is (B, T), too."""
    mask = mask.squeeze(-1) if mask.ndim > 2 and mask.shape[-1] == 1 else mask
    if mask.ndim < 2:
        return None
    rows = mask.flatten(1, -2) if mask.ndim > 2 else mask[:, None]
    return rows[:, 0] if bool((rows == rows[:, :1]).all()) else None


def _judge(mask: Tensor, tokens: list[Tensor], call: FunctionCall) -> tuple[bool, float, str]:
    masked = float(mask.float().mean())
    for given in tokens:
        for table in (given, given.T):
            extra = mask.shape[1] - table.shape[1]
            if table.shape[0] == mask.shape[0] and 0 <= extra <= 2 and table.shape[1] > 1:
                inner = mask[:, extra:]
                left, gone = table[~inner], table[inner]
                one = left.numel() > 0 and bool((left == left[0]).all())
                several = gone.numel() > 0 and bool((gone != gone[0]).any())
                return one and several and not bool((gone == left[0]).any()), masked, str(int(left[0])) if one else ""
    key: Any = call.given(1, "key") if call.name == "multi_head_attention_forward" else None
    if isinstance(key, Tensor) and key.ndim == 3 and key.shape[:2] == mask.T.shape:
        empty = (key.detach() == 0).all(-1).T  # (B, T)
        inverted = bool(mask.any()) and bool((~mask).any()) and bool(empty[~mask].all()) and not bool(empty[mask].any())
        return inverted, masked, "0"
    return False, masked, ""


@reader
class Axes:
    """Evidence "batch axis": a recurrent or attention module expects time on its first axis, but the batch is there.

    where: its name. figures: looks; batch (length of its first axis: it equals the number of targets, or the targets are the
    inputs shifted along the other axis, or rows of the inputs come back at other places); other (length of its second axis);
    moved (such rows). words: kind.
    """

    whole: ClassVar[bool] = True

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, int, int, str]] = {}
        self._rows = Shuffled()
        self._last = 0

    def look(self, look: Look) -> Iterable[Evidence]:
        """Compare the axes of inputs with the number of targets."""
        self._last = look.step
        lengths = {each.shape[1] for root in look.roots for each in root.inputs if each.ndim > 1}
        counts = {len(target) for call in look.outside if (target := one_each(call, lengths)) is not None}
        ahead = look.once(asked_ahead)
        given = {tensor.data_ptr(): tensor for root in look.roots for tensor in root.inputs}
        asked = [call for call in look.modules if isinstance(call.module, nn.RNNBase | nn.MultiheadAttention)]
        if any(not call.module.batch_first for call in asked):
            for tensor in given.values():
                self._rows.see(tensor)
        for call in look.modules:
            kinds = nn.RNNBase | nn.MultiheadAttention
            if not isinstance(call.module, kinds) or call.module.batch_first or not call.args:
                continue
            sequence: Any = call.args[0]
            if not isinstance(sequence, Tensor) or sequence.ndim != 3:
                continue
            first, second = sequence.shape[:2]
            alike = all(first == each.shape[0] for each in given.values() if each.ndim)
            # Data laid out as (time, batch, …) has the batch on its second axis already in the model's input.
            batch = {each.shape[1] for each in given.values() if each.ndim > 2}
            laid = first != second and bool(batch) and second not in batch and _one_row_each(look, first)
            told = first in counts and second not in counts
            # the targets are the inputs, shifted by one place along axis 1
            told |= ahead is not None and second == ahead.shape[1] + 1 != first
            told |= self._rows.moved >= MOVED
            if alike and (told or laid) and second > 1:
                looks = self._found.get(call.name, (0, 0, 0, ""))[0]
                self._found[call.name] = looks + 1, first, second, type(call.module).__name__
        return ()

    def finish(self) -> Iterable[Evidence]:
        """What was seen."""
        for name, (looks, batch, other, kind) in self._found.items():
            figures = {"looks": float(looks), "batch": float(batch), "other": float(other), "moved": float(self._rows.moved)}
            yield Evidence("batch axis", (name,), (0, self._last), figures, {"kind": kind})


class Shuffled:
    """Counts the rows of inputs that come back among other rows: if the first axis is shuffled, it holds examples.

    A row of one place in time, over all examples, comes back where the whole batch does, at the same place, or where the window
    was moved on, and then its neighbours are moved as far.
    """

    def __init__(self) -> None:
        self._at: dict[bytes, int] = {}
        self.moved = 0

    def see(self, inputs: Tensor) -> None:
        """Take in the first rows of a tensor (N, T, ...), T at least 4."""
        if inputs.ndim < 2 or inputs.shape[1] < _LONG or not readable(inputs):
            return
        far: list[int | None] = [None]  # how far each row was moved; None if it is new
        for place, row in enumerate(inputs.detach()[:_MOST_ROWS]):
            far.append(None)
            if len(row.reshape(-1).unique()) < _VARIED:  # padding, and rows that are alike by chance
                continue
            key = row.contiguous().cpu().numpy().tobytes()
            if key in self._at:
                far[-1] = place - self._at[key]
            self._at[key] = place
        around = zip(far, far[1:], [*far[2:], None], strict=False)
        self.moved += sum(each not in (None, 0, before, after) for before, each, after in around)


def _one_row_each(look: Look, first: int) -> bool:
    """Whether all targets of the loss have as many rows as that axis is long."""
    targets = [term.target for term in look.terms if term.target is not None]
    return bool(targets) and all(each.ndim > 0 and len(each) == first for each in targets)


def one_each(call: FunctionCall, lengths: set[int]) -> Tensor | None:
    """The target of a loss, if it has one class or one row of numbers for each example; otherwise None. lengths: second axes of
    the inputs.
    """
    target = call.given(1, "target", call.given(1, "other"))
    if not isinstance(target, Tensor):
        return None
    row = target.ndim == 2 and target.is_floating_point() and target.shape[1] not in lengths
    return target if target.ndim == 1 or (row and (call.name in LOSSES or call.name in ("sub", "__sub__", "__rsub__"))) else None
