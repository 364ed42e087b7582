"""Under any wish, words come with the model's own probabilities among the words that meet it: chi-square against all words."""

from __future__ import annotations

import re
from collections import Counter
from itertools import product

import numpy as np
import pytest
from edits import edits

from lettrine.engine.reference import ReferenceEngine
from lettrine.errors import ConfigError
from lettrine.inference import predictor, source, tree
from lettrine.inference.conditions import condition
from lettrine.inference.language_model import LanguageModel
from lettrine.inference.predictor import Cuts
from lettrine.inference.tree import PrefixTree
from lettrine.model.config import MLPConfig
from lettrine.model.initialisation import SCHEMES, initialise
from lettrine.text.vocabulary import Vocabulary

LONGEST = 5
KNOWN = frozenset({"ab", "cab", "bb"})
WORDS = ["".join(letters) for length in range(LONGEST + 1) for letters in product("abc", repeat=length)]


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    config = MLPConfig(vocabulary_size=4, context=2, embedding=2, hidden=(5,))
    parameters = initialise(config, SCHEMES["kaiming"], np.random.default_rng(3))
    parameters["output.weight"] *= 15
    return LanguageModel(config, Vocabulary(tuple("abc")), parameters, ReferenceEngine(), KNOWN)


def chances(model: LanguageModel, cuts: Cuts) -> dict[str, float]:
    """The probability of every word up to LONGEST, one character after the other in plain lines."""
    result = {}
    for word in WORDS:
        context, total = [0] * model.context, 1.0
        for index in [*model.vocabulary.encode(word), 0]:
            total *= float(model.probabilities(np.array([context], np.int32), **vars(cuts))[0, index])
            context = [*context[1:], index]
        result[word] = total
    return result


def chi_square(words: list[str], expected: dict[str, float]) -> float:
    """How many standard deviations the statistic lies above its mean (Wilson & Hilferty 1931); rare words are put together."""
    total = sum(expected.values())
    seen = Counter(words)
    assert set(seen) <= {word for word, chance in expected.items() if chance > 0}
    cells, rest = [], [0, 0.0]
    for word, chance in expected.items():
        awaited = chance / total * len(words)
        if awaited >= 5:
            cells.append((seen[word], awaited))
        else:
            rest = [rest[0] + seen[word], rest[1] + awaited]
    cells += [tuple(rest)] if rest[1] >= 5 else []
    assert len(cells) > 1
    statistic, degrees = sum((got - want) ** 2 / want for got, want in cells), len(cells) - 1
    return float(((statistic / degrees) ** (1 / 3) - (1 - 2 / (9 * degrees))) / np.sqrt(2 / (9 * degrees)))


WISHES = {
    "nothing": ({}, lambda w: w is not None),
    "max": ({"max_length": 2}, lambda w: len(w) <= 2),
    "min": ({"min_length": 4}, lambda w: len(w) >= 4),
    "empty": ({"min_length": 0, "max_length": 3}, lambda w: len(w) <= 3),
    "suffix": ({"suffix": "ca"}, lambda w: w.endswith("ca")),
    "contains": ({"contains": ("bb", "a")}, lambda w: "bb" in w and "a" in w),
    "without": ({"without": "ac"}, lambda w: not set(w) & set("ac")),
    "match": ({"match": "(ab|c)+b?"}, lambda w: re.fullmatch("(ab|c)+b?", w)),
    "like": ({"like": "cabc", "near": 1}, lambda w: edits("cabc", w) <= 1),
    "prefix": ({"prefix": "ba", "suffix": "b"}, lambda w: w.startswith("ba") and w.endswith("b")),
    "all": (
        {"prefix": "c", "without": "b", "min_length": 3, "match": ".*a.*"},
        lambda w: re.fullmatch("c[ac]{2,}", w) and "a" in w,
    ),
    "new": ({"new": True, "max_length": 2}, lambda w: w not in KNOWN and len(w) <= 2),
    "not near": ({"not_near": 1}, lambda w: min(edits(w, k) for k in KNOWN) > 1),
}
CUTS = {"plain": Cuts(), "cool": Cuts(0.7, 0, 1.0), "cut": Cuts(1.2, 0, 0.99)}


@pytest.mark.parametrize("seldom", [0.0, 2.0], ids=["whole", "tree"])
@pytest.mark.parametrize("cuts", CUTS)
@pytest.mark.parametrize("name", WISHES)
def test_words_come_as_often_as_the_model_says(model, name: str, cuts: str, seldom: float, monkeypatch) -> None:
    monkeypatch.setattr(source, "SELDOM", seldom)
    monkeypatch.setattr(source, "TREE_WORTH", 0.0)  # whatever it rules out
    monkeypatch.setattr(source, "FIRST_LOOK", 64)
    wishes, wanted = WISHES[name]
    expected = {w: p for w, p in chances(model, CUTS[cuts]).items() if wanted(w) and (w or wishes.get("min_length") == 0)}
    assert sum(expected.values()) > 0
    words = model.sample(4000, **{"max_length": LONGEST, **wishes}, **vars(CUTS[cuts]), seed=4)
    assert len(words) == 4000
    assert chi_square(words, expected) < 4


