"""What is shown of a network of many blocks: a curve a kind, layers by time, a table that folds, sorts and can be searched."""

from __future__ import annotations

import base64
import os
import time
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pytest
from chromium_pipe import Page, chromium
from report_deep import STEPS, deep_trace
from report_synthetic import a_finding, a_report, rows, tanh_trace

from lettrine.health.findings import Report
from lettrine.health.limits import UPDATE_LARGE
from lettrine.health.trace import OUTPUT_STATS, Histogram, ModuleInfo
from lettrine.report import curves, heat, html, layers
from lettrine.report.beside import REPLAYED
from lettrine.report.columns import AROUND, LINE, WIDE, card_height, half_empty, in_two_columns
from lettrine.report.draw import finish
from lettrine.report.figure import frames_of
from lettrine.report.kinds import kinds
from lettrine.report.lines import Line, depth_lines
from lettrine.report.picking import pick_by_kind
from lettrine.report.pictures import figures
from lettrine.report.profiles import Row, profile
from lettrine.report.strands import PANEL, common_scale
from lettrine.report.summary import folds
from lettrine.report.theme import LIGHT

SMALL_PAGE = 2_000_000  # bytes
SOON = 5.0  # seconds of processor time
TWO_FRAMES = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done())))"
COLUMNS = ("module", "kind", "units", "mean", "std", "saturated", "dead", "gradient std", "update:data")

needs_chromium = pytest.mark.skipif(
    chromium() is None and not os.environ.get("CI"), reason="no chromium on this machine; with CI set this test fails instead"
)


@pytest.fixture(scope="module")
def report() -> Report:
    return Report((), (), deep_trace(), "Health of a deep net")


@pytest.fixture(scope="module")
def page(report: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return html.write(tmp_path_factory.mktemp("large") / "page.html", report)


def test_a_kind_has_a_curve_over_its_blocks(report: Report) -> None:
    chart = layers.gradient_data(report.trace)
    captions = {row["name"]: row["remark"] for row in rows(chart, "remark")}
    assert captions == {
        "net.layers.*.up Linear": "0.0350 → 0.350",  # medians of 0.01 to 0.06
        "net.layers.*.down Linear": "0.500 → 0.500",
        "embed": "0.500 → 0.500",
        "head": "0.500 → 0.500",
    }
    points = [row for row in rows(chart, "x", "when") if row["row"] == PANEL and row["when"] == f"step {STEPS[-1]}"]
    assert [row["x"] for row in points] == list(range(6))
    assert [row["hint"] for row in points] == [f"net.layers.{b}.up, step 9: {0.1 * (b + 1):.3f}" for b in range(6)]
    scale = common_scale([0.01, 0.6], log=True, form="")
    assert [row["y"] for row in points] == pytest.approx([PANEL + scale.place(0.1 * (b + 1)) for b in range(6)])
    alt.LayerChart.from_dict(chart)  # valid


def test_a_scale_is_logarithmic_or_begins_at_nothing() -> None:
    low, middle, high = (common_scale([0.01, 1.0], log=True, form="").place(value) for value in (0.01, 0.1, 1.0))
    assert middle == pytest.approx((low + high) / 2, abs=0.1)
    for seen, top in ((0.083, 0.1), (0.25, 0.3), (2.3, 3), (71, 80), (1e-4, 1e-4)):
        assert common_scale([0.0, seen], log=False, form="").ticks == pytest.approx((0, top))
    assert common_scale([0.0], log=False, form=".0%").high == pytest.approx(0.1)


def test_what_a_finding_names_is_red_in_its_curve() -> None:
    chart = layers.output_scale(deep_trace(), {"net.layers.4.act"})
    inks = {row["name"]: row["ink"] for row in rows(chart, "ink")}
    assert [name for name, ink in inks.items() if ink == LIGHT["critical"]] == ["net.layers.*.act GELU"]
    assert [row["x"] for row in rows(chart, "x", "when") if row.get("marked")] == [4]


def test_dead_units_are_told_of_their_block(report: Report) -> None:
    told = {row["hint"] for row in rows(layers.dead_units(report.trace), "hint")}
    assert "net.layers.2.act, step 9: 25%" in told
    assert "net.layers.1.act, step 9: 0%" in told


def test_a_small_network_is_shown_as_ever() -> None:
    drawn = figures(tanh_trace(steps=3))
    assert not {"output-heat", "gradient-heat"} & set(drawn)
    assert {row["layer"] for row in rows(drawn["gradient-data"].chart, "when")} == {f"layers.{i}" for i in range(0, 12, 2)}
    assert all(not fold.members for fold in folds(tanh_trace(steps=3)))
    text = html.render(a_report())
    assert 'class="tools"' not in text
    assert 'class="figures flowing"' not in text


def pixels(url: str) -> tuple[np.ndarray, np.ndarray]:
    """Places in the palette, (rows, steps), and the palette with its transparency, (colours, 4)."""
    data = base64.b64decode(url.partition(",")[2])
    width, height = np.frombuffer(data[16:24], ">u4")
    chunks: dict[bytes, bytes] = {}
    at = 8
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        chunks[data[at + 4 : at + 8]] = data[at + 8 : at + 8 + size]
        at += 12 + size
    body = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, width + 1)
    assert not body[:, 0].any()
    palette = np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(-1, 3)
    return body[::4, 1::16], np.hstack([palette, np.frombuffer(chunks[b"tRNS"], np.uint8)[:, None]])


