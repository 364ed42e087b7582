"""Who watches the recorder: told of every sample and every new finding; and a report's figures for trackers and tables."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import groupby
from math import isfinite, nan

import numpy as np
import pytest

from lettrine.errors import HealthError
from lettrine.health import measure
from lettrine.health.archive import trace_from_arrays, trace_to_arrays
from lettrine.health.checks import examine
from lettrine.health.curves import BUCKETS
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding, Report
from lettrine.health.joining import joined
from lettrine.health.recorder import Recorder
from lettrine.health.rows import RECORDS
from lettrine.health.schedule import Schedule
from lettrine.health.trace import Curve, ModuleInfo, ParameterInfo, Trace


def recorded(observe=lambda _: None, steps: int = 3) -> Recorder:
    recorder = Recorder(Schedule(every=1))
    recorder.add(ModuleInfo("act", "Tanh", "activation", "tanh", 2), ParameterInfo("fc.weight", "fc", (2, 3)))
    observe(recorder.observers)
    for step in range(steps):
        seen = measure.output(np.array([[0.5, -0.5], [1.0, 0.0]], np.float32), -1, "tanh")
        row = np.full(13, nan)
        row[7] = 10.0 ** -(step + 1)  # update_data
        recorder.record(step, outputs={"act": seen}, parameters={"fc.weight": row}, loss=2.0 - step, learning_rate=0.1)
        recorder.record_loss(step, 2.0 - step)
    return recorder


def test_each_sample_is_told_with_its_figures() -> None:
    told = []
    recorded(lambda observers: observers.on_sample.append(lambda step, figures: told.append((step, figures))))
    assert [step for step, _ in told] == [0, 1, 2]
    figures = told[1][1]
    assert figures["health/act/output_mean"] == pytest.approx(0.25)
    assert figures["health/act/saturated"] == pytest.approx(0.25)  # the 1.0 of four values
    assert figures["health/fc.weight/update_data"] == pytest.approx(0.01)
    assert (figures["health/loss"], figures["health/learning_rate"]) == (1.0, 0.1)
    assert all(isfinite(value) for value in figures.values())


def test_scalars_of_a_report_are_those_of_its_samples() -> None:
    told = {}
    recorder = recorded(lambda observers: observers.on_sample.append(told.__setitem__))
    report = examine(recorder.trace())
    *scalars, last = report.scalars()
    assert {step: {key: value for _, key, value in rows} for step, rows in groupby(scalars, lambda each: each[0])} == told
    assert last == (2, "health/findings", float(len(report.findings)))


def test_the_losses_of_steps_that_were_not_sampled_are_scalars_too() -> None:
    recorder = recorded()
    recorder.record_losses([(3, 0.5), (4, 0.25)])
    recorder.record_dev(5, 0.75)
    report = examine(recorder.trace())
    assert [(step, value) for step, key, value in report.scalars() if key == "health/loss"][-2:] == [(3, 0.5), (4, 0.25)]
    frame = report.to_frame()
    assert frame["step"].tolist() == [0, 1, 2, 3, 4, 5]
    assert {len(column) for column in frame.values()} == {6}
    np.testing.assert_array_equal(frame["health/dev_loss"], [nan] * 5 + [0.75])
    np.testing.assert_allclose(frame["health/fc.weight/update_data"], [0.1, 0.01, 0.001, nan, nan, nan])


def test_figures_are_in_the_json_only_when_asked_for() -> None:
    report = examine(recorded().trace())
    assert "figures" not in report.to_dict()
    figures = json.loads(report.to_json(figures=True))["figures"]
    assert {"step": 1, "key": "health/loss", "value": 1.0} in figures
    assert len(figures) == len(list(report.scalars()))


def test_a_finding_is_told_once_and_again_when_it_gets_worse(monkeypatch) -> None:
    told, severity = [], "info"

    def judged(trace):
        finding = Finding("dummy", severity, (), (0, 2), 1.0, 0.5, "Something.", "It matters.", "Do something.", "this test")
        return Report((finding,), (), trace)

    monkeypatch.setattr("lettrine.health.checks.examine", judged)
    recorder = recorded(lambda observers: observers.on_finding.append(lambda finding: told.append(finding.severity)))
    for severity in ("info", "info", "critical", "warning", "critical"):  # noqa: B007  `judged` reads it
        recorder.observers.look(recorder.trace, now=True)
    assert told == ["info", "critical"]
    assert recorder.observers.look(recorder.trace) == ()  # too early to look again


def test_a_report_is_drawn_once(monkeypatch) -> None:
    report, drawn = examine(recorded().trace()), []
    monkeypatch.setattr("lettrine.report.report_text", lambda each: drawn.append(each) or "text")
    assert [str(report), str(report)] == ["text", "text"]
    assert drawn == [report]


def test_a_trace_holds_those_of_several_processes() -> None:
    own, other = recorded().trace(), recorded(steps=2).trace()
    whole = replace(own, ranks=(own, other))
    arrays, values = trace_to_arrays(whole)
    back = trace_from_arrays(arrays, json.loads(json.dumps(values)))
    assert [len(rank.steps) for rank in back.ranks] == [3, 2]
    np.testing.assert_array_equal(back.ranks[1].outputs["act"], other.outputs["act"])
    assert back.ranks[0].ranks == ()
    for wrong in ([7], [{}], [{**values["ranks"][0], "ranks": []}]):
        with pytest.raises(HealthError):
            trace_from_arrays(arrays, {**values, "ranks": wrong})


def test_a_resumed_trace_keeps_the_evidence_and_ranks_of_both_parts() -> None:
    first = replace(recorded().trace(), evidence=(Evidence("softmax", ("a",)), Evidence("targets", (), (0, 0))))
    second = replace(recorded().trace(), steps=np.array([3, 4, 5]), evidence=(Evidence("targets", (), (4, 4)),))
    both = joined(replace(first, ranks=(first, first)), replace(second, ranks=(second, second)))
    assert [(each.kind, each.steps) for each in both.evidence] == [("softmax", (0, 0)), ("targets", (4, 4))]
    assert [rank.steps.tolist() for rank in both.ranks] == [[0, 1, 2, 3, 4, 5]] * 2


def of_loss(first: int, values: dict[str, float], steps: int = 3) -> Trace:
    told = {"looks": 3.0, "reference": float("nan"), **values}
    evidence = (Evidence("loss", (), (first, first + 2), told, {"kind": "cross-entropy"}),)
    own = replace(recorded(steps=steps).trace(), evidence=evidence)
    return replace(own, steps=own.steps + first)


def test_a_resumed_trace_knows_the_losses_of_both_parts_and_its_first_step() -> None:
    first = of_loss(0, {"value 0": 2.3, "value 1": 2.2, "reference": 2.3})
    second = of_loss(3, {"value 3": 1.9, "looks": 1.0})
    second = replace(second, evidence=(*second.evidence, Evidence("resumed")))
    both = joined(first, second)
    (loss,) = both.seen("loss")
    assert loss.figures == {"looks": 1.0, "reference": 2.3, "value 3": 1.9, "value 0": 2.3, "value 1": 2.2}
    assert not both.seen("resumed")  # the first step is known
    late = replace(first, steps=first.steps + 1)
    assert joined(late, second).seen("resumed")
    assert joined(replace(first, evidence=(Evidence("resumed"),)), second).seen("resumed")
    other = replace(second.evidence[0], words={"kind": "squared error"})
    assert joined(first, replace(second, evidence=(other,))).seen("loss") == (other,)  # another loss: nothing is carried over


def test_a_run_resumed_many_times_stays_small() -> None:
    whole = of_loss(0, {"value 0": 9.0})
    points = np.arange(1_500.0)
    for turn in range(1, 8):
        at = 1_500 * turn
        high = points.copy()
        high[700] = 1e6 if turn == 2 else high[700]
        part = of_loss(at, {f"value {at + each}": 1.0 for each in range(20)}, steps=400)
        part = replace(part, loss=Curve(points + at, points, high, points + at))
        whole = joined(whole, part)
        assert len(whole.steps) <= RECORDS + 400
        assert len(whole.loss.step) <= BUCKETS + 1_500
    assert (whole.steps[0], whole.steps[-1]) == (0, 10_500 + 399)
    assert np.all(np.diff(whole.steps) > 0)
    assert whole.loss.peak[whole.loss.high.argmax()] == 3_700  # the spike is where it was
    values = [name for name in whole.seen("loss")[0].figures if name.startswith("value ")]
    assert len(values) == 64
    assert f"value {10_500 + 19}" in values
