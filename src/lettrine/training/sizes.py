"""The size that fits the list: network and training are chosen by the number of examples.

Any network memorises a list of a few hundred words: such a list gets much dropout, few weights, and several networks that are
averaged. A list of a million words gives each step something new: it gets width and few passes. The figures were measured over
lists from 30 to 350,000 words, by the loss on dev words of network and counts together (docs/sizes.md shows the curves;
`python -m benchmarks words` measures them again). Values given by hand are kept.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from lettrine.engine.base import Engine, Optimiser, TrainState
from lettrine.model.config import MLPConfig
from lettrine.model.initialisation import SCHEMES, initialise

EFFORTS: Final = ("quick", "default", "best")

FEW: Final = 20_000  # examples: up to here dropout and passes are at their maximum
MANY: Final = 200_000  # from here there is no dropout
MORE: Final = 600_000  # from here more width helps most
MOST_PASSES: Final = 40.0  # passes over the examples, at FEW
LEAST_PASSES: Final = 4.0
PASSES_POWER: Final = -0.75  # power of the number of examples, between the two
DROPOUT: Final = 0.5
SMALL: Final = 4_000  # examples of a list so small that it gets small batches and a small learning rate
TINY: Final = 500  # examples of a list that needs still smaller batches to reach 100 steps
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
"""Widths and number of networks for lists with many examples, each entry better and slower than the one before."""
LADDER_OF_FEW: Final = (((100,), 1), ((200,), 2), ((200,), 4), ((200,), 8), ((200,), 16))
"""For lists with few examples: more networks, not wider ones, because averaging reduces what each has memorised."""


@dataclass(frozen=True)
class Size:
    """The choice: the network's widths, how it is trained, how many networks are averaged. passes: over the examples."""

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
        wide = 0.1 if sum(hidden) > 200 and not few else 0.0
        dropout = max(round(DROPOUT * share, 1), wide)
        rungs.append(
            Size(
                embedding=12 if examples < SMALL else 24,
                hidden=hidden,
                dropout=dropout,
                batch=16 if examples < TINY else 64 if examples < SMALL else 256,
                learning_rate=RATES["small" if examples < SMALL else "deep" if len(hidden) > 1 else "shallow"],
                passes=passes / 2 if place == 0 else passes,
                networks=networks,
            )
        )
    return rungs


def size_within(seconds: float, examples: int, step_seconds: Callable[[Size], float]) -> Size:
    """The best size that this machine can train in so many seconds; if time is left, more passes.

    step_seconds: of one optimiser step of a size, measured. The smallest size gets fewer passes if even it takes too long.
    """
    cores = processors()
    rungs = ladder(examples)
    chosen, left = rungs[0], 0.0
    for size in rungs:
        rounds = 1 + -(-(size.networks - 1) // cores)  # the first network is trained alone, then the others in parallel
        share = seconds / (rounds * size.steps(examples) * step_seconds(size))
        if left and share < 1.0:
            break
        chosen, left = size, share
    return replace(chosen, passes=chosen.passes * min(left, LONGEST))


TRIALS: Final = 3
TRIAL_STEPS: Final = 8
LONGEST: Final = 1.5  # times the measured number of passes: more would only memorise


def seconds_of_a_step(engine: Engine, config: MLPConfig, optimiser: Optimiser, batch: int) -> float:
    """The time of an optimiser step on this machine: the fastest of a few on made-up examples."""
    rng = np.random.default_rng(0)
    contexts = rng.integers(0, config.vocabulary_size, (4 * batch, config.context), dtype=np.int32)
    targets = rng.integers(0, config.vocabulary_size, 4 * batch, dtype=np.int32)
    state = TrainState.fresh(config, initialise(config, SCHEMES["kaiming"], rng), optimiser)
    fastest = np.inf
    for _ in range(TRIALS):
        rows, began = rng.integers(0, 4 * batch, (TRIAL_STEPS, batch)), time.perf_counter()
        engine.train(config, optimiser, state, contexts, targets, rows, np.zeros(TRIAL_STEPS))
        fastest = min(fastest, (time.perf_counter() - began) / TRIAL_STEPS)
    return fastest


def processors() -> int:
    """The number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
