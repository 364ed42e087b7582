"""Batch norm of a trained run with three kinds of statistics: of the batch, running ones, and of the whole training set.

While it trains, batch norm uses each batch's own mean and variance; afterwards it needs fixed ones. The running means of training
are the usual choice; one pass over the training set gives the exact ones (makemore part 3). If the three agree, all is well;
if not, the momentum did not fit the batch size or the number of steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any, Final

from lettrine.errors import ConfigError
from lettrine.health.limits import NORM_NOISE
from lettrine.inference.evaluation import mean_loss, precise_norms
from lettrine.text.windows import windows
from lettrine.training.folder import load_run, load_splits

FORGOTTEN: Final = 3.0  # times 1 / momentum steps leave exp(-3) = 5 % of the start in the running statistics
AGREE: Final = 0.005  # nats: the published three ways differ by 0.002


@dataclass(frozen=True)
class NormComparison:
    """Losses in nats by statistics ("batch", "running", "precise") and split ("train", "dev"), and advice."""

    losses: dict[str, dict[str, float]]
    momentum: float
    batch: int
    steps: int
    advice: str

    @property
    def largest_gap(self) -> float:
        """The largest difference between the three, on one split, in nats."""
        values = {part: [row[part] for row in self.losses.values()] for part in ("train", "dev")}
        return max(max(each) - min(each) for each in values.values())

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**vars(self), "largest_gap": self.largest_gap}


def compare_norms(path: str | Path, *, engine: str = "auto") -> NormComparison:
    """The losses of a run folder with the three kinds of statistics.

    batch: of the split that is evaluated, all at once. Raises ConfigError for a run without batch norm, RunDamagedError.
    """
    run = load_run(path, engine=engine)
    model, settings = run.model, run.settings
    config = model.config
    if config.norm != "batch" and not config.output_norm:
        raise ConfigError(f"{path} has no batch norm; train one with: lettrine train --norm batch")
    splits = load_splits(run)
    lists = {"train": splits.train, "dev": splits.dev}
    parts = {name: windows(words, model.vocabulary, config.context) for name, words in lists.items()}
    kept = dict(model.parameters)
    precise = precise_norms(config, kept, parts["train"].contexts)
    own = {"train": precise, "dev": precise_norms(config, kept, parts["dev"].contexts)}
    used = {"batch": own, "running": dict.fromkeys(parts, kept), "precise": dict.fromkeys(parts, precise)}
    losses = {
        way: {name: mean_loss(model.engine, config, parameters[name], part) for name, part in parts.items()}
        for way, parameters in used.items()
    }
    steps = settings.steps if run.results is None else run.results.steps
    advice = momentum_advice(config.norm_momentum, settings.batch, steps)
    return NormComparison(losses, config.norm_momentum, settings.batch, steps, advice)


def momentum_range(batch: int, steps: int) -> tuple[float, float]:
    """The least and the greatest momentum that suit a batch size and a number of steps. Below, the start is not forgotten:
    after S steps a share exp(-momentum * S) of it is left. Above, the running mean follows single batches with a noise of
    sqrt(m / (2 - m) / B) of their standard deviation; the aim is half of the health check's limit.
    """
    noise = batch * (NORM_NOISE / 2) ** 2
    return FORGOTTEN / max(steps, 1), 2 * noise / (1 + noise)


def momentum_advice(momentum: float, batch: int, steps: int) -> str:
    """One sentence that tells whether the momentum fits, and which would."""
    least, most = momentum_range(batch, steps)
    if least > most:
        return (
            f"No momentum suits batches of {batch} and only {steps:,} steps; take the statistics of the whole training set "
            "at the end (--precise-norm)."
        )
    if least <= momentum <= most:
        return f"A momentum of {momentum:g} fits batches of {batch} and {steps:,} steps ({least:.2g} to {most:.2g} do)."
    what = "too small to forget its start" if momentum < least else "so large that single batches show"
    return (
        f"A momentum of {momentum:g} is {what}: with batches of {batch} and {steps:,} steps take about {sqrt(least * most):.1g}."
    )
