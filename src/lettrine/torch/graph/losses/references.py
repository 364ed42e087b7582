"""The loss of the best constant answer, computed from the targets of the steps looked at.

Targets of all looks are pooled: the more targets, the better the estimate.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite, log, nan
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lettrine.torch.devices import double

_PER_CLASS: Final = 8  # targets needed per class before their frequencies are trusted, as in capture.losses
_COLUMNS: Final = 4_096  # target values kept per example, evenly spaced
_SAME: Final = 1e-6  # relative difference below which values are one constant


class TargetSums:
    """The targets of one term of a loss, over all looks.

    constant: the value of all targets of the last look, NaN if they differ. classes: number of classes, 0 if the targets are not
    classes.
    """

    def __init__(self) -> None:
        self.classes = 0
        self.constant = nan
        self.smallest = nan
        self._rows = 0.0
        self._sum: Tensor | None = None
        self._squares: Tensor | None = None
        self._weight: Tensor | None = None
        self._ratio: Tensor | None = None
        self._smoothing = 0.0
        self._entropy = 0.0  # of all targets together: what answers equal to them would cost
        self._labels = False
        self._losses: list[float] = []
        self._means: list[tuple[float, float]] = []

    def add_classes(self, places: Tensor, classes: int, weight: Tensor | None = None, smoothing: float = 0.0) -> None:
        """Class numbers, one per example. weight: of each class in the loss."""
        kept = places.detach().cpu().numpy().reshape(-1)
        kept = kept[(kept >= 0) & (kept < classes)]
        if not len(kept):
            return
        self.classes, self._weight, self._smoothing = classes, weight, smoothing
        counts = np.bincount(kept, minlength=classes)
        self.constant = float(kept[0]) if counts[kept[0]] == len(kept) else nan
        self._pool(torch.from_numpy(counts.astype(np.float64)), len(kept))
        if weight is None and smoothing:
            self._entropy += len(kept) * float(_entropies(_smoothed(torch.eye(1, classes).double(), smoothing)))

    def add_shares(self, shares: Tensor, axis: int, smoothing: float = 0.0) -> None:
        """Rows of class probabilities along `axis`; or of amounts, such as counts, which sum to another number than 1."""
        table = double(shares.detach()).movedim(axis, -1).reshape(-1, shares.shape[axis])
        self.classes, self._smoothing = table.shape[1], smoothing
        self._pool(table.sum(0).cpu(), len(table))
        mass = table.sum(1, keepdim=True)
        self._entropy += float((mass[:, 0] * _entropies(_smoothed(table / mass, smoothing))).nansum())

    def add_labels(self, labels: Tensor, ratio: Tensor | None = None) -> None:
        """Labels between 0 and 1, each judged alone. ratio: how much more the labels 1 weigh."""
        table = _columns(labels)
        self.classes, self._labels = 2, True
        self._ratio = None if ratio is None else ratio.detach().cpu().double()
        self._note_constant(table)
        self._pool(table.sum(0), len(table))
        if ratio is None:
            inside = table.clamp(0.0, 1.0)
            self._entropy += float(_entropies(torch.stack([inside, 1 - inside], -1)).mean(1).sum())

    def add_values(self, values: Tensor, error: Callable[[Tensor, Tensor], Tensor] | None = None) -> None:
        """Target numbers. error: the loss of one answer, if it is not the square."""
        table = _columns(values)
        self._note_constant(table)
        self._means.append((float(table.mean()), float(table.std()) if table.numel() > 1 else nan))
        if error is not None:
            answers = (table.mean(0, keepdim=True), table.median(0, keepdim=True).values)
            self._losses.append(min(float(error(answer.expand_as(table), table)) for answer in answers))
        self._pool(table.sum(0), len(table), table.square().sum(0))

    def even(self) -> float:
        """Loss of a uniform answer; NaN if that has no meaning."""
        return log(self.classes) * self._mass() if self.classes > 1 else nan

    def zero(self) -> float:
        """Mean square of the values: the loss of the answer 0."""
        if self._squares is None or self._losses or not self._rows:
            return nan
        return float(self._squares.mean()) / self._rows

    def reference(self) -> float:
        """Loss of the best answer that does not look at the input; NaN while too few targets were seen."""
        if self._sum is None or not self._rows:
            return nan
        if self._squares is not None:
            return sum(self._losses) / len(self._losses) if self._losses else self._variance()
        return self._of_labels() if self._labels else self._of_classes()

    def floor(self) -> float:
        """Loss of answers that are the targets themselves: above 0 where these are shares, as of smoothed labels."""
        return self._entropy / self._rows if self._rows else nan

    def moving(self) -> bool:
        """Whether the level or the size of the target values changes much during training."""
        if len(self._means) < 3:
            return False
        (first, spread), (last, later) = self._means[0], self._means[-1]
        if not (isfinite(spread) and isfinite(later)) or max(spread, later) == 0:
            return False
        return abs(last - first) > 2 * max(spread, later) or not 1 / 3 < (later + 1e-12) / (spread + 1e-12) < 3

    def _pool(self, total: Tensor, rows: float, squares: Tensor | None = None) -> None:
        if self._sum is None or self._sum.shape != total.shape:
            self._sum, self._squares, self._rows = (
                torch.zeros_like(total),
                None if squares is None else torch.zeros_like(total),
                0.0,
            )
            self._entropy = 0.0
        self._sum += total
        self._rows += rows
        if squares is not None and self._squares is not None:
            self._squares += squares

    def _note_constant(self, table: Tensor) -> None:
        low, high = float(table.min()), float(table.max())
        self.smallest = low
        self.constant = low if high - low <= _SAME * max(abs(low), abs(high)) else nan

    def _variance(self) -> float:
        if self._sum is None or self._squares is None or self._rows < 2:
            return nan
        spread = (self._squares - self._sum.square() / self._rows).clamp(min=0.0) / (self._rows - 1)
        return float(spread.mean())

    def _of_labels(self) -> float:
        if self._sum is None:
            return nan
        share = (self._sum / self._rows).clamp(0.0, 1.0)
        more = self._ratio if self._ratio is not None and self._ratio.numel() in (1, share.numel()) else torch.ones(1).double()
        answer = (more * share / (more * share + 1 - share)).clamp(1e-12, 1 - 1e-12)
        loss = -(more * share * answer.log() + (1 - share) * (1 - answer).log())
        # Miller 1955: an entropy estimated from N values is too low by (K - 1) / 2 N
        return float(loss.mean()) + 0.5 / self._rows

    def _of_classes(self) -> float:
        if self._sum is None or self._rows < _PER_CLASS * self.classes:
            return self.even()
        mass = self._mass()
        share = self._sum / self._rows / mass
        if self._weight is not None:
            weighted = share * self._weight.detach().cpu().double()
            share = weighted / weighted.sum()
        share = (1 - self._smoothing) * share + self._smoothing / self.classes
        seen = share[share > 0]
        return mass * min(float(-(seen * seen.log()).sum()) + (len(seen) - 1) / (2 * self._rows), log(self.classes))

    def _mass(self) -> float:
        """What a row of shares sums to, on average; 1 for all else, and where numbers below 0 make it none."""
        if self._sum is None or self._labels or self._squares is not None or not self.classes:
            return 1.0
        mass = float(self._sum.sum()) / self._rows
        return mass if mass > 0 else 1.0


def error_of(name: str, parameter: Any) -> Callable[[Tensor, Tensor], Tensor] | None:
    """The mean loss of a regression of this kind; None for squares."""
    match name:
        case "absolute error":
            return functional.l1_loss
        case "smooth absolute error":
            return lambda answer, target: functional.smooth_l1_loss(answer, target, beta=float(parameter))
        case "huber":
            return lambda answer, target: functional.huber_loss(answer, target, delta=float(parameter))
        case _:
            return None


def _smoothed(shares: Tensor, smoothing: float) -> Tensor:
    return (1 - smoothing) * shares + smoothing / shares.shape[-1]


def _entropies(shares: Tensor) -> Tensor:
    """Entropy of each row of shares."""
    return -torch.xlogy(shares, shares).sum(-1)


def _columns(values: Tensor) -> Tensor:
    """Targets as (B, C): one row per example."""
    table = values.detach().reshape(len(values) if values.ndim else 1, -1)
    step = max(1, table.shape[1] // _COLUMNS)
    return table[:, ::step].cpu().double()
