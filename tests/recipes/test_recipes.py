"""Recipes: the catalogue is whole, and what was published comes out again."""

from __future__ import annotations

import importlib.util
import json
import math
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lettrine.cli.app import main
from lettrine.errors import ConfigError
from lettrine.recipes.catalogue import RECIPES, find_recipe
from lettrine.recipes.choice import chosen_recipes
from lettrine.recipes.describe import describe, verdict
from lettrine.recipes.figures import ComparedFigure, compare, decimals, difference_of, judgement, number_of
from lettrine.recipes.recipe import CIVIL_CODE, NAMES, QUANTITIES, SOURCES, Published
from lettrine.recipes.runner import run_recipe
from lettrine.text.words import from_words, read_words

ONE_STEP = [recipe.name for recipe in RECIPES if recipe.steps == 1]
BUILT = importlib.util.find_spec("lettrine._native") is not None


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_parameter_counts_are_those_published(recipe) -> None:
    counts = [figure for figure in recipe.published if figure.key == "parameters"]
    assert counts or recipe.ours  # ours is held against a loss, whatever its size
    for figure in counts:
        assert recipe.config(figure.words.vocabulary).parameter_count() == figure.values[0]


def test_the_catalogue_holds_together() -> None:
    assert len({recipe.name for recipe in RECIPES}) == len(RECIPES)
    for recipe in RECIPES:
        layers = len(recipe.shape.hidden)
        for figure in recipe.published:
            assert figure.source in SOURCES
            kind = QUANTITIES[figure.key]
            if figure.values and kind.layered:
                assert len(figure.values) == (layers + 2 if "data" in figure.key else layers), (recipe.name, figure.key)
        if recipe.ours:
            continue
        settings = recipe.settings()
        assert (settings.batch, settings.optimiser.kind, settings.keep, settings.split_seed) == (32, "sgd", "last", 42)


@pytest.mark.needs_names
@pytest.mark.parametrize(
    ("name", "engine"),
    [(name, "native" if BUILT else "reference") for name in (*ONE_STEP, "deep-linear-1-trained")]
    + [("deep-tanh-5/3", "reference")],
)
def test_printed_digits_come_out_again(name: str, engine: str, names: Path) -> None:
    """Same weights, same batches: what differs is rounding, of the print and of float32."""
    result = run_recipe(find_recipe(name), read_words(names), engine=engine)
    assert {row.judged for row in result.comparisons} == {"within"}
    for row in result.comparisons:
        digits = 0.006 if row.published >= 1 else 0.03  # of two or three printed digits
        if (row.key, row.layer) != ("gradient-data", "output.weight") or name.endswith("trained"):
            assert row.ours == pytest.approx(row.published, rel=digits), row


@pytest.mark.needs_names
def test_the_last_layer_is_measured_before_its_step(names: Path) -> None:
    """The notebook divides by the weights after it: std grew by sqrt(1 + (lr * ratio)**2), and only there does that show."""
    result = run_recipe(find_recipe("deep-linear-1-weights"), read_words(names), engine="reference")
    row = result.comparisons[-1]
    assert row.layer == "output.weight"
    assert row.ours / math.sqrt(1 + (0.1 * row.ours) ** 2) == pytest.approx(row.published, rel=0.003)


@pytest.mark.needs_names
@pytest.mark.slow
@pytest.mark.skipif(not BUILT, reason="minutes on the reference engine")
def test_two_hundred_thousand_steps_end_at_the_lectures_losses(names: Path) -> None:
    result = run_recipe(find_recipe("kaiming"), read_words(names))
    lecture = {row.key: row for row in result.comparisons if row.source == "L"}
    assert abs(lecture["train"].difference) < 0.001
    assert abs(lecture["dev"].difference) < 0.001
    assert "outside" not in {row.judged for row in result.comparisons}


def test_other_words_are_shown_beside_and_not_judged(few_words: list[str]) -> None:
    result = run_recipe(find_recipe("deep-gain-3"), from_words(few_words), steps=20, engine="reference")
    assert {row.judged for row in result.comparisons if row.key != "parameters"} == {""}
    assert verdict(result) == "Not judged: published after 1,000 steps."
    # The parameters are those of the network that was built, for 26 signs and not for the 27 of the published list.
    (row,) = (row for row in result.comparisons if row.key == "parameters")
    built = sum(value.size for name, value in result.model.parameters.items() if "running" not in name)
    assert (row.ours, row.judged) == (built, "")
    assert row.ours != row.published
    assert result.steps == 20
    assert result.health.findings[0].id == "saturation"
    assert len(result.figures["std"]) == 5
    assert len(result.figures["update-data"]) == 7
    assert json.dumps(result.to_dict()["comparisons"][0])


