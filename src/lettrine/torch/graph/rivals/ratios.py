"""Evidence "unclipped": of a ratio of probabilities times an advantage, and the same with the ratio clipped, the loss keeps the
smaller loss of the two instead of the larger one. The clip then never holds a step back.

where: (). words: "function", such as "min". figures: "looks" that showed it; "all" looks with such a choice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import torch
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.makers import makers

_SMALLER: Final = frozenset(("min", "minimum"))
_LARGER: Final = frozenset(("max", "maximum"))
_TURNING: Final = frozenset(("neg", "__neg__", "negative"))
_SCALING: Final = frozenset("mul multiply __mul__ __rmul__ div true_divide __truediv__".split())  # noqa: SIM905
_CLIPS: Final = frozenset(("clamp", "clip", "clamp_", "clip_"))
_KEEPING: Final = frozenset("mean sum add __add__ __radd__ stack cat squeeze unsqueeze view reshape flatten".split())  # noqa: SIM905
_LESS: Final = frozenset(("sub", "__sub__"))
_FROM: Final = frozenset(("rsub", "__rsub__"))
_SHAPING: Final = frozenset("__getitem__ squeeze unsqueeze view reshape flatten sum".split())  # noqa: SIM905
_BACK: Final = 10  # calls followed, backwards and forwards


@reader
class Ratios:
    """Looks for the choice between a clipped ratio and a free one, and for its sign in the loss."""

    def __init__(self) -> None:
        self._steps: list[int] = []
        self._all = 0
        self._function = ""

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        made = look.once(makers)
        for call in look.outside:
            turned = _turned(call, made)
            sign = 0 if turned is None or look.loss is None else _sign(call.result, look)
            if not sign:
                continue
            self._all += 1
            smaller = call.name in _SMALLER
            if (smaller and turned and sign > 0) or (not smaller and not turned and sign < 0):
                self._steps.append(look.step)
                self._function = call.name
            return ()
        return ()

    def finish(self) -> Iterator[Evidence]:
        """What the looks showed."""
        if self._steps:
            figures = {"looks": float(len(self._steps)), "all": float(self._all)}
            yield Evidence("unclipped", (), (self._steps[0], self._steps[-1]), figures, {"function": self._function})


def _turned(call: FunctionCall, made: Mapping[int, FunctionCall]) -> bool | None:
    """Whether both candidates have a minus; None if they are not a ratio that is free in one of them and clipped in the other."""
    if call.name not in _SMALLER | _LARGER or len(call.args) < 2:
        return None
    first, second = (_ratio(each, made) if isinstance(each, Tensor) else None for each in call.args[:2])
    if first is None or second is None or first[0] != second[0] or first[1] is second[1] or first[2] is not second[2]:
        return None
    return first[2]


def _ratio(tensor: Tensor, made: Mapping[int, FunctionCall]) -> tuple[int, bool, bool] | None:
    """The exponential a candidate was made of, whether it was clipped, and whether it was turned round."""
    clipped = turned = False
    for _ in range(_BACK):
        call = made.get(id(tensor))
        if call is None or not tensor.requires_grad:
            return None
        if call.name == "exp":
            return id(tensor), clipped, turned
        tensors = [each for each in call.args if isinstance(each, Tensor) and each.requires_grad]
        if len(tensors) != 1 or call.name not in _TURNING | _SCALING | _CLIPS | _SHAPING:
            return None
        turned ^= call.name in _TURNING or any(isinstance(each, int | float) and each < 0 for each in _factors(call))
        clipped |= call.name in _CLIPS
        tensor = tensors[0]
    return None


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
