"""What the pictures of a trace hold, against figures worked out beside them."""

from __future__ import annotations

import base64
import json
import re
import zlib
from dataclasses import replace
from math import log
from pathlib import Path

import altair as alt
import numpy as np
import pytest
from report_synthetic import a_finding, rows, tanh_trace

from lettrine.errors import HealthError, MissingExtraError, StorageError
from lettrine.health.limits import UPDATE_LARGE
from lettrine.health.trace import Curve, NonFinite, Trace
from lettrine.report import curves, densities, figure, images, layers, lines
from lettrine.report.figure import Figure, save_chart, to_svg, to_themed_svg
from lettrine.report.pictures import TEXTS, figures
from lettrine.report.theme import LIGHT

PUBLISHED = (
    "loss",
    "update-data",
    "activations",
    "preactivations",
    "gradients",
    "saturation-first",
    "saturation-last",
    "dead-units",
)


@pytest.fixture(scope="module")
def trace() -> Trace:
    return tanh_trace(gain=3, dead=3, norm=True, steps=300)


@pytest.fixture(scope="module")
def drawn(trace: Trace) -> dict[str, Figure]:
    return figures(trace)


def test_every_picture_is_valid_drawn_and_described(drawn: dict[str, Figure]) -> None:
    assert list(drawn) == [name for name in TEXTS if name in drawn]
    assert set(drawn) == set(TEXTS) - {"output-heat", "gradient-heat"}, "those are of networks of many blocks"
    assert set(PUBLISHED) <= set(drawn)
    for each in drawn.values():
        alt.LayerChart.from_dict(each.chart)  # validated against the schema of Vega-Lite
        svg = each.svg()
        assert svg.count("<path") > 10 or "<image" in svg
        assert len(each.title) < 40 < len(each.reading)


def loss_only(trace: Trace, step: np.ndarray, loss: np.ndarray) -> Trace:
    nothing = Curve(*[np.zeros(0)] * 4)
    return replace(trace, loss=Curve(step, loss, loss, step), dev=nothing)


def test_loss_curve_averages_over_a_thousand_steps(trace: Trace) -> None:
    step = np.arange(0, 30_000, 10.0)  # each point stands for ten steps
    loss = np.where(step % 1000 < 500, 2.0, 1.0) + step // 1000  # mean of each thousand: 1.5 + its number
    means = [row for row in rows(curves.loss_curve(loss_only(trace, step, loss)), "what", "y") if row["what"].startswith("mean")]
    assert means[0]["what"] == "mean of 1,000 steps"
    assert [row["y"] for row in means[:30]] == pytest.approx([k + 1.5 for k in range(30)])
    assert [row["step"] for row in means[:30]] == pytest.approx([1000 * k + 499.5 for k in range(30)])


def test_loss_curve_shows_losses_below_0(trace: Trace) -> None:
    """Those of a policy: they have no logarithm, but a place on a plain axis."""
    step = np.arange(100)
    below = loss_only(trace, step, np.linspace(9.0, -1.0, 100))
    assert not curves.wide(below)
    drawn = [row["y"] for row in rows(curves.loss_curve(below), "what", "y")]
    assert min(drawn) == -1
    assert min(row["y"] for row in rows(curves.loss_curve(below, log10=True), "what", "y")) >= -2


def test_loss_curve_weighs_runs_of_different_length() -> None:
    step, loss = np.array([0.0, 1.0, 9.0, 10.0, 20.0]), np.array([4.0, 2.0, 4.0, 1.0, 1.0])
    found = curves.averaged(Curve(step, loss, loss, step), 10, 300)
    assert found[1] == pytest.approx([(4 + 8 * 2 + 4) / 10, 1.0, 1.0])


def test_loss_curve_draws_logarithm_chance_and_where_it_stopped_being_finite(trace: Trace) -> None:
    step = np.arange(100.0)
    loss = np.where(step == 7, np.nan, np.where(step == 8, 0.0, 100.0))
    bad = replace(loss_only(trace, step, loss), first_nonfinite=NonFinite(7, "layers.1", "forward"))
    chart = curves.loss_curve(bad, log10=True)
    assert {row["y"] for row in rows(chart, "what", "y") if row["what"] == "batch"} == {2.0}
    assert not [row for row in rows(chart, "what", "step") if row["what"] == "batch" and row["step"] in (7, 8)]
    guess = next(row for row in rows(chart, "text", "y") if "uniform" in row["text"])
    assert guess["y"] == pytest.approx(np.log10(log(27)))
    assert any("not finite at step 7" in row["text"] for row in rows(chart, "text", "step"))


