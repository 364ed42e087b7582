"""The gradients of logits show the targets of a step, and the loss of an answer that does not look at the input.

For cross-entropy the gradient of one example's logits is s * (answer - one-hot target), s > 0. It is negative at the target
alone. The user need not hand over targets.
"""

from __future__ import annotations

from math import nan
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lettrine.health.parts import CAP
from lettrine.torch.capture.copies import Copy
from lettrine.torch.capture.outputs import OutputCapture

_LEAST: Final = 1e-8  # in a sum of gradients, float32 cannot tell smaller probabilities from 0
_BLOCK: Final = 2**18  # gradients copied at a time
_COMPARED: Final = 64  # examples whose answers are compared with each other


class Targets(NamedTuple):
    """places: (R,) the target of each example that has one. gradients: (R,) the gradient there. sums: (K,) of the gradients
    over all examples. others: (C, C) for some examples: row i has the gradient of example i at the targets of all of them, below
    0 at its own.
    """

    places: NDArray[np.int64]
    gradients: NDArray[np.float64]
    sums: NDArray[np.float64]
    others: NDArray[np.float64]

    def blind(self) -> float:
        """Loss in nats of an answer that does not look at the input: for each example the mean of the answers to the others.

                -mean over i of log q_i,   q_i = mean over the j with another target than i of p_j(target of i)

        This minus the loss of the same examples is the gain of looking at the input. Apart from the examples left out of the
        mean, it is the bound of van den Oord et al. 2018 on the mutual information of inputs and targets (InfoNCE; Poole et al.
        2019, On variational bounds of mutual information). At 0 or below, the answers say nothing about their targets. No
        frequency is estimated, so rare classes do no harm, even those that no batch has contained. Both losses are of the same
        examples. s is taken from the largest gradient at a target, as if the least probable target had probability 0. NaN if all
        targets are the same.
        """
        count = len(self.places)
        same = np.bincount(self.places, minlength=len(self.sums))
        own = np.bincount(self.places, weights=self.gradients, minlength=len(self.sums))
        others = (count - same)[self.places]
        if not count or not others.all():
            return nan
        shares = (self.sums - own)[self.places] / (others * -self.gradients.min())
        return -float(np.log(np.maximum(shares, _LEAST)).mean())

    def noise(self) -> float:
        """Variance of the gain by chance alone, for answers that differ as much as these but know nothing about the targets: the
        variance of log p_j(target of i) over the j, divided by the number of examples. NaN if nothing can be compared.
        """
        kept = (self.others > 0).sum(axis=0) > 1
        logs = np.log(np.where(self.others > 0, self.others, nan)[:, kept])
        return float(np.nanvar(logs, axis=0, ddof=1).mean() / len(self.places)) if kept.any() else nan


class LogitGradients(Copy):
    """Gradients of many logits. Only a part is copied; before that, the targets are read from all of them."""

    __slots__ = ("targets",)

    def take(self, tensor: Tensor, axis: int = -1) -> None:
        """Copy the part, and read the targets from all."""
        super().take(tensor, axis)
        self.targets = targets(tensor, axis)


def targets_of(capture: OutputCapture) -> list[Targets]:
    """The targets of each call that was copied in this step. If there are too many logits to copy them whole, this works from the
    second such step on.
    """
    found = []
    for call in capture.made:
        if not call.arrived:
            continue
        if call.gradient.size <= CAP:
            found.append(targets(torch.from_numpy(call.gradient.array)))
        elif isinstance(call.gradient, LogitGradients):
            found.append(call.gradient.targets)
        else:
            call.gradient = LogitGradients(rows=True)
    return found


def targets(gradient: Tensor, axis: int = -1) -> Targets:
    """The targets of one call, from the gradient of its logits, with the classes along `axis`. It reads the gradient twice."""
    table = gradient.detach().movedim(axis, -1)
    table = table if table.ndim > 1 else table[None]
    least, places, sums = _scanned(table) if table.is_cpu else _reduced(table)
    known = np.flatnonzero(least < 0)  # an ignored target has a gradient of 0
    some = torch.from_numpy(known[:: max(1, len(known) // _COMPARED)]).to(table.device)
    rows = table[torch.unravel_index(some, table.shape[:-1])]  # (C, K)
    others = rows[:, torch.from_numpy(places).to(table.device)[some]].cpu().double().numpy()
    return Targets(places[known], least[known].astype(np.float64), sums.astype(np.float64), others)


def _reduced(table: Tensor) -> tuple[NDArray[Any], ...]:
    """The least gradient of each example, its index, and the sums over all examples."""
    least, places = (each.reshape(-1) for each in table.min(dim=-1))
    sums = table.sum(dim=tuple(range(table.ndim - 1)), dtype=torch.float32)
    return least.float().cpu().numpy(), places.cpu().numpy(), sums.cpu().numpy()


def _scanned(table: Tensor) -> tuple[NDArray[Any], ...]:
    """The same on the CPU. There numpy finds the least several times faster, in copies of a few examples at a time."""
    wanted = torch.float64 if table.dtype is torch.float64 else torch.float32
    least, places, sums = [], [], np.zeros(table.shape[-1])
    for block in torch.split(table, max(1, _BLOCK * len(table) // table.numel())):
        copied = block.to(wanted, copy=True, memory_format=torch.contiguous_format).numpy().reshape(-1, table.shape[-1])
        places.append(copied.argmin(axis=1))
        least.append(copied[np.arange(len(copied)), places[-1]])
        sums += copied.sum(axis=0)
    return np.concatenate(least), np.concatenate(places), sums
