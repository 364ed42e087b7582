"""Remedies on trial on the clinic: `python -m benchmarks.clinic --followed`.

A sick patient is trained under the watch. For each finding it is made and trained again from the same seed, with what the remedy
says done to its model and optimizer, by the figures in the remedy's own text (`benchmarks.wild.ways`). A remedy that changes the
data or the loss is followed by hand: that is the patient without the fault. Both are judged by the healthy patient's loss on
held-out examples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from math import inf, isfinite
from typing import Final

import torch
from benchmarks.clinic.data import Batch, Task
from benchmarks.clinic.doctors import Answer
from benchmarks.clinic.patients import Patient
from benchmarks.clinic.plants import Case, Make
from benchmarks.clinic.score import Result
from benchmarks.wild.found import Found
from benchmarks.wild.ways import NotHereError, way_to

from lettrine import health

HARM: Final = 0.02  # of the loss before, by which a remedy may be worse: chance
BATCHES: Final = 8  # held-out batches that judge a patient


@dataclass(frozen=True)
class Followed:
    """What became of a patient. how: "by program" or "by hand"; before, after: held-out loss of the healthy patient's kind."""

    case: str
    finding: str
    how: str
    before: float
    after: float

    @property
    def outcome(self) -> str:
        """Helps, changes nothing or harms. What is not finite is worse than anything."""
        before, after = (each if isfinite(each) else inf for each in (self.before, self.after))
        if after > before + HARM * before:
            return "HARMS"
        return "helps" if after < before - HARM * min(before, 1e30) else "no change"


def followed(case: Case, seed: int) -> list[Followed]:
    """Watch a sick patient, then train it again with each remedy that it is given."""
    if case.cure is None:
        raise ValueError(f"{case.name} got no cure; only sick cases have one")
    cure, results = case.cure, []
    sick = Trial(case.make, cure, seed)
    before = sick.run(watched=True)
    for each in sick.found:
        follow = way_to(each)
        with suppress(NotHereError):
            if follow is not None:
                after = Trial(case.make, cure, seed).run(
                    lambda patient, each=each, do=follow: do(each, patient.model, [patient.optimizer])
                )
                results.append(Followed(case.name, each.id, "by program", before, after))
                continue
        if Result(case, seed, (Answer(each.id, each.severity, each.where, each.message),)).named:
            results.append(Followed(case.name, each.id, "by hand", before, Trial(cure, cure, seed).run()))
    return results


class Trial:
    """One training of a patient, judged by the healthy one. found: what was found, without remarks, if it was watched."""

    def __init__(self, make: Make, cure: Make, seed: int) -> None:
        self._make, self._cure, self._seed = make, cure, seed
        self.found: list[Found] = []

    def run(self, change: Callable[[Patient], None] | None = None, *, watched: bool = False) -> float:
        """The held-out loss after it. change: done to the patient before."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed)
            patient = self._make(self._seed)
            if change is not None:
                change(patient)
            if watched:
                self._watch(patient)
            else:
                patient.train(lambda _: None)
            with _held_out():
                judge = self._cure(self._seed)
            patient.model.eval()
            with torch.no_grad():
                losses = [judge.criterion(patient.model(x), y).item() for x, y in map(judge.batch, range(BATCHES))]
        return sum(losses) / BATCHES

    def _watch(self, patient: Patient) -> None:
        with health.watch(patient.model, patient.optimizer, classes=patient.task.classes) as watch:
            patient.train(watch.loss, watch.dev_loss)
        loud = [each for each in watch.report().findings if each.severity != "info"]
        self.found = [Found(each.id, each.severity, each.where, each.message, each.remedy) for each in loud]


@contextmanager
def _held_out() -> Iterator[None]:
    """Patients made here draw held-out examples."""
    own = Task.sampler

    def sampler(task: Task, size: int) -> Callable[[int], Batch]:
        return own(replace(task, inputs=task.dev[0], targets=task.dev[1]), size)

    Task.sampler = sampler  # type: ignore[method-assign]
    try:
        yield
    finally:
        Task.sampler = own  # type: ignore[method-assign]