@pytest.mark.parametrize(("step", "free"), [(20, "right"), (95, "left")])
def test_words_on_the_line_of_a_guess_keep_away_from_those_of_the_end(trace: Trace, step: int, free: str) -> None:
    ended = replace(loss_only(trace, np.arange(100.0), np.linspace(3.3, 1, 100)), first_nonfinite=NonFinite(step, "", "loss"))
    seen = [(0.0, 3.3), (50.0, 2.1), (99.0, 1.0)]
    assert lines.free_place(3.3, seen + curves.taken(ended, 3.3, seen))[0] == free
    assert not curves.taken(ended, 1.5, seen), "the words of the end stand at the top"


def test_loss_curve_is_thin_however_long_the_run(trace: Trace) -> None:
    step = np.arange(200_000.0)
    chart = curves.loss_curve(loss_only(trace, step, 2 + np.sin(step)))
    assert len(rows(chart, "what")) < 1_000


def test_update_data_is_the_logarithm_of_the_measured_ratio_of_each_weight(trace: Trace) -> None:
    found = rows(curves.update_data(trace), "layer", "step")
    assert {row["layer"] for row in found} == {f"layers.{i}" for i in range(0, 12, 2)}, "biases have no line"
    at = {row["step"]: row["y"] for row in found if row["layer"] == "layers.4"}
    for k, step in enumerate(trace.steps):
        assert at[float(step)] == pytest.approx(np.log10(trace.parameter("layers.4.weight", "update_data")[k]), abs=1e-4)
    assert [row["y"] for row in rows(curves.update_data(trace), "text")] == pytest.approx([-3, np.log10(UPDATE_LARGE)])


def test_densities_have_one_row_a_layer_and_their_printed_figures(trace: Trace) -> None:
    chart = layers.activation_density(trace)
    remarks = {row["name"]: row["remark"] for row in rows(chart, "remark")}
    assert list(remarks) == [f"layers.{i} Tanh" for i in range(1, 11, 2)]
    std, saturated = trace.output("layers.3", "std"), trace.output("layers.3", "saturated")
    assert remarks["layers.3 Tanh"] == f"std {std[0]:.3f} → {std[-1]:.3f}, {saturated[-1]:.0%} saturated".replace("%", " %")
    assert {row["name"] for row in rows(layers.preactivation_density(trace), "remark")} == {
        f"layers.{i} Linear" for i in range(0, 10, 2)
    }
    gradient = trace.gradient("layers.1", "std")
    mantissa, exponent = f"{gradient[0]:.2e}".split("e")
    assert f"std {mantissa}e{int(exponent)} →" in rows(layers.gradient_density(trace), "remark")[0]["remark"]


def test_density_curve_follows_the_counts(trace: Trace) -> None:
    histogram = trace.output_histograms["layers.1"]
    counts = np.zeros((1, 64))
    counts[0, [10, 20]] = 4, 8
    simple = replace(histogram, steps=np.array([5]), counts=counts, low=np.array([-1.0]), high=np.array([1.0]))
    x, height = densities.outline(simple, 0, [-1, 1])
    found = dict(zip(np.round(x, 4), height, strict=True))
    assert found[np.round(-1 + 2 * 10.5 / 64, 4)] == pytest.approx(0.5)
    assert found[np.round(-1 + 2 * 20.5 / 64, 4)] == pytest.approx(1.0)
    low, high = densities.common_range([simple], symmetric=False)
    assert -1 + 2 * 10 / 64 <= low < high <= -1 + 2 * 21 / 64


def test_a_bin_that_towers_over_the_rest_is_cut(trace: Trace) -> None:
    counts = np.ones((1, 64))
    counts[0, 0] = 1_000
    histogram = replace(trace.output_histograms["layers.1"], steps=np.array([0]), counts=counts, low=np.zeros(1), high=np.ones(1))
    assert densities.outline(histogram, 0, [0, 1])[1][1:4] == [1.0, 0.5, 0.5]


def test_a_record_of_one_value_is_a_spike_and_leaves_the_range_to_others(trace: Trace) -> None:
    whole = trace.gradient_histograms["layers.1"]
    counts = np.zeros((1, 64))
    counts[0, 32] = 1_920  # all values 0: recorded from -0.5 to 0.5
    flat = replace(whole, steps=np.array([0]), counts=counts, low=np.array([-0.5]), high=np.array([0.5]))
    assert densities.single_value(flat, 0) == 0
    assert densities.single_value(whole, 0) is None
    assert densities.common_range([flat, whole], symmetric=True) == densities.common_range([whole], symmetric=True)
    x, height = densities.outline(flat, 0, [-0.01, 0.01])
    assert max(map(abs, x)) < 1e-3
    assert height == [0.0, 1.0, 1.0, 0.0]


