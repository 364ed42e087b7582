"""Tasks made up from a seed: learnable, and never to perfection, as real ones are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Task:
    """Examples to draw batches from. classes: 0 for a regression. dev: held-out examples."""

    inputs: Tensor
    targets: Tensor
    dev: Batch
    classes: int
    seed: int

    def sampler(self, size: int) -> Callable[[int], Batch]:
        """The batch of each step, drawn with replacement: the same for the same seed and step."""
        generator = torch.Generator().manual_seed(self.seed + 1)

        def batch(_: int) -> Batch:
            picked = torch.randint(len(self.inputs), (size,), generator=generator)
            return self.inputs[picked], self.targets[picked]

        return batch


def split(inputs: Tensor, targets: Tensor, classes: int, seed: int) -> Task:
    kept = len(inputs) * 9 // 10
    return Task(inputs[:kept], targets[:kept], (inputs[kept:], targets[kept:]), classes, seed)


def vectors(seed: int, *, count: int = 6_000, width: int = 20, classes: int = 10, regression: bool = False) -> Task:
    """Points labelled by a random two-layer network whose answers are drawn, not taken: the best loss is about 1.2."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, width, generator=generator)
    first = torch.randn(width, 40, generator=generator) / width**0.5
    second = torch.randn(40, classes, generator=generator) * 3.0 / 40**0.5
    scores = torch.tanh(1.5 * inputs @ first) @ second
    if regression:
        return split(inputs, scores[:, :3] + 0.3 * torch.randn(count, 3, generator=generator), 0, seed)
    return split(inputs, torch.multinomial(torch.softmax(scores, 1), 1, generator=generator)[:, 0], classes, seed)


def letters(seed: int, *, count: int = 12_000, context: int = 6, vocabulary: int = 27, sequence: bool = False) -> Task:
    """Text of a random second-order source: each letter drawn given the two before it; entropy about 2 nats.

    sequence: whole sequences with the next letter at each place as targets, instead of contexts with one target.
    """
    generator = torch.Generator().manual_seed(seed)
    left, right = (torch.randn(vocabulary, vocabulary, generator=generator) * 1.6 for _ in range(2))
    text = torch.zeros(count + context + 1, dtype=torch.long)
    noise = -torch.log(-torch.log(torch.rand(len(text), vocabulary, generator=generator)))
    probabilities = left[:, None, :] + right[None, :, :]
    for place in range(2, len(text)):
        text[place] = (probabilities[text[place - 2], text[place - 1]] + noise[place]).argmax()
    windows = text.unfold(0, context + 1, context + 1 if sequence else 1)
    return split(windows[:, :-1], windows[:, 1:] if sequence else windows[:, -1], vocabulary, seed)


def pictures(seed: int, *, count: int = 3_000, size: int = 12, classes: int = 8) -> Task:
    """Noisy gratings of random phase; the class is the direction, in which a tenth of the labels are wrong."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(classes, (count,), generator=generator)
    angle = pi * (targets + 0.3 * torch.randn(count, generator=generator)) / classes
    phase = 2 * pi * torch.rand(count, generator=generator)
    axis = torch.arange(size, dtype=torch.float32)
    wave = torch.cos(angle)[:, None, None] * axis[None, :, None] + torch.sin(angle)[:, None, None] * axis[None, None, :]
    colours = torch.rand(count, 3, 1, 1, generator=generator)
    images = colours * torch.sin(1.4 * wave + phase[:, None, None])[:, None]
    images = images + 0.6 * torch.randn(count, 3, size, size, generator=generator)
    wrong = torch.rand(count, generator=generator) < 0.1
    targets = torch.where(wrong, torch.randint(classes, (count,), generator=generator), targets)
    return split(images, targets, classes, seed)
