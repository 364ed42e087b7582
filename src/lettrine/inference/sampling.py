"""New words from a trained model, thousands per call, under conditions ("wishes"), with the model's own probabilities.

A word that meets the wish is drawn with the model's own probability among all words that do. Words are drawn whole, and those
that do not meet the wish are left out. If few words meet it, a tree of prefixes makes this cheap (`lettrine.inference.tree`),
provided that the first characters of a word show whether it can meet the wish. Nothing is cut or changed afterwards.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from lettrine.arguments import checked
from lettrine.engine.base import Doubles, Integers
from lettrine.errors import ConfigError
from lettrine.inference.automaton import Automaton, at_least
from lettrine.inference.predictor import Cuts, Predictor, draw_on
from lettrine.text.labels import parse_shares, sign_of, signs, without_sign
from lettrine.text.stored import StoredWords

if TYPE_CHECKING:
    from lettrine.inference.tree import PrefixTree

BATCH: Final = 4096  # words drawn in parallel, fewer if an array of so many rows would hold more than
NUMBERS: Final = 2**22  # numbers: with 20,000 characters to choose from, or words of 100,000 characters
MAX_COUNT: Final = 10_000_000
MAX_LENGTH: Final = 100_000
MAX_NEAR: Final = 5  # edits
FIRST_LOOK: Final = 2048  # words drawn whole before the share that meets the wish is estimated …
SELDOM: Final = 0.05  # … and the share below which the tree of prefixes is tried
TREE_TRIAL: Final = 1024  # words drawn from the tree before checking how much of the model it has ruled out …
TREE_WORTH: Final = 0.5  # … and the share it must have ruled out by then: a draw through it takes six times as long
IN_VAIN: Final = 2**20  # draws in a row without a word that meets the wish, before giving up, fewer if a large vocabulary …
IN_VAIN_NUMBERS: Final = 2**25  # … makes each of them expensive: draws times V …
IN_VAIN_LEAST: Final = 2**12  # … but no fewer than these
IN_VAIN_CHARACTERS: Final = 2**23  # characters drawn without success, before giving up: long words make each draw expensive too
PATIENCE: Final = 20  # known or repeated words in a row, as a multiple of the count, before giving up
LEAST_ROWS: Final = 256


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


def _source(model: Predictor, how: Sampling, sign: str) -> _Source:
    """The source of words: after the sign of a label, or after any sign if the model has labels and none is given."""
    accepted = _accepted(model, how, sign)
    source = _Source(model, how, accepted, sign)
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


def _stream(source: _Source, count: int, wanted: _Filter) -> Iterator[list[str]]:
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
    sources: Sequence[_Source], count: int, wanted: _Filter, shares: NDArray[np.float64], seed: int
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


def _narrowed(rows: Integers) -> Integers:
    """The rows (N, L) without trailing columns that hold only ends of words; one of them is kept."""
    used = np.flatnonzero(rows.any(axis=0))
    return rows[:, : int(used[-1]) + 2] if len(used) else rows[:, :1]


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


class _Source:
    """Rows of characters that meet the wish: drawn whole, or through the tree of prefixes if too few meet it."""

    def __init__(self, model: Predictor, how: Sampling, accepted: Automaton, sign: str) -> None:
        self._model, self._accepted, self._cuts = model, accepted, Cuts(how.temperature, how.top_k, how.top_p)
        self._draw = model.drawer(**vars(self._cuts), threads=how.threads)
        self._seed, self._generator = how.seed, np.random.default_rng([how.seed])
        self._drawn_label = bool(model.labels and not sign)
        self._prefix = "" if self._drawn_label else how.prefix
        given = [0] * model.context + model.vocabulary.encode(sign + self._prefix)
        self._start = np.array(given[len(given) - model.context :], np.int32)  # (T,)
        self.room = how.max_length - len(self._prefix) + self._drawn_label  # characters that may follow
        self._widest = max(1, min(BATCH, NUMBERS // max(self.room + 1, model.vocabulary.size)))
        self._give_up = max(IN_VAIN_LEAST, min(IN_VAIN, IN_VAIN_NUMBERS // model.vocabulary.size))
        self._drawn = self._met = self._asked = self._characters = 0
        self._tree: PrefixTree | None = None
        self._try_tree = True
        self.in_vain = 0  # draws since the last word that met the wish

    def more(self, wanted: int) -> Integers | None:
        """Some rows (N, L), about as many as wanted; None if there is no hope of more."""
        while self.in_vain < self._give_up and self._characters < IN_VAIN_CHARACTERS:
            if self._try_tree and self._drawn == FIRST_LOOK and self._met < SELDOM * FIRST_LOOK:
                from lettrine.inference.tree import PrefixTree  # noqa: PLC0415 - as for `condition`

                self._try_tree = False
                self._tree = PrefixTree(self._model, self._draw, self._accepted, self._cuts, self._start, self.room)
            rows = self._whole(wanted) if self._tree is None else self._through(self._tree)
            self._characters = 0 if rows is not None and len(rows) else self._characters
            if rows is None or len(rows):
                return rows
        return None

    def words(self, rows: Integers) -> list[str]:
        """The words of rows (N, L), with their prefix and without the sign of a label."""
        words = self._model.vocabulary.decode_all(rows)
        return without_sign(words) if self._drawn_label else [self._prefix + word for word in words] if self._prefix else words

    def verdict(self) -> str:
        """How rarely the wish is met, if nothing was found."""
        bound = 1.0 if self._tree is None else self._tree.bound
        # No success in n independent trials: the share is below 3 / n with 95 % confidence (the rule of three).
        share = bound * 3 / self.in_vain if bound else 0.0
        return f"less than one in {1 / share:,.0f} of the model's words meets" if share else "no word of the model meets"

    def _whole(self, wanted: int) -> Integers:
        # Uniforms are drawn row by row, so the words do not depend on how many rows are drawn at a time.
        likely = (self._met + 1) / (self._drawn + 1)
        rows = min(self._widest, int(wanted / likely) + 1 if likely < 1 else wanted)
        if self._drawn < FIRST_LOOK:
            rows = min(rows, FIRST_LOOK - self._drawn)
        contexts = np.repeat(self._start[None], rows, axis=0)  # (N, T)
        drawn = _narrowed(draw_on(self._draw, contexts, self.room + 1, self._uniforms))
        met = drawn[self._accepted.run(np.full(rows, self._accepted.start), drawn)]
        self._drawn, self._met = self._drawn + rows, self._met + len(met)
        self.in_vain = 0 if len(met) else self.in_vain + rows
        self._characters += int(np.count_nonzero(drawn)) + rows
        return met

    def _uniforms(self, rows: NDArray[np.int64], start: int, length: int) -> Doubles:
        """The random numbers of the next words' characters from `start` on. Places that few words reach have their own
        generators.
        """
        if not start:
            return self._generator.random((len(rows), length))
        own = [np.random.default_rng([self._seed, self._drawn + row, start]) for row in rows.tolist()]
        return np.stack([each.random(length) for each in own])

    def _through(self, tree: PrefixTree) -> Integers | None:
        if not tree.bound:
            self.in_vain = max(self.in_vain, 1)
            return None
        self._asked = min(2 * self._asked or LEAST_ROWS, self._widest)
        before = tree.characters
        rows = tree.draw(self._asked, self._generator)
        self._characters += tree.characters - before
        self.in_vain = 0 if len(rows) else self.in_vain + self._asked
        if self._asked == TREE_TRIAL and tree.bound > 1 - TREE_WORTH:
            self._tree = None  # as with a least length, which excludes words all over the tree and not at a few prefixes
        return rows
