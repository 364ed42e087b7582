"""Uniform, unigram, bigram and trigram baselines."""

from __future__ import annotations

from collections import Counter
from math import isfinite, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lettrine.errors import ConfigError, VocabularyError
from lettrine.inference import counts
from lettrine.inference.counts import ORDERS, baselines
from lettrine.text.vocabulary import Vocabulary
from lettrine.text.windows import windows
from lettrine.text.words import read_words, split


def targets_of(words, vocabulary):
    return windows(words, vocabulary, 1).targets


def naive_losses(train, words, vocabulary, strengths, orders=3):
    """Mean loss of words by dictionaries and a recursion, one character at a time."""
    seen, before = Counter(), Counter()

    def events(word):
        padded = [0] * (orders - 1) + vocabulary.encode(word) + [0]
        return (tuple(padded[i : i + orders]) for i in range(len(word) + 1))

    for word in train:
        for event in events(word):
            for order in range(orders):
                seen[event[orders - 1 - order :]] += 1
                before[order, event[orders - 1 - order : -1]] += 1

    def probability(event, order):
        lower = 1 / vocabulary.size if order == 0 else probability(event[1:], order - 1)
        return (seen[event] + strengths[order] * lower) / (before[order, event[:-1]] + strengths[order])

    losses = [
        -log(probability(event[orders - 1 - order :], order))
        for order in range(orders)
        for word in words
        for event in events(word)
    ]
    return np.reshape(losses, (orders, -1))


LISTS = st.lists(st.text("abc", max_size=5), min_size=1, max_size=8)


@given(LISTS, LISTS, LISTS)
def test_counts_equal_a_dictionary_twin(train, dev, words):
    vocabulary = Vocabulary(("a", "b", "c", "d"))
    fitted = baselines(targets_of(train, vocabulary), targets_of(dev, vocabulary), vocabulary.size)
    expected = naive_losses(train, words, vocabulary, fitted.strengths)
    for name, row in zip(ORDERS, expected, strict=True):
        assert fitted.negative_log_likelihood(targets_of(words, vocabulary), name) == pytest.approx(row, rel=1e-9)
    losses = fitted.losses(targets_of(words, vocabulary))
    assert (losses.unigram, losses.bigram, losses.trigram) == pytest.approx(tuple(expected.mean(axis=1)), rel=1e-9)
    assert losses.uniform == log(5)


@given(LISTS)
def test_probabilities_after_any_history_sum_to_one(train):
    vocabulary = Vocabulary(("a", "b", "c"))
    targets = targets_of(train, vocabulary)
    fitted = baselines(targets, targets, vocabulary.size)
    for start in ("", "a", "ab", "ca"):
        for name in ORDERS:
            last = [np.array([*vocabulary.encode(start), symbol, 0]) for symbol in range(4)]
            total = sum(np.exp(-fitted.negative_log_likelihood(word, name)[len(start)]) for word in last)
            assert total == pytest.approx(1.0)


def test_counted_on_paper():
    # "ab" and "b": characters a, b, end, b, end. With a = V = 3 each order adds the one below it three times.
    vocabulary = Vocabulary(("a", "b"))
    targets = targets_of(["ab", "b"], vocabulary)
    fitted = counts.Baselines(3, (3.0, 3.0, 3.0), baselines(targets, targets, 3)._counts)
    unigram = {"a": 2 / 8, "b": 3 / 8, ".": 3 / 8}
    assert np.exp(-fitted.negative_log_likelihood(targets, "unigram")) == pytest.approx([unigram[c] for c in "ab.b."])
    bigram = [(1 + 3 * 2 / 8) / 5, (1 + 3 * 3 / 8) / 4, (2 + 3 * 3 / 8) / 5, (1 + 3 * 3 / 8) / 5, (2 + 3 * 3 / 8) / 5]
    assert np.exp(-fitted.negative_log_likelihood(targets, "bigram")) == pytest.approx(bigram)
    # after "ab" and after ".b": each seen once, both ended the word
    trigram = [
        (1 + 3 * bigram[0]) / 5,
        (1 + 3 * bigram[1]) / 4,
        (1 + 3 * bigram[2]) / 4,
        (1 + 3 * bigram[3]) / 5,
        (1 + 3 * bigram[4]) / 4,
    ]
    assert np.exp(-fitted.negative_log_likelihood(targets, "trigram")) == pytest.approx(trigram)


