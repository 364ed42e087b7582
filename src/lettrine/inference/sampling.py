"""New words from a trained model, thousands per call, under conditions ("wishes"), with the model's own probabilities.

A word that meets the wish is drawn with the model's own probability among all words that do. Words are drawn whole, and those
that do not meet the wish are left out. If few words meet it, a tree of prefixes makes this cheap (`lettrine.inference.tree`),
provided that the first characters of a word show whether it can meet the wish. Nothing is cut or changed afterwards.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lettrine.arguments import checked
from lettrine.errors import ConfigError
from lettrine.inference.automaton import Automaton, at_least
from lettrine.inference.predictor import Predictor
from lettrine.inference.source import BATCH, LEAST_ROWS, Source
from lettrine.text.labels import parse_shares, sign_of, signs
from lettrine.text.stored import StoredWords

MAX_COUNT: Final = 10_000_000
MAX_LENGTH: Final = 100_000
MAX_NEAR: Final = 5  # edits
PATIENCE: Final = 20  # known or repeated words in a row, as a multiple of the count, before giving up


@checked
@dataclass(frozen=True)
class Sampling:
    """How words are drawn.

    temperature: below 1 prefers likely characters, above 1 varies more; 0 always takes the likeliest character.
    top_k: choose among the k likeliest characters only; 0 for all. top_p: among the fewest that reach probability p.
    min_length, max_length: characters a word has at least and at most; a longer one is left out, not cut.
    prefix, suffix: the beginning and end of every word. contains: one or several texts that it has somewhere inside.
    without: characters it does not have. match: a pattern for the whole word, see `lettrine.inference.patterns`.
    like: a word it is at most `near` edits away from.
    new: leave out words of the training list. not_near: leave out words at most this many edits away from a word of the
    training list, 0 for none. unique: no word twice. seed: of the draw, not of the training. label: of a model with labels,
    the one to draw for, or several with their shares of the words: "women=2,men=1". threads: of the processor; the words do
    not depend on them.

    Raises ConfigError for a value outside its range.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    prefix: str = ""
    max_length: int = 64
    new: bool = False
    unique: bool = False
    seed: int = 0
    min_length: int = 1
    suffix: str = ""
    contains: tuple[str, ...] = ()
    without: str = ""
    match: str = ""
    like: str = ""
    near: int = 2
    not_near: int = 0
    label: str = ""
    threads: int = 1

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature <= 1000.0:
            raise ConfigError(f"temperature got {self.temperature}; expected 0 to 1000")
        if not 0.0 < self.top_p <= 1.0:
            raise ConfigError(f"top-p got {self.top_p}; expected more than 0 and at most 1")
        if not 1 <= self.max_length <= MAX_LENGTH:
            raise ConfigError(f"max length got {self.max_length}; expected 1 to {MAX_LENGTH:,}")
        if not 0 <= self.min_length <= self.max_length:
            raise ConfigError(f"min length got {self.min_length}; expected 0 to the max length, {self.max_length}")
        if len(self.prefix) > self.max_length:
            raise ConfigError(f"prefix has {len(self.prefix)} characters; expected at most the max length, {self.max_length}")
        for name, value in (("near", self.near), ("not near", self.not_near)):
            if not 0 <= value <= MAX_NEAR:
                raise ConfigError(f"{name} got {value}; expected 0 to {MAX_NEAR} edits")
        for name, value, least in (
            ("top-k", self.top_k, "0 (all characters)"),
            ("seed", self.seed, "0"),
            ("threads", self.threads, "1"),
        ):
            if value < int(least[0]):
                raise ConfigError(f"{name} got {value}; expected {least} or more")


def stream_words(model: Predictor, count: int, how: Sampling, known: Collection[str] = frozenset()) -> Iterator[list[str]]:
    """Draw `count` words, in portions as soon as they are ready; fewer if no more are found in reasonable time.

    known: the training list, which `how.new` and `how.not_near` leave out. The words of a seed do not depend on `count`.

    Raises VocabularyError for a wish with an unknown character; ConfigError for a count outside 1 to MAX_COUNT, wishes that no
    word meets, and, on the way, wishes that no drawn word met.
    """
    if not 1 <= count <= MAX_COUNT:
        raise ConfigError(f"count got {count}; expected 1 to {MAX_COUNT:,}")
    wanted = _Filter(how, known)
    if not how.label:
        return _stream(_source(model, how, ""), count, wanted)
    shares = parse_shares(how.label, model.labels)
    sources = [_source(model, how, sign_of(label, model.labels)) for label in shares]
    if len(sources) == 1:
        return _stream(sources[0], count, wanted)
    return _shared(sources, count, wanted, np.array(list(shares.values())), how.seed)


