"""Walking a page's pictures back over the recorded steps: the frames they bring along, and the slider in a real browser."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from chromium_pipe import Page, chromium
from report_synthetic import a_report, rows, tanh_trace

from lettrine.report import html
from lettrine.report.beside import HEIGHTS, REPLAYED, WALKED, Beside, places, walked
from lettrine.report.draw import GHOST
from lettrine.report.figure import frames_of, specification
from lettrine.report.layers import activation_density, gradient_scale, output_remark
from lettrine.report.pictures import charts, figures
from lettrine.report.words import number

needs_chromium = pytest.mark.skipif(chromium() is None, reason="needs Chromium")


@pytest.fixture(scope="module")
def trace():
    return tanh_trace(gain=3, steps=200)


def slid(place):
    return f"(s => {{ s.value = {place}; s.dispatchEvent(new Event('input')) }})(document.querySelector('.walk input'))"


def test_frames_hold_each_record(trace):
    frames = frames_of(activation_density(trace, beside=REPLAYED))
    histogram = trace.output_histograms["layers.1"]
    assert frames["steps"] == histogram.steps.tolist()
    start, end, shape, remark = frames["rows"][0]["records"][2]
    assert len(shape) == histogram.counts.shape[1]
    counts = histogram.counts[2]
    assert HEIGHTS.index(shape[int(counts.argmax())]) == len(HEIGHTS) - 1
    assert start < end
    at = int(np.flatnonzero(trace.steps == histogram.steps[2])[0])
    assert remark == output_remark(trace, "layers.1", slice(at, at + 1))
    assert frames_of(activation_density(trace)) == {}


def test_every_picture_over_steps_or_layers_can_be_walked_through(trace):
    kept = {name for name, figure in figures(trace).items() if frames_of(figure.chart)}
    assert kept == {name for name, *_ in charts(trace, ())} - {"saturation-first", "saturation-last"}


def test_places_on_an_axis():
    assert places(np.array([1.0, 10.0, 100.0, np.nan, 0.0]), (1.0, 100.0), log=True) == [0.0, 0.5, 1.0, None, None]
    assert places(np.array([2.0, 3.0]), (1.0, 3.0)) == [0.5, 1.0]


def test_long_runs_keep_few_steps():
    kept = walked(list(range(10_000)))
    assert len(kept) <= WALKED
    assert kept[:3] == [0, 1, 2]
    assert kept[-1] == 9_999


def test_the_training_before_is_dashed_in_every_picture(trace):
    before = tanh_trace(gain=1, steps=300)
    for name, draw, _ in charts(trace, (), Beside(before)):
        spec = specification(draw())
        if name.startswith("saturation"):
            assert "(before: " in str(spec)
            continue
        marks = [layer.get("mark", {}) for layer in spec["layer"]]
        assert GHOST in [mark.get("strokeDash") for mark in marks if isinstance(mark, dict)], name
    drawn = rows(gradient_scale(trace, beside=Beside(before)), "layer", "value")
    last = float(before.gradient("layers.1", "std")[-1])
    assert any(row["layer"] == "layers.1" and row["value"] == pytest.approx(last, rel=1e-3) for row in drawn)


@needs_chromium
def test_the_slider_walks_back_and_returns(trace, tmp_path: Path):
    path = html.write(tmp_path / "report.html", a_report(trace=trace))
    assert path.stat().st_size < 400_000
    with Page(tmp_path / "profile") as page:
        page.open(path)
        assert page.evaluate("!document.querySelector('.walk').hidden")
        before = page.evaluate("document.querySelector('#figure-activations svg').textContent")
        page.evaluate(slid(3))
        step = int(page.evaluate("document.querySelector('.walk output').textContent"))
        place = int(np.flatnonzero(trace.steps <= step)[-1])
        dots = page.evaluate(
            "[...document.querySelectorAll('#figure-output-scale .walk-layer [data-tip]')].map(d => d.dataset.tip)"
        )
        std = number(float(trace.output("layers.1", "std")[place]))
        assert dots[0] == f"layers.1, step {trace.steps[place]}: {std}"
        shown = page.evaluate("document.querySelector('#figure-activations svg').textContent")
        record = int(np.flatnonzero(trace.output_histograms["layers.1"].steps <= step)[-1])
        assert f"step {trace.output_histograms['layers.1'].steps[record]}" in shown
        assert page.evaluate("document.querySelectorAll('#figure-loss .walk-layer path').length") == 1
        assert page.evaluate(
            "[...document.querySelectorAll('[class*=\" now_\"]')].every(e => getComputedStyle(e).display === 'none')"
        )
        page.evaluate(slid("s.max"))
        assert page.evaluate("document.querySelectorAll('.walk-layer').length") == 0
        assert page.evaluate("document.querySelector('#figure-activations svg').textContent") == before
        assert not page.complaints()
