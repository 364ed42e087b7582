"""Symptoms of a watch that a remedy takes away: if the loss is no lower without them, they were not what held it up."""

from __future__ import annotations

from typing import Final

from lettrine.torch.checkup.sandbox import seeded
from lettrine.torch.checkup.task import SEED, Task
from lettrine.torch.checkup.trials import Remedy
from lettrine.torch.watching.watch import Watch

SYMPTOMS: Final = ("dead-units", "saturation", "activation-scale", "gradient-scale")


def shows(task: Task, kind: str, remedy: Remedy | None, steps: int) -> bool:
    """Whether a watch of some training steps finds this symptom, with the remedy or without one."""
    with task.boxed():
        if remedy is None:
            return _watched(task, kind, steps)
        with remedy(task):
            return _watched(task, kind, steps)


def _watched(task: Task, kind: str, steps: int) -> bool:
    optimizer = task.fallback_optimizer()
    task.model.train()
    with Watch(task.model, optimizer, every=1) as watch:
        for number in range(steps):
            seeded(SEED + number)
            watch.loss(task.step(number, optimizer))
    return any(each.check == kind and each.status == "found" for each in watch.report().outcomes)
