"""Figures of arrays, against numbers worked on paper and plain numpy."""

from __future__ import annotations

from math import isnan, log, sqrt

import numpy as np
import pytest

from lettrine.health import measure, moments, parts
from lettrine.health.duplicates import duplicates
from lettrine.health.trace import BINS, GRADIENT_STATS, NORM_STATS, OUTPUT_STATS, PARAMETER_STATS


@pytest.fixture(params=["numpy", "native"], autouse=True)
def arithmetic(request, monkeypatch):
    """Every test here runs on the definition and on its compiled twin."""
    if request.param == "numpy":
        monkeypatch.setattr(moments, "native", None)
    elif moments.native is None or not hasattr(moments.native, "moments"):
        pytest.skip("the compiled part is not built")


def stat(row, name, table=OUTPUT_STATS):
    return float(row[table.index(name)])


def test_output_figures_on_paper():
    values = np.array([[-1.0, 0.0, 0.98], [1.0, 0.0, 0.5]], dtype=np.float32)
    seen = measure.output(values, -1, "tanh")
    assert stat(seen.row, "mean") == pytest.approx(1.48 / 6, rel=1e-6)
    assert stat(seen.row, "std") == pytest.approx(float(np.std(values.astype(np.float64), ddof=1)), rel=1e-12)
    assert stat(seen.row, "rms") == pytest.approx(sqrt((2 + 0.98**2 + 0.25) / 6), rel=1e-6)
    assert (stat(seen.row, "min"), stat(seen.row, "max")) == (-1.0, 1.0)
    assert stat(seen.row, "saturated") == pytest.approx(3 / 6)
    assert stat(seen.row, "zero") == pytest.approx(2 / 6)
    assert stat(seen.row, "dead") == pytest.approx(1 / 3)
    assert stat(seen.row, "nonfinite") == 0.0
    assert seen.dead.tolist() == [True, False, False]
    assert seen.saturated.tolist() == [1.0, 0.0, 0.5]
    assert seen.rows == 2


@pytest.mark.parametrize(
    ("activation", "column", "dead", "saturated"),
    [
        ("tanh", [0.995, -0.995], True, 1.0),
        ("tanh", [0.98, -0.98], False, 1.0),
        ("tanh", [0.96, 0.96], False, 0.0),
        ("sigmoid", [0.998, 0.001], True, 1.0),
        ("sigmoid", [0.01, 0.5], False, 0.5),
        ("relu", [0.0, 0.0], True, None),
        ("relu", [0.0, 1e-6], False, None),
        ("relu6", [0.0, 6.0], True, None),
        ("gelu", [-1e-3, 0.0], True, None),
        ("gelu", [-0.16, 0.0], False, None),
        ("selu", [-1.757, -1.757], True, 1.0),
        ("selu", [-1.757, 3.0], False, 0.5),
        ("identity", [0.0, 0.0], None, None),
        ("leaky-relu", [-0.01, -5.0], None, None),
        ("", [1.0, 1.0], None, None),
    ],
)
def test_each_activation_has_its_own_idea_of_dead(activation, column, dead, saturated):
    seen = measure.output(np.array(column, dtype=np.float32)[:, None], -1, activation)
    assert (None if seen.dead is None else bool(seen.dead[0])) == dead
    assert (None if seen.saturated is None else float(seen.saturated[0])) == saturated
    assert isnan(stat(seen.row, "dead")) == (dead is None)
    assert isnan(stat(seen.row, "saturated")) == (saturated is None)


def test_channels_of_a_convolution_are_its_units():
    values = np.zeros((4, 3, 2, 5), dtype=np.float32)
    values[2, 1, 0, 4] = 1.0
    seen = measure.output(values, 1, "relu")
    assert seen.dead.tolist() == [True, False, True]
    assert seen.rows == 4 * 2 * 5


def test_nonfinite_values_are_counted_and_left_out():
    values = np.array([[1.0, np.nan], [3.0, np.inf], [-np.inf, 2.0]], dtype=np.float32)
    seen = measure.output(values, -1, "relu", detail=True)
    assert stat(seen.row, "mean") == 2.0
    assert stat(seen.row, "std") == 1.0
    assert (stat(seen.row, "min"), stat(seen.row, "max")) == (1.0, 3.0)
    assert stat(seen.row, "nonfinite") == 0.5
    assert seen.dead.tolist() == [False, False]
    assert seen.histogram.counts.sum() == 3


def test_nothing_finite_and_nothing_at_all_are_missing():
    for values in (np.full((2, 3), np.nan, dtype=np.float32), np.empty((0, 3), dtype=np.float32)):
        seen = measure.output(values, -1, "tanh", detail=True)
        assert np.isnan(seen.row[:6]).all()
        assert seen.histogram is None
    assert isnan(measure.gradient(np.array([2.0], dtype=np.float32)).row[1])


def test_figures_keep_their_digits_far_from_zero():
    values = 1e4 + np.random.default_rng(0).standard_normal((50, 40)).astype(np.float32)
    seen = measure.gradient(values)
    assert seen.row[1] == pytest.approx(np.std(values.astype(np.float64), ddof=1), rel=1e-9)


