"""Evidence "volume": a flow gives codes and one number for each example, its log-volume, and the loss draws the codes to 0 as a
standard normal prior does.

where: the network. figures: "first" and "last": mean square of a code, at the first look and at the last one; "before" and
"after": mean of the number, likewise; "looks".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import torch
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.capture.looks import Look, RootCall, reader
from lettrine.torch.devices import double
from lettrine.torch.graph.losses.comparisons import readable
from lettrine.torch.graph.makers import makers

_SQUARES: Final = frozenset(("pow", "square", "__pow__"))
_DIFFERENCES: Final = frozenset(("sub", "__sub__"))


@reader
class Volumes:
    """Follows the sizes of codes and of the numbers beside them."""

    def __init__(self) -> None:
        self._seen: dict[str, list[tuple[int, float, float]]] = {}

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        for root in look.roots:
            pair = _codes(root)
            if pair is not None and _drawn_to_0(pair[0], look):
                code, number = (double(each.detach()) for each in pair)
                self._seen.setdefault(root.name, []).append((look.step, float(code.square().mean()), float(number.mean())))
        return ()

    def finish(self) -> Iterator[Evidence]:
        """The first look and the last one."""
        for name, seen in self._seen.items():
            (first, size, number), (last, size_then, number_then) = seen[0], seen[-1]
            figures = {"first": size, "last": size_then, "before": number, "after": number_then, "looks": float(len(seen))}
            yield Evidence("volume", (name,), (first, last), figures)


def _codes(root: RootCall) -> tuple[Tensor, Tensor] | None:
    """The codes, as many numbers as the input has, and one number for each of them."""
    output = root.output
    if not isinstance(output, tuple | list) or len(output) != 2 or not root.inputs:
        return None
    code, number = output
    if not (isinstance(code, Tensor) and isinstance(number, Tensor) and code.requires_grad and number.requires_grad):
        return None
    fits = (
        code.ndim > 1 and code.numel() == root.inputs[0].numel() and number.numel() == len(code) == max(number.shape, default=0)
    )
    return (code, number) if fits and readable(code) and readable(number) else None


def _drawn_to_0(code: Tensor, look: Look) -> bool:
    """Whether the loss squares the codes themselves, or their differences from 0."""
    made = look.once(makers)
    return any(call.name in _SQUARES and _is(code, call.given(0, "input"), made) for call in look.outside)


def _is(code: Tensor, value: object, made: Mapping[int, FunctionCall]) -> bool:
    call = made.get(id(value))
    if value is code or call is None or call.name not in _DIFFERENCES or call.given(0, "input") is not code:
        return value is code
    other = call.given(1, "other")
    return isinstance(other, Tensor) and not other.requires_grad and readable(other) and not bool(torch.any(other))