def test_weights_that_do_not_move_are_told_from_steps_that_were_not_seen(trace: Trace) -> None:
    still = {name: np.where(np.isnan(row), row, 0.0) for name, row in trace.parameter_stats.items()}
    assert "No weight moved" in to_svg(curves.update_data(replace(trace, parameter_stats=still)))
    unseen = {name: np.full_like(row, np.nan) for name, row in trace.parameter_stats.items()}
    assert "No step of the optimiser" in to_svg(curves.update_data(replace(trace, parameter_stats=unseen)))


def test_profiles_hold_first_and_last_figure_from_input_to_output(trace: Trace) -> None:
    found = rows(layers.gradient_data(trace), "layer", "when")
    ratio = trace.parameter("layers.6.weight", "gradient_data")
    mine = {row["when"]: row["value"] for row in found if row["layer"] == "layers.6"}
    last = int(trace.steps[-1])
    assert mine == {"step 0": pytest.approx(ratio[0], rel=1e-3), f"step {last}": pytest.approx(ratio[-1], rel=1e-3)}
    order = list(dict.fromkeys(row["layer"] for row in found))
    assert order == [f"layers.{i}" for i in range(0, 12, 2)]
    assert layers.gradient_data(trace)["layer"][0]["encoding"]["y"]["scale"]["domain"] == order, "not the alphabet's"


def test_dead_units_are_shares_of_the_units(trace: Trace) -> None:
    found = {(row["layer"], row["when"]): row["value"] for row in rows(layers.dead_units(trace), "when")}
    assert found[("layers.3", "step 0")] == pytest.approx(3 / 60)
    assert found[("layers.1", "step 0")] == 0


def test_missing_figures_are_left_out_not_zero(trace: Trace) -> None:
    outputs = {name: row.copy() for name, row in trace.outputs.items()}
    outputs["layers.5"][:] = np.nan
    found = rows(layers.output_scale(replace(trace, outputs=outputs)), "layer")
    assert "layers.5" not in {row["layer"] for row in found}
    json.dumps(layers.output_scale(replace(trace, outputs=outputs)), allow_nan=False)


def pixels(url: str) -> np.ndarray:
    """Decode the one-bit picture of a saturation map: (height, width), True where white."""
    data = base64.b64decode(url.partition(",")[2])
    width, height = np.frombuffer(data[16:24], ">u4")
    start = data.index(b"IDAT") + 4
    body = np.frombuffer(zlib.decompress(data[start : data.index(b"IEND") - 8]), np.uint8).reshape(height, -1)
    assert not body[:, 0].any()
    return np.unpackbits(body[:, 1:], axis=1)[:, :width].astype(bool)


