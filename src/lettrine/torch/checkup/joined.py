"""Examples of different sizes that are joined along one axis, such as graphs: an index tells to which example a row belongs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lettrine.torch.checkup.call import Call
from lettrine.torch.checkup.values import leaves, mapped


@dataclass(frozen=True)
class Joined:
    """index: (N,), for each row the number of its example. count: of the examples."""

    index: Tensor
    count: int

    def with_noise(self, call: Call, example: int) -> Call:
        """The same call with noise on all numbers of one example."""
        generator = torch.Generator(device=self.index.device).manual_seed(1)

        def changed(_: str, tensor: Tensor) -> Tensor:
            if not tensor.is_floating_point() or not tensor.ndim or len(tensor) != len(self.index):
                return tensor
            noise = torch.randn(tensor.shape, generator=generator, device=tensor.device, dtype=tensor.dtype)
            inside = (self.index == example).reshape(-1, *(1 for _ in tensor.shape[1:]))
            return torch.where(inside, tensor + noise * tensor.detach().std(), tensor)

        return call.with_given({key: mapped(each, changed) for key, each in call.given.items()})

    def others(self, example: int) -> Callable[[Tensor], Tensor | None]:
        """A function that returns the part of a tensor that belongs to the other examples; None if it has no such rows."""

        def kept(tensor: Tensor) -> Tensor | None:
            if tensor.ndim and len(tensor) == len(self.index):
                return tensor[self.index != example]
            if tensor.ndim and len(tensor) == self.count:
                return tensor[torch.arange(self.count, device=tensor.device) != example]
            return None

        return kept


def joined(call: Call, output: Any) -> Joined | None:
    """How examples are joined: integers that count up from 0, with as many different ones as there are answers."""
    answers = {len(each) for _, each in leaves(output) if each.ndim and each.is_floating_point()}
    rows = {len(each) for _, each in leaves(call.given) if each.is_floating_point() and each.ndim > 1}
    for _, each in leaves(call.given):
        if each.dtype is not torch.long or each.ndim != 1 or len(each) not in rows or not len(each):
            continue
        steps, count = each.diff(), int(each[-1]) + 1
        counts_up = int(each[0]) == 0 and bool(((steps == 0) | (steps == 1)).all())
        if counts_up and 1 < count < len(each) and answers & {count, len(each)} == answers:
            return Joined(each, count)
    return None