def test_colours_are_logarithms_of_the_figures() -> None:
    index, palette = pixels(heat.coloured(np.array([[1.0, 10.0, 100.0, 1e9], [0.1, 0.01, 0.0, np.nan]])))
    assert index.tolist() == [[32, 48, 64, 64], [16, 0, 0, 65]]
    assert palette[32, 3] == 0, "no colour at 1"
    assert palette[64].tolist() == [*heat.LARGE, 235]
    assert palette[0].tolist() == [*heat.SMALL, 235]
    assert 0 < palette[48, 3] < palette[64, 3]
    assert palette[65].tolist() == list(heat.MISSING)


def mean_colour(chart: Any) -> float:
    """Mean strength of the colours of a picture, 0 to 1."""
    drawn = [pixels(row["url"]) for row in rows(chart, "url")]
    return float(np.mean([palette[index, 3].mean() / 255 for index, palette in drawn]))


def test_a_healthy_network_and_a_sick_one_differ_at_a_glance() -> None:
    for draw in (heat.output_heat, heat.gradient_heat):
        assert mean_colour(draw(deep_trace(24))) < 0.1
        assert mean_colour(draw(deep_trace(24, growth=1.6))) > 0.4


@pytest.mark.parametrize("natural", [1e-3, 1.0, 1e3])
def test_the_scale_of_a_kind_is_its_own_and_growth_in_time_shows(natural: float) -> None:
    """The last layers of residual branches begin at 0.001 in a healthy GPT-2: they were strong blue."""
    steady, grown, zero = (deep_trace() for _ in range(3))
    std = OUTPUT_STATS.index("std")
    for trace, course in ((steady, (1, 1, 1, 1)), (grown, (1, 10, 100, 1e4)), (zero, (0, 1, 1, 1))):
        for each in trace.outputs.values():
            each[:, std] *= natural * np.array(course)
    shown = [
        {tuple(row) for band in rows(heat.output_heat(trace), "url") for row in pixels(band["url"])[0].tolist()}
        for trace in (steady, grown, zero)
    ]
    assert shown == [{(32, 32, 32, 32)}, {(32, 48, 64, 64)}, {(0, 32, 32, 32)}]


