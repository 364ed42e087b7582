"""All conditions on a word as one automaton: ending, what it contains or lacks, pattern, similarity, least length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from lettrine.errors import ConfigError, quote
from lettrine.inference.automaton import DEAD, Automaton, at_least, explore, product
from lettrine.inference.glushkov import automaton_of
from lettrine.inference.patterns import Chain, Mask, One, Repeat, literal, parse
from lettrine.text.vocabulary import Vocabulary

MAX_LIKE = 40  # characters of the word given to `like`


def condition(
    vocabulary: Vocabulary,
    *,
    least: int = 0,
    prefix: str = "",
    suffix: str = "",
    contains: tuple[str, ...] = (),
    without: str = "",
    match: str = "",
    like: str = "",
    near: int = 0,
    signs: Sequence[str] = (),
    any_sign: bool = False,
) -> Automaton:
    """The automaton of all words that meet every wish. It reads from the end of the prefix on.

    least: characters, at least. contains: each of these texts. without: none of these characters. match: see
    `lettrine.inference.patterns`. like, near: at most `near` edits away from that word (Levenshtein 1966: one character
    inserted, deleted or replaced). signs: characters that stand for labels, which no word has inside; any_sign: one of them is
    read first, and then the whole word with its prefix.

    Raises VocabularyError for a wished character that the vocabulary lacks, ConfigError for wishes that contradict each
    other or are too complicated.
    """
    letter = One(np.array([False, *(character not in signs for character in vocabulary.characters)]))
    parts = list(_parts(vocabulary, letter, least, suffix, contains, without, match, like, near))
    if signs:
        parts.append((automaton_of(Repeat(letter, 0, None), letter.mask.size, "letters"), "letters"))
    if any_sign and prefix:
        begun = Chain((literal(prefix, vocabulary), Repeat(letter, 0, None)))
        parts.append((automaton_of(begun, letter.mask.size, "prefix"), f"prefix {quote(prefix)}"))
    whole = product([part for part, _ in parts])
    wishes = ", ".join(what for _, what in parts[1:] if what != "letters")
    if whole.empty:
        raise ConfigError(f"no word of this model's characters meets {wishes}; ask for less")
    if any_sign:
        return _behind(whole, np.array([False, *(character in signs for character in vocabulary.characters)]))
    for character in vocabulary.encode(prefix):
        state = whole.after(np.array([whole.start]), np.array([character]))
        whole = Automaton(whole.kinds, whole.table, whole.accepting, int(state[0]), whole.needed)
    if whole.empty:
        raise ConfigError(f"no word that begins with {quote(prefix)} meets {wishes}; ask for less")
    return whole


def _behind(whole: Automaton, signs: Mask) -> Automaton:
    """The automaton of words after one of these signs, which it treats alike and which occur nowhere else."""
    first = np.full((1, whole.table.shape[1]), DEAD, np.int32)
    first[0, whole.kinds[signs]] = whole.start
    needed = np.append(whole.needed, whole.needed[whole.start] + 1).astype(np.int32)
    return Automaton(
        whole.kinds, np.concatenate([whole.table, first]), np.append(whole.accepting, False), len(needed) - 1, needed
    )


def _parts(
    vocabulary: Vocabulary,
    letter: One,
    least: int,
    suffix: str,
    contains: tuple[str, ...],
    without: str,
    match: str,
    like: str,
    near: int,
) -> Iterator[tuple[Automaton, str]]:
    anything = Repeat(letter, 0, None)
    yield at_least(least, vocabulary.size), "min length"
    if suffix:
        yield (
            automaton_of(Chain((anything, literal(suffix, vocabulary))), letter.mask.size, "suffix"),
            f"suffix {quote(suffix)}",
        )
    for text in contains:
        if text:
            part = Chain((anything, literal(text, vocabulary), anything))
            yield automaton_of(part, letter.mask.size, "contains"), f"contains {quote(text)}"
    if without:
        lacking = One(letter.mask & np.array([True, *(c not in without for c in vocabulary.characters)]))
        yield automaton_of(Repeat(lacking, 0, None), letter.mask.size, "without"), f"without {quote(without)}"
    if match:
        yield automaton_of(parse(match, vocabulary, letter), letter.mask.size, "match"), f"match {quote(match)}"
    if like:
        yield _alike(vocabulary, like, near), f"like {quote(like)}"


def _alike(vocabulary: Vocabulary, word: str, near: int) -> Automaton:
    """The words at most `near` edits away. A state is a row of the table of edit distances, in which near + 1 stands for all
    larger distances.
    """
    if len(word) > MAX_LIKE:
        raise ConfigError(f"like got a word of {len(word):,} characters; expected at most {MAX_LIKE}")
    letters = sorted(set(word))
    numbers = {letter: kind for kind, letter in enumerate(letters)}
    kinds = np.array([len(letters), *(numbers.get(c, len(letters)) for c in vocabulary.characters)], np.int32)
    target = [numbers[letter] for letter in word]

    def step(row: tuple[int, ...], kind: int) -> tuple[int, ...] | None:
        following = [min(row[0] + 1, near + 1)]
        for place, wanted in enumerate(target):
            following.append(min(row[place] + (kind != wanted), row[place + 1] + 1, following[place] + 1, near + 1))
        return tuple(following) if min(following) <= near else None

    start = tuple(min(place, near + 1) for place in range(len(word) + 1))
    return explore(kinds, start, step, lambda row: row[-1] <= near, f"like {quote(word)}")