@pytest.mark.parametrize("scale", [1e-44, 1e-30, 3e-22, 1e-20, 1e-16, 1e-12, 1.0, 1e12, 1e19, 1e30])
def test_figures_of_any_magnitude_have_six_digits(scale):
    """The squares of the smallest and largest of these are no float32."""
    size = 4 * 517
    values = np.tile(np.array([1.0, -1.0, 3.0, -3.0], dtype=np.float32) * np.float32(scale), size // 4)
    one = float(np.float32(scale))
    row = measure.output(values.reshape(-1, 4)).row
    assert stat(row, "mean") == pytest.approx(0.0, abs=1e-6 * one)
    assert stat(row, "std") == pytest.approx(sqrt(5 * size / (size - 1)) * one, rel=1e-6, abs=0)
    assert stat(row, "rms") == pytest.approx(sqrt(5) * one, rel=1e-6, abs=0)
    assert (stat(row, "min"), stat(row, "max")) == (float(values.min()), float(values.max()))


@pytest.mark.parametrize("middle", [0.1, 4.0, 1000.0, 60000.0])
def test_figures_of_values_far_from_zero_have_six_digits(middle):
    size = 2_062
    values = (middle + np.random.default_rng(5).normal(size=size)).astype(np.float32)
    std = float(np.std(values, ddof=1, dtype=np.float64))
    assert stat(measure.gradient(values).row, "std", GRADIENT_STATS) == pytest.approx(std, rel=1e-6)
    update = measure.parameter(np.zeros(size, dtype=np.float32), values, values)
    rms = float(np.sqrt(np.mean(values.astype(np.float64) ** 2)))
    assert stat(update, "update_rms", PARAMETER_STATS) == pytest.approx(rms, rel=1e-6)
    constant = measure.output(np.full((size, 1), middle, dtype=np.float32)).row
    assert stat(constant, "std") == 0.0
    assert stat(constant, "mean") == pytest.approx(middle, rel=1e-7)


def test_parameter_figures_on_paper():
    before = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], dtype=np.float32)
    slope = np.array([[0.1, -0.1], [0.3, -0.3], [0.5, -0.5]], dtype=np.float32)
    row = measure.parameter(before, before - np.float32(0.5) * slope, slope, 0.5)
    spread, moved = np.std(before, ddof=1), np.std(slope.astype(np.float64), ddof=1)
    assert stat(row, "gradient_data", PARAMETER_STATS) == pytest.approx(moved / spread, rel=1e-6)
    assert stat(row, "update_data", PARAMETER_STATS) == pytest.approx(0.5 * moved / spread, rel=1e-5)
    assert stat(row, "gradient_norm", PARAMETER_STATS) == pytest.approx(sqrt(2 * (0.01 + 0.09 + 0.25)), rel=1e-6)
    assert stat(row, "update_rms", PARAMETER_STATS) == pytest.approx(0.5 * sqrt(0.35 / 3), rel=1e-5)
    assert stat(row, "gradient_mean", PARAMETER_STATS) == pytest.approx(0.0, abs=1e-8)
    assert stat(row, "mean", PARAMETER_STATS) == 3.5
    assert stat(row, "learning_rate", PARAMETER_STATS) == 0.5
    assert isnan(stat(row, "duplicate", PARAMETER_STATS))
    assert stat(row, "nonfinite", PARAMETER_STATS) == 0.0


def test_what_a_parameter_has_not_got_is_missing_not_zero():
    row = measure.parameter(np.full((2, 2), 3.0, dtype=np.float32))
    assert stat(row, "std", PARAMETER_STATS) == 0.0
    for name in ("gradient_mean", "gradient_norm", "gradient_data", "update_data", "update_rms", "gradient_nonfinite"):
        assert isnan(stat(row, name, PARAMETER_STATS))
    constant = np.ones((2, 2), dtype=np.float32)
    assert isnan(stat(measure.parameter(constant, 2 * constant, constant), "update_data", PARAMETER_STATS))


def test_many_parameters_at_once_equal_each_alone():
    rng = np.random.default_rng(1)
    items = [
        measure.ParameterArrays(
            rng.standard_normal(shape).astype(np.float32),
            rng.standard_normal(shape).astype(np.float32) if place != 1 else None,
            rng.standard_normal(shape).astype(np.float32) if place != 2 else None,
            0.1 * place,
            7 * place,
        )
        for place, shape in enumerate([(5, 3), (5,), (2, 5), (1,)])
    ]
    table = measure.parameters(items)
    for item, row in zip(items, table, strict=True):
        alone = measure.parameter(*item[:4], size=item.size, duplicate=item.duplicate)
        np.testing.assert_array_equal(row, alone)


