"""Characters and their indices."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lettrine.errors import VocabularyError
from lettrine.text.vocabulary import Vocabulary
from lettrine.text.words import read_words

ABC = Vocabulary(("a", "b", "c"))
WORDS = st.lists(st.text(), min_size=1).filter(lambda words: len(set("".join(words))) >= 2)


@given(WORDS)
def test_words_come_back_exactly(words):
    vocabulary = Vocabulary.from_words(words)
    for word in words:
        assert vocabulary.decode(vocabulary.encode(word)) == word
    symbols, offsets = vocabulary.encode_all(words)
    assert (symbols.dtype, offsets.dtype) == (np.int32, np.int64)
    assert [symbols[a:b].tolist() for a, b in pairwise(offsets)] == [vocabulary.encode(w) for w in words]
    assert Vocabulary.from_list(json.loads(json.dumps(vocabulary.to_list()))) == vocabulary


@given(WORDS)
def test_rows_of_indices_decode_up_to_the_end_token(words):
    vocabulary = Vocabulary.from_words(words)
    length = max(map(len, words)) + 2
    rows = np.array([[*vocabulary.encode(w), 0, *([1] * (length - len(w) - 1))] for w in words], dtype=np.int32)
    assert vocabulary.decode_all(rows) == words


@pytest.mark.parametrize("word", ["e\u0301\u0323", "👩‍👩‍👧‍👦", "नमस्ते", "می‌خواهم", "שָׁלוֹם", "𠮷野家"])
def test_marks_and_joiners_are_characters_of_their_own(word):
    vocabulary = Vocabulary.from_words([word])
    assert vocabulary.size == len(set(word)) + 1
    assert vocabulary.decode(vocabulary.encode(word)) == word


def test_indices_are_those_of_the_sorted_characters():
    assert Vocabulary.from_words(["cab", "b"]) == ABC
    assert ABC.size == 4
    assert ABC.encode("cab") == [3, 1, 2]
    assert ABC.decode([3, 1, 0, 2]) == "ca"
    assert ABC.decode([]) == ""
    assert "a" in ABC
    assert "z" not in ABC


@pytest.mark.needs_names
def test_names_have_26_letters(names):
    vocabulary = Vocabulary.from_words(read_words(names))
    assert "".join(vocabulary.characters) == "abcdefghijklmnopqrstuvwxyz"
    assert vocabulary.size == 27


def test_twenty_thousand_characters():
    characters = [chr(0x4E00 + n) for n in range(20_000)]
    vocabulary = Vocabulary.from_words(characters)
    assert vocabulary.size == 20_001
    assert vocabulary.encode_all(characters)[0].tolist() == list(range(1, 20_001))


def test_the_end_sign_is_no_character_of_the_words():
    assert [ABC.show(index) for index in range(4)] == [".", "a", "b", "c"]
    assert Vocabulary.from_words(["St. Ives"]).show(0) == "·"
    assert Vocabulary.from_words(["St. Ives"]).show(Vocabulary.from_words(["St. Ives"]).encode(".")[0]) == "."
    assert Vocabulary.from_words([".·"]).show(0) == "␃"
    assert Vocabulary.from_words([".·␃"]).show(0) == chr(0x2460)


@pytest.mark.parametrize("call", [ABC.encode, lambda word: ABC.encode_all(["ab", "", "c", word])])
@pytest.mark.parametrize("character", ["d", "A", "é", "Æ", "\x1b", " ", "\0", "😀", "\U0010ffff"])
def test_an_unknown_character_is_named_with_its_word(call, character):
    with pytest.raises(VocabularyError) as caught:
        call(f"ab{character}c")
    message = str(caught.value)
    assert f"(U+{ord(character):04X}) of 'ab" in message
    assert "expected only 'abc'" in message
    assert message.isprintable()


def test_the_word_is_named_whose_first_character_is_unknown():
    with pytest.raises(VocabularyError, match=r"'z' .* of 'za'"):
        ABC.encode_all(["a", "", "za", "b"])


@pytest.mark.parametrize("indices", [[4], [-1], [1, 0, 9]])
def test_an_index_outside_is_refused(indices):
    with pytest.raises(VocabularyError, match="expected 0 to 3"):
        ABC.decode(indices)
    with pytest.raises(VocabularyError, match="expected 0 to 3"):
        ABC.show(max(indices, key=abs))


@pytest.mark.parametrize("rows", [np.zeros(3, np.int32), np.zeros((2, 2)), np.zeros((1, 1, 1), np.int32)])
def test_rows_of_another_shape_or_type_are_refused(rows):
    with pytest.raises(VocabularyError, match="expected whole numbers"):
        ABC.decode_all(rows)


def test_no_rows_and_no_columns():
    assert ABC.decode_all(np.zeros((0, 5), np.int32)) == []
    assert ABC.decode_all(np.zeros((2, 0), np.int32)) == ["", ""]
    assert ABC.encode_all([])[1].tolist() == [0]


@pytest.mark.parametrize("words", [["aaa", "a"], []])
def test_too_few_characters_leave_nothing_to_learn(words):
    with pytest.raises(VocabularyError, match="leaves nothing to learn"):
        Vocabulary.from_words(words)


@pytest.mark.parametrize(
    "entries", [None, "abc", {"a": 1}, ["b", "a"], ["a", "a"], ["ab", "c"], ["", "a"], [1, 2], ["a", None], ["a"], [["a"], "b"]]
)
def test_a_damaged_list_is_refused(entries):
    with pytest.raises(VocabularyError):
        Vocabulary.from_list(entries)


def test_repr_is_one_safe_line():
    assert repr(ABC) == "Vocabulary(V=4: 'abc' and the end token '.')"
    assert repr(Vocabulary(("\x1b", "a"))).isprintable()
    assert len(repr(Vocabulary.from_words([chr(n) for n in range(0x4E00, 0x5E00)]))) < 130
