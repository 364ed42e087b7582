"""Remedies on trial on the programs of others: `python -m benchmarks.wild --followed`.

A program is trained under the watch. For each finding it is trained again from the same seed with what the remedy says done to
its model and optimizer, by the figures in the remedy's own text, and the program's own held-out score is taken. A remedy that
changes the program itself, such as a mask or a shape, is followed by hand: the program's `cured` twin is that change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

import torch
from benchmarks.wild.case import Case, Score
from benchmarks.wild.doctor import Doctor, Nobody
from benchmarks.wild.found import Found
from benchmarks.wild.judge import loud, names
from benchmarks.wild.ways import NotHereError, way_to
from torch import nn
from torch.optim import Optimizer

HARM: Final = 0.02  # of the score: less is chance


class Follower(Doctor):
    """Does what one finding says as soon as it is handed a model and its optimizers."""

    def __init__(self, found: Found) -> None:
        super().__init__("none")
        self._found, self.done = found, False

    @contextmanager
    def watch(self, model: nn.Module, optimizer: Optimizer | Iterable[Optimizer]) -> Iterator[Any]:
        optimizers = [optimizer] if isinstance(optimizer, Optimizer) else list(optimizer)
        follow = way_to(self._found)
        if follow is not None and not self.done:
            with suppress(NotHereError):
                follow(self._found, model, optimizers)
                self.done = True
        yield Nobody()


@dataclass(frozen=True)
class Followed:
    """What became of a program. how: "by program" or "by hand"; before, after: its own score."""

    case: str
    finding: str
    how: str
    before: Score
    after: Score

    @property
    def gain(self) -> float:
        """By how much the score is better, in its own units; what is not finite is worse than anything."""
        if not isfinite(self.after.value):
            return -torch.inf if isfinite(self.before.value) else 0.0
        if not isfinite(self.before.value):
            return torch.inf
        gain = self.after.value - self.before.value
        return gain if self.before.higher else -gain

    @property
    def row(self) -> dict[str, Any]:
        """All of it, as plain values."""
        scores = {"before": self.before.value, "after": self.after.value, "bar": self.before.bar, "higher": self.before.higher}
        return {"case": self.case, "finding": self.finding, "how": self.how, **scores, "gain": self.gain, "harms": self.harms}

    @property
    def harms(self) -> bool:
        """Whether the program does its job worse than before by more than chance."""
        return self.gain < -HARM * max(1.0, abs(self.before.value))


def followed(case: Case, twin: Case | None, seed: int) -> list[Followed]:
    """Watch a program, then train it again with each remedy that it is given."""

    def trained(doctor: Doctor, program: Callable[..., Score]) -> Score:
        torch.manual_seed(seed)
        return program(doctor, seed)

    watched = Doctor("watch")
    before, results = trained(watched, case.program), []
    for found in filter(loud, watched.found):
        follower = Follower(found)
        after = trained(follower, case.program) if way_to(found) is not None else before
        if follower.done:
            results.append(Followed(case.name, found.id, "by program", before, after))
        elif twin is not None and names(found, case):
            results.append(Followed(case.name, found.id, "by hand", before, trained(Doctor(), twin.program)))
    return results
