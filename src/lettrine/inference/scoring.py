"""The probability of words under a trained model, and the least expected character of each: for one word, or millions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import log
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lettrine.engine.base import Doubles
from lettrine.errors import ConfigError
from lettrine.inference.evaluation import exp
from lettrine.inference.predictor import Predictor
from lettrine.text.labels import sign_of
from lettrine.text.windows import unknown_targets, windows

UNKNOWN: Final = log(0x110000)  # loss of a character the model never saw: a uniform guess among all of Unicode
EXAMPLES: Final = 2**18  # contexts looked at together, 8 MB of them with a context of 8


@dataclass(frozen=True)
class Score:
    """One word under a model, its end included.

    log_likelihood: nats, the sum of `characters`. characters: each character's own log-probability, the last for the end.
    unknown: characters the model never saw; each counts -UNKNOWN nats, and the next characters are judged as at a word's
    beginning. labels: for a model with labels, the probability of each, given the word.
    """

    word: str
    log_likelihood: float
    characters: tuple[tuple[str, float], ...]
    unknown: tuple[str, ...] = ()
    labels: Mapping[str, float] = field(default_factory=dict)

    @property
    def per_character(self) -> float:
        """Mean log-probability of a character, the end counted as one, in nats."""
        return self.log_likelihood / len(self.characters)

    @property
    def perplexity(self) -> float:
        """exp(-per_character)."""
        return exp(-self.per_character)

    @property
    def surprise(self) -> tuple[int, str, float]:
        """Place (from 0), character and log-probability of the least expected character."""
        place = min(range(len(self.characters)), key=lambda i: self.characters[i][1])
        return (place, *self.characters[place])


@dataclass(frozen=True, eq=False)
class Scores:
    """Many words under a model, in arrays of one entry a word, (W,).

    log_likelihood: nats, end included; per_character: its mean over characters and end; worst: place (from 0) of the least
    expected character; worst_log_probability: nats; unknown: how many characters of the word the model never saw.
    """

    words: Sequence[str]
    log_likelihood: Doubles
    per_character: Doubles
    worst: NDArray[np.int64]
    worst_log_probability: Doubles
    unknown: NDArray[np.int64]


def character_losses(model: Predictor, words: Sequence[str], threads: int = 1) -> tuple[Doubles, NDArray[np.bool_]]:
    """Loss of every character of every word and of its end, word after word, (N,), in nats; and which characters the model
    never saw.
    """
    if threads < 1:
        raise ConfigError(f"threads got {threads}; expected at least 1")
    examples = windows(words, model.vocabulary, model.context, unknown=True)
    strange = unknown_targets(examples.targets, words)
    losses = np.array(model.losses(examples.contexts, examples.targets, threads=threads))
    losses[strange] = UNKNOWN
    return losses, strange


def judged(
    model: Predictor, words: Sequence[str], label: str = "", threads: int = 1
) -> tuple[Doubles, NDArray[np.bool_], dict[str, Doubles]]:
    """`character_losses` of words that carry no sign of a label, and how likely each label is for each word, (W,).

    label: one of them, or "" for all. Under all, the probability of a character is its mean over the labels, weighted by the
    probability of each label given the characters before. The probability of a word is then that of the word with any label.
    """
    if not model.labels:
        if label:
            sign_of(label, ())
        return *character_losses(model, words, threads), {}
    lengths = np.fromiter(map(len, words), np.int64, len(words)) + 2
    begin = np.cumsum(lengths) - lengths
    own = np.ones(int(lengths.sum()), np.bool_)
    own[begin] = False
    names = [label] if label else list(model.labels)
    each = [character_losses(model, [sign_of(name, model.labels) + word for word in words], threads) for name in names]
    strange = each[0][1][own]
    if label:
        return each[0][0][own], strange, {}
    losses = np.stack([losses for losses, _ in each])  # (L, N + W)
    run = np.cumsum(losses, axis=1)
    run -= np.repeat(run[:, begin] - losses[:, begin], lengths, axis=1)  # from the beginning of each word, its label included
    together = np.logaddexp.reduce(-run, axis=0)  # (N + W,)
    whole = begin + lengths - 1
    chances = np.exp(-run[:, whole] - together[whole])
    return -np.diff(together, prepend=0.0)[own], strange, dict(zip(names, chances, strict=True))


def score_words(model: Predictor, words: Sequence[str], label: str = "") -> list[Score]:
    """Score each word, character by character; see `judged`."""
    scores = []
    for some in _portions(words):
        losses, strange, chances = judged(model, some, label)
        start = 0
        for place, word in enumerate(some):
            own, odd = -losses[start : start + len(word) + 1], strange[start : start + len(word)]
            start += len(word) + 1
            spelled = zip([*word, model.vocabulary.end_sign], own.tolist(), strict=True)
            unknown = tuple(dict.fromkeys(word[at] for at in np.flatnonzero(odd).tolist()))
            labels = {name: float(chance[place]) for name, chance in chances.items()}
            scores.append(Score(word, float(own.sum()), tuple(spelled), unknown, labels))
    return scores


def score_many(model: Predictor, words: Sequence[str], label: str = "", threads: int = 1) -> Iterator[Scores]:
    """Score many words without keeping the loss of each character."""
    for some in _portions(words):
        losses, strange, _ = judged(model, some, label, threads)
        lengths = np.fromiter(map(len, some), np.int64, len(some)) + 1
        begin = np.cumsum(lengths) - lengths
        heights = np.where(np.isnan(losses), np.inf, losses)
        worst = np.maximum.reduceat(heights, begin)
        # The first character of each word that reaches its greatest loss.
        reached = np.flatnonzero(heights == np.repeat(worst, lengths))
        first = reached[np.searchsorted(reached, begin)]
        total: Any = -np.add.reduceat(losses, begin)
        yield Scores(some, total, total / lengths, first - begin, -worst, np.add.reduceat(strange.astype(np.int64), begin))


def _portions(words: Sequence[str]) -> Iterator[Sequence[str]]:
    """The words in portions of EXAMPLES examples; a longer word is a portion of its own."""
    sizes = np.cumsum(np.fromiter(map(len, words), np.int64, len(words)) + 1)
    start = 0
    while start < len(words):
        before = sizes[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(sizes, before + EXAMPLES, side="right")))
        yield words[start:stop]
        start = stop
