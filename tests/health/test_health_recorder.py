"""The recorder: bounded however long the run, nothing important lost."""

from __future__ import annotations

import json
from math import inf, isnan, nan

import numpy as np
import pytest

from lettrine.errors import ArgumentError, HealthError
from lettrine.health import measure
from lettrine.health.archive import trace_from_arrays, trace_to_arrays
from lettrine.health.curves import BUCKETS
from lettrine.health.recorder import Recorder
from lettrine.health.rows import RECORDS
from lettrine.health.schedule import Schedule
from lettrine.health.trace import RECENT, ModuleInfo, ParameterInfo


def sampled(schedule, steps):
    step, kept = 0, []
    while step < steps:
        kept.append(step)
        step = schedule.after(step)
    return kept


def test_default_schedule_stays_cheap():
    kept = sampled(Schedule(), 2_000)
    assert kept[:7] == [0, 1, 2, 3, 4, 6, 9]
    assert len(kept) == 20
    assert len(sampled(Schedule(), 1_000_000)) < 1_050


def test_regular_schedule():
    assert sampled(Schedule(every=7), 30) == [0, 7, 14, 21, 28]
    assert sampled(Schedule(every=1), 5) == [0, 1, 2, 3, 4]
    for wrong in (-1, 1.5, True):
        with pytest.raises((HealthError, ArgumentError), match="every got"):
            Schedule(every=wrong)


def make(**kwargs):
    recorder = Recorder(**kwargs)
    recorder.add(ModuleInfo("fc1", "Linear", "linear"), ModuleInfo("act", "Tanh", "activation", "tanh", 3))
    recorder.add(ParameterInfo("fc1.weight", "fc1", (3, 2)))
    return recorder


def test_memory_is_bounded_and_ends_are_exact():
    recorder = make(schedule=Schedule(every=1))
    row = np.zeros(13)
    for step in range(20_000):
        row = row.copy()
        row[0] = step
        recorder.record(step, parameters={"fc1.weight": row}, loss=1.0)
    trace = recorder.trace()
    assert len(trace.steps) <= RECORDS
    assert trace.steps[:16].tolist() == list(range(16))
    assert trace.steps[-200:].tolist() == list(range(19_800, 20_000))
    assert (np.diff(trace.steps) > 0).all()
    np.testing.assert_array_equal(trace.parameter("fc1.weight", "mean"), trace.steps)
    assert np.diff(trace.steps).max() < 20_000 / 100  # the middle is thinned, not lost


def test_a_spike_survives_and_the_mean_is_that_of_all_steps():
    recorder = make()
    for step in range(50_001):
        recorder.record_loss(step, 100.0 if step == 31_234 else 2.0)
    curve = recorder.trace().loss
    assert len(curve.step) <= BUCKETS
    place = int(curve.high.argmax())
    assert (curve.high[place], curve.peak[place]) == (100.0, 31_234)
    assert (np.diff(curve.step) > 0).all()
    width = np.diff(np.append(curve.step, 50_001))
    assert float((curve.mean * width).sum()) == pytest.approx(2.0 * 50_000 + 100.0)
    recent = recorder.trace().recent
    assert len(recent.step) == RECENT
    assert recent.step[-1] == 50_000


def test_losses_that_are_not_finite_are_seen_and_not_averaged():
    recorder = make()
    for step, loss in enumerate([3.0, nan, 1.0]):
        recorder.record_loss(step, loss)
    trace = recorder.trace()
    assert isnan(trace.loss.mean[1])
    assert trace.loss.high[1] == inf
    assert (trace.first_nonfinite.step, trace.first_nonfinite.phase) == (1, "loss")


def test_first_nonfinite_follows_the_order_of_a_step():
    good, bad = np.ones((2, 3), dtype=np.float32), np.full((2, 3), nan, dtype=np.float32)
    recorder = make()
    recorder.record(0, outputs={"fc1": measure.output(good), "act": measure.output(good)})
    recorder.record(
        5,
        outputs={"fc1": measure.output(good), "act": measure.output(bad)},
        gradients={"fc1": measure.gradient(bad), "act": measure.gradient(bad)},
    )
    first = recorder.trace().first_nonfinite
    assert (first.step, first.where, first.phase, first.exact) == (5, "act", "forward", False)
    recorder = make()
    recorder.record(0, gradients={"fc1": measure.gradient(bad), "act": measure.gradient(bad)})
    first = recorder.trace().first_nonfinite
    assert (first.where, first.phase, first.exact) == ("act", "backward", True)
    recorder = make()
    recorder.record(0, parameters={"fc1.weight": measure.parameter(good, bad, good)})
    assert recorder.trace().first_nonfinite.phase == "update"