@pytest.mark.needs_names
def test_the_published_bigram_loss(names):
    words = read_words(names)
    vocabulary = Vocabulary.from_words(words)
    targets = targets_of(words, vocabulary)
    fitted = baselines(targets, targets, vocabulary.size)  # chosen on the counted words themselves, smoothing goes away
    assert fitted.losses(targets).bigram == pytest.approx(2.4540, abs=1e-4)  # makemore part 1
    dense = np.ones((27, 27))  # and with its add-one
    before = np.concatenate([[0], targets[:-1]])
    np.add.at(dense, (before, targets), 1)
    add_one = -np.log(dense / dense.sum(axis=1, keepdims=True))[before, targets].mean()
    assert add_one == pytest.approx(2.4544, abs=2e-4)


@pytest.mark.needs_names
def test_each_order_buys_something_on_names(names):
    words = read_words(names)
    vocabulary = Vocabulary.from_words(words)
    train, dev, test = (targets_of(part, vocabulary) for part in split(words))
    losses = baselines(train, dev, vocabulary.size).losses(test)
    assert losses.uniform > losses.unigram > losses.bigram > losses.trigram
    assert (losses.unigram, losses.bigram, losses.trigram) == pytest.approx((2.8255, 2.4580, 2.2220), abs=2e-3)


def test_strengths_are_the_best_on_dev(few_words):
    vocabulary = Vocabulary.from_words(few_words)
    train, dev = targets_of(few_words[:200], vocabulary), targets_of(few_words[200:], vocabulary)
    fitted = baselines(train, dev, vocabulary.size)
    assert all(2 * counts._STRENGTHS[0] < strength < counts._STRENGTHS[1] / 2 for strength in fitted.strengths)
    for order, name in enumerate(ORDERS):
        best = fitted.negative_log_likelihood(dev, name).mean()
        for factor in (0.5, 0.9, 1.1, 2.0):
            changed = [s * factor if k == order else s for k, s in enumerate(fitted.strengths)]
            other = counts.Baselines(vocabulary.size, tuple(changed), fitted._counts)
            assert other.negative_log_likelihood(dev, name).mean() > best


def test_characters_and_histories_never_counted_cost_something_finite():
    vocabulary = Vocabulary(("a", "b", "c"))
    fitted = baselines(targets_of(["ab"], vocabulary), targets_of(["ba"], vocabulary), vocabulary.size)
    losses = fitted.losses(targets_of(["ccc"], vocabulary))
    assert all(map(isfinite, (losses.unigram, losses.bigram, losses.trigram)))


def test_a_vocabulary_of_all_of_unicode_takes_no_table():
    size = 0x110000
    rng = np.random.default_rng(0)
    targets = np.append(rng.integers(0, size, 5000), 0)
    expected = Counter(zip(targets[1:-1].tolist(), targets[2:].tolist(), strict=True))
    fitted = baselines(targets, targets, size)
    assert max(expected.values()) == 1
    assert fitted.losses(targets).trigram < fitted.losses(targets).unigram
    assert fitted._counts[2].joints.min() >= 0  # no overflow


@pytest.mark.parametrize(
    "targets",
    [np.array([], np.int32), np.array([1, 2]), np.array([[0]]), np.array([1.0, 0.0]), np.array([3, 0]), np.array([-1, 0])],
)
def test_targets_that_are_no_whole_words_are_refused(targets):
    good = np.array([1, 2, 0])
    for train, dev in ((targets, good), (good, targets)):
        with pytest.raises(VocabularyError):
            baselines(train, dev, 3)
    with pytest.raises(VocabularyError):
        baselines(good, good, 3).losses(targets)


def test_bad_options_are_refused():
    good = np.array([1, 2, 0])
    with pytest.raises(VocabularyError, match="vocabulary size got"):
        baselines(good, good, 1)
    with pytest.raises(ConfigError, match="expected one of unigram, bigram, trigram"):
        baselines(good, good, 3).negative_log_likelihood(good, "fourgram")


def test_repr_names_the_strengths():
    good = np.array([1, 2, 0])
    assert repr(baselines(good, good, 3)).startswith("Baselines(V=3, strengths: unigram ")
