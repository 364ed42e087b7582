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
from benchmarks.wild.ways import NotHereError, figures, way_to
from torch import nn
from torch.optim import Optimizer

from lettrine import health

HARM: Final = 0.02  # of the loss before, by which a remedy may be worse: chance
BATCHES: Final = 8  # held-out batches that judge a patient


def depth(found: Found, model: nn.Module, _: list[Optimizer]) -> None:
    """Sigmoids replaced, or all hidden weights multiplied. Raises NotHereError if the remedy names no factor."""
    factor = figures(found, "by # each")
    if "Replace the sigmoids" in found.remedy:
        for name in [name for name, each in model.named_modules() if isinstance(each, nn.Sigmoid)]:
            model.set_submodule(name, nn.Tanh())
        return
    if not factor:
        raise NotHereError
    with torch.no_grad():
        for name, each in model.named_modules():
            if isinstance(each, nn.Linear | nn.Conv2d) and name != "head":
                each.weight.mul_(factor[0])


OWN: Final = {"gradient-scale": depth}
"""Ways that only suit the patients, whose last layer is always their head."""


@dataclass(frozen=True)
class Followed:
    """What became of a patient. how: "by program" or "by hand"; before, after: held-out loss of the healthy patient's kind;
    healthy: that of the patient without the fault.
    """

    case: str
    finding: str
    how: str
    before: float
    after: float
    healthy: float

    @property
    def outcome(self) -> str:
        """Whether it "helps", "HARMS" or makes "no change"; "as healthy" where a patient without the fault is worse too, by its
        dropout for example. What is not finite is worse than anything.
        """
        before, after = (each if isfinite(each) else inf for each in (self.before, self.after))
        if after > (1 + HARM) * before:
            return "as healthy" if after <= (1 + HARM) * self.healthy else "HARMS"
        return "helps" if before == inf > after or after < (1 - HARM) * before else "no change"


def followed(case: Case, seed: int) -> list[Followed]:
    """Watch a sick patient, then train it again with each remedy that it is given."""
    if case.cure is None:
        raise ValueError(f"{case.name} got no cure; only sick cases have one")
    cure, results = case.cure, []
    sick = Trial(case.make, cure, seed)
    before, healthy = sick.run(watched=True), Trial(cure, cure, seed).run()
    for each in sick.found:
        follow = way_to(each) or OWN.get(each.id)
        with suppress(NotHereError):
            if follow is not None:
                after = Trial(case.make, cure, seed).run(
                    lambda patient, each=each, do=follow: do(each, patient.model, [patient.optimizer])
                )
                results.append(Followed(case.name, each.id, "by program", before, after, healthy))
                continue
        if Result(case, seed, (Answer(each.id, each.severity, each.where, each.message),)).named:
            results.append(Followed(case.name, each.id, "by hand", before, healthy, healthy))
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