@pytest.mark.parametrize("seldom", [0.0, 2.0], ids=["whole", "tree"])
def test_words_of_several_pieces_are_drawn_as_any(model, seldom: float, monkeypatch) -> None:
    monkeypatch.setattr(predictor, "PIECE", 4)
    monkeypatch.setattr(source, "SELDOM", seldom)
    monkeypatch.setattr(source, "FIRST_LOOK", 64)
    words = model.sample(4000, seed=4, suffix="ca", max_length=LONGEST)
    assert chi_square(words, {w: p for w, p in chances(model, Cuts()).items() if w.endswith("ca")}) < 4
    assert model.sample(70, seed=4, suffix="ca", max_length=LONGEST) == words[:70]


@pytest.mark.parametrize("name", ["min", "suffix", "new"])
def test_a_tree_that_rules_out_little_is_left_and_words_stay_exact(model, name: str, monkeypatch) -> None:
    for constant, value in (("SELDOM", 2.0), ("FIRST_LOOK", 64), ("TREE_TRIAL", 512), ("TREE_WORTH", 0.99)):
        monkeypatch.setattr(source, constant, value)
    whole, inside = [], source.Source._whole
    monkeypatch.setattr(source.Source, "_whole", lambda self, n: whole.append(self._drawn) or inside(self, n))
    wishes, wanted = WISHES[name]
    words = model.sample(4000, **{"max_length": LONGEST, **wishes}, seed=4)
    assert max(whole) > 64  # the first look, and all that followed the trial
    assert chi_square(words, {w: p for w, p in chances(model, Cuts()).items() if w and wanted(w)}) < 4
    assert model.sample(70, seed=4, **{"max_length": LONGEST, **wishes}) == words[:70]


@pytest.mark.parametrize("prefixes", [1, 2, 5, 30, 1000])
def test_a_tree_of_any_size_draws_the_same_words(model, prefixes: int, monkeypatch) -> None:
    monkeypatch.setattr(tree, "CELLS", prefixes * model.vocabulary.size)
    accepted = condition(model.vocabulary, least=1, match=".*(bb|ca)c?")
    grown = PrefixTree(model, model.drawer(), accepted, Cuts(), np.zeros(2, np.int32), LONGEST)
    generator, words = np.random.default_rng(0), []
    for _ in range(40):
        words += model.vocabulary.decode_all(grown.draw(256, generator))
    expected = {w: p for w, p in chances(model, Cuts()).items() if re.fullmatch(".*(bb|ca)c?", w)}
    assert chi_square(words, expected) < 4
    assert sum(expected.values()) <= grown.bound * (1 + 1e-9)


def test_a_tree_learns_to_waste_nothing(model) -> None:
    accepted = condition(model.vocabulary, least=1, like="ccccc", near=1)
    grown = PrefixTree(model, model.drawer(), accepted, Cuts(), np.zeros(2, np.int32), LONGEST)
    generator = np.random.default_rng(0)
    for _ in range(30):
        grown.draw(256, generator)
    assert len(grown.draw(256, generator)) > 250
    possible = sum(p for w, p in chances(model, Cuts()).items() if edits(w, "ccccc") <= 1)
    assert grown.bound == pytest.approx(possible, rel=0.05)


def test_a_seed_gives_the_same_words_however_many(model, monkeypatch) -> None:
    monkeypatch.setattr(source, "FIRST_LOOK", 64)
    for wishes in ({"suffix": "ca"}, {"like": "ccca", "near": 1}, {"new": True, "min_length": 3}):
        many = model.sample(3000, seed=1, max_length=LONGEST, **wishes)
        assert model.sample(70, seed=1, max_length=LONGEST, **wishes) == many[:70]


def test_wishes_hardly_met_end_in_a_word(model, monkeypatch) -> None:
    monkeypatch.setattr(source, "IN_VAIN", 5000)
    with pytest.raises(ConfigError, match="no word of the model meets"):
        model.sample(3, top_k=1, suffix="abc", max_length=LONGEST)
    with pytest.raises(ConfigError, match="takes 4 characters or more; max length got 3"):
        model.sample(3, suffix="abca", max_length=3)


def test_long_words_in_vain_end_after_so_many_characters(model, monkeypatch) -> None:
    """Draws alone are no bound: each may be a word of thousands of characters."""
    monkeypatch.setattr(source, "IN_VAIN_CHARACTERS", 20_000)
    drawn = []
    inside = type(model).drawer

    def noted(*args, **how):
        draw = inside(*args, **how)
        return lambda contexts, uniforms: drawn.append(draw(contexts, uniforms)) or drawn[-1]

    monkeypatch.setattr(type(model), "drawer", noted)
    with pytest.raises(ConfigError, match="less than one in"):
        model.sample(3, suffix="abcabcabcabcabc", max_length=1_000)
    assert sum(map(np.count_nonzero, drawn)) < 40_000
