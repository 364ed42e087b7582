"""How much one feature alone tells about the target: a table from feature values to targets, fitted on some examples, tested on
others.

The table has one bin for each integer value, and bins with equal counts for other numbers. It predicts the most frequent class
or the mean target of the bin. It finds any relation to a single number: thresholds, bumps, codes. Its score is the share of the
error it removes: of the errors of always predicting the most frequent class, or of the targets' variance.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from lettrine.torch.devices import double, exact

FEW, MANY = 8, 64  # bins, and
FILLED: Final = 10  # least examples in each bin, if there are enough
MOST_VALUES: Final = 256  # integer values with their own bin; more are binned like other numbers
MOST_ROWS: Final = 4096
CHUNK: Final = 2**24  # values of a table computed at once
HELD_OUT: Final = 3  # one of this many examples is held out


def told(features: Tensor, target: Tensor, *, classes: bool) -> tuple[Tensor, int]:
    """The score of each feature, and the number of held-out examples.

    features: (N, F). target: (N,). classes: the targets are class numbers, otherwise they are values. Returns shares (F,): 1 if
    the feature tells everything, 0 or less if nothing; NaN if the held-out targets are all alike.
    """
    features, target = exact(features), exact(target)
    order = torch.randperm(len(target), generator=torch.Generator().manual_seed(1))[:MOST_ROWS].to(target.device)
    held = len(order) // HELD_OUT
    tried, learned = order[:held], order[held:]
    if classes:
        kinds, target = torch.unique(target, return_inverse=True)
        targets = double(torch.nn.functional.one_hot(target, len(kinds)))  # (N, K)
    else:
        targets = double(target)[:, None]
    bins = min(MANY, max(FEW, len(learned) // FILLED))
    width = max(1, CHUNK // (max(len(order), 2 * bins * targets.shape[1]) * bins))
    shares = []
    for part in torch.split(features, width, 1):
        codes, new_codes, count = _coded(part[learned], part[tried], bins)
        shares.append(_told(codes, targets[learned], new_codes, targets[tried], count, classes=classes))
    return torch.cat(shares), held


def _told(codes: Tensor, y: Tensor, new_codes: Tensor, new_y: Tensor, bins: int, *, classes: bool) -> Tensor:
    """codes: (N, F), bins below `bins`. y: (N, K), one-hot or one column. new_codes (M, F), new_y (M, K): held out."""
    features = codes.shape[1]
    places, new_places = codes.T, new_codes.T  # (F, N), (F, M)
    sums = torch.zeros(features, bins, y.shape[1], dtype=y.dtype, device=y.device)
    sums.scatter_add_(1, places[..., None].expand(-1, -1, y.shape[1]), y.expand(features, -1, -1))
    if classes:
        usual = y.sum(0).argmax()
        said = torch.where(sums.sum(2) > 0, sums.argmax(2), usual)  # (F, bins)
        wrong = double(said.gather(1, new_places) != new_y.argmax(1)).mean(1)
        chance = double(new_y.argmax(1) != usual).mean()
        return 1.0 - wrong / chance if chance > 0 else torch.full_like(wrong, torch.nan)
    counts = torch.zeros(features, bins, dtype=y.dtype, device=y.device)
    counts.scatter_add_(1, places, torch.ones_like(places, dtype=y.dtype))
    said = torch.where(counts > 0, sums[..., 0] / counts.clamp(min=1), y.mean())
    left = (said.gather(1, new_places) - new_y[:, 0]).square().mean(1)
    spread = (new_y[:, 0] - y.mean()).square().mean()
    return 1.0 - left / spread if spread > 0 else torch.full_like(left, torch.nan)


def _coded(x: Tensor, new_x: Tensor, bins: int) -> tuple[Tensor, Tensor, int]:
    """Bins of the values (N, F) and (M, F), by edges fitted on the first, and the number of bins."""
    if not x.is_floating_point():
        low, high = int(min(x.min(), new_x.min())), int(max(x.max(), new_x.max()))
        if low >= 0 and high < MOST_VALUES:
            return x.long(), new_x.long(), high + 1
    x, new_x = double(x), double(new_x)
    at = torch.linspace(0, len(x) - 1, bins + 1, device=x.device)[1:-1].round().long()
    edges = x.sort(0).values[at]  # (bins - 1, F)
    # A value that many examples share becomes an edge: values below, at and above it go to different bins.
    codes = [(each[None] > edges[:, None]).sum(0) + (each[None] >= edges[:, None]).sum(0) for each in (x, new_x)]
    return codes[0], codes[1], 2 * bins
