"""The size that fits the list: network and training chosen by how many examples there are.

A list of a few hundred words is learned by heart by any network: it gets much dropout, few weights that come into play, and
several networks that are averaged. A list of a million words gives each step something new: it gets width and few passes.
The figures were measured over lists from 30 to 350,000 words, by the loss on dev words of network and counts together
(docs/sizes.md shows the curves; `python -m benchmarks words` measures them again). Whatever is given by hand stays as given.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

EFFORTS: Final = ("quick", "default", "best")

FEW, MANY, MORE: Final = 20_000, 200_000, 600_000  # examples between which dropout falls to 0; from where width pays at once
MOST_PASSES, LEAST_PASSES, PASSES_POWER: Final = 40.0, 4.0, -0.6  # over the examples: 40 at FEW, falling by that power
DROPOUT: Final = 0.5
SMALL: Final = 4_000  # examples of a list so small that batches and learning rate are too
RATES: Final = {"shallow": 0.01, "deep": 0.006, "small": 0.005}  # peak learning rates of AdamW
LADDER: Final = (
    ((100,), 1),
    ((200,), 1),
    ((400,), 1),
    ((300, 200), 1),
    ((400, 200), 2),
    ((400, 200), 4),
    ((500, 300), 6),
)
"""Widths and number of networks of lists with many examples, each rung better and slower than the one before."""
LADDER_OF_FEW: Final = (((100,), 1), ((200,), 2), ((200,), 4), ((200,), 8), ((200,), 16))
"""Of lists with few: more networks, not wider ones, make up for what each learns by heart."""


@dataclass(frozen=True)
class Size:
    """What is chosen: the network's widths, how it is trained, how many networks are averaged. passes: over the examples."""

    embedding: int
    hidden: tuple[int, ...]
    dropout: float
    batch: int
    learning_rate: float
    passes: float
    networks: int

    def steps(self, examples: int) -> int:
        """Optimiser steps."""
        return max(1, round(self.passes * examples / self.batch))


def size_of(examples: int, effort: str = "default") -> Size:
    """The size for so many training examples (characters and ends of words)."""
    rungs = ladder(examples)
    if effort == "quick":
        return rungs[0]
    return rungs[-2] if effort == "best" else rungs[2 if examples >= MORE or examples < SMALL else 1]


def ladder(examples: int) -> list[Size]:
    """Sizes for so many examples, each better and slower than the one before."""
    few = examples < FEW
    passes = float(np.clip(MOST_PASSES * (examples / FEW) ** PASSES_POWER, LEAST_PASSES, MOST_PASSES))
    share = float(np.clip(np.log(MANY / max(examples, 1)) / np.log(MANY / FEW), 0.0, 1.0))
    rungs = []
    for place, (hidden, networks) in enumerate(LADDER_OF_FEW if few else LADDER):
        dropout = round(DROPOUT * share, 2) if few or share else 0.0
        if not few and sum(hidden) > 200:
            dropout = max(dropout, 0.1)
        rungs.append(
            Size(
                embedding=12 if examples < SMALL else 24,
                hidden=hidden,
                dropout=dropout,
                batch=64 if examples < SMALL else 256,
                learning_rate=RATES["small" if examples < SMALL else "deep" if len(hidden) > 1 else "shallow"],
                passes=passes / 2 if place == 0 else passes,
                networks=networks,
            )
        )
    return rungs


def size_within(seconds: float, examples: int, step_seconds: Callable[[Size], float]) -> Size:
    """The highest rung that this machine trains in so many seconds; where time is left, more passes.

    step_seconds: of one optimiser step of a size, measured. The lowest rung gets fewer passes where even it takes too long.
    """
    cores = processors()
    chosen, left = None, seconds
    for size in ladder(examples):
        rounds = 1 + -(-(size.networks - 1) // cores)  # the first network is trained alone, then the others side by side
        needed = rounds * size.steps(examples) * step_seconds(size)
        if chosen is not None and needed > seconds:
            break
        chosen, left = size, seconds / needed
    assert chosen is not None
    return replace(chosen, passes=chosen.passes * min(left, LONGEST))


LONGEST: Final = 1.5  # times the measured number of passes: more only learns by heart


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
