"""Data the cases share: small, made by seed or from scikit-learn, split into training and held-out halves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from sklearn import datasets
from torch import Tensor


class Split(NamedTuple):
    """Inputs and targets for training, and the same held out."""

    x: Tensor
    y: Tensor
    held_x: Tensor
    held_y: Tensor


def split(x: Tensor, y: Tensor, seed: int, held: float = 0.25) -> Split:
    """Shuffled together, then cut."""
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    cut = int(len(x) * (1 - held))
    return Split(x[order[:cut]], y[order[:cut]], x[order[cut:]], y[order[cut:]])


def batches(x: Tensor, y: Tensor, size: int, steps: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """That many batches, each epoch in a new order, the rest of an epoch left out."""
    generator = torch.Generator().manual_seed(seed + 1)
    done = 0
    while True:
        for rows in torch.randperm(len(x), generator=generator).split(size):
            if len(rows) == size:
                yield x[rows], y[rows]
                done += 1
                if done == steps:
                    return


def few(x: Tensor, y: Tensor, size: int, seed: int, count: int = 8) -> list[tuple[Tensor, Tensor]]:
    """A handful of batches, as a check-up takes them."""
    return list(batches(x, y, size, count, seed))


def table(name: str, seed: int, standard: bool = True) -> Split:
    """A data set of scikit-learn as float32 rows; standardised by the training half unless told otherwise."""
    raw = getattr(datasets, f"load_{name}")()
    x = torch.tensor(np.asarray(raw.data), dtype=torch.float32)
    real = name in ("diabetes", "linnerud")
    y = torch.tensor(np.asarray(raw.target), dtype=torch.float32 if real else torch.long)
    parts = split(x, y, seed)
    if not standard:
        return parts
    mean, std = parts.x.mean(0), parts.x.std(0).clamp(min=1e-6)
    return parts._replace(x=(parts.x - mean) / std, held_x=(parts.held_x - mean) / std)


def digits(seed: int, scale: float = 16.0) -> Split:
    """8x8 pictures of digits, (N, 1, 8, 8), divided by `scale` (16 brings them to 0..1)."""
    raw = datasets.load_digits()
    return split(torch.tensor(raw.images, dtype=torch.float32)[:, None] / scale, torch.tensor(raw.target), seed)


def shapes(count: int, seed: int, size: int = 16, noise: float = 0.2) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures (N, 1, size, size) of a bar, a cross, a ring or a square somewhere; class (N,); mask (N, size, size)."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    pictures, masks = [], []
    kinds = rng.integers(0, 4, count)
    for kind in kinds:
        r, c, reach = (
            rng.uniform(size * 0.3, size * 0.7),
            rng.uniform(size * 0.3, size * 0.7),
            rng.uniform(size * 0.18, size * 0.28),
        )
        far, high, wide = np.hypot(rows - r, columns - c), abs(rows - r), abs(columns - c)
        inside = (high < 1) | (wide < 1)
        drawn = (
            (wide < 1.2) & (high < reach * 1.4),
            inside & (np.maximum(high, wide) < reach * 1.3),
            abs(far - reach) < 1,
            np.maximum(high, wide) < reach * 0.9,
        )[kind]
        masks.append(drawn)
        pictures.append(drawn + rng.normal(0, noise, (size, size)))
    x = torch.tensor(np.stack(pictures), dtype=torch.float32)[:, None]
    return x, torch.tensor(kinds), torch.tensor(np.stack(masks)).long()


def teacher(count: int, features: int, outputs: int, seed: int, noise: float = 0.05) -> tuple[Tensor, Tensor]:
    """Rows and what a fixed random network with 16 tanh units says of them, mean 0 and variance 1 plus noise: (N, F), (N, O)."""
    generator = torch.Generator().manual_seed(seed + 100)
    x = torch.randn(count, features, generator=generator)
    hidden = torch.tanh(x @ torch.randn(features, 16, generator=generator) / features**0.5 * 1.5)
    y = hidden @ torch.randn(16, outputs, generator=generator)
    y = (y - y.mean(0)) / y.std(0)
    return x, y + noise * torch.randn(count, outputs, generator=generator)


WORDS = """
the a one this that small old green quick quiet cat dog bird river tree house boat child king door
window sees finds takes builds loves leaves paints under over near behind with and then but
slowly often never again today there
""".split()  # noqa: SIM905  a list of words


def text(count: int, seed: int) -> str:
    """Sentences of a small grammar, for language models of characters."""
    rng = np.random.default_rng(seed)
    said = []
    for _ in range(count):
        noun = lambda: f"{rng.choice(WORDS[:5])} {rng.choice(WORDS[5:10])} {rng.choice(WORDS[10:20])}"  # noqa: E731
        line = f"{noun()} {rng.choice(WORDS[20:27])} {noun()}"
        if rng.random() < 0.5:
            line += f" {rng.choice(WORDS[27:32])} {noun()}"
        said.append(f"{line} {rng.choice(WORDS[-6:])}.")
    return " ".join(said)


def characters(count: int, seed: int) -> tuple[Tensor, int]:
    """The text as numbers, and how many different ones there are."""
    said = text(count, seed)
    letters = sorted(set("abcdefghijklmnopqrstuvwxyz ."))
    return torch.tensor([letters.index(each) for each in said]), len(letters)


def windows(stream: Tensor, length: int, size: int, steps: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """That many batches (B, T) of pieces of a stream, and the same moved on by one."""
    generator = torch.Generator().manual_seed(seed + 2)
    for _ in range(steps):
        at = torch.randint(len(stream) - length - 1, (size, 1), generator=generator) + torch.arange(length)
        yield stream[at], stream[at + 1]


def accuracy(scores: Tensor, y: Tensor) -> float:
    """Share of rows whose largest score is the class."""
    return (scores.argmax(-1) == y).float().mean().item()


def r2(predicted: Tensor, y: Tensor) -> float:
    """Share of the variance explained."""
    return 1 - ((predicted - y).pow(2).mean() / (y - y.mean(0)).pow(2).mean()).item()
