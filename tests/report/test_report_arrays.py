"""Pictures of plain arrays, and the palettes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from report_synthetic import rows

from lettrine.errors import HealthError
from lettrine.report import arrays
from lettrine.report.figure import save_chart, to_svg
from lettrine.report.theme import DARK, DEPTHS_DARK, DEPTHS_LIGHT, LIGHT, depth_colours, variables


def test_embedding_scatter_labels_each_point() -> None:
    chart = arrays.embedding_scatter([[0, 1], [2, 3], [np.nan, 0]], [".", "a", "b"], groups=["end", "vowel", "other"])
    assert {(row["name"], row["x"], row["y"]) for row in rows(chart, "name")} == {(".", 0, 1), ("a", 2, 3)}
    svg = to_svg(chart)
    assert ">a<" in svg
    assert ">vowel<" in svg


def test_characters_that_would_end_the_renderer_are_left_out(tmp_path: Path) -> None:
    chart = arrays.embedding_scatter([[0, 0], [1, 1]], ["a", "b"])
    spec = chart | {"title": {"text": ["\x00\ufffe", "\ud800", "\x1bkept\n\uffff"]}}
    assert "kept" in to_svg(spec)
    assert save_chart(spec, tmp_path / "a.png").exists()


def test_embedding_scatter_says_what_it_takes() -> None:
    with pytest.raises(HealthError, match=r"\(2, 10\) and 2 names.*PCA"):
        arrays.embedding_scatter(np.zeros((2, 10)), ["a", "b"])
    with pytest.raises(HealthError, match="3 names"):
        arrays.embedding_scatter(np.zeros((2, 2)), ["a", "b", "c"])


def test_learning_rate_range_marks_the_suggestion_and_leaves_out_nan() -> None:
    rates = np.logspace(-3, 0, 100)
    losses = np.where(rates > 0.5, np.nan, 3 - rates)
    chart = arrays.learning_rate_range(rates, losses, suggestion=0.05, largest=0.3)
    assert {row["rate"] for row in rows(chart, "text")} == {0.05, 0.3}
    assert [row["text"] for row in rows(chart, "text")] == ["suggested 0.05", "largest stable 0.3"]
    assert max(row["rate"] for row in rows(chart, "y")) <= 0.5
    assert "learning rate" in to_svg(chart)
    with pytest.raises(HealthError, match=r"\(100,\)"):
        arrays.learning_rate_range(rates, losses[:5])


def test_product_spread_prints_the_standard_deviation_of_each() -> None:
    values = np.array([-2.0, 2.0])
    found = {row["name"]: row["remark"] for row in rows(arrays.product_spread({"w": values, "5 w": 5 * values}), "remark")}
    assert found == {"w": "std 2.00", "5 w": "std 10.0"}


def test_weight_gradients_draws_each_step_and_leaves_out_what_is_not_finite() -> None:
    random = np.random.default_rng(0)
    gradients = {"a": {0: random.normal(0, 1, (5, 40)), 9: random.normal(0, 3, (5, 40))}, "b": {0: [np.nan], 9: [np.inf]}}
    chart = arrays.weight_gradients(gradients, {"a": "std 1 → 3"})
    assert [(row["name"], row["remark"]) for row in rows(chart, "remark")] == [("a", "std 1 → 3")]
    assert {row["when"] for row in rows(chart, "when")} == {"step 0", "step 9"}
    found = arrays.histogram_of(gradients["a"])
    assert found is not None
    assert found.counts.sum(axis=1).tolist() == [200, 200]
    assert found.high[1] == gradients["a"][9].max()


def test_overlay_draws_each_run_under_its_name() -> None:
    chart = arrays.overlay({"a": ([0, 1], [3.0, 2.0]), "b": ([0, 1], [3.0, np.nan])}, axis="loss", reference=3.3, text="ln 27")
    assert {(row["layer"], row["y"]) for row in rows(chart, "layer")} == {("a", 3.0), ("a", 2.0), ("b", 3.0)}
    assert "ln 27" in to_svg(chart)


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def contrast(one: str, other: str) -> float:
    a, b = sorted([luminance(one), luminance(other)])
    return (b + 0.05) / (a + 0.05)


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_text_can_be_read_and_lines_can_be_seen(palette: dict[str, str]) -> None:
    depths = DEPTHS_LIGHT if palette is LIGHT else DEPTHS_DARK
    for background in ("paper", "card"):
        for text in ("ink", "muted", "accent", "critical", "warning", "info", "good"):
            assert contrast(palette[text], palette[background]) >= 4.5, text
        for colour in (*depths, palette["start"]):
            assert contrast(colour, palette[background]) >= 2.5, colour
    for tone in ("accent", "critical", "warning"):
        assert contrast(palette["card"], palette[tone]) >= 4.5, "the initial of the verdict"


def test_each_colour_of_the_charts_stands_for_one_variable() -> None:
    light, dark = variables(dict(LIGHT), DEPTHS_LIGHT), variables(dict(DARK), DEPTHS_DARK)
    assert light.keys() == dark.keys()
    assert len(set(light.values())) == len(light)
    assert depth_colours(1) == [DEPTHS_LIGHT[0]]
    assert depth_colours(12) == list(DEPTHS_LIGHT)