def _source(model: Predictor, how: Sampling, sign: str) -> Source:
    """The source of words: after the sign of a label, or after any sign if the model has labels and none is given."""
    accepted = _accepted(model, how, sign)
    source = Source(model, how, accepted, sign)
    if accepted.needed[accepted.start] > source.room:
        shortest = how.max_length - source.room + int(accepted.needed[accepted.start])
        raise ConfigError(f"what is wished takes {shortest} characters or more; max length got {how.max_length}")
    return source


def _accepted(model: Predictor, how: Sampling, sign: str) -> Automaton:
    if not (how.prefix or how.suffix or how.contains or how.without or how.match or how.like or model.labels):
        return at_least(how.min_length, model.vocabulary.size)
    from lettrine.inference.conditions import condition  # noqa: PLC0415 - drawing words without wishes starts without it

    return condition(
        model.vocabulary,
        least=how.min_length,
        prefix=how.prefix,
        suffix=how.suffix,
        contains=how.contains,
        without=how.without,
        match=how.match,
        like=how.like,
        near=how.near,
        signs=signs(len(model.labels)),
        any_sign=bool(model.labels and not sign),
    )


def _stream(source: Source, count: int, wanted: _Filter) -> Iterator[list[str]]:
    yielded = refused = 0
    while yielded < count and refused < PATIENCE * max(count, LEAST_ROWS):
        rows = source.more(max(count - yielded, LEAST_ROWS if wanted.asked else 1))
        if rows is None:
            break
        words = wanted(source.words(rows))[: count - yielded]
        refused = 0 if words else refused + len(rows)
        yielded += len(words)
        if words:
            yield words
    if not yielded and source.in_vain:
        raise ConfigError(f"{source.verdict()} these wishes; ask for less, or try a higher temperature, or top-k 0 and top-p 1")


def _shared(
    sources: Sequence[Source], count: int, wanted: _Filter, shares: NDArray[np.float64], seed: int
) -> Iterator[list[str]]:
    """Words of several labels: for each word the label is drawn by the shares, then the next word of that label."""
    choices = np.random.default_rng([seed, len(shares)]).choice(len(shares), count, p=shares)
    numbers = np.bincount(choices, minlength=len(shares)).tolist()
    words = [chain.from_iterable(_stream(each, n, wanted)) for each, n in zip(sources, numbers, strict=True)]
    for start in range(0, count, BATCH):
        drawn = [next(words[choice], None) for choice in choices[start : start + BATCH].tolist()]
        there = [word for word in drawn if word is not None]
        yield there
        if len(there) < len(drawn):
            return


class _Filter:
    """Leaves out words because of other words: the training list, and the words drawn before."""

    def __init__(self, how: Sampling, known: Collection[str]) -> None:
        self._near = None
        if how.not_near:
            from lettrine.inference.nearness import near_words  # noqa: PLC0415 - as for `condition`

            self._near = near_words(known, how.not_near)
        self._unique, self._seen = how.unique, set[str]()
        self._known = _as_set(known) if how.new else frozenset()
        self.asked = how.new or how.unique or self._near is not None

    def __call__(self, words: list[str]) -> list[str]:
        if not self.asked:
            return words
        if self._near is not None:
            words = [word for word, near in zip(words, self._near(words), strict=True) if not near]
        if self._unique:
            words = list(dict.fromkeys(words))
        words = [word for word in words if word not in self._known and word not in self._seen]
        if self._unique:
            self._seen.update(words)
        return words


def _as_set(known: Collection[str]) -> Collection[str]:
    """The training list as what knows at once whether it holds a word, as a list on disk does already."""
    return known if isinstance(known, StoredWords) else frozenset(known)
