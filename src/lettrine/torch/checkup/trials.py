"""Remedies on trial: the same training from the same start with and without one, and the difference with its uncertainty.

Both sides see the same batches in the same order and draw the same random numbers; only the remedy differs. Each seed gives
another order and other draws. What counts is the loss, after training, on batches that were held out; where there are too few
batches for that, on those of the training.
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
MORE_SEEDS: Final = (4, 5, 6, 7, 8, 9)  # where three do not tell
HELD_OUT: Final = 4  # of how many batches one is held out
LEAST_BATCHES: Final = 4  # from so many on
SHARE: Final = 0.6  # of the time that is left, for one comparison
LONGER: Final = 5  # times the steps, where more have to tell

Remedy = Callable[[Task], AbstractContextManager[object]]
"""Changes the task while it is entered; everything is put back around it."""


@dataclass(frozen=True)
class Trial:
    """What came out. without, with_remedy: the loss at the end, mean over seeds. gain: how much the remedy takes off it, error:
    standard error of that. start: the loss before. held_out: whether it was measured on batches that were not trained on.

    log_gain, log_error: the same of the logarithm of the loss, NaN where one is not above 0. Losses far above guessing differ by
    factors between seeds, not by amounts: there the logarithm tells what the mean cannot.
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
        """Whether the gain is beyond its noise."""
        return self.gain > TRIAL_ERRORS * self.error or self.log_gain > TRIAL_ERRORS * self.log_error

    @property
    def helps(self) -> bool:
        """Whether the gain is beyond its noise, and worth having."""
        if not isfinite(self.with_remedy):
            return False
        if not isfinite(self.without):
            return True
        return self.certain and self.worth_having

    @property
    def unsure(self) -> bool:
        """Whether the gain would be worth having, is more than its error, and may still be noise."""
        return self.worth_having and not self.certain and self.gain > self.error

    @property
    def worth_having(self) -> bool:
        """Whether the gain is more than a small share of the loss."""
        return self.gain > TRIAL_SHARE * abs(self.without)

    @property
    def said(self) -> str:
        """In a few words: "tried: 2.31 → 2.05"."""
        where = "held-out loss" if self.held_out else "loss"
        noise = f" (± {self.error:.1g})" if isfinite(self.error) and self.error > 0 else ""
        return f"tried for {self.steps} steps: {where} {_short(self.without)} → {_short(self.with_remedy)}{noise}"


def compare(task: Task, remedy: Remedy, steps: int, seeds: Sequence[int] = SEEDS, *, instead: Remedy | None = None) -> Trial:
    """Train with and without the remedy. instead: what is done on the side without it, nothing by default.

    Where the gain is large and yet within its noise, other seeds decide; where it is beyond its noise and yet small, as at a low
    rate, both train for longer. Both only if there is time.
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
    """Train without any remedy once a seed, and with each."""
    plain = [final_loss(task, instead, steps, seed) for seed in seeds]
    held_out = len(task.batches) >= LEAST_BATCHES
    found = {}
    for name, remedy in remedies.items():
        tried = [final_loss(task, remedy, steps, seed) for seed in seeds]
        ends = [(without, after) for (_, without), (_, after) in zip(plain, tried, strict=True)]
        gain, error = _mean_and_error([without - after for without, after in ends])
        logs = [log(without / after) if 0 < min(without, after) <= max(without, after) < inf else nan for without, after in ends]
        start, without, after = (
            sum(values) / len(plain)
            for values in zip(*((a[0], a[1], b[1]) for a, b in zip(plain, tried, strict=True)), strict=True)
        )
        found[name] = Trial(start, without, after, gain, error, steps, held_out, *_mean_and_error(logs))
    return found


def _mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean of some values and its standard error, NaN where they are not finite."""
    mean = sum(values) / len(values)
    spread = sum((value - mean) ** 2 for value in values) / max(1, len(values) - 1)
    return mean, sqrt(spread / len(values)) if isfinite(spread) else nan


def steps_for(task: Task, trainings: int, share: float = SHARE) -> int:
    """Steps of each of so many trainings in a share of the time that is left; 0 if that is too few to tell."""
    steps = task.steps_in(share / (trainings * len(SEEDS)), TRIAL_STEPS)
    return steps if steps >= TRIAL_STEPS // 2 else 0


def final_loss(task: Task, remedy: Remedy | None, steps: int, seed: int) -> tuple[float, float]:
    """The loss before and after some steps, on held-out batches where there are enough."""
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


def _short(loss: float) -> str:
    return f"{loss:.3g}" if isfinite(loss) else "not finite"
