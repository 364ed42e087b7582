"""The space of a search: around the words' own choice, without what is given by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lettrine.engine.base import Optimiser
from lettrine.search.space import Space
from lettrine.text.words import from_words
from lettrine.training.settings import Settings
from lettrine.training.shape import Shape
from lettrine.training.sizes import size_of


class Middle:
    """Suggests the least of everything, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: dict[str, tuple[float, float, bool]] = {}

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        self.asked[name] = (low, high, log)
        return low

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        self.asked[name] = (low, high, log)
        return low


def space(examples: int, shape: Shape | None = None, settings: Settings | None = None) -> Space:
    return Space(examples, size_of(examples), shape or Shape(), settings or Settings())


@pytest.mark.parametrize("examples", [300, 3_000, 15_000, 180_000, 2_000_000])
def test_the_default_is_a_point_of_the_space_and_comes_to_lettrines_own_training(examples: int) -> None:
    here = space(examples)
    assert set(here.default) == set(here.ranges)
    assert all(low <= here.default[name] <= high for name, (low, high) in here.ranges.items())
    shape, settings = here.chosen(here.default)
    size = size_of(examples)
    assert shape == Shape().sized(size)
    assert settings == replace(Settings().resolved(examples, size), networks=1)


def test_the_first_points_are_the_known_sizes() -> None:
    points = space(180_000).first
    assert points[0] == space(180_000).default
    assert [(point["hidden"], point["layers"]) for point in points] == [(200, 1), (400, 1), (300, 2), (400, 2), (500, 2)]
    assert space(15_000).first == [space(15_000).default]  # of few words the sizes differ in the number of networks alone


def test_counts_are_a_choice() -> None:
    here = space(3_000)
    assert here.default["counts"] == 1
    assert [here.chosen({**here.default, "counts": each})[1].prior for each in (0, 1)] == ["none", "counts"]


def test_what_is_given_is_not_searched() -> None:
    shape = Shape(hidden=(7, 5), embedding=3, context=4, dropout=0.2)
    settings = Settings(learning_rate=0.5, steps=10, prior="none", optimiser=Optimiser(weight_decay=0.25))
    here = space(3_000, shape, settings)
    assert here.ranges == {}
    assert here.chosen({}) == (shape, replace(settings.resolved(3_000, here.size), networks=1))
    assert "dropout" not in space(3_000, Shape(norm="batch")).ranges
    assert "decay" not in space(3_000, None, Settings(optimiser=Optimiser(kind="sgd"))).ranges


def test_what_is_suggested_is_what_is_trained() -> None:
    here, trial = space(180_000), Middle()
    point = here.suggest(trial)
    assert trial.asked["hidden"] == (100, 600, True)
    assert trial.asked["layers"] == (1, 3, False)
    assert trial.asked["lr"] == (0.003, 0.03, True)
    assert trial.asked["dropout"][2] is False  # it may be 0
    shape, settings = here.chosen({**point, "hidden": 100, "layers": 3})
    assert shape.hidden == (100, 60, 36)
    assert (shape.embedding, shape.context, shape.dropout) == (12, 4, 0.0)
    assert settings.learning_rate == 0.003
    assert settings.steps == round(here.size.passes / 2 * 180_000 / 256)
    assert settings.optimiser.weight_decay == pytest.approx(0.6 / (0.003 * settings.steps))  # a fifth of what is usual in all


def test_words_of_a_list_count_as_training_examples() -> None:
    words = from_words(["anna", "bob", "carl", "dora", "emil", "fred", "gina", "hans", "ida", "jo"])
    assert Space.around(words, Shape(), Settings(fractions=(0.8, 0.1))).examples < sum(len(word) + 1 for word in words)
