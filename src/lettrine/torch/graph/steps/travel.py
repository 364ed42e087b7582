"""Evidence "travel": whether the weights go on in the direction in which they began.

Of up to sixteen trained matrices, a few hundred values each, at the steps looked at. where: (). steps: the first and the last
of them. figures: "straight", the cosine between the way from the first to the middle one and the way from there to the last, the
median over the matrices: 1 if each step went where the one before went. Noise of single batches averages out on both ways.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import torch
from torch import Tensor, nn

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.copies import local
from lettrine.torch.capture.looks import Stepping, reader

_MATRICES: Final = 16
_VALUES: Final = 256
_LOOKS: Final = 3
_TINY: Final = 1e-20  # below the shortest way that weights in single precision can go


@reader
class Travel:
    """Keeps some values of each matrix at each look."""

    def __init__(self) -> None:
        self._chosen: list[nn.Parameter] = []
        self._kept: dict[int, list[Tensor]] = {}

    def stepping(self, stepping: Stepping) -> Iterable[Evidence]:
        """An optimiser is about to step."""
        if not self._chosen:
            able = [each for name, each in stepping.named.items() if id(each) in stepping.held and _able(each)]
            self._chosen = able[:: max(1, -(-len(able) // _MATRICES))]
        if stepping.step not in self._kept:
            self._kept[stepping.step] = [_some(each) for each in self._chosen]
        return ()

    def finish(self) -> Iterable[Evidence]:
        """The ways between the looks, once there are enough."""
        steps = sorted(self._kept)
        if len(steps) < _LOOKS or not self._chosen:
            return
        half = (steps[0] + steps[-1]) / 2
        middle = min(steps[1:-1], key=lambda step: abs(step - half))
        looks = zip(self._kept[steps[0]], self._kept[middle], self._kept[steps[-1]], strict=True)
        # A table may have grown meanwhile, and a sharded or offloaded matrix be elsewhere or gone.
        same = [tuple(each.cpu() for each in look) for look in looks if len({len(each) for each in look}) == 1]
        if same:
            cosines = torch.stack([torch.cosine_similarity(b - a, c - b, dim=0, eps=_TINY) for a, b, c in same])
            yield Evidence("travel", (), (steps[0], steps[-1]), {"straight": float(cosines.median())})


def _able(parameter: nn.Parameter) -> bool:
    plain = parameter.requires_grad and parameter.is_floating_point() and parameter.device.type != "meta"
    return plain and parameter.ndim > 1 and local(parameter).numel() > 0


def _some(parameter: nn.Parameter) -> Tensor:
    """Values spread over a matrix, in single precision, where it is."""
    flat = local(parameter.detach()).reshape(-1)
    return flat[:: max(1, len(flat) // _VALUES)][:_VALUES].float().clone()
