"""Evidence "operation": functions whose value or slope is unbounded somewhere, and how near their inputs came to that point.

One for each place and function. where: the module it was called in ("loss" outside of all modules), and the function's name.
words: "of": what made its input; "broke": "forward" if finite inputs gave a non-finite value, "backward" if the
    value was finite but its slope is not, "ignored" if a cross-entropy had no target left, "" if nothing broke; "guarded": "yes"
    if something was added to the input first, or the input was clamped; a number that is 0 in its type does not count.
figures: "least": smallest size of the critical number seen (for a division: the divisor); "first", "last": the
    same at the first and the last look; "step" at which it broke; "lowest": the lowest number among its input there.

An average over what an index selects is one of them, with the name "selection": its critical number is how many were selected,
and "of" is what averages them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf, nan
from typing import Any, Final

import torch
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.losses.comparisons import LOSSES, readable

_ROOTS: Final = ("sqrt", "rsqrt")  # slope unbounded at 0
_LOGS: Final = ("log", "log2", "log10")  # value and slope unbounded at 0
_DIVISIONS: Final = ("div", "true_divide", "__truediv__", "__rtruediv__", "reciprocal")
_POWERS: Final = ("pow", "__pow__")
_SOFTMAX: Final = ("softmax", "log_softmax")
_SUMS: Final = ("add", "__add__", "__radd__")
_CLAMPS: Final = ("clamp", "clamp_", "clamp_min")
_GUARDS: Final = (*_SUMS, *_CLAMPS, "maximum", "exp", "softplus")
_REST: Final = ("__rsub__", "rsub", "sub", "__sub__")  # 1 - p, guarded as p is by a clamp from both sides
_NAMES: Final = {"true_divide": "div", "__truediv__": "div", "__rtruediv__": "div", "reciprocal": "div", "__pow__": "pow"}
_PICKING: Final = ("__getitem__", "masked_select")
_AVERAGES: Final = ("mean", *LOSSES)
_SELECTION: Final = "selection"
_MOST: Final = 256  # calls examined in one step


@dataclass
class _Seen:
    first_step: int
    last_step: int
    of: str
    guarded: bool = True
    broke: str = ""
    step: float = nan
    least: float = inf
    lowest: float = nan
    first: float = nan
    last: float = nan


@reader
class Operations:
    """Follows roots, logarithms, divisions, powers below 1 and softmaxes."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], _Seen] = {}

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        makers = {id(call.result): call for call in look.calls}
        looked = 0
        for call in look.calls:
            if call.name == "cross_entropy":
                self._take_targets(look.step, call)
            if call.name in _AVERAGES and (count := _selected(call, makers)) is not None:
                self._take_selection(look.step, call, count)
            critical = _critical(call)
            if critical is not None and looked < _MOST:
                looked += 1
                self._take(look.step, call, *critical, _maker(critical[0], makers))
        return ()

    def _take(self, step: int, call: FunctionCall, tensor: Tensor, backward: bool, maker: FunctionCall | None) -> None:
        key = call.where or "loss", _NAMES.get(call.name, call.name)
        of = maker.name if maker is not None else ""
        seen = self._seen.setdefault(key, _Seen(step, step, of))
        size = float(tensor.detach().abs().min())
        seen.guarded = seen.guarded and maker is not None and maker.name in _GUARDS
        seen.first = size if step == seen.first_step else seen.first
        seen.last = min(size, seen.last) if step == seen.last_step and seen.last == seen.last else size
        seen.last_step = step
        if size <= seen.least:
            seen.least, seen.of = size, of or seen.of
        if not seen.broke:
            seen.broke, seen.step = _broke(call, tensor, size, backward=backward), step
            seen.lowest = float(tensor.detach().min())

    def _take_selection(self, step: int, call: FunctionCall, count: int) -> None:
        """A mean over nothing selected is 0 / 0."""
        seen = self._seen.setdefault((call.where or "loss", _SELECTION), _Seen(step, step, call.name, guarded=False))
        seen.first = count if step == seen.first_step else seen.first
        seen.least, seen.last, seen.last_step = min(seen.least, count), count, step
        if not count and not seen.broke:
            seen.broke, seen.step = "forward", step

    def _take_targets(self, step: int, call: FunctionCall) -> None:
        """A mean over no targets is 0 / 0."""
        target = call.given(1, "target")
        if not isinstance(target, Tensor) or target.is_floating_point() or not readable(target):
            return
        ignored = call.kwargs.get("ignore_index", -100)
        if (
            call.kwargs.get("reduction", "mean") == "mean"
            and target.reshape(-1)[0] == ignored
            and bool((target == ignored).all())
        ):
            seen = self._seen.setdefault((call.where or "loss", call.name), _Seen(step, step, "", least=0.0))
            if not seen.broke:
                seen.broke, seen.step = "ignored", step

    def finish(self) -> Iterable[Evidence]:
        """Each place and function seen."""
        for (place, name), seen in self._seen.items():
            figures = {"least": seen.least, "first": seen.first, "last": seen.last}
            figures |= {"step": seen.step if seen.broke else nan, "lowest": seen.lowest}
            words = {"of": seen.of, "broke": seen.broke, "guarded": "yes" if seen.guarded else "no"}
            yield Evidence("operation", (place, name), (seen.first_step, seen.last_step), figures, words)


