"""Gains, spreads, embeddings, runs side by side."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from lettrine.activations import TRAINABLE
from lettrine.cli.app import main
from lettrine.errors import ConfigError, RunDamagedError
from lettrine.inference.embeddings import characters_of, kinds, nearest, project, telling
from lettrine.report.characters import characters_section
from lettrine.tools.comparison import compare_runs, differences, result_rows
from lettrine.tools.gains import gain_row, gain_rows, mean_of, spread_rows
from lettrine.tools.norms import compare_norms, momentum_advice, momentum_range
from lettrine.training.api import Shape, train
from lettrine.training.settings import Settings

QUICK = Shape(context=3, embedding=4, hidden=(16,), activation="tanh")


@pytest.mark.parametrize(
    ("activation", "exact"),
    [
        ("identity", 1.0),
        ("relu", math.sqrt(2)),
        ("leaky-relu", math.sqrt(2 / 1.0001)),
        ("gelu", 1.5335304),
        ("softsign", 2.3375334),
        ("silu", 1.6765325),
        ("elu", 1.2451983),
        ("mish", 1.4868476),
    ],
)
def test_gains_are_what_they_are_derived_from(activation: str, exact: float) -> None:
    row = gain_row(activation)
    assert row.gain == pytest.approx(row.exact, rel=5e-5)
    assert row.exact == pytest.approx(exact, rel=5e-5)


def test_the_gain_of_tanh_settles_and_selu_at_one_keeps_itself() -> None:
    tanh = gain_row("tanh")
    assert tanh.exact == pytest.approx(1.5925, abs=1e-4)
    assert tanh.settled == pytest.approx(tanh.sampled, rel=0.05)
    assert gain_row("selu").exact == pytest.approx(1.0, abs=1e-6)  # Klambauer et al. 2017: mean square 1 is its fixed point
    assert [row.activation for row in gain_rows()] == list(TRAINABLE)


def test_means_under_the_normal_curve() -> None:
    assert mean_of(lambda x: x**2, 3.0) == pytest.approx(9.0)
    assert mean_of(lambda x: x**4, 1.0) == pytest.approx(3.0)
    assert mean_of(np.exp, 1.0) == pytest.approx(math.exp(0.5))


def test_the_spread_of_a_product() -> None:
    rows = spread_rows(fan_in=25, examples=2000)
    assert [row.expected for row in rows] == pytest.approx([5.0, 25.0, 1.0, 1.0])
    for row in rows:
        assert row.measured == pytest.approx(row.expected, rel=0.03)
    with pytest.raises(ConfigError, match="fan-in got 0"):
        spread_rows(fan_in=0)


def test_the_gains_are_printed_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gains", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["gains"][2]["gain"] == pytest.approx(5 / 3)
    pytest.importorskip("vl_convert")
    assert main(["gains", "--fan-in", "30", "--html", str(tmp_path / "g.html")]) == 0
    assert "Spread of x @ w" in (tmp_path / "g.html").read_text()


def test_a_plane_is_left_as_it_is_and_more_is_projected() -> None:
    random = np.random.default_rng(0)
    flat = random.normal(size=(6, 2)).astype(np.float32)
    np.testing.assert_array_equal(project(flat).points, flat.astype(np.float64))
    assert math.isnan(project(flat).shares[0])
    turn = np.linalg.qr(random.normal(size=(5, 5)))[0]
    wide = np.column_stack([10 * random.normal(size=50), 3 * random.normal(size=50), 0.1 * random.normal(size=(50, 3))]) @ turn
    made = project(wide + 7.0)
    centred = wide - wide.mean(axis=0)
    values = np.sort(np.linalg.eigvalsh(centred.T @ centred))[::-1]  # another way to the same shares
    assert made.shares == pytest.approx((values[0] / values.sum(), values[1] / values.sum()))
    assert (made.points**2).sum(axis=0) == pytest.approx(values[:2])
    assert project(wide[:, :1]).points[:, 1].tolist() == [0.0] * 50


def test_the_nearest_are_those_at_the_smallest_angle() -> None:
    table = np.array([[1.0, 0.1], [2.0, 0.0], [0.0, 1.0], [-3.0, -1.1]])  # rows sum to 0: already centred
    assert nearest(table, 1).ravel().tolist() == [1, 0, 0, 2]
    assert nearest(table, 9).shape == (4, 3)


def test_kinds_of_characters() -> None:
    assert kinds(["a", "é", "b", ".", "ж", "ю", "-", "ß", "\u3042", "œ"], ".") == [
        "vowel", "vowel", "consonant", "end of word", "consonant", "vowel", "sign", "consonant", "letter", "vowel",
    ]  # fmt: skip


def test_characters_of_a_run_are_drawn(few_words: list[str]) -> None:
    pytest.importorskip("vl_convert")
    run = train(few_words, shape=QUICK, settings=Settings(steps=50))
    section = characters_section(*characters_of(run.model.vocabulary, run.model.parameters["embedding.weight"]))
    names = [name for row in section.rows for name in row[::2] if name]
    assert sorted(names) == sorted(run.model.vocabulary.show(index) for index in range(run.model.vocabulary.size))
    assert all(len(others.split()) == 3 for row in section.rows for others in row[1::2] if others)
    assert section.figures["embedding"].chart is not None


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, few_words: list[str]) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    for name, more in (("a", {}), ("b", {"init": "naive"}), ("c", {"health": False, "learning_rate": 0.003})):
        train(few_words, out=folder / name, shape=QUICK, settings=Settings(**{"steps": 200, "learning_rate": 0.01, **more}))
    return [folder / name for name in "abc"]


def test_runs_side_by_side(runs: list[Path]) -> None:
    read = compare_runs(runs)
    told = dict(differences(read))
    assert told["init"] == ["kaiming", "naive", "kaiming"]
    assert told["learning rate"] == ["0.01", "0.01", "0.003"]
    assert told["health"] == ["True", "True", "False"]
    assert "words" not in told
    results = dict(result_rows(read))
    assert results["steps"] == [200.0] * 3
    assert results["loss before training"][1] > results["loss before training"][0] + 3
    assert read[1].findings
    assert "initial-loss" in read[1].findings
    assert read[2].health is None
    assert len(read[0].updates[0]) > 10
    assert len(read[2].updates[0]) == 0
    assert read[0].loss[1][0] == pytest.approx(math.log(27), abs=0.1)


def test_only_a_few_runs_can_be_compared(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="got 1 run; expected 2"):
        compare_runs(runs[:1])
    with pytest.raises(RunDamagedError, match="does not exist"):
        compare_runs([runs[0], tmp_path / "none"])
    same = compare_runs([runs[0], runs[0]])
    assert same[0].name == str(runs[0])
    assert differences(same) == []


def test_comparing_prints_and_draws(runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *map(str, runs), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"] == ["a", "b", "c"]
    assert main(["compare", *map(str, runs)]) == 0
    assert "naive" in capsys.readouterr().out
    pytest.importorskip("vl_convert")
    assert main(["compare", *map(str, runs), "--html", str(tmp_path / "c.html")]) == 0
    assert "Different settings" in (tmp_path / "c.html").read_text()


def test_batch_norm_three_ways(tmp_path: Path, few_words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    shape = Shape(context=3, embedding=6, hidden=(20, 20), activation="tanh", norm="batch", norm_momentum=0.003)
    train(few_words, out=tmp_path / "late", shape=shape, settings=Settings(steps=150, batch=32))
    found = compare_norms(tmp_path / "late")
    assert found.losses["batch"]["train"] == found.losses["precise"]["train"]
    assert found.losses["running"]["dev"] > found.losses["precise"]["dev"] + 0.01  # 150 steps of 0.003 forget a third
    assert "too small to forget its start" in found.advice
    assert main(["norms", str(tmp_path / "late")]) == 0
    assert "do not agree" in capsys.readouterr().out
    train(few_words, out=tmp_path / "precise", shape=shape, settings=Settings(steps=150, batch=32, precise_norm=True))
    exact = compare_norms(tmp_path / "precise")
    assert exact.losses["running"] == pytest.approx(exact.losses["precise"], abs=1e-4)
    train(few_words, out=tmp_path / "plain", shape=QUICK, settings=Settings(steps=10))
    assert main(["norms", str(tmp_path / "plain")]) == 2
    assert "has no batch norm" in capsys.readouterr().err


def test_which_momentum_suits() -> None:
    least, most = momentum_range(32, 3_000)
    assert least == pytest.approx(0.001)
    assert math.sqrt(most / (2 - most) / 32) == pytest.approx(0.05)
    assert "0.1 fits" in momentum_advice(0.1, 32, 3_000)
    assert "single batches show" in momentum_advice(0.5, 4, 3_000)
    assert "take about" in momentum_advice(1e-5, 32, 3_000)
    assert "--precise-norm" in momentum_advice(0.1, 2, 20)


def test_a_table_of_neighbours_must_tell_something() -> None:
    groups = ["vowel"] * 6 + ["consonant"] * 20 + ["end of word"]
    generator = np.random.default_rng(3)
    rows = generator.standard_normal((27, 8))
    assert not telling(groups, nearest(rows))
    rows[:6] += 2.0
    assert telling(groups, nearest(rows))
    assert not telling(["letter"] * 27, nearest(rows)), "there are no kinds to agree on"
