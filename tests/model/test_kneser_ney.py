"""Kneser-Ney: against its definition written from the formula, by hand on paper, and with one example left out."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest

from lettrine.errors import EngineError
from lettrine.model.counting import count, histories
from lettrine.model.discounts import PLAIN, estimated, folded, left_out
from lettrine.model.stored_counts import counts_from_arrays, counts_to_arrays
from lettrine.text.vocabulary import Vocabulary
from lettrine.text.windows import windows

NONE = np.empty(0, np.int32)


def draw_words(seed: int, many: int = 150, letters: str = "abc") -> list[str]:
    generator = np.random.default_rng(seed)
    return ["".join(generator.choice(list(letters), generator.integers(1, 7), p=[0.6, 0.3, 0.1])) for _ in range(many)]


def definition(words: list[str], order: int, discounts: np.ndarray, vocabulary: Vocabulary):
    """p(w | history) as Chen & Goodman 1999 write it; '.' ends a word and '^' begins it. histories are strings."""
    grams = [("^" + word)[: place + 1][-(order - 1) :] + (word + ".")[place] for word in words for place in range(len(word) + 1)]
    counted: list[Counter[str]] = [Counter() for _ in range(order)]  # by the length of the history
    for gram in grams:
        counted[len(gram) - 1][gram] += 1
    for length in range(order - 2, -1, -1):  # a history that does not begin a word: how many longer ones there are
        for gram in list(counted[length + 1]):
            counted[length][gram[1:]] += 1
    after: dict[str, dict[str, int]] = defaultdict(dict)
    for table in counted:
        for gram, times in table.items():
            after[gram[:-1]][gram[-1]] = times

    def probability(history: str, w: str) -> float:
        history = history[max(len(history) - order + 1, 0) :]
        lower = probability(history[1:], w) if history else 1 / vocabulary.size
        if not after[history]:
            return lower
        d = [0.0, *discounts[len(history)]]
        taken = sum(d[min(times, 3)] for times in after[history].values())
        own = after[history].get(w, 0)
        return (own - d[min(own, 3)] + taken * lower) / sum(after[history].values())

    return probability


@pytest.mark.parametrize("order", [2, 3, 4, 6])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_probability_is_that_of_the_definition(order: int, seed: int) -> None:
    words, asked = draw_words(seed), [*draw_words(seed + 10, 20), "", "ccccccc", "abcabc"]
    vocabulary = Vocabulary.from_words(words)
    counts = count(windows(words, vocabulary, 1).targets, NONE, vocabulary.size, order)
    probability = definition(words, order, counts.discounts, vocabulary)
    examples = windows(asked, vocabulary, 7)
    ours = counts.probabilities(examples.contexts)
    at = 0
    for word in asked:
        for place in range(len(word) + 1):
            wanted = [probability("^" + word[:place], w) for w in "." + "".join(vocabulary.characters)]
            np.testing.assert_allclose(ours[at], wanted, rtol=1e-12)
            at += 1
    assert at == len(ours)


@pytest.mark.parametrize("order", [1, 2, 4, 6])
@pytest.mark.parametrize("part", [1, 100])
def test_counting_in_parts_gives_the_same(order: int, part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    words = draw_words(5, letters="xyz")
    vocabulary = Vocabulary.from_words(words)
    targets = windows(words, vocabulary, 1).targets
    whole = counts_to_arrays(count(targets, NONE, vocabulary.size, order))
    monkeypatch.setattr("lettrine.model.counting._PART", part)
    parts = counts_to_arrays(count(targets, NONE, vocabulary.size, order))
    assert whole.keys() == parts.keys()
    for name, values in whole.items():
        assert values.dtype == parts[name].dtype
        np.testing.assert_array_equal(values, parts[name])


@pytest.mark.parametrize("order", [2, 5, 10])
def test_rows_sum_to_one_and_the_short_way_gives_the_same(order: int) -> None:
    words = draw_words(3, 400)
    vocabulary = Vocabulary.from_words(words)
    counts = count(
        windows(words[:300], vocabulary, 1).targets, windows(words[300:], vocabulary, 1).targets, vocabulary.size, order
    )
    examples = windows(draw_words(4, 60), vocabulary, 9)
    rows = counts.probabilities(examples.contexts)
    np.testing.assert_allclose(rows.sum(axis=1), 1.0, rtol=1e-12)
    assert (rows > 0).all()
    picked = rows[np.arange(len(rows)), examples.targets]
    np.testing.assert_allclose(counts.probability(examples.contexts, examples.targets), picked, rtol=1e-12)
    np.testing.assert_allclose(
        folded(counts.chain(examples.contexts, examples.targets), counts.discounts, 1 / vocabulary.size), picked, rtol=1e-12
    )


def test_a_bigram_by_hand() -> None:
    # "ab", "ab", "b": after the beginning a a b; after a b b; after b the end three times. c(w) of nothing is after how many.
    vocabulary = Vocabulary.from_words(["ab"])
    counts = count(windows(["ab", "ab", "b"], vocabulary, 1).targets, NONE, vocabulary.size, 2)
    d1, d2, d3 = PLAIN
    end, a, b = (1 - d1) / 4, (1 - d1) / 4, (2 - d2) / 4  # characters that come before: b; the beginning; a and the beginning
    rest = (2 * d1 + d2) / 4 / 3
    unigram = np.array([end + rest, a + rest, b + rest])
    row = counts.probabilities(np.array([[0], [1], [2]], np.int32))
    np.testing.assert_allclose(row[0], np.array([0, (2 - d2) / 3, (1 - d1) / 3]) + (d2 + d1) / 3 * unigram)
    np.testing.assert_allclose(row[1], np.array([0, 0, (2 - d2) / 2]) + d2 / 2 * unigram)
    np.testing.assert_allclose(row[2], np.array([(3 - d3) / 3, 0, 0]) + d3 / 3 * unigram)


def test_discounts_are_estimated_from_counts_of_counts() -> None:
    counts = np.repeat([1, 2, 3, 4, 9], [10, 4, 2, 1, 5])
    y = 10 / 18
    assert estimated(counts) == pytest.approx([1 - 2 * y * 4 / 10, 2 - 3 * y * 2 / 4, 3 - 4 * y * 1 / 2])
    assert tuple(estimated(np.array([1, 1, 2]))) == PLAIN


@pytest.mark.parametrize("order", [2, 3, 5])
def test_left_out_is_what_counting_without_the_example_gives(order: int) -> None:
    words = draw_words(6, 40)
    vocabulary = Vocabulary.from_words(words)
    examples = windows(words, vocabulary, 7)
    counts = count(examples.targets, NONE, vocabulary.size, order)
    ours = folded(left_out(counts.chain(examples.contexts, examples.targets)), counts.discounts, 1 / vocabulary.size)
    grams = Counter(
        ("^" + word)[: place + 1][-(order - 1) :] + (word + ".")[place] for word in words for place in range(len(word) + 1)
    )
    at = 0
    for word in words[:12]:
        for place in range(len(word) + 1):
            history, w = ("^" + word)[: place + 1][-(order - 1) :], (word + ".")[place]
            fewer = grams - Counter([history + w])
            assert ours[at] == pytest.approx(slow(fewer, order, counts.discounts, vocabulary.size, history, w), rel=1e-12)
            at += 1


def slow(grams: Counter[str], order: int, discounts: np.ndarray, size: int, history: str, w: str) -> float:
    """The probability of one n-gram by going through all the others."""

    def times(h: str) -> Counter[str]:
        if len(h) == order - 1 or h[:1] == "^":
            return Counter({gram[-1]: n for gram, n in grams.items() if gram[:-1] == h})
        longer = {gram[-len(h) - 2 :] for gram in grams if len(gram) > len(h) + 1 and gram[:-1].endswith(h)}
        return Counter(gram[-1] for gram in longer)

    lower = slow(grams, order, discounts, size, history[1:], w) if history else 1 / size
    found = times(history)
    if not found:
        return lower
    d = [0.0, *discounts[len(history)]]
    taken = sum(d[min(n, 3)] for n in found.values())
    return float((found[w] - d[min(found[w], 3)] + taken * lower) / found.total())


def test_a_vocabulary_of_many_characters_is_counted_alike() -> None:
    """Characters that do not fit into one number together are numbered on the way."""
    words = draw_words(9, 100)
    few, many = Vocabulary.from_words(words), 1_114_113
    targets = windows(words, few, 1).targets
    ours = count(np.array([0, 5, 1_000_000, 1_114_112], np.int32)[targets], NONE, many, 6)
    theirs = count(targets, NONE, few.size, 6)
    assert (ours.counts == theirs.counts).all()
    assert (ours.begin == theirs.begin).all()


def test_histories_stop_at_the_beginning_of_a_word() -> None:
    assert histories(np.array([1, 2, 0, 3, 0], np.int32), 3).tolist() == [[0, 0, 0], [1, 0, 0], [2, 1, 0], [0, 0, 0], [3, 0, 0]]


def test_counts_survive_a_file_and_spoilt_ones_are_refused() -> None:
    words = draw_words(2)
    vocabulary = Vocabulary.from_words(words)
    targets = windows(words, vocabulary, 1).targets
    counts = count(targets, targets, vocabulary.size)
    arrays = counts_to_arrays(counts)
    again = counts_from_arrays(arrays)
    contexts = windows(words, vocabulary, 9).contexts
    assert (again.probabilities(contexts) == counts.probabilities(contexts)).all()
    for name in arrays:
        with pytest.raises(EngineError):
            counts_from_arrays({key: value for key, value in arrays.items() if key != name})
        for spoil in (lambda x: x[:-1], lambda x: x - x.max() - 5, lambda x: x + 2**30, lambda x: x[..., None], lambda x: x[:0]):
            spoilt = spoil(arrays[name])
            if name == "counts" and (spoilt.shape == arrays[name].shape and spoilt.min() > 0):
                continue  # other counts, but counts
            with pytest.raises(EngineError):
                counts_from_arrays({**arrays, name: spoilt})
    turned = arrays["followers"].copy()
    widest = int(np.argmax(np.diff(arrays["begin"])))
    inside = slice(arrays["begin"][widest], arrays["begin"][widest + 1])
    turned[inside] = turned[inside][::-1]
    with pytest.raises(EngineError, match="order"):
        counts_from_arrays({**arrays, "followers": turned})
