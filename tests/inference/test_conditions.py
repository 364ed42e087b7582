"""Automata against a second opinion: Python's own `re`, plain string methods, the textbook's edit distance."""

from __future__ import annotations

import re
import time
from itertools import product

import numpy as np
import pytest
from edits import edits
from hypothesis import given, settings
from hypothesis import strategies as st

from lettrine.errors import ConfigError, LettrineError, VocabularyError
from lettrine.inference.automaton import FAR, Automaton
from lettrine.inference.conditions import condition
from lettrine.inference.nearness import near_words
from lettrine.text.vocabulary import Vocabulary

ABC = Vocabulary(tuple("abc"))
SHORT = ["".join(letters) for length in range(6) for letters in product("abc", repeat=length)]
QUICK = settings(deadline=None, max_examples=60)


def accepts(automaton: Automaton, words: list[str], vocabulary: Vocabulary = ABC) -> list[bool]:
    longest = max(map(len, words))
    rows = np.array([vocabulary.encode(word) + [0] * (longest + 1 - len(word)) for word in words])
    return automaton.run(np.full(len(words), automaton.start), rows).tolist()


ATOMS = st.sampled_from(["a", "b", "c", ".", "[ab]", "[^a]", "[a-b]", r"\w", r"\d", "[b-c]"])
PATTERNS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda pair: f"(?:{pair[0]}|{pair[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,}", "{0,2}", "{1,3}", "*?"])).map(
            lambda p: f"({p[0]}){p[1]}"
        ),
    ),
    max_leaves=8,
)


@QUICK
@given(PATTERNS)
def test_a_pattern_means_what_re_says(pattern: str) -> None:
    expected = [re.fullmatch(pattern, word) is not None for word in SHORT]
    try:
        found = accepts(condition(ABC, match=pattern), SHORT)
    except ConfigError as error:
        assert r"\d" in pattern, error  # noqa: PT017 - there is no number in the vocabulary
        found = [False] * len(SHORT)
    assert found == expected


@QUICK
@given(
    st.text("abc", max_size=2),
    st.text("abc", max_size=2),
    st.lists(st.text("abc", max_size=2), max_size=2).map(tuple),
    st.sampled_from(["", "a", "bc", "z"]),
    st.sampled_from(["", ".*a.*", "[ab]+c?"]),
    st.integers(0, 4),
)
def test_wishes_together_mean_all_of_them(prefix, suffix, contains, without, match, least) -> None:
    wanted = [
        len(word) >= least
        and word.startswith(prefix)
        and word.endswith(suffix)
        and all(text in word for text in contains)
        and not set(word) & set(without)
        and (not match or re.fullmatch(match, word) is not None)
        for word in SHORT
    ]
    wishes = {"suffix": suffix, "contains": contains, "without": without, "match": match, "least": least}
    try:
        automaton = condition(ABC, prefix=prefix, **wishes)
    except ConfigError:
        assert not any(wanted)
        return
    begun = [(word, want) for word, want in zip(SHORT, wanted, strict=True) if word.startswith(prefix)]
    assert accepts(automaton, [word.removeprefix(prefix) for word, _ in begun]) == [want for _, want in begun]


@QUICK
@given(st.text("abcz", min_size=1, max_size=6), st.integers(0, 3))
def test_likeness_is_the_edit_distance(word: str, near: int) -> None:
    wanted = [edits(word, other) <= near for other in SHORT]
    try:
        found = accepts(condition(ABC, like=word, near=near), SHORT)
    except ConfigError:
        found = [False] * len(SHORT)
    assert found == wanted


@QUICK
@given(
    st.lists(st.text("abcdé", max_size=7), min_size=1, max_size=20),
    st.lists(st.text("abcdé", max_size=9), min_size=1, max_size=12),
    st.integers(1, 3),
)
def test_nearness_to_a_list_is_the_least_edit_distance(known: list[str], words: list[str], distance: int) -> None:
    wanted = [min(edits(word, other) for other in known) <= distance for word in words]
    assert near_words(known, distance)(words).tolist() == wanted


@QUICK
@given(st.text("abc", min_size=1, max_size=4), st.integers(0, 6))
def test_needed_is_the_length_of_the_shortest_word(suffix: str, least: int) -> None:
    automaton = condition(ABC, suffix=suffix, least=least)
    assert automaton.needed[automaton.start] == max(len(suffix), least)
    assert automaton.needed[0] == FAR


@pytest.mark.parametrize(
    ("pattern", "what"),
    [
        ("(a", "a bracket left open"),
        ("a)", "closed that was not opened"),
        ("[a", "square bracket left open"),
        ("*a", "nothing before it"),
        ("a**", "two signs of repetition"),
        ("a{3,2}", "first number is above"),
        ("a{x}", "no count"),
        ("a{", "no count"),
        ("a{,}", "first number is above"),
        ("a\\", "backslash"),
        (r"(a)\1", "backslash"),
        ("(?=a)", "lookaround"),
        ("(?P<x>a)", "lookaround"),
        ("a^b", "edge in its middle"),
        ("a$b", "edge in its middle"),
        ("[c-a]", "a range from 'c' down to 'a'"),
        ("(" * 60 + "a" + ")" * 60, "more than 50 brackets"),
        ("a" * 1001, "1,001 characters"),
        ("(a{999}){999}", "too long"),
        ("((a{99}){99}){9999}", "too long"),
        ("(a|b)*a(a|b){25}", "too complicated"),
        ("(a?){300}(a|b|c){300}", "too complicated"),
        ("(a?){900}[abc]{900}", "too complicated"),
        ("(a*)*(b*)*((a|b)*)*c", ""),
        ("(a|aa|aaa)+" * 90, ""),
        ("(.*a){200}", ""),
        ("[abc]*" * 160, ""),
    ],
)
def test_any_pattern_is_answered_at_once(pattern: str, what: str) -> None:
    began = time.process_time()
    try:
        condition(ABC, match=pattern)
    except ConfigError as error:
        said = str(error)
    else:
        said = ""
    assert said if what else not said
    assert what in said
    assert time.process_time() - began < 10


@settings(deadline=None, max_examples=300)
@given(st.text("ab()[]{}*+?|.^$\\-,12:=!é ", max_size=30))
def test_any_text_is_a_pattern_or_one_line(pattern: str) -> None:
    try:
        condition(ABC, match=pattern)
    except LettrineError as error:
        assert "\n" not in str(error)  # noqa: PT017


def test_wishes_that_cannot_be_met_say_so() -> None:
    with pytest.raises(ConfigError, match="suffix 'ab', without 'a'"):
        condition(ABC, suffix="ab", without="a")
    with pytest.raises(ConfigError, match="begins with 'ab' meets match 'b"):
        condition(ABC, prefix="ab", match="b.*")
    with pytest.raises(VocabularyError, match="z"):
        condition(ABC, suffix="z")
    with pytest.raises(ConfigError, match="41 characters"):
        condition(ABC, like="a" * 41)
    assert not condition(ABC, like="abcabcabca" * 4, near=5).empty
