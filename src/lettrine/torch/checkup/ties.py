"""Do the inputs tell anything about targets that are numbers? Several models are fitted to some examples and asked for others.

What they answer is compared with the true targets, and with the same targets in many random orders. If the true order fits no
better than most others do, the inputs tell nothing that such a model can learn from so many examples. Pure noise and targets in
another order are the same thing here: no experiment can tell them apart.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

ORDERS: Final = 499  # random orders of the held-out targets
MOST_ROWS: Final = 2000
MOST_VALUES: Final = 2**25  # of the inputs
MOST_COLUMNS: Final = 64  # numbers in each target
FOLDS: Final = 2  # each example is held out once
FAR: Final = 2.5  # distances between the quartiles, from the median: beyond it lies less than one of 1,000 normal numbers
RIDGES: Final = (1e-2, 1.0, 1e2)  # times the mean of the kernel's diagonal over the examples
BINS: Final = 8  # of each feature, for a sum of functions of single features


def chances(x: Tensor, y: Tensor) -> dict[str, float]:
    """For each kind of model, the share of random orders that its answers fit at least as well as the true one.

    x: (N, F). y: (N, K). Empty if there are too many values, or some are not finite.
    """
    generator = torch.Generator(device="cpu").manual_seed(1)
    order = torch.randperm(len(x), generator=generator)[:MOST_ROWS].to(x.device)
    x, y = x[order], y[order]
    if x.numel() > MOST_VALUES or y.shape[1] > MOST_COLUMNS or not bool(x.isfinite().all() and y.isfinite().all()):
        return {}
    x, y = standardised(x), standardised(cut_off(y))
    found = {"nearest": chance(_nearest(x, y), y)}
    for name, kernel in _kernels(x).items():
        answers = torch.zeros_like(y)
        for fold in range(FOLDS):
            held = torch.arange(len(x), device=x.device) % FOLDS == fold
            answers[held] = _ridge(kernel[~held][:, ~held], kernel[held][:, ~held], y[~held])
        found[name] = chance(answers, y)
    return found


def chance(answers: Tensor, y: Tensor) -> float:
    """The share of orders of y (N, K), the true one among them, that some answers fit at least as well as that one."""
    generator = torch.Generator(device="cpu").manual_seed(2)
    answers, y = standardised(answers), standardised(y)
    fits = [float((answers * y).sum())]
    fits += [float((answers * y[torch.randperm(len(y), generator=generator).to(y.device)]).sum()) for _ in range(ORDERS)]
    return sum(each >= fits[0] for each in fits) / len(fits)


def cut_off(y: Tensor) -> Tensor:
    """Columns without far values, so that no single one decides."""
    y = y.detach().double()
    low, middle, high = torch.quantile(y, torch.tensor((0.25, 0.5, 0.75), dtype=y.dtype, device=y.device), dim=0)
    far = torch.where(high > low, FAR * (high - low), torch.inf)  # many equal values have no such spread
    return torch.minimum(torch.maximum(y, middle - far), middle + far)


def standardised(x: Tensor) -> Tensor:
    """Columns of mean 0 and std 1; constant ones are 0."""
    x = x.detach().double()
    x = x - x.mean(0)
    spread = x.std(0)
    return x / torch.where(spread > 1e-12 * x.abs().amax(0), spread, torch.inf)


def _kernels(x: Tensor) -> dict[str, Tensor]:
    """Gram matrices (N, N): of a line, a square, a smooth function, and a sum of functions of single features."""
    straight = x @ x.T / x.shape[1]
    apart = torch.cdist(x, x).square()
    edges = x.sort(0).values[[len(x) * each // BINS for each in range(1, BINS)]]  # (BINS - 1, F)
    coded = torch.stack([each < x for each in edges]).sum(0)
    same = torch.zeros_like(straight)
    for code in range(BINS):
        inside = (coded == code).to(x.dtype)
        same += inside @ inside.T
    return {
        "line": straight,
        "square": (1 + straight) ** 2,
        "smooth": torch.exp(-apart / apart.median().clamp(min=1e-12)),
        "single": same / x.shape[1],
    }


def _nearest(x: Tensor, y: Tensor) -> Tensor:
    """For each example the target of its nearest neighbour among the examples of the other folds."""
    folds = torch.arange(len(x), device=x.device) % FOLDS
    apart = torch.where(folds[:, None] == folds, torch.inf, torch.cdist(x, x))
    return y[apart.argmin(1)]


def _ridge(kernel: Tensor, new: Tensor, y: Tensor) -> Tensor:
    """Answers of a kernel ridge regression, with the ridge that is best for examples left out one at a time."""
    mean = y.mean(0)
    scale = kernel.diagonal().mean()
    values, vectors = torch.linalg.eigh(0.5 * (kernel + kernel.T))
    inside = vectors.T @ (y - mean)
    best, kept = float("inf"), torch.zeros_like(y)
    for ridge in RIDGES:
        shrunk = 1 / (values.clamp(min=0) + ridge * scale)  # of (K + ridge)^-1
        weights = vectors @ (shrunk[:, None] * inside)
        alone = (vectors.square() * shrunk).sum(1)
        error = float((weights / alone[:, None]).square().mean())  # Rifkin & Lippert 2007: leave-one-out errors of a ridge
        if error < best:
            best, kept = error, weights
    return new @ kept + mean