def test_norm_gap_and_ratio_on_paper():
    mean, var = np.array([0.0, 2.0]), np.array([4.0, 1.0])
    row = measure.norm(mean, var, np.array([3.0, 2.0]), np.array([1.0, 1.0]), eps=0.0)
    assert stat(row, "mean_gap", NORM_STATS) == pytest.approx(sqrt(9 / 2))
    assert stat(row, "variance_ratio", NORM_STATS) == pytest.approx(2.0)
    assert np.isnan(measure.norm(mean, var, mean * np.nan, var)).all()


def test_histogram_equals_numpys_within_its_range():
    values = np.random.default_rng(2).uniform(-1, 1, (40, 30)).astype(np.float32)
    counts, low, high = measure.output(values, detail=True).histogram
    assert (low, high) == (values.min(), values.max())
    want, _ = np.histogram(values.astype(np.float64), bins=BINS, range=(low, high))
    assert counts.sum() == values.size
    assert np.abs(counts - want).sum() <= 4  # a value on an edge may round to either side


def test_histogram_keeps_outliers_in_its_outermost_bins():
    values = np.r_[np.random.default_rng(3).standard_normal(10_000), 1e3].astype(np.float32)
    counts, _, high = measure.gradient(values, detail=True).histogram
    assert counts.sum() == values.size
    assert high < 1e3
    assert counts[-1] >= 1
    flat = measure.gradient(np.full((3, 4), 2.0, dtype=np.float32), detail=True).histogram
    assert (flat.low, flat.high, flat.counts.sum()) == (1.5, 2.5, 12)


def test_identical_units_are_found_and_only_they():
    rng = np.random.default_rng(4)
    matrix = rng.standard_normal((6, 5)).astype(np.float32)
    assert duplicates(matrix) == 0.0
    matrix[4] = matrix[1] * (1 + 1e-7)
    assert duplicates(matrix) == pytest.approx(2 / 6)
    assert duplicates(np.zeros((6, 5), dtype=np.float32)) == 1.0
    assert duplicates(np.full((6, 5, 3, 3), 0.5, dtype=np.float32)) == 1.0
    assert isnan(duplicates(matrix[0]))
    assert duplicates(rng.standard_normal((1000, 50))) == 0.0
    for spoilt in (np.inf, np.nan, 1e30):  # and warns of nothing
        assert isnan(duplicates(np.full((6, 5), spoilt, dtype=np.float32)))


def test_large_arrays_are_represented_by_an_even_part():
    values = np.arange(1000 * 128, dtype=np.float32).reshape(1000, 128)
    table = parts.rows(values)
    assert table.shape == (125, 128)
    assert table[0].tolist() == values[0].tolist()
    assert abs(float(table.mean()) / float(values.mean()) - 1) < 0.01
    picture = np.arange(2 * 3 * 100 * 100, dtype=np.float32).reshape(2, 3, 100, 100)
    assert parts.rows(picture, 1, cap=3000).shape == (992, 3)
    assert set(np.unique(parts.rows(picture, 1, cap=3000)[:, 1] // 10_000).tolist()) == {1.0, 4.0}
    wide = parts.rows(np.zeros((500, 5000)))
    assert wide.shape == (63, 250)
    sequences = np.arange(32 * 64, dtype=np.float32).reshape(32, 64, 1).repeat(16, axis=2)
    assert len(set((parts.rows(sequences, cap=16 * 256)[:, 0] % 64).tolist())) == 64  # every position of a sequence is met
    pictures = np.arange(16 * 2 * 20 * 20, dtype=np.float32).reshape(16, 2, 20, 20)
    met = parts.rows(pictures, 1, cap=2 * 16 * 8)[:, 0]
    assert met.tolist() == [image * 800 + image * 28 + place for image in range(14) for place in range(8)]  # wandering runs
    weights = parts.part(values)
    assert weights.size <= parts.CAP
    assert len(set((weights % 128).tolist())) == 128  # every column is met


@pytest.mark.parametrize("images", [1, 4, 32, 256])
@pytest.mark.parametrize("channels", [3, 16, 128])
@pytest.mark.parametrize("side", [4, 7, 8, 14, 32])
def test_no_part_of_a_plane_is_left_out(images, channels, side):
    pattern = parts.picks((images, channels, side, side), 1)
    if pattern is None:
        return
    examples = pattern.examples()
    assert len(set(examples.tolist())) == len(examples)
    assert examples.max() < images * side * side
    assert len(examples) * channels > 0.35 * parts.CAP
    assert len(set((examples // side**2).tolist())) >= min(images, 5)
    places = examples % side**2
    for coordinate in (places // side, places % side):
        assert abs(coordinate.mean() - (side - 1) / 2) < 0.13 * side


def test_snapshot_is_small_whatever_the_layer():
    seen = measure.output(np.zeros((300, 700), dtype=np.float32), -1, "relu", detail=True)
    assert seen.snapshot.shape == (60, 234)
    assert measure.output(np.zeros((3, 4), dtype=np.float32), -1, "", detail=True).snapshot is None


def test_natural_logarithm_of_ratio_is_averaged():
    row = measure.norm(np.zeros(2), np.array([4.0, 1.0]), np.zeros(2), np.ones(2), eps=0.0)
    assert log(row[1]) == pytest.approx(log(4) / 2)