def test_a_row_of_the_map_is_a_layer_and_tells_its_name() -> None:
    chart = heat.output_heat(deep_trace(7, growth=10))
    bands = {row["name"]: pixels(row["url"])[0] for row in rows(chart, "url")}
    assert list(bands) == [
        *(f"net.layers.*{name}" for name in (".up Linear", ".act GELU", ".down Linear", " Block")),
        "embed, head",
    ]
    assert bands["net.layers.*.act GELU"].tolist() == [[level] * 4 for level in (0, 0, 16, 32, 48, 64, 64)], "3 has the median"
    assert "net.layers.3.act: 1,000 at step 0, 1,000 at step 9" in {row["hint"] for row in rows(chart, "hint")}
    relative = {row["name"]: pixels(row["url"])[0][:, 0] for row in rows(heat.gradient_heat(deep_trace(7, growth=10)), "url")}
    assert relative["net.layers.* Block"].tolist() == [64, 64, 48, 32, 16, 0, 0], "block 3 has the median"


def test_updates_are_the_median_of_a_kind() -> None:
    trace = deep_trace()
    trace.parameter_stats["net.layers.0.up.weight"][:] = 1.0
    found = rows(curves.update_data(trace), "layer", "step")
    assert {row["layer"] for row in found} == {"embed", "head", "net.layers.*.up", "net.layers.*.down"}
    assert {row["y"] for row in found} == {-3.0}, "one of six does not move the median"


def test_a_limit_that_no_finding_speaks_of_is_none() -> None:
    high = deep_trace(update=2 * UPDATE_LARGE)
    names = {info.name for info in high.parameters}
    for trace, focus, limited in ((deep_trace(), set(), True), (high, set(), False), (high, names, True)):
        words = [row["text"] for row in rows(curves.update_data(trace, focus), "text")]
        assert any("too large" in text for text in words) == limited
    finding = a_finding(severity="critical", where=tuple(names))
    assert "no limit is drawn" in figures(high)["update-data"].reading
    assert "no limit is drawn" not in figures(high, [finding])["update-data"].reading


def test_folds_hold_medians_in_the_order_of_the_network(report: Report) -> None:
    table = folds(deep_trace(growth=10))
    assert [(fold.row.name, fold.size) for fold in table] == [
        ("embed", 1),
        *((f"net.layers.*{part}", 6) for part in (".up", ".act", ".down", "")),
        ("head", 1),
    ]
    act = table[2]
    assert (act.row.units, act.row.std, act.row.dead) == (8, (100 + 1000) / 2, 0.0)
    assert act.row.mean != act.row.mean, "no member has one"
    assert [row.name for row in act.members] == [f"net.layers.{b}.act" for b in range(6)]
    text = str(report)
    assert "6 \N{MULTIPLICATION SIGN} net.layers.*.act" in text
    assert "left out" not in text


def test_densities_of_one_kind_stand_below_one_another_in_their_own_unit() -> None:
    """Evenly spaced over all kinds, neighbours were of different kinds, and on one axis the smaller ones were needles."""
    names = [f"h.{b}.{part}" for b in range(8) for part in ("up", "down")]
    modules = [ModuleInfo(name, "Linear", "linear", "", 4) for name in ("embed", *names, "head")]
    found = kinds({module.name: "Linear" for module in modules})
    assert [m.name for m in pick_by_kind(modules, 8, {"h.3.down"}, found)] == [
        *("embed", "h.0.up", "h.4.up", "h.7.up"),
        *("h.0.down", "h.3.down", "h.7.down", "head"),
    ]
    assert pick_by_kind(modules, 4, (), []) == [modules[i] for i in (0, 6, 11, 17)], "as without blocks"
    assert len(pick_by_kind(modules, 3, (), found)) <= 3
    trace = deep_trace(growth=1.0)
    std = OUTPUT_STATS.index("std")
    histograms = {}
    for name, each in trace.outputs.items():
        unit = 1e-3 if name.endswith("down") else 10.0
        each[:, std] = unit * np.array([1, 1, 1, 2])
        shape = Histogram(np.array([0, 9]), np.ones((2, 4)), np.array([-2 * unit, -4 * unit]), np.array([2 * unit, 4 * unit]))
        histograms[name] = shape
    no_activation = tuple(replace(m, role="linear", activation="") for m in trace.modules if m.kind == "Linear")
    chart = layers.activation_density(replace(trace, modules=no_activation, output_histograms=histograms))
    drawn = rows(chart, "x", "row")
    for row in {point["row"] for point in drawn}:
        ends = [point["x"] for point in drawn if point["row"] == row and point["when"] == "step 9"]
        assert (min(ends), max(ends)) == pytest.approx((-4, 4), abs=1e-3)


