"""The progress of a training, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lettrine.health.findings import Finding
from lettrine.health.trace import Trace
from lettrine.inference.language_model import LanguageModel
from lettrine.training.checkpoint import Checkpoint


@dataclass(frozen=True)
class Progress:
    """The state of a running training.

    loss: smoothed training loss; dev: last development loss. findings: what the health check found since the last one.
    trace: makes the trace so far, None if the training is not watched. simple: held-out losses of simple models, counted when
    first asked for. model: copies the network as it is now, to score and draw words with; None if a bare `Trainer` tells.
    """

    step: int
    steps: int
    loss: float
    dev: float
    steps_per_second: float
    findings: tuple[Finding, ...] = ()
    trace: Callable[[], Trace] | None = None
    simple: Callable[[], Mapping[str, float]] = dict
    model: Callable[[], LanguageModel] | None = None


@dataclass(frozen=True)
class Ending:
    """How a training ended.

    status: "finished", "interrupted" or "diverged". signal: number of the signal that interrupted it, else 0.
    """

    status: str
    checkpoint: Checkpoint
    signal: int = 0