def test_units_are_gathered_over_steps():
    recorder = make()
    first = np.array([[1.0, 0.0, 1.0], [1.0, 0.98, -1.0]])
    second = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0], [0.0, 0.0, -1.0]])
    for step, values in enumerate((first, second)):
        recorder.record(step, outputs={"act": measure.output(values, -1, "tanh", detail=True)})
    units = recorder.trace().units["act"]
    assert (units.steps, units.rows) == (2, 5)
    assert units.dead.tolist() == [0.5, 0.0, 1.0]
    assert units.last_dead.tolist() == [0.0, 0.0, 1.0]
    assert units.streak.tolist() == [0.0, 0.0, 2.0]
    assert units.saturated.tolist() == pytest.approx([0.4, 0.2, 1.0])
    assert recorder.trace().maps["act"]["first"].shape == (2, 3)
    assert recorder.trace().maps["act"]["last"].shape == (3, 3)


def test_late_modules_and_missing_figures_are_nan():
    recorder = make()
    recorder.record(0, loss=2.0)
    recorder.add(ModuleInfo("late", "Linear"))
    recorder.record(3, outputs={"late": measure.output(np.ones((2, 2)))}, learning_rate=0.1)
    trace = recorder.trace()
    assert np.isnan(trace.output("late", "mean")[0])
    assert trace.output("late", "mean")[1] == 1.0
    assert trace.step_stats["loss"].tolist()[0] == 2.0
    assert np.isnan(trace.step_stats["learning_rate"][0])
    assert "act" not in trace.outputs


def test_record_refuses_what_it_does_not_know():
    recorder = make()
    recorder.record(3)
    with pytest.raises(HealthError, match="step 3 after step 3"):
        recorder.record(3)
    with pytest.raises(HealthError, match="'nowhere', which was not added"):
        recorder.record(4, outputs={"nowhere": measure.output(np.ones((2, 2)))})
    with pytest.raises(HealthError, match="got 'lr'"):
        recorder.record(4, lr=0.1)


def full_trace():
    recorder = make(schedule=Schedule(every=2))
    rng = np.random.default_rng(0)
    for step in range(9):
        recorder.record_loss(step, 3.0 - 0.1 * step)
        if step % 2 == 0:
            values = np.tanh(rng.standard_normal((4, 3)))
            detail = recorder.detailed(step)
            recorder.record(
                step,
                outputs={"fc1": measure.output(values, detail=detail), "act": measure.output(values, -1, "tanh", detail=detail)},
                gradients={"act": measure.gradient(values, detail=detail)},
                parameters={"fc1.weight": measure.parameter(values, 2 * values, values, 0.1)},
                norms={"fc1": np.array([0.1, 2.0])},
                loss=3.0,
                training=1.0,
            )
    recorder.record_dev(8, 2.5)
    recorder.note_error("x")
    recorder.note_nonfinite(7, "fc1", "backward")
    return recorder.trace()


def test_trace_survives_storage():
    trace = full_trace()
    arrays, values = trace_to_arrays(trace)
    assert all(array.flags.c_contiguous for array in arrays.values())
    back = trace_from_arrays(arrays, json.loads(json.dumps(values, allow_nan=False)))
    again, values_again = trace_to_arrays(back)
    assert values_again == values
    assert again.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(again[name], array)
    assert back.modules == trace.modules
    assert back.parameters == trace.parameters
    assert back.first_nonfinite == trace.first_nonfinite
    assert isnan(back.facts.chance)


def test_damaged_archives_are_refused():
    arrays, values = trace_to_arrays(full_trace())
    values = json.loads(json.dumps(values))
    for name in arrays:
        with pytest.raises(HealthError):
            trace_from_arrays({key: array for key, array in arrays.items() if key != name}, values)
        with pytest.raises(HealthError):
            trace_from_arrays({**arrays, name: arrays[name].astype(np.complex64)}, values)
        with pytest.raises(HealthError):
            trace_from_arrays({**arrays, name: arrays[name][None]}, values)
    for name in values:
        for wrong in (None if name != "first_nonfinite" else 3, "x", 2, [3], {"a": 1}):
            with pytest.raises(HealthError):
                trace_from_arrays(arrays, {**values, name: wrong})
    modules = [{**values["modules"][0], "units": "many"}, values["modules"][1]]
    with pytest.raises(HealthError, match=r"modules\.units"):
        trace_from_arrays(arrays, {**values, "modules": modules})


@pytest.mark.parametrize("stride", [1, 7, 300, 5_000])
def test_losses_by_the_thousand_are_kept_as_one_by_one_to_the_same_bits(stride: int) -> None:
    values = np.random.default_rng(0).normal(2.0, 0.5, 20_000)
    one, many = Recorder(), Recorder()
    one.record_losses(list(enumerate(values.tolist(), 3)))
    for start in range(0, len(values), stride):
        many.record_run(3 + start, values[start : start + stride])
    for kind in ("loss", "recent"):
        for name, column in vars(getattr(one.trace(), kind)).items():
            assert (column == vars(getattr(many.trace(), kind))[name]).all()
    many.record_run(30_000, np.array([1.0, np.inf]))
    assert many.trace().first_nonfinite.step == 30_001
