"""Evidence "unclipped": of a ratio of probabilities times an advantage, and the same with the ratio clipped, the loss keeps the
smaller loss of the two instead of the larger one. The clip then never holds a step back.

where: (). words: "function", such as "min". figures: "looks" that showed it; "all" looks with such a choice.

Evidence "ratio": a ratio that is none of the new probabilities to the old ones. words: "what", "inverse" where it is
exp(old - new) and the loss falls with it, "logarithm" where new - old is clipped around 1 without the exponential, "cancelled"
where both sides have a graph to the same weights and it is 1 throughout, so that their gradients cancel. figures: "looks", "all".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.makers import makers
from lettrine.torch.graph.walks import leaves, walk

_SMALLER: Final = frozenset(("min", "minimum"))
_LARGER: Final = frozenset(("max", "maximum"))
_TURNING: Final = frozenset(("neg", "__neg__", "negative"))
_SCALING: Final = frozenset("mul multiply __mul__ __rmul__ div true_divide __truediv__".split())  # noqa: SIM905
_CLIPS: Final = frozenset(("clamp", "clip", "clamp_", "clip_"))
_KEEPING: Final = frozenset("mean sum add __add__ __radd__ stack cat squeeze unsqueeze view reshape flatten".split())  # noqa: SIM905
_LESS: Final = frozenset(("sub", "__sub__"))
_FROM: Final = frozenset(("rsub", "__rsub__"))
_SHAPING: Final = frozenset("__getitem__ squeeze unsqueeze view reshape flatten sum".split())  # noqa: SIM905
_SAME: Final = 5e-7  # of a ratio from 1: rounding in single precision
_BACK: Final = 10  # calls followed, backwards and forwards


@dataclass(frozen=True)
class _Ratio:
    """A ratio in one of two candidates. root: the exponential, or the difference without one; clip: the call that clipped it."""

    root: Tensor
    clip: FunctionCall | None
    turned: bool


@reader
class Ratios:
    """Looks for the choice between a clipped ratio and a free one, and for its sign in the loss."""

    def __init__(self) -> None:
        self._steps: list[int] = []
        self._all = 0
        self._function = ""
        self._none: dict[str, list[int]] = {}  # by what the ratio is instead

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        made = look.once(makers)
        for call in look.outside:
            chosen = _chosen(call, made)
            sign = 0 if chosen is None or look.loss is None else _sign(call.result, look)
            if not sign or chosen is None:
                continue
            self._all += 1
            smaller, turned, falls = call.name in _SMALLER, chosen.turned, (sign < 0) is not chosen.turned
            if (smaller and turned and sign > 0) or (not smaller and not turned and sign < 0):
                self._steps.append(look.step)
                self._function = call.name
            if what := _cancelled(chosen.root, made) or _otherwise(chosen, made, falls=falls):
                self._none.setdefault(what, []).append(look.step)
            return ()
        return ()

    def finish(self) -> Iterator[Evidence]:
        """What the looks showed."""
        if self._steps:
            figures = {"looks": float(len(self._steps)), "all": float(self._all)}
            yield Evidence("unclipped", (), (self._steps[0], self._steps[-1]), figures, {"function": self._function})
        for what, steps in self._none.items():
            figures = {"looks": float(len(steps)), "all": float(self._all)}
            yield Evidence("ratio", (), (steps[0], steps[-1]), figures, {"what": what})


def _chosen(call: FunctionCall, made: Mapping[int, FunctionCall]) -> _Ratio | None:
    """The clipped candidate; None if there are not two, of one ratio, of which the other is free."""
    if call.name not in _SMALLER | _LARGER or len(call.args) < 2:
        return None
    pair = [found for each in call.args[:2] if isinstance(each, Tensor) and (found := _ratio(each, made)) is not None]
    if len(pair) < 2 or pair[0].root is not pair[1].root or pair[0].turned is not pair[1].turned:
        return None
    free, clipped = sorted(pair, key=lambda each: each.clip is not None)
    return clipped if free.clip is None and clipped.clip is not None else None


def _otherwise(ratio: _Ratio, made: Mapping[int, FunctionCall], *, falls: bool) -> str:
    """What a ratio is, if it is none of new to old. falls: whether the loss falls with it times an advantage."""
    call = made.get(id(ratio.root))
    if call is not None and call.name != "exp":
        return "logarithm"
    less = None if call is None else made.get(id(call.given(0, "input")))
    if less is None or less.name not in _LESS or len(less.args) < 2:
        return ""
    old, new = less.args[:2]
    inverse = isinstance(old, Tensor) and isinstance(new, Tensor) and new.requires_grad and not old.requires_grad
    return "inverse" if inverse and falls else ""


def _cancelled(ratio: Tensor, made: Mapping[int, FunctionCall]) -> str:
    """Whether both sides of a ratio of 1 are made of the same weights, so that nothing is left of their gradients."""
    call = made.get(id(ratio))
    less = None if call is None or call.name != "exp" else made.get(id(call.given(0, "input")))
    sides = [each for each in less.args[:2] if isinstance(each, Tensor)] if less is not None and less.name in _LESS else []
    if len(sides) < 2 or not all(each.requires_grad for each in sides) or float((ratio - 1).abs().max()) > _SAME:
        return ""
    one, other = ({id(leaf) for leaf in leaves(walk([each.grad_fn]))} for each in sides)
    return "cancelled" if one == other else ""


def _ratio(tensor: Tensor, made: Mapping[int, FunctionCall]) -> _Ratio | None:
    """The exponential a candidate was made of; or a difference from data that is clipped around 1."""
    clip, turned = None, False
    for _ in range(_BACK):
        call = made.get(id(tensor))
        if call is None or not tensor.requires_grad:
            return None
        if call.name == "exp" or (call.name in _LESS and _of_data(call)):
            around = clip is None or call.name == "exp" or _around_one(clip)
            return _Ratio(tensor, clip, turned) if around else None
        tensors = [each for each in call.args if isinstance(each, Tensor) and each.requires_grad]
        if len(tensors) != 1 or call.name not in _TURNING | _SCALING | _CLIPS | _SHAPING:
            return None
        turned ^= call.name in _TURNING or any(isinstance(each, int | float) and each < 0 for each in _factors(call))
        clip = call if call.name in _CLIPS else clip
        tensor = tensors[0]
    return None


def _of_data(call: FunctionCall) -> bool:
    """Whether this is a difference of what the weights made and data."""
    sides = [each for each in call.args[:2] if isinstance(each, Tensor)]
    return len(sides) == 2 and sides[0].requires_grad and not sides[1].requires_grad


def _around_one(clip: FunctionCall) -> bool:
    low, high = clip.given(1, "min"), clip.given(2, "max")
    return isinstance(low, int | float) and isinstance(high, int | float) and 0 < low < 1 < high


def _sign(tensor: Tensor, look: Look) -> int:
    """Whether the loss rises with a tensor (1) or falls (-1); 0 if that cannot be told."""
    users = defaultdict(list)
    for call in look.outside:
        for each in _flat(call.args):
            users[id(each)].append(call)
    sign = 1
    for _ in range(_BACK):
        if tensor is look.loss:
            return sign
        onwards = [each for each in users[id(tensor)] if isinstance(each.result, Tensor) and each.result.requires_grad]
        if len(onwards) != 1:
            return 0
        sign *= _turn(onwards[0], tensor)
        tensor = onwards[0].result
    return 0


def _turn(call: FunctionCall, tensor: Tensor) -> int:
    """What a call does to the sign of a tensor it takes: 1 keeps it, -1 turns it round, 0 if that cannot be told."""
    if call.name in _TURNING:
        return -1
    if call.name in _LESS | _FROM:
        return -1 if (call.args[0] is tensor) is (call.name in _FROM) else 1
    if call.name in _SCALING:
        factors = _factors(call)
        if any(bool(each.min() < 0) for each in factors if isinstance(each, Tensor) and each is not tensor):
            return 0
        return -1 if any(each < 0 for each in factors if not isinstance(each, Tensor)) else 1
    return 1 if call.name in _KEEPING else 0


def _factors(call: FunctionCall) -> list[Tensor | int | float]:
    """The other factors of a product: numbers, and tensors without a graph."""
    if call.name not in _SCALING:
        return []
    return [each for each in call.args if isinstance(each, int | float) or (isinstance(each, Tensor) and _plain(each))]


def _plain(tensor: Tensor) -> bool:
    return not tensor.requires_grad and tensor.numel() > 0 and tensor.device.type != "meta" and tensor.layout is torch.strided


def _flat(args: Iterable[object]) -> Iterator[Tensor]:
    for each in args:
        if isinstance(each, Tensor):
            yield each
        elif isinstance(each, tuple | list):
            yield from _flat(each)