def test_cards_fill_two_columns_evenly() -> None:
    assert half_empty([10, 5, 8, 8])
    assert not half_empty([10, 7, 8, 6, 1]), "the last one stands alone"
    assert in_two_columns([5, 1, 1, 3]) == [0, 1, 2, 3]
    assert in_two_columns([10, 10, 30, 20, 30]) == [0, 1, 2, 3, 4]
    assert in_two_columns([10, 30, 10, 50, 20]) == [0, 3, 1, 2, 4]
    assert in_two_columns([1.0] * 40) == list(range(40)), "too many to be tried"
    assert card_height('<svg class="a" viewBox="0 0 200 100">', "x" * 57) == AROUND + WIDE / 2 + 2 * LINE


def test_legends_and_what_is_under_the_pointer_have_whole_names() -> None:
    name = "bert.encoder.layer.0.intermediate.dense.weight"
    lines = [Line(name, np.arange(3.0), np.ones(3)), Line("x" * 90, np.arange(3.0), np.ones(3))]
    drawn = {row["layer"] for row in rows(finish(depth_lines(lines, "axis"), 100), "layer")}
    assert name in drawn
    told = rows(profile([Row(name, 1.0, 2.0)], ["step 0", "step 9"], "axis", log=True), "hint")
    assert [row["hint"] for row in told] == [f"{name}, step 0: 1.00", f"{name}, step 9: 2.00"], "under the pointer"


def test_lines_join_layers_of_one_kind_where_few_blocks_repeat() -> None:
    chart = layers.gradient_data(deep_trace(2), beside=REPLAYED)
    told = [(row["label"], row["kind"]) for row in frames_of(chart)["rows"]]
    pairs = [(f"net.layers.{b}.{part}", kind) for kind, part in ((1, "up"), (2, "down")) for b in range(2)]
    assert told == [("embed", 0), *pairs, ("head", 3)]
    drawn = [layer["encoding"] for layer in chart["layer"] if layer["mark"]["type"] == "line"]
    assert [each["detail"]["field"] for each in drawn] == ["kind", "kind"]
    kinds_of = {(row["layer"], row["kind"]) for row in rows(chart, "layer", "kind")}
    assert kinds_of == set(told)


def test_names_too_long_for_the_side_stand_whole_above_their_rows() -> None:
    long = "bert.encoder.layer.0.attention.output.dense"
    chart = profile([Row(long, 1.0, 2.0, marked=True), Row("head", 1.0, 2.0)], ["step 0", "step 9"], "axis", log=True)
    assert {row["layer"]: row["ink"] for row in rows(chart, "ink")} == {long: LIGHT["critical"], "head": LIGHT["ink"]}
    assert [layer["encoding"]["text"]["field"] for layer in chart["layer"] if layer["mark"]["type"] == "text"] == ["layer"] * 2
    assert not rows(profile([Row("head", 1.0, 2.0)], ["step 9"], "axis", log=True), "ink"), "short ones are labels of the axis"


@needs_chromium
def test_the_slider_joins_layers_of_one_kind(tmp_path: Path) -> None:
    path = html.write(tmp_path / "page.html", Report((), (), deep_trace(2), "Two blocks"))
    with Page(tmp_path / "profile") as browser:
        browser.open(path)
        browser.evaluate("(s => { s.value = 1; s.oninput() })(document.querySelector('.walk input'))")
        line = browser.evaluate("document.querySelector('#figure-gradient-data .walk-layer path').getAttribute('d')")
        assert (line.count("M"), line.count("L")) == (4, 2)


