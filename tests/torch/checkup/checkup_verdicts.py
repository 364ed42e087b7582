"""What the check-up says of a tiny task."""

from __future__ import annotations

from typing import Any

from checkup_tasks import adam
from torch import nn

from lettrine import health
from lettrine.health.findings import Report

cross_entropy = nn.functional.cross_entropy


def tried(only: str, model: nn.Module, batches: Any, loss_fn: Any = cross_entropy, optimizer: Any = "adam") -> Report:
    optimizer = adam(model) if optimizer == "adam" else optimizer
    wanted = ["first-loss", "one-batch", only] if only in ("targets", "start") else [only]
    report = health.checkup(model, batches, loss_fn, optimizer, only=wanted, progress=False)
    assert report.outcomes[-1].status != "failed", report.outcomes
    return report


def the(report: Report, kind: str) -> health.Finding:
    found = [each for each in report.findings if each.id == kind]
    assert len(found) == 1, (report.findings, report.trace.evidence)
    return found[0]


def clean(report: Report) -> bool:
    return report.outcomes[-1].status == "passed" and not report.findings


def figure(report: Report, experiment: str, name: str) -> float:
    return report.trace.seen(f"experiment:{experiment}")[0].figure(name)
