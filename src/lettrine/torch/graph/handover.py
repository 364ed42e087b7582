"""Outputs that are handed on without their graph: what made them is not trained by what follows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from torch import nn

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.capture.outputs import tensors_in


@reader
class Detached:
    """Evidence "detached": a module is given the very values another one made, without their graph.

    where: who made them, who got them. figures: looks (at which it was so), passes (backward passes that were looked at).
    Of a generator and its critic this is right in the critic's pass, and wrong in the generator's.
    """

    whole: ClassVar[bool] = True

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], int] = {}
        self._passes = 0
        self._last = 0

    def look(self, look: Look) -> Iterable[Evidence]:
        """Compare what modules are given with what trained ones have returned."""
        self._passes += 1
        self._last = look.step
        made: dict[int, str] = {}
        met = set()
        for call in look.modules:
            for tensor in tensors_in(call.args):
                maker = made.get(tensor.data_ptr()) if tensor.numel() and not tensor.requires_grad else None
                if maker is not None and maker != call.name and not call.name.startswith(f"{maker}."):
                    met.add((maker, call.name))
            if _trained(call.module):
                for tensor in tensors_in(call.output):
                    if tensor.requires_grad and tensor.numel():
                        made[tensor.data_ptr()] = call.name  # the outermost module that returns it names it last
        for pair in met:
            self._found[pair] = self._found.get(pair, 0) + 1
        return ()

    def finish(self) -> Iterable[Evidence]:
        """Every pair that was met."""
        for pair, count in self._found.items():
            yield Evidence("detached", pair, (0, self._last), {"looks": float(count), "passes": float(self._passes)})


def _trained(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())
