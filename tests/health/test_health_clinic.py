"""The quick part of the clinic: healthy networks get no warning at any time, and each planted fault its name."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.clinic.doctors import Answer, examined  # noqa: E402
from benchmarks.clinic.newcases import CASES  # noqa: E402
from benchmarks.clinic.score import Result, confusion, rendered, summary  # noqa: E402

from lettrine import health  # noqa: E402
from lettrine.health.checks import CHECKS  # noqa: E402
from lettrine.health.limits import JUDGED_STEPS  # noqa: E402

QUICK = [case for case in CASES if case.quick]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("case", [case for case in QUICK if case.fault], ids=lambda case: case.name)
def test_a_planted_fault_is_named(case):
    result = Result(case, 5, tuple(examined(case, 5, "lettrine")))
    assert result.named, result.answers
    assert not result.wrong, result.wrong


@pytest.mark.parametrize("case", [case for case in QUICK if not case.fault], ids=lambda case: case.name)
def test_a_healthy_network_gets_no_warning_at_any_time(case):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        patient = case.make(5)
        moments, seen = {1, 2, 3, 5, 10, 30, 60, 100, 130, 200, 400}, []
        with health.watch(patient.model, patient.optimizer) as watch:

            def on_loss(loss):
                watch.loss(loss)
                if watch.steps in moments:
                    report = watch.report()
                    seen.append(watch.steps)
                    assert report.worst in ("", "info"), (watch.steps, report.findings, report.outcomes)
                    assert not [each for each in report.outcomes if each.status == "failed"], report.outcomes
                    assert report.healthy or watch.steps < JUDGED_STEPS, report.unjudged

            patient.train(on_loss)
    assert len(seen) == len(moments)


def test_every_fault_is_planted_in_two_networks_and_held_out_in_most():
    faults = {case.fault for case in CASES} - {""}
    assert faults <= set(CHECKS)  # the others are planted in programs of others, see benchmarks/wild
    for fault in faults:
        assert len({case.name for case in CASES if case.fault == fault}) >= 2, fault
    assert len({case.name for case in CASES}) == len(CASES)
    assert sum(case.part != "tuned" for case in CASES) >= 20


def test_scores_on_paper():
    sick, well = next(case for case in CASES if case.fault == "leak"), next(case for case in CASES if not case.fault)
    right, other = Answer("leak", "warning", (), ""), Answer("spike", "critical", (), "")
    results = [Result(sick, 0, (right,)), Result(sick, 1, (other, right)), Result(well, 0, ()), Result(well, 1, (other,))]
    assert summary(results) == {"recall": 1.0, "first": 0.5, "precision": 0.5, "silent": 0.5}
    assert confusion(results) == {"leak": {"leak": 1, "spike": 1}, "healthy": {"nothing": 1, "spike": 1}}
    assert "wrong: " + well.name in rendered(results)
    assert "recall —  first —  precision 0 %  silent 50 %" in rendered(results[2:])  # healthy ones alone
    assert "recall 0 %  first 0 %  precision —  silent —" in rendered([Result(sick, 0, ())])
