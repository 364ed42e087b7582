"""Do the targets belong to the inputs? The network learns from the true pairs and from the same targets dealt out at random.

On batches it has not seen, true pairs must do better than dealt ones. If they do not, although the network learns its own batches
by heart, and if an example's nearest neighbour has its class no more often than any other, nothing ties targets to inputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite, nan, sqrt
from typing import Final

import torch
from torch import Tensor

from lettrine.health.checks import Skip
from lettrine.health.limits import CHECKUP_FELL, CHECKUP_SHUFFLED_ROWS, TRIAL_ERRORS
from lettrine.torch.checkup.experiment import Result, experiment, finding
from lettrine.torch.checkup.task import Task
from lettrine.torch.checkup.trials import SEEDS, compare
from lettrine.torch.checkup.values import floats

STEPS: Final = 60
LEARNED: Final = 0.7  # of the first loss: below it something was learned from the batches that were trained on


@experiment("targets", "Targets matter", passes=2 * len(SEEDS) * STEPS, trains=True)
def targets(task: Task) -> Result:
    """Train with true pairs and with dealt ones, and compare on batches that were held out.

    Measured: The loss on held-out batches after training on true pairs, and after training on the same targets dealt out at
        random.
    Formula: gain = loss with dealt targets - loss with true ones, in standard errors over three seeds.
    """
    if task.whole or not all(isinstance(batch[-1], Tensor) and batch[-1].ndim for batch in task.batches):
        raise Skip("not applicable", "targets are not apart from the batch")
    target = torch.cat([batch[-1].flatten() for batch in task.batches])
    if bool((target == target[0]).all()):
        raise Skip("not applicable", "all targets are alike")
    rows = sum(len(batch[-1]) for batch in task.batches)
    if rows < CHECKUP_SHUFFLED_ROWS:
        raise Skip("not applicable", f"{rows} examples were drawn; {CHECKUP_SHUFFLED_ROWS} are needed to tell a tie from chance")
    trial = compare(task, _dealt, STEPS)
    neighbours = _neighbours(task)
    figures = {
        "true": trial.without,
        "dealt": trial.with_remedy,
        "error": trial.error,
        "examples": rows,
        "neighbours": neighbours,
    }
    where = "held-out batches" if trial.held_out else "the batches trained on"
    said = f"After {STEPS} steps on true pairs the loss on {where} is {trial.without:.3g}, on dealt ones {trial.with_remedy:.3g}."
    reference = task.known.get("reference_of_several", nan)
    constant = min(trial.start, reference) if isfinite(reference) else trial.start
    noise = max(TRIAL_ERRORS * trial.error, (1 - CHECKUP_FELL) * abs(trial.without))
    better = trial.gain < -noise or trial.without < CHECKUP_FELL * constant
    memorises = _memorises(task)
    if better or not memorises or not isfinite(neighbours) or neighbours > TRIAL_ERRORS:
        return Result(said, figures=figures)
    found = finding(
        "shuffled-targets",
        "warning",
        (),
        f"Nothing ties the targets to the inputs: {said} An example's nearest neighbour shares its class no more often than any "
        f"other.",
        "What the network learns is learned by heart, and worth nothing on other data.",
        "Look where inputs and targets are sorted, shuffled or joined: one of them has been put in another order.",
        value=trial.without,
        limit=trial.with_remedy,
        source="Zhang et al. 2017, Understanding deep learning requires rethinking generalization",
    )
    return Result(said, (found,), figures)


@contextmanager
def _dealt(task: Task) -> Iterator[None]:
    """The targets of the training batches dealt out at random; those held out stay true."""
    kept = list(task.batches)
    first = max(1, len(kept) // 4) if len(kept) >= 4 else 0
    generator = torch.Generator().manual_seed(1)
    for number in range(first, len(kept)):
        order = torch.randperm(len(kept[number][-1]), generator=generator).to(kept[number][-1].device)
        task.batches[number] = (*kept[number][:-1], kept[number][-1][order])
    try:
        yield
    finally:
        task.batches[:] = kept


def _memorises(task: Task) -> bool:
    """Whether one batch was learned by heart, as the experiment before found."""
    tries = task.known.get("fit", {})
    return any(losses and min(losses) < LEARNED * losses[0] for losses in tries.values())


def _neighbours(task: Task) -> float:
    """Standard errors by which an example's nearest neighbour shares its class more often than chance; NaN for other targets."""
    pairs = [(floats(batch[0]), batch[-1]) for batch in task.batches]
    if any(not given or target.ndim != 1 or target.is_floating_point() for given, target in pairs):
        return nan
    if len({given[0][1][0].numel() for given, _ in pairs}) > 1:
        return nan
    x = torch.cat([given[0][1].flatten(1) for given, _ in pairs]).float()[:2000]
    y = torch.cat([target for _, target in pairs])[:2000]
    apart = torch.cdist(x, x)
    apart.fill_diagonal_(float("inf"))
    agree = float((y[apart.argmin(1)] == y).float().mean())
    shares = torch.bincount(y).float() / len(y)
    chance = float(shares.square().sum())
    return (agree - chance) / sqrt(chance * (1 - chance) / len(y) + 1e-12)
