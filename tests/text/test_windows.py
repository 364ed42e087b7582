"""Contexts and targets."""

from __future__ import annotations

import tracemalloc
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lettrine.errors import ConfigError, VocabularyError
from lettrine.text import windows as windows_module
from lettrine.text.vocabulary import Vocabulary
from lettrine.text.windows import windows
from lettrine.text.words import read_words, split

FIVE = ["acceptée", "acceptées", "accessible", "accession", "accessoire"]

# The 51 examples as the course notebook prints them, T = 3: contexts and targets of each word.
FIVE_AT_3 = """\
...>a ..a>c .ac>c acc>e cce>p cep>t ept>é pté>e tée>.
...>a ..a>c .ac>c acc>e cce>p cep>t ept>é pté>e tée>s ées>.
...>a ..a>c .ac>c acc>e cce>s ces>s ess>i ssi>b sib>l ibl>e ble>.
...>a ..a>c .ac>c acc>e cce>s ces>s ess>i ssi>o sio>n ion>.
...>a ..a>c .ac>c acc>e cce>s ces>s ess>o sso>i soi>r oir>e ire>.
"""
LAST_OF_FIVE_AT_10 = """\
..........>a .........a>c ........ac>c .......acc>e ......acce>s .....acces>s
....access>o ...accesso>i ..accessoi>r .accessoir>e accessoire>.
"""


def naive(words, vocabulary, context):
    """Contexts and targets one at a time, as the lecture writes them."""
    contexts, targets = [], []
    for word in words:
        seen = [0] * context
        for index in [*vocabulary.encode(word), 0]:
            contexts.append(seen)
            targets.append(index)
            seen = [*seen[1:], index]
    return contexts, targets


@given(st.lists(st.text("abé😀", max_size=9), max_size=8), st.integers(1, 12), st.integers(1, 7))
def test_windows_equal_the_naive_twin(words, context, rows):
    vocabulary = Vocabulary.from_words(["abé😀"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows_module, "_ROWS", rows)  # so that blocks end inside words
        made = windows(words, vocabulary, context)
    contexts, targets = naive(words, vocabulary, context)
    assert made.contexts.tolist() == contexts
    assert made.targets.tolist() == targets
    assert made.contexts.shape == (len(targets), context)
    assert made.contexts.dtype == made.targets.dtype == np.uint8
    assert made.contexts.flags.c_contiguous
    assert made.targets.flags.c_contiguous


def counted(examples):
    return Counter(zip(map(tuple, examples.contexts.tolist()), examples.targets.tolist(), strict=True))


@given(st.lists(st.text("abé", max_size=4), max_size=12), st.integers(1, 12), st.sampled_from([2**62, 16, 5]))
def test_distinct_examples_tell_how_often_each_was_there(words, context, room):
    vocabulary = Vocabulary.from_words(["abé"])
    made = windows(words, vocabulary, context)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows_module, "_ROOM", room)  # so that characters do not all fit in one number
        distinct = made.distinct
    times = counted(distinct.examples)
    assert not times or max(times.values()) == 1
    assert dict(zip(times, distinct.times.tolist(), strict=True)) == counted(made)
    assert distinct.examples.targets.dtype == made.targets.dtype


def test_many_blocks_equal_the_naive_twin():
    words = ["anna", "", "bo", "carlotta" * 40] * 400  # above the rows of one block
    vocabulary = Vocabulary.from_words(words)
    made = windows(words, vocabulary, 5)
    contexts, targets = naive(words, vocabulary, 5)
    assert len(made) > 2 * windows_module._ROWS
    assert np.array_equal(made.contexts, contexts)
    assert np.array_equal(made.targets, targets)


def test_the_51_examples_at_3():
    vocabulary = Vocabulary.from_words(FIVE)
    made = windows(FIVE, vocabulary, 3)
    assert made.show(vocabulary, 51).splitlines() == ["'{}' -> '{}'".format(*example.split(">")) for example in FIVE_AT_3.split()]
    assert (len(made), made.context) == (51, 3)


def test_the_51_examples_at_10():
    vocabulary = Vocabulary.from_words(FIVE)
    made = windows(FIVE, vocabulary, 10)
    lines = made.show(vocabulary, 51).splitlines()
    assert len(lines) == 51
    assert lines[:3] == ["'..........' -> 'a'", "'.........a' -> 'c'", "'........ac' -> 'c'"]
    assert lines[-11:] == ["'{}' -> '{}'".format(*example.split(">")) for example in LAST_OF_FIVE_AT_10.split()]
    assert made.targets.tolist() == windows(FIVE, vocabulary, 3).targets.tolist()
    assert made.contexts[:, -3:].tolist() == windows(FIVE, vocabulary, 3).contexts.tolist()


@pytest.mark.needs_names
def test_the_published_counts(names):
    words = read_words(names)
    vocabulary = Vocabulary.from_words(words)
    assert len(windows(words, vocabulary, 3)) == 228_146
    assert [len(windows(part, vocabulary, 3)) for part in split(words)] == [182_625, 22_655, 22_866]


def test_memory_beyond_the_arrays_returned_is_a_few_bytes_a_character():
    words = ("annabella", "bo", "carl") * 50_000
    vocabulary = Vocabulary.from_words(words)
    tracemalloc.start()
    try:
        made = windows(words, vocabulary, 8)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < made.contexts.nbytes + made.targets.nbytes + 14 * len(made)


def test_a_word_of_ten_thousand_characters_and_a_context_as_long():
    vocabulary = Vocabulary(("a", "b"))
    made = windows(["ab" * 5000], vocabulary, 1000)
    assert made.contexts.shape == (10_001, 1000)
    assert made.contexts[-1].tolist() == [1, 2] * 500
    assert made.contexts[3].tolist() == [0] * 997 + [1, 2, 1]


def test_one_word_repeated():
    vocabulary = Vocabulary(("a", "b"))
    assert windows(["ab"] * 1000, vocabulary, 2).contexts.tolist() == [[0, 0], [0, 1], [1, 2]] * 1000


@pytest.mark.parametrize("context", [0, -1, 2.0, "3", True, None])
def test_a_context_below_one_is_refused(context):
    with pytest.raises(ConfigError, match="expected a whole number"):
        windows(["ab"], Vocabulary(("a", "b")), context)


def test_a_context_no_memory_can_hold_is_refused_before_it_is_asked_for():
    with pytest.raises(ConfigError, match="more than this machine has; lower the context"):
        windows(["ab"] * 1000, Vocabulary(("a", "b")), 10**12)


def test_unknown_characters_are_named():
    with pytest.raises(VocabularyError, match="'x'"):
        windows(["ab", "axb"], Vocabulary(("a", "b")), 3)


def test_repr_names_the_shape():
    assert repr(windows(["ab"], Vocabulary(("a", "b")), 4)) == "Windows(N=3 examples, T=4)"