def test_saturation_map_is_white_exactly_where_tanh_is_above_its_limit(trace: Trace) -> None:
    for snapshot in ("first", "last"):
        images_drawn = rows(images.saturation_map(trace, snapshot), "url")
        assert len(images_drawn) == 5
        for row in images_drawn:
            flags = np.abs(trace.maps[row["name"].split()[0]][snapshot].astype(float)) >= 0.99
            drawn = pixels(row["url"])
            down, across = (size // count for size, count in zip(drawn.shape, flags.shape, strict=True))
            assert min(drawn.shape) >= 256, "enlarged here, since browsers blur what they enlarge"
            assert np.array_equal(drawn[down // 2 :: down, across // 2 :: across][:, : flags.shape[1]], flags)
        marks = rows(images.saturation_map(trace, snapshot), "x", "y")
        assert [round(mark["x"] * 60 - 0.5) for mark in marks] == [0, 1, 2], "the planted dead units"


def test_saturation_map_marks_no_unit_that_is_white_only_on_the_examples_shown(trace: Trace) -> None:
    outputs = {name: row.copy() for name, row in trace.outputs.items()}
    outputs["layers.3"][:, 6] = 0.0  # share of dead units: alive on an example that the map leaves out
    assert not rows(images.saturation_map(replace(trace, outputs=outputs), "last"), "x", "y")


def test_many_layers_are_spread_and_the_page_says_so() -> None:
    deep = tanh_trace(depth=20, hidden=8, steps=3)
    drawn = figures(deep)
    assert len(rows(drawn["activations"].chart, "remark")) == 12
    assert "12 of 20 layers" in drawn["activations"].reading
    names = [row["name"] for row in rows(drawn["activations"].chart, "remark")]
    assert names[0] == "layers.1 Tanh"
    assert names[-1] == "layers.39 Tanh"


def test_what_a_finding_names_is_drawn_in_any_case_and_in_red() -> None:
    deep = tanh_trace(depth=20, hidden=8, steps=3)
    drawn = figures(deep, [a_finding(where=("layers.13", "layers.15"))])
    for name in ("activations", "saturation-first"):
        inks = {row["name"]: row["ink"] for row in rows(drawn[name].chart, "ink")}
        assert {each for each, ink in inks.items() if ink == LIGHT["critical"]} == {"layers.13 Tanh", "layers.15 Tanh"}
    plain = [row["name"] for row in rows(figures(deep)["activations"].chart, "remark")]
    assert "layers.13 Tanh" not in plain


def test_one_step_is_drawn_without_a_before() -> None:
    drawn = figures(tanh_trace(steps=1))
    assert {row["when"] for row in rows(drawn["output-scale"].chart, "when")} == {"step 0"}
    assert "saturation-last" not in drawn
    for each in drawn.values():
        each.svg()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, -1.0, 5e-324, 1e300])
def test_whatever_was_measured_can_be_drawn(bad: float) -> None:
    trace = tanh_trace(steps=6, depth=2, hidden=4, norm=True)
    spoilt = {
        field: {
            name: np.where(np.arange(row.size).reshape(row.shape) % 3 > 0, bad, row)
            for name, row in getattr(trace, field).items()
        }
        for field in ("outputs", "gradients", "parameter_stats", "norms")
    }
    loss = replace(trace.loss, mean=np.full_like(trace.loss.mean, bad))
    for given in (replace(trace, **spoilt, loss=loss, dev=loss), replace(trace, outputs={}, gradients={})):
        for each in figures(given).values():
            json.dumps(each.to_dict(), allow_nan=False)


def test_a_trace_of_nothing_has_no_pictures(trace: Trace) -> None:
    empty = Curve(*[np.zeros(0)] * 4)
    bare = replace(
        trace, outputs={}, gradients={}, parameter_stats={}, norms={}, output_histograms={}, gradient_histograms={}, maps={}
    )
    assert figures(replace(bare, loss=empty, dev=empty)) == {}
    assert "No loss was recorded" in to_svg(curves.loss_curve(replace(bare, loss=empty, dev=empty)))


def test_charts_are_saved_as_png_svg_and_json(drawn: dict[str, Figure], tmp_path: Path) -> None:
    one = drawn["gradient-data"]
    assert one.save(tmp_path / "new" / "a.png").read_bytes().startswith(b"\x89PNG")
    assert one.save(tmp_path / "a.svg").read_text().startswith("<svg")
    assert json.loads(one.save(str(tmp_path / "a.json")).read_text())["$schema"].startswith("https://vega.github.io")
    assert not list(tmp_path.glob("**/*.partial"))
    with pytest.raises(HealthError, match=r"'a\.gif'.*\.png, \.svg, \.json"):
        save_chart(one.chart, tmp_path / "a.gif")
    with pytest.raises(StorageError, match="cannot write"):
        save_chart(one.chart, tmp_path / "a.svg" / "b.json")


def test_notebooks_show_a_static_picture(drawn: dict[str, Figure]) -> None:
    shown = drawn["loss"]._repr_html_()
    assert shown.startswith("<figure")
    assert "<svg" in shown
    assert "<script" not in shown


def test_a_missing_extra_is_named(trace: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(figure.importlib, "import_module", absent)
    with pytest.raises(MissingExtraError, match=r"pip install .*\[report\]'"):
        to_svg(curves.loss_curve(trace))


def test_themed_svg_has_only_variables_and_its_own_ids(trace: Trace) -> None:
    svg = to_themed_svg(curves.loss_curve(trace), "c1")
    left = set(re.findall(r'(?:fill|stroke)="(#[^"]*)"', svg))
    assert not left, "a colour that does not follow light and dark"
    ids = re.findall(r'\bid="([^"]*)"', svg)
    assert all(name.startswith("c1-") for name in ids)
    assert {f"url(#{name})" for name in ids} >= set(re.findall(r"url\(#[^)]*\)", svg))
    assert svg.count("data-tip=") > 20
    assert "width=" not in svg.partition(">")[0]
