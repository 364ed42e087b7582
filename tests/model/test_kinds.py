"""Kinds of characters: against counting by hand, and what they do for words with capitals."""

from __future__ import annotations

import numpy as np
import pytest

from lettrine.errors import EngineError
from lettrine.model.kinds import CAPITAL, END, KINDS, LETTER, SPACE, STRENGTH, counted_kinds, kinds_from_arrays, kinds_to_arrays
from lettrine.text.vocabulary import Vocabulary
from lettrine.text.windows import windows

WORDS = ["Anna", "Bo", "Red rose", "Otto", "IRA"]
VOCABULARY = Vocabulary.from_words(WORDS)
EXAMPLES = windows(WORDS, VOCABULARY, 4)


def made():
    kinds = counted_kinds(VOCABULARY.characters, EXAMPLES.contexts, EXAMPLES.targets)
    assert kinds is not None
    return kinds


def test_shares_are_those_counted_by_hand() -> None:
    shares = np.exp(made().logs)
    np.testing.assert_allclose(shares.sum(axis=-1), 1.0)
    every = np.zeros(KINDS)
    every[END], every[CAPITAL], every[LETTER], every[SPACE] = 5, 7, 13, 1  # 26 characters and ends
    alone = (every + STRENGTH / KINDS) / (26 + STRENGTH)
    # After a small letter: 8 small letters, 4 ends, 1 space. Behind a capital too: 3 small letters and the end of Bo.
    one = (np.bincount([LETTER] * 8 + [END] * 4 + [SPACE], minlength=KINDS) + STRENGTH * alone) / (13 + STRENGTH)
    two = (np.bincount([LETTER] * 3 + [END], minlength=KINDS) + STRENGTH * one) / (4 + STRENGTH)
    np.testing.assert_allclose(shares[CAPITAL, LETTER], two)


def test_a_capital_after_a_small_letter_is_nearly_excluded_and_one_at_the_beginning_is_not() -> None:
    logits = made().logits(EXAMPLES.contexts)
    assert logits.shape == (len(EXAMPLES), VOCABULARY.size)
    big, small = VOCABULARY.encode("A")[0], VOCABULARY.encode("n")[0]
    start, inside = 0, 2  # of Anna
    assert logits[start, big] > logits[start, small] + 2
    assert logits[inside, small] > logits[inside, big] + 2


def test_without_both_capitals_and_small_letters_there_are_none() -> None:
    for words in (["anna", "red rose"], ["ANNA", "BO"], ["北京", "东京"]):
        vocabulary = Vocabulary.from_words(words)
        examples = windows(words, vocabulary, 3)
        assert counted_kinds(vocabulary.characters, examples.contexts, examples.targets) is None


def test_a_context_of_one_character_is_enough() -> None:
    examples = windows(WORDS, VOCABULARY, 1)
    kinds = counted_kinds(VOCABULARY.characters, examples.contexts, examples.targets)
    assert kinds is not None
    assert np.isfinite(kinds.logits(examples.contexts)).all()


def test_they_come_back_from_a_file_and_a_strangers_are_refused() -> None:
    arrays = kinds_to_arrays(made())
    again = kinds_from_arrays(arrays, VOCABULARY.size)
    assert again is not None
    assert (again.logits(EXAMPLES.contexts) == made().logits(EXAMPLES.contexts)).all()
    assert kinds_from_arrays({}, VOCABULARY.size) is None
    spoilt = {
        "kinds": [arrays["kinds"][:-1], arrays["kinds"] + KINDS, arrays["kinds"].astype(float)],
        "kind_logs": [arrays["kind_logs"][:2], arrays["kind_logs"] * np.nan, -arrays["kind_logs"]],
        "kind_weight": [np.array([3.0]), np.array([np.nan]), np.array(1.0)],
    }
    for name, values in spoilt.items():
        for value in values:
            with pytest.raises(EngineError, match="kinds of characters"):
                kinds_from_arrays({**arrays, name: value}, VOCABULARY.size)
