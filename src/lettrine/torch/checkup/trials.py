"""Trials of remedies: trains twice from the same start, with and without the remedy, and estimates the difference and its error.

Both sides see the same batches in the same order and draw the same random numbers; only the remedy differs. Each seed gives
another order and other draws. The result is the loss after training on held-out batches, or on the training batches if there are
too few to hold some out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import inf, isfinite, log, nan, sqrt
from typing import Final

import torch

from lettrine.health.limits import TRIAL_ERRORS, TRIAL_SHARE, TRIAL_STEPS
from lettrine.torch.checkup.sandbox import seeded
from lettrine.torch.checkup.task import Task

SEEDS: Final = (1, 2, 3)
MORE_SEEDS: Final = (4, 5, 6, 7, 8, 9)  # used if three give no clear result
HELD_OUT: Final = 4  # one of this many batches is held out
LEAST_BATCHES: Final = 4  # least number of batches to hold some out
SHARE: Final = 0.6  # share of the remaining time for one comparison
LONGER: Final = 5  # factor on the steps, if the first trial gives no clear result

Remedy = Callable[[Task], AbstractContextManager[object]]
"""A context that changes the task; the caller restores everything afterwards."""


@dataclass(frozen=True)
class Trial:
    """The result of a trial. without, with_remedy: the final loss, mean over seeds. gain: the reduction of the loss by the
    remedy. error: its standard error; if one loss is not finite, that of the loss with the remedy. start: the loss before.
    held_out: whether the loss was measured on held-out batches.

    log_gain, log_error: the same for the logarithm of the loss, NaN if a loss is not above 0. Losses far above guessing differ
    between seeds by factors, not by amounts: then the logarithm shows a gain that the mean hides.
    """

    start: float
    without: float
    with_remedy: float
    gain: float
    error: float
    steps: int
    held_out: bool
    log_gain: float = nan
    log_error: float = nan

    @property
    def certain(self) -> bool:
        """Whether the gain is larger than its noise."""
        return self.gain > TRIAL_ERRORS * self.error or self.log_gain > TRIAL_ERRORS * self.log_error

    @property
    def helps(self) -> bool:
        """Whether the gain is larger than its noise and large enough to matter."""
        if not isfinite(self.with_remedy):
            return False
        if not isfinite(self.without):
            return True
        return self.certain and self.worth_having

    @property
    def unsure(self) -> bool:
        """Whether the gain is large enough to matter and above its error, but may still be noise."""
        return self.worth_having and not self.certain and self.gain > self.error

    @property
    def worth_having(self) -> bool:
        """Whether the gain is more than a small share of the loss."""
        return self.gain > TRIAL_SHARE * abs(self.without)

    @property
    def lost(self) -> float:
        """The part of the learning with the remedy that is missing without it, as a share."""
        return self.gain / (self.start - self.with_remedy) if self.start > self.with_remedy else 1.0

    @property
    def said(self) -> str:
        """In a few words: "tried: 2.31 → 2.05"."""
        where = "held-out loss" if self.held_out else "loss"
        noise = f" (± {self.error:.1g})" if isfinite(self.error) and self.error > 0 else ""
        return f"tried for {self.steps} steps: {where} {short(self.without)} → {short(self.with_remedy)}{noise}"


def compare(task: Task, remedy: Remedy, steps: int, seeds: Sequence[int] = SEEDS, *, instead: Remedy | None = None) -> Trial:
    """Train with and without the remedy. instead: a change for the side without the remedy, none by default.

    If the gain is large but within its noise, more seeds decide. If it is above its noise but small, as at a low rate, both sides
    train for longer. Both happen only if there is time.
    """
    found = contest(task, {"": remedy}, steps, seeds, instead=instead)[""]
    if found.unsure and task.steps_in(SHARE / (2 * len(MORE_SEEDS)), steps) == steps:
        found = contest(task, {"": remedy}, steps, MORE_SEEDS, instead=instead)[""]
    more = task.steps_in(SHARE / (2 * len(seeds)), LONGER * steps)
    if found.helps or not found.certain or more < 2 * steps:
        return found
    return contest(task, {"": remedy}, more, seeds, instead=instead)[""]


def contest(
    task: Task, remedies: Mapping[str, Remedy], steps: int, seeds: Sequence[int] = SEEDS, *, instead: Remedy | None = None
) -> dict[str, Trial]:
    """For each seed, train once without a remedy and once with each remedy."""
    plain = [final_loss(task, instead, steps, seed) for seed in seeds]
    held_out = len(task.batches) >= LEAST_BATCHES
    found = {}
    for name, remedy in remedies.items():
        tried = [final_loss(task, remedy, steps, seed) for seed in seeds]
        ends = [(without, after) for (_, without), (_, after) in zip(plain, tried, strict=True)]
        gain, error = _mean_and_error([without - after for without, after in ends])
        if not isfinite(gain):  # what is known is only how far the seeds differ with the remedy
            error = _mean_and_error([after for _, after in ends])[1]
        logs = [log(without / after) if 0 < min(without, after) <= max(without, after) < inf else nan for without, after in ends]
        start, without, after = (
            sum(values) / len(plain)
            for values in zip(*((a[0], a[1], b[1]) for a, b in zip(plain, tried, strict=True)), strict=True)
        )
        found[name] = Trial(start, without, after, gain, error, steps, held_out, *_mean_and_error(logs))
    return found


def _mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean of some values and its standard error; NaN if a value is not finite."""
    mean = sum(values) / len(values)
    spread = sum((value - mean) ** 2 for value in values) / max(1, len(values) - 1)
    return mean, sqrt(spread / len(values)) if isfinite(spread) else nan


def steps_for(task: Task, trainings: int, share: float = SHARE, most: int = TRIAL_STEPS) -> int:
    """How many steps each of several trainings can take in a share of the remaining time; 0 if that is too few for a result."""
    steps = task.steps_in(share / (trainings * len(SEEDS)), most)
    return steps if steps >= TRIAL_STEPS // 2 else 0


def final_loss(task: Task, remedy: Remedy | None, steps: int, seed: int) -> tuple[float, float]:
    """The loss before and after some steps, on held-out batches if there are enough."""
    count = len(task.batches)
    kept = max(1, count // HELD_OUT) if count >= LEAST_BATCHES else 0
    trained = list(range(kept, count))
    with task.boxed(), (remedy or _nothing)(task):
        order = torch.Generator().manual_seed(seed)
        optimizer = task.fallback_optimizer()
        task.model.train()
        start = mean_loss(task, range(kept) if kept else range(count))
        places: list[int] = []
        for number in range(steps):
            if not places:
                places = [trained[place] for place in torch.randperm(len(trained), generator=order).tolist()]
            seeded(1000 * seed + number)
            if not isfinite(task.step(places.pop(), optimizer)):
                return start, float("inf")
        return start, mean_loss(task, range(kept) if kept else range(count))


def mean_loss(task: Task, numbers: Sequence[int]) -> float:
    """Mean loss over some batches in training mode, without learning from them; infinite if it is not finite."""
    with task.boxed():
        task.model.train()
        losses = [task.same_loss(number) for number in numbers]
    mean = sum(losses) / len(losses)
    return mean if isfinite(mean) else float("inf")


def _nothing(_: Task) -> AbstractContextManager[object]:
    return nullcontext()


def short(loss: float) -> str:
    """A loss as text."""
    return f"{loss:.3g}" if isfinite(loss) else "not finite"