def test_the_page_of_a_thousand_modules_is_small_and_drawn_soon() -> None:
    deep = deep_trace(250)
    assert len(deep.modules) == 1002
    report = Report((), (), deep, "Deep")
    began = time.process_time()
    text = html.render(report)
    assert time.process_time() - began < SOON
    assert len(text.encode()) < SMALL_PAGE
    assert all(f">{module.name}<" in text for module in deep.modules), "whole names"


@needs_chromium
def test_neither_column_of_a_page_is_half_empty(tmp_path: Path) -> None:
    ends = "[...document.querySelectorAll('.flowing figure')].map(f => f.getBoundingClientRect()).map(r => [r.left, r.bottom])"
    path = html.write(tmp_path / "page.html", Report((), (), deep_trace(24), "Deep"))
    with Page(tmp_path / "profile", width=1100) as browser:
        browser.open(path)
        found = browser.evaluate(ends)
        top = browser.evaluate("document.querySelector('.flowing').getBoundingClientRect().top")
        bottoms = [max(bottom for left, bottom in found if left == side) - top for side in {left for left, _ in found}]
        assert len(bottoms) == 2
        assert max(bottoms) < 1.1 * min(bottoms)


@needs_chromium
def test_the_browser_draws_the_page_of_a_thousand_modules_soon(tmp_path: Path) -> None:
    path = html.write(tmp_path / "page.html", Report((), (), deep_trace(250), "Deep"))
    with Page(tmp_path / "profile") as browser:
        browser.open(path)
        painted(browser)
        assert 0 < (began := browser.processor_seconds()) < SOON, "since the page was asked for"
        assert browser.evaluate("document.querySelectorAll('.modules tbody tr').length") >= 1_002
        assert browser.evaluate("document.querySelectorAll('figure svg').length") > 5
        browser.evaluate("document.querySelector('.tools button').click()")  # unfolds all rows
        painted(browser)
        assert 0 < browser.processor_seconds() - began < SOON
        assert len(browser.evaluate(visible(0))) >= 1_002
        assert not browser.complaints()


def painted(browser: Page) -> None:
    """Wait until the browser has drawn what is in the page now."""
    browser.call("Runtime.evaluate", expression=TWO_FRAMES, awaitPromise=True)


def visible(column: int) -> str:
    """Expression: the cells of a column of the table as they are seen."""
    return (
        f"[...document.querySelectorAll('.modules tbody tr')].filter(r => r.offsetHeight).map(r => r.cells[{column}])"
        ".map(c => (c.querySelector('.name') || c).textContent)"
    )


@needs_chromium
@pytest.mark.parametrize(("width", "dark"), [(390, True), (1100, False)])
def test_the_table_folds_sorts_and_is_searched(page: Path, tmp_path: Path, width: int, dark: bool) -> None:
    kinds = [f"net.layers.*{part}" for part in (".up", ".act", ".down", "")]
    with Page(tmp_path / "profile", width=width, dark=dark) as browser:
        browser.open(page)
        press = "document.querySelector({!r}).click()".format
        assert browser.evaluate(visible(0)) == ["embed", *kinds, "head"]
        browser.evaluate("document.querySelectorAll('.fold button')[1].focus()")
        for kind in ("keyDown", "keyUp"):
            browser.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r")
        assert browser.evaluate(visible(0))[3:9] == [f"net.layers.{b}.act" for b in range(6)], "by the keyboard"
        told = "document.querySelectorAll('.fold button')[1].getAttribute({!r})".format
        assert browser.evaluate(told("aria-expanded")) == "true"
        assert browser.evaluate(told("aria-label")) == "6 \N{MULTIPLICATION SIGN} net.layers.*.act"
        field = "document.querySelector('.tools input')"
        find = f"(v => {{{{ {field}.value = v; {field}.dispatchEvent(new Event('input')) }}}})({{!r}})"
        browser.evaluate(find.format("LAYERS.*.down"))
        assert browser.evaluate(visible(0)) == [kinds[2], *(f"net.layers.{b}.down" for b in range(6))]
        assert browser.evaluate("document.querySelector('.tools output').textContent") == "6 of 26 layers"
        browser.evaluate(find.format("[("))  # nothing of a pattern but the star
        assert browser.evaluate(visible(0)) == []
        browser.evaluate(find.format(""))
        dead = f".modules thead th:nth-child({COLUMNS.index('dead') + 1})"
        orders = []
        for order in ("descending", "ascending", "none"):
            browser.evaluate(press(f"{dead} button"))
            assert browser.evaluate(f"document.querySelector({dead!r}).getAttribute('aria-sort')") == order
            orders.append(browser.evaluate(visible(0)))
        assert orders[0][0] == "net.layers.2.act"
        assert orders[1][5] == "net.layers.2.act", "what is missing stays last"
        assert len(orders[0]) == len(orders[1]) == 26
        assert orders[2] == ["embed", *kinds[:2], *(f"net.layers.{b}.act" for b in range(6)), *kinds[2:], "head"]
        browser.evaluate(press(".tools button"))
        assert len(browser.evaluate(visible(0))) == 30
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        assert not browser.complaints()