def test_a_quick_look_judges_only_what_does_not_depend_on_the_steps(
    few_words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = from_words(few_words)
    monkeypatch.setattr(type(words), "digest", NAMES.digest)
    result = run_recipe(find_recipe("kaiming"), words, steps=3, engine="reference")
    judged = {row.key for row in result.comparisons if row.judged}
    assert judged == {"initial"}  # the parameters are those of 26 signs, the published ones of 27


def test_ctrl_c_before_the_first_step_ends_it_as_ever(
    few_words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def evaluate(*_: object) -> float:  # the first thing that a training does
        signal.raise_signal(signal.SIGINT)
        return 3.0

    monkeypatch.setattr("lettrine.training.trainer.mean_loss", evaluate)
    with pytest.raises(KeyboardInterrupt):
        run_recipe(find_recipe("kaiming"), from_words(few_words), steps=3, engine="reference")
    words = tmp_path / "words.txt"
    words.write_text("\n".join(few_words))
    assert main(["recipe", "run", "kaiming", str(words), "--steps", "3", "--engine", "reference"]) == 130
    assert "finite" not in capsys.readouterr().err


def test_what_was_published_in_words_is_said_to_be(few_words: list[str]) -> None:
    words = from_words([*few_words, "xq"])  # 27 signs, as the published list
    result = run_recipe(find_recipe("deep-lr-0.001"), words, engine="reference")
    assert [row.judged for row in result.comparisons if row.key == "parameters"] == ["within"]
    assert verdict(result) == "Only the parameters are judged: the rest was published in words or as a picture."


def test_gradients_of_the_weights_are_those_of_the_trace(few_words: list[str]) -> None:
    result = run_recipe(find_recipe("deep-linear-1-trained"), from_words(few_words), steps=3, engine="reference")
    assert list(result.gradients) == [0, 3]
    start = result.gradients[0]
    trace = result.health.trace
    for name, gradient in start.items():
        assert gradient.ratio == pytest.approx(trace.parameter(name, "gradient_data")[0], rel=1e-3)
        assert gradient.values.shape == result.model.parameters[name].shape
    assert start["output.weight"].ratio > 10 * start["layers.1.weight"].ratio  # shrunk to a tenth
    assert result.gradients[3]["layers.1.weight"].std != start["layers.1.weight"].std


def test_the_recipe_takes_the_learning_rate_of_the_publication_of_these_words(
    few_words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words, recipe = from_words(few_words), find_recipe("batchnorm")
    assert run_recipe(recipe, from_words(few_words), steps=2, engine="reference").settings.peak == 0.1
    monkeypatch.setattr(type(words), "digest", CIVIL_CODE.digest)
    result = run_recipe(recipe, words, steps=2, engine="reference")
    assert result.settings.peak == 0.2
    assert "0.2 on the French civil code" in describe(recipe)["training"]
    figures = {figure.key: figure for figure in recipe.published if figure.source == "B"}
    ours = {"test": (1.72,), "train": (1.53,)}
    rows = {
        (row.key, row.source): row.judged
        for row in compare(recipe, ours, result.health.trace, CIVIL_CODE.digest, vocabulary=41, whole=True, noise={})
    }
    assert rows["train", "B"] == "within"
    assert rows["test", "B"] == "noise"  # another split: no digit of it can be asked for
    assert abs(1.72 - figures["test"].values[0]) > QUANTITIES["test"].tolerance
    assert rows["train", "L"] == ""


@pytest.mark.parametrize(("loss", "said"), [(1.94, "beaten"), (1.96, "outside")])
def test_the_challenge_is_to_lie_below_the_published_loss(few_words: list[str], loss: float, said: str) -> None:
    recipe = find_recipe("challenge")
    small = replace(recipe, shape=replace(recipe.shape, hidden=(8,)), ours=replace(recipe.ours, networks=2, batch=16))
    result = run_recipe(small, from_words(few_words), steps=6)
    assert len(result.model.others) == 1
    assert result.model.prior is not None
    assert result.figures["challenge"] == result.figures["test"]
    (row,) = compare(small, {"challenge": (loss,)}, result.health.trace, CIVIL_CODE.digest, vocabulary=41, whole=True, noise={})
    assert row.judged == said
    told = verdict(replace(result, comparisons=(row,)))
    assert told == ("The published loss is beaten." if said == "beaten" else "The published loss is not beaten.")


def test_another_seed_draws_other_numbers(few_words: list[str]) -> None:
    words, recipe = from_words(few_words), find_recipe("deep-tanh-5/3")
    first, again, other = (run_recipe(recipe, words, engine="reference", seed=seed) for seed in (7, 7, 8))
    assert first.figures["std"] == again.figures["std"]
    assert first.figures["std"] != other.figures["std"]


def test_batch_norm_is_evaluated_three_ways(few_words: list[str]) -> None:
    result = run_recipe(find_recipe("batchnorm"), from_words(few_words), steps=300, engine="reference")
    running, batch, precise = (result.figures[key][0] for key in ("dev", "dev-batch", "dev-precise"))
    assert running != batch != precise
    assert abs(batch - precise) < abs(running - precise)  # 300 steps at a momentum of 0.001 are far behind


@pytest.mark.parametrize(
    ("key", "published", "ours", "expected"),
    [
        ("dev", 2.1015, 2.1214, "within"),
        ("dev", 2.1015, 2.1217, "outside"),
        ("std", 0.65, 0.71, "within"),
        ("std", 0.65, 0.73, "outside"),
        ("saturated", 0.506, 0.535, "within"),
        ("saturated", 0.506, 0.545, "outside"),
        ("parameters", 11_897.0, 11_897.0, "within"),
        ("parameters", 11_897.0, 11_898.0, "outside"),
        ("gradient-std", 4.21e-4, 4.60e-4, "within"),
        ("gradient-std", 4.21e-4, 4.70e-4, "outside"),
        ("update-data", math.nan, 1.0, ""),
    ],
)
def test_tolerances(key: str, published: float, ours: float, expected: str) -> None:
    assert judgement(Published(key, "N", NAMES, (published,)), published, ours) == expected


@pytest.mark.parametrize(("value", "digits"), [(2.1137, 4), (3.3, 1), (4.21e-4, 6), (11897.0, 0), (22.0, 0), (1e-3, 3)])
def test_decimals_of_a_printed_figure(value: float, digits: int) -> None:
    assert decimals(value) == digits


def test_figures_are_written_as_their_kind_is() -> None:
    row = ComparedFigure("saturated", "activations.0", "B", CIVIL_CODE.name, 0.506, 0.487)
    assert (number_of("saturated", 0.506), difference_of(row)) == ("50.6 %", "-1.9 points")
    assert number_of("gradient-std", 4.206e-4) == "4.21e-4"
    assert difference_of(ComparedFigure("std", "", "N", "", 0.5, 0.55)) == "+10.0 %"


def test_names_then_words() -> None:
    chosen, words = chosen_recipes(["naive", "kaiming"])
    assert [recipe.name for recipe in chosen] == ["naive", "kaiming"]
    assert words.source == "first-names"
    with pytest.raises(ConfigError, match="expected one of bengio2003, challenge, naive"):
        chosen_recipes(["naiv"])
    with pytest.raises(ConfigError, match="got no recipe"):
        chosen_recipes([])
    with pytest.raises(ConfigError, match="leave out naive"):
        chosen_recipes(["naive"], everything=True)
    assert len(chosen_recipes([], everything=True)[0]) == len(RECIPES)


def test_the_command_line_runs_and_draws(few_words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("vl_convert")
    words, page = tmp_path / "w.txt", tmp_path / "page.html"
    words.write_text("\n".join(few_words))
    assert main(["recipe", "run", "deep-tanh-5/3", str(words), "--html", str(page), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["recipe"] == "deep-tanh-5/3"
    assert told["comparisons"][1]["published"] == 0.75
    text = page.read_text()
    assert "Recipe deep-tanh-5/3" in text
    assert "Embeddings" in text
    assert main(["recipe", "run", "deep-linear-1", "deep-linear-0.5", str(words), "--html", str(page)]) == 0
    assert "deep-linear-0.5" in page.read_text()
    assert main(["recipe", "run", "deep-linear-1", str(words), "--html", "page.pdf"]) == 2
    assert "ends in .html" in capsys.readouterr().err


def test_the_command_line_lists_and_shows(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe", "list", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["recipes"]) == len(RECIPES)
    for recipe in RECIPES:
        assert main(["recipe", "show", recipe.name]) == 0
        assert recipe.lesson[:20] in capsys.readouterr().out
    assert main(["recipe", "show", "nothing"]) == 2


def test_last_step_is_sampled(few_words: list[str]) -> None:
    trace = run_recipe(find_recipe("deep-tanh-5/3"), from_words(few_words), steps=53, engine="reference").health.trace
    assert trace.steps[-1] == 52
    assert np.isfinite(trace.output("activations.4", "std")[-1])
