"""The health checks that are compared: each trains a patient and answers with findings in lettrine's ids."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from benchmarks.clinic.patients import Patient
from benchmarks.clinic.plants import Case
from torch import Tensor

from lettrine import health


@dataclass(frozen=True)
class Answer:
    """One finding: id, severity, names, and in words."""

    id: str
    severity: str
    where: tuple[str, ...]
    message: str


Doctor = Callable[[Patient, int], list[Answer]]


def lettrine(patient: Patient, every: int = 0) -> list[Answer]:
    """The default watch, or one of every n-th step."""
    classes = patient.task.classes
    with health.watch(patient.model, patient.optimizer, classes=classes, every=every or None) as watch:
        patient.train(watch.loss, watch.dev_loss)
    report = watch.report()
    failed = [outcome for outcome in report.outcomes if outcome.status == "failed"]
    if failed or report.trace.facts.errors:
        raise RuntimeError(f"the health check broke: {failed} {report.trace.facts.errors}")
    return [Answer(each.id, each.severity, each.where, each.message) for each in report.findings]


def torchmortem(patient: Patient, _: int = 0) -> list[Answer]:
    """torchmortem's default, its findings under the nearest of lettrine's ids."""
    from torchmortem import Autopsy  # noqa: PLC0415  an optional peer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Autopsy(patient.model, optimizer=patient.optimizer) as autopsy:

            def on_loss(loss: Tensor) -> None:
                autopsy.step(loss=loss.item())

            try:
                patient.train(on_loss)
            except RuntimeError as error:  # its backward hooks forbid in-place operations such as ReLU(inplace=True)
                return [Answer("other: stopped the training", "critical", (), str(error))]
        report = autopsy.get_report()
    answers = []
    for finding in report.findings:
        severity = finding.severity.name.lower()
        answers.append(Answer(_nearest(finding.title), severity, tuple(finding.affected_layers or ()), finding.title))
    order = ("critical", "warning", "info")
    return sorted(answers, key=lambda each: order.index(each.severity))


_TITLES = {
    "Vanishing gradients": "gradient-scale",
    "Exploding gradients": "gradient-scale",
    "Gradient stalling": "no-gradient",
    "Dead units": "dead-units",
    "Activation saturation": "saturation",
    "Update ratio too low": "update-too-small",
    "Update ratio too high": "update-too-large",
    "Training divergence": "divergence",
    "Loss plateau": "no-learning",
    "Catapult phase": "spike",
    "Edge of stability": "oscillation",
}


def _nearest(title: str) -> str:
    return next(
        (name for start, name in _TITLES.items() if title.startswith(start)), f"other: {title.split(' in ', maxsplit=1)[0]}"
    )


DOCTORS: dict[str, Doctor] = {"lettrine": lettrine}
if importlib.util.find_spec("torchmortem") is not None:
    DOCTORS["torchmortem"] = torchmortem


def examined(case: Case, seed: int, doctor: str) -> list[Answer]:
    """Make a patient from a seed, without touching the global generator, and let the doctor see it train."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return DOCTORS[doctor](case.make(seed), case.every)