def _selected(call: FunctionCall, makers: dict[int, FunctionCall]) -> int | None:
    """How many numbers, or rows, an average is taken over; None if they were not selected by values of this step."""
    first: Any = call.given(0, "input")
    maker = makers.get(id(first))
    average = call.name == "mean" or call.kwargs.get("reduction", "mean") == "mean"
    if maker is None or maker.name not in _PICKING or not average or first.grad_fn is None:
        return None
    index = maker.given(1, "mask") if maker.name == "masked_select" else maker.given(1, "index")
    parts = index if isinstance(index, tuple) else (index,)
    return len(first) if any(isinstance(each, Tensor) and each.dtype is torch.bool for each in parts) else None


def _maker(tensor: Tensor, makers: dict[int, FunctionCall]) -> FunctionCall | None:
    """What made a tensor; of 1 - p what made p, if that is a clamp."""
    maker = makers.get(id(tensor))
    if maker is not None and _keeps_zero(maker):
        return next((makers[id(each)] for each in maker.args if id(each) in makers), None)
    if maker is None or maker.name not in _REST:
        return maker
    inner = (makers.get(id(each)) for each in maker.args if isinstance(each, Tensor))
    return next((each for each in inner if each is not None and each.name in ("clamp", "clamp_")), maker)


def _keeps_zero(maker: FunctionCall) -> bool:
    """Whether a sum or clamp lets a 0 pass: with a number of 0, or one that the type of the values makes 0."""
    if maker.name not in (*_SUMS, *_CLAMPS):
        return False
    told = maker.given(1, "min") if maker.name in _CLAMPS else next((each for each in maker.args[:2] if _plain(each)), None)
    result = maker.result
    return _plain(told) and isinstance(result, Tensor) and float(torch.tensor(told, dtype=result.dtype)) == 0.0


def _plain(each: Any) -> bool:
    return isinstance(each, int | float)


def _critical(call: FunctionCall) -> tuple[Tensor, bool] | None:
    """The tensor that must not reach 0 (for a softmax: its input), and whether only the slope breaks there."""
    first: Any = call.given(0, "input")
    second: Any = call.given(1, "other", call.given(1, "exponent"))
    if call.name in _DIVISIONS:
        tensor = first if call.name in ("reciprocal", "__rtruediv__") else second
        found = (tensor, False)
    elif call.name in _POWERS:
        if (steep := _steep(first, second)) is None:
            return None
        found = (first, steep)
    elif call.name in (*_ROOTS, *_LOGS):
        found = (first, call.name == "sqrt")
    elif call.name in _SOFTMAX:
        found = (first, False)
    else:
        return None
    tensor = found[0]
    # A slope breaks nothing if no gradient flows through it.
    flows = isinstance(call.result, Tensor) and call.result.grad_fn is not None
    return found if isinstance(tensor, Tensor) and flows and readable(tensor) else None


def _steep(base: Any, exponent: Any) -> bool | None:
    """Whether a power has an infinite slope at 0; None if it is defined everywhere, as a whole power, or where its base lies."""
    if not isinstance(base, Tensor) or not readable(base):
        return None
    if isinstance(exponent, Tensor):
        if not readable(exponent) or not exponent.is_floating_point():
            return None
        told = exponent.detach()
        below, whole = bool(((told < 1) & (told != 0)).any()), bool((told == told.round()).all())
        slope = bool(((told < 1) & (told > 0)).any())
    elif isinstance(exponent, int | float):
        below, whole, slope = exponent < 1 and exponent != 0, exponent == round(exponent), 0 < exponent < 1
    else:
        return None
    if below:
        return slope
    return False if not whole and bool((base.detach() < 0).any()) else None


def _broke(call: FunctionCall, tensor: Tensor, size: float, *, backward: bool) -> str:
    inputs = [each for each in call.args if isinstance(each, Tensor) and readable(each)]
    if call.name in _SOFTMAX:
        # Rows with every entry masked: all are minus infinity, so 0 is divided by 0. Other rows may be NaN by now.
        dim = call.given(1, "dim")
        return "forward" if isinstance(dim, int) and bool(tensor.detach().isneginf().all(dim).any()) else ""
    if not all(bool(torch.isfinite(each.detach()).all()) for each in inputs):
        return ""
    if not bool(torch.isfinite(call.result.detach()).all()):
        return "forward"
    return "backward" if backward and size == 0 and tensor.requires_grad else ""