@needs_chromium
def test_the_frame_of_a_notebook_is_as_high_as_the_page(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "notebook.html"
    frame = report._repr_html_()
    assert report._repr_html_() is frame, "drawn once"
    path.write_text(f"<!doctype html><body>{frame}</body>", encoding="utf-8")
    with Page(tmp_path / "profile", width=900) as browser:
        browser.open(path)
        inner, outer = "document.querySelector('iframe').contentDocument", "document.querySelector('iframe').offsetHeight"
        height = browser.evaluate(outer)
        assert height > 2_000
        assert browser.evaluate(f"{inner}.documentElement.scrollHeight") == height, "nothing to scroll in it"
        browser.evaluate(f"{inner}.querySelector('.tools button').click()")
        opened, end = height, time.monotonic() + 20  # the frame follows when the browser next draws
        while opened <= height + 500 and time.monotonic() < end:
            time.sleep(0.05)
            opened = browser.evaluate(outer)
        assert opened > height + 500
        assert browser.evaluate(f"{inner}.documentElement.scrollHeight") == opened
        assert not browser.complaints()


@needs_chromium
def test_the_slider_walks_over_kinds_and_heat_maps(tmp_path: Path) -> None:
    blocks, place = 6, STEPS.index(3)
    path = html.write(tmp_path / "page.html", Report((), (), deep_trace(blocks), "Walked"))
    with Page(tmp_path / "profile") as browser:
        browser.open(path)
        drawn = browser.evaluate(
            "[...document.querySelectorAll('#figure-gradient-data .now_0_marks path')].map(p => p.getAttribute('d'))"
        )
        browser.evaluate(
            f"(s => {{ s.value = {place}; s.dispatchEvent(new Event('input')) }})(document.querySelector('.walk input'))"
        )
        paths = "[...document.querySelectorAll('#figure-gradient-data .walk-layer path')].map(p => p.getAttribute('d'))"
        walked = browser.evaluate(paths)
        # Steps 3 and 9 have the same figures, so the walked curves lie on those of the last step, as near as 64 heights allow.
        assert len(walked) == len(drawn) == 2
        for here, there in zip(walked, drawn, strict=True):
            old, new = (np.array([point.split(",") for point in d.strip("M").split("L")], dtype=float) for d in (there, here))
            assert len(old) == blocks
            np.testing.assert_allclose(new, old, atol=1.0)
        line = "document.querySelector('#figure-output-heat .walk-layer path').getAttribute('d')"
        width = browser.evaluate(
            "+document.querySelector('#figure-output-heat .background').getAttribute('d').match(/h([0-9.]+)/)[1]"
        )
        assert float(browser.evaluate(line).split("V")[0].strip("M").split(",")[0]) == pytest.approx(
            (place + 0.5) / len(STEPS) * width, abs=0.1
        )
        assert not browser.complaints()
