"""Sampling and scoring against the model's own probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lettrine.engine.choice import choose_engine
from lettrine.engine.reference import ReferenceEngine, probabilities
from lettrine.errors import ConfigError, VocabularyError
from lettrine.inference.evaluation import Loss
from lettrine.inference.language_model import LanguageModel
from lettrine.inference.sampling import Sampling
from lettrine.model.config import MLPConfig
from lettrine.model.initialisation import SCHEMES, initialise
from lettrine.text.vocabulary import Vocabulary

LETTERS = "abcdefg"


def model_of(seed: int = 0, **shape) -> LanguageModel:
    config = MLPConfig(**{"vocabulary_size": 8, "context": 3, "embedding": 2, "hidden": (5,), **shape})
    parameters = initialise(config, SCHEMES["kaiming"], np.random.default_rng(seed))
    parameters["output.weight"] *= 60  # opinions strong enough to matter
    return LanguageModel(config, Vocabulary(tuple(LETTERS)), parameters, ReferenceEngine(), frozenset({"a", "ab", "b"}))


def own_log_probability(model: LanguageModel, word: str) -> float:
    """One character at a time, in a few plain lines: what `score` must equal."""
    context, total = [0] * model.config.context, 0.0
    for index in [*model.vocabulary.encode(word), 0]:
        logits = model.engine.logits(model.config, model.parameters, np.array([context], np.int32))
        total += float(np.log(probabilities(logits)[0, index]))
        context = [*context[1:], index]
    return total


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text(LETTERS, min_size=1, max_size=12), min_size=1, max_size=5), st.integers(0, 5))
def test_a_score_is_the_sum_of_the_models_log_probabilities(words: list[str], seed: int) -> None:
    model = model_of(seed)
    for word, score in zip(words, model.score(words), strict=True):
        assert score.log_likelihood == pytest.approx(own_log_probability(model, word), rel=1e-5)
        assert score.log_likelihood == pytest.approx(sum(p for _, p in score.characters))
        assert [c for c, _ in score.characters] == [*word, "."]
        assert score.surprise[2] == min(p for _, p in score.characters)
        assert score.perplexity == pytest.approx(np.exp(-score.log_likelihood / (len(word) + 1)))


def test_first_characters_are_drawn_as_often_as_the_model_says() -> None:
    model = model_of()
    logits = model.engine.logits(model.config, model.parameters, np.zeros((1, 3), np.int32))
    expected = probabilities(logits)[0] * 8000
    drawn = model.drawer()(np.zeros((8000, 3), np.int32), np.random.default_rng(5).random((8000, 1)))
    seen = np.bincount(drawn[:, 0], minlength=8)
    chi_square = ((seen - expected) ** 2 / expected).sum()
    assert chi_square < 24.3  # 7 degrees of freedom: exceeded once in a thousand


def test_a_seed_repeats_and_another_does_not() -> None:
    model = model_of()
    assert model.sample(50, seed=3) == model.sample(50, seed=3)
    assert model.sample(50, seed=3) != model.sample(50, seed=4)
    assert model.sample(5000, seed=3)[:50] == model.sample(5000, seed=3)[:50]


def test_wishes_are_met() -> None:
    model = model_of()
    new = model.sample(200, new=True)
    assert not {"a", "ab", "b"} & set(new)
    unique = model.sample(100, unique=True)
    assert len(set(unique)) == len(unique) == 100
    assert all(word.startswith("bad") for word in model.sample(50, prefix="bad"))
    assert max(map(len, model.sample(300, max_length=4, temperature=2.0))) <= 4
    assert len(set(model_of(2).sample(20, temperature=0.0))) == 1
    assert len(set(model_of(2).sample(20, top_k=1))) == 1


def test_an_impossible_wish_ends() -> None:
    model = model_of(2)
    assert len(model.sample(50, temperature=0.0, unique=True)) == 1  # there is only one likeliest word


def test_a_prefix_longer_than_the_context_is_kept_whole() -> None:
    assert all(word.startswith("abcdefg") for word in model_of().sample(20, prefix="abcdefg"))


@pytest.mark.parametrize(
    ("how", "match"),
    [
        ({"temperature": -1.0}, "temperature got -1.0"),
        ({"temperature": float("nan")}, "temperature got nan"),
        ({"top_k": -1}, "top-k got -1"),
        ({"top_p": 0.0}, "top-p got 0.0"),
        ({"top_p": 1.5}, "top-p got 1.5"),
        ({"max_length": 0}, "max length got 0"),
        ({"prefix": "abc", "max_length": 2}, "prefix has 3 characters"),
        ({"seed": -1}, "seed got -1"),
    ],
)
def test_wishes_outside_their_range_are_refused(how, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        Sampling(**how)


def test_unknown_characters_are_named() -> None:
    with pytest.raises(VocabularyError, match="z"):
        model_of().sample(3, prefix="z")
    with pytest.raises(ConfigError, match="count got 0"):
        model_of().sample(0)


def test_an_unknown_character_gets_a_floor_and_a_flag() -> None:
    model = model_of()
    strange, plain = model.score(["abzcd", "cd"])
    assert strange.unknown == ("z",)
    assert strange.characters[2] == ("z", pytest.approx(-np.log(0x110000)))
    assert strange.surprise[0] == 2
    assert strange.characters[3:] == plain.characters, "what follows is judged as at the beginning of a word"
    assert plain.unknown == ()


@settings(deadline=None, max_examples=30)
@given(st.lists(st.text(LETTERS + "zé", max_size=9), max_size=12))
def test_many_words_score_as_one_by_one(words: list[str]) -> None:
    model = model_of()
    many = [row for some in model.score_many(words) for row in zip(some.words, *list(vars(some).values())[1:], strict=True)]
    for (word, total, mean, place, worst, unknown), one in zip(many, model.score(words), strict=True):
        assert word == one.word
        assert total == pytest.approx(one.log_likelihood)
        assert mean == pytest.approx(one.per_character)
        assert (place, worst) == (one.surprise[0], pytest.approx(one.surprise[2]))
        assert unknown == sum(word.count(character) for character in one.unknown)


def test_words_are_scored_in_portions(monkeypatch) -> None:
    model, words = model_of(), ["abc", "g", "fedcba"] * 20
    whole = [x for some in model.score_many(words) for x in some.log_likelihood]
    monkeypatch.setattr("lettrine.inference.scoring.EXAMPLES", 10)
    portions = list(model.score_many(words))
    assert len(portions) > 20
    assert [x for some in portions for x in some.log_likelihood] == pytest.approx(whole)
    assert [score.log_likelihood for score in model.score(words)] == pytest.approx(whole)


def test_a_loss_in_three_units() -> None:
    loss = Loss(np.log(8.0))
    assert loss.bits == pytest.approx(3.0)
    assert loss.perplexity == pytest.approx(8.0)
    assert "3.0000 bits" in repr(loss)


def test_evaluate_is_the_mean_over_all_characters() -> None:
    model = model_of()
    words = ["abc", "g", "fedcba", "abd", "g", "abc"]  # what is there several times is worked out once, and counts each time
    total = sum(score.log_likelihood for score in model.score(words))
    assert model.evaluate(words).nats == pytest.approx(-total / (4 + 2 + 7 + 4 + 2 + 4), rel=1e-6)


def test_auto_is_an_engine_and_an_unknown_one_is_refused() -> None:
    assert choose_engine("auto").name in ("native", "reference")
    with pytest.raises(ConfigError, match="expected one of auto, reference, native"):
        choose_engine("gpu")
