"""Made-up data in which the targets do depend on the inputs: pictures of blobs, sequences of a hidden rule, tables, graphs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

BATCHES = 12


def pictures(
    size: int = 32, channels: int = 3, classes: int = 10, rows: int = 8, count: int = BATCHES
) -> list[tuple[Tensor, Tensor]]:
    """One blurred template a class, moved about, with noise; standardised."""
    g = torch.Generator().manual_seed(1)
    coarse = torch.rand(classes, channels, 4, 4, generator=g)
    templates = nn.functional.interpolate(coarse, size=(size, size), mode="bicubic").clamp(0, 1)
    made = []
    for _ in range(count):
        y = torch.randint(classes, (rows,), generator=g)
        moves = torch.randint(-2, 3, (rows, 2), generator=g).tolist()
        x = torch.stack([torch.roll(templates[c], tuple(m), (1, 2)) for c, m in zip(y.tolist(), moves, strict=True)])
        made.append(((x + 0.1 * torch.randn(x.shape, generator=g) - 0.5) / 0.3, y))
    return made


def texts(vocabulary: int = 40, length: int = 16, rows: int = 8, count: int = BATCHES) -> list[Tensor]:
    """Tokens (B, T) of a noisy chain: each is mostly a fixed function of the one before. 0 is left to padding."""
    g = torch.Generator().manual_seed(2)
    follow = torch.randperm(vocabulary - 1, generator=g)
    made = []
    for _ in range(count):
        rows_now = torch.zeros(rows, length, dtype=torch.long)
        rows_now[:, 0] = torch.randint(vocabulary - 1, (rows,), generator=g)
        for t in range(1, length):
            other = torch.randint(vocabulary - 1, (rows,), generator=g)
            keep = torch.rand(rows, generator=g) < 0.85
            rows_now[:, t] = torch.where(keep, follow[rows_now[:, t - 1]], other)
        made.append(rows_now + 1)
    return made


def short_texts(vocabulary: int = 40, length: int = 16, rows: int = 8, classes: int = 3) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Padded tokens, their mask, and a class that the first tokens' sum decides."""
    g = torch.Generator().manual_seed(3)
    made = []
    for x in texts(vocabulary, length, rows):
        lengths = torch.randint(length // 2, length + 1, (rows,), generator=g)
        lengths[0] = length
        mask = torch.arange(length) < lengths[:, None]
        made.append((x * mask, mask.long(), x[:, :3].sum(1) % classes))
    return made


def table(features: int = 16, classes: int = 4, rows: int = 32, count: int = BATCHES) -> list[tuple[Tensor, Tensor]]:
    """Features and the class a small teacher gives them."""
    g = torch.Generator().manual_seed(4)
    w1, w2 = torch.randn(features, 24, generator=g) / 4, torch.randn(24, classes, generator=g)
    made = []
    for _ in range(count):
        x = torch.randn(rows, features, generator=g)
        made.append((x, (torch.tanh(1.5 * x @ w1) @ w2).argmax(1)))
    return made


def waves(
    length: int = 24, channels: int = 4, classes: int = 4, rows: int = 16, count: int = BATCHES
) -> list[tuple[Tensor, Tensor]]:
    """Sequences (B, T, F) whose frequency is the class."""
    g = torch.Generator().manual_seed(5)
    made = []
    for _ in range(count):
        y = torch.randint(classes, (rows,), generator=g)
        phase = torch.rand(rows, 1, channels, generator=g) * 6.28
        t = torch.arange(length)[None, :, None] / length
        x = torch.sin(6.28 * (1 + y[:, None, None]) * t + phase) + 0.2 * torch.randn(rows, length, channels, generator=g)
        made.append((x, y))
    return made
