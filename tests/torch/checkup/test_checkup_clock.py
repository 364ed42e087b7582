"""The time limit of a check-up: what a busy machine changes, what is kept for remedies, and how what did not fit is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from checkup_tasks import mlp, pairs  # noqa: E402
from test_checkup_combining import suspicion  # noqa: E402
from torch import nn  # noqa: E402

from lettrine import health  # noqa: E402
from lettrine.errors import HealthError  # noqa: E402
from lettrine.health.findings import Report  # noqa: E402
from lettrine.torch.checkup import clock as clocks  # noqa: E402
from lettrine.torch.checkup.making import make_task  # noqa: E402

cross_entropy = nn.functional.cross_entropy


def test_time_spent_waiting_for_a_processor_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "schedstat"
    monkeypatch.setattr(clocks, "SCHEDULED", told)
    monkeypatch.setattr(clocks, "monotonic", lambda: 100.0)
    assert clocks.clock() == 100.0  # no such file: the system does not tell
    told.write_text("7000000000 2500000000 31\n")  # nanoseconds run, nanoseconds waited, time slices
    assert clocks.clock() == 97.5
    told.write_text("0\n")
    assert clocks.clock() == 100.0


def test_a_busy_machine_has_three_times_the_minutes_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    time = {"wall": 0.0, "waited": 0.0}
    monkeypatch.setattr("lettrine.torch.checkup.task.monotonic", lambda: time["wall"])
    monkeypatch.setattr("lettrine.torch.checkup.task.clock", lambda: time["wall"] - time["waited"])
    task = make_task(mlp(), pairs(), cross_entropy, None, minutes=1)
    assert task.left() == 60
    time.update(wall=100.0, waited=90.0)
    assert task.left() == 50  # ten seconds went by for this thread
    time.update(wall=179.0, waited=170.0)
    assert task.left() == 1  # 3 minutes less 179 seconds
    with pytest.raises(HealthError, match="minutes got 0"):
        health.watch(mlp(), minutes=0)


def slowly(seconds: float, only: list[str] | None, minutes: float, monkeypatch: pytest.MonkeyPatch) -> Report:
    """A report on an update that was too small, with a loss that takes so many seconds."""

    class Clock:
        now = 0.0

    def slow(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        Clock.now += seconds
        return cross_entropy(output, target)

    torch.manual_seed(0)
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    given: dict[str, Any] = {"only": ["data"], "progress": False, "minutes": 9}
    plain = health.checkup(model, pairs(12), cross_entropy, optimizer, **given)
    watched = replace(plain, findings=(suspicion("update-too-small", "critical"),))
    monkeypatch.setattr("lettrine.torch.checkup.task.clock", lambda: Clock.now)
    return health.checkup(model, pairs(12), slow, optimizer, only=only, progress=False, minutes=minutes, watched=watched)


def test_experiments_leave_time_for_the_remedies_of_a_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    report = slowly(0.01, None, 0.2, monkeypatch)
    assert "not run" in {each.status for each in report.outcomes}  # not everything fitted
    (found,) = [each for each in report.findings if each.id == "update-too-small"]
    assert "a rate 10 times higher, tried for" in found.remedy


def test_remedies_without_time_are_said_to_be_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = slowly(1.0, ["data"], 1.0, monkeypatch).findings
    assert found.remedy == "remedy Trials of it were not run: the time was up; give minutes=…."
    assert found.severity == "critical"
