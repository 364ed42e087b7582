"""New words from a trained model, thousands a call."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from lettrine.arguments import checked
from lettrine.engine.base import Evaluator
from lettrine.errors import ConfigError
from lettrine.model.config import MLPConfig
from lettrine.model.parameters import Array
from lettrine.text.vocabulary import Vocabulary

BATCH: Final = 4096  # words drawn side by side, fewer where an array of so many rows would hold more than
NUMBERS: Final = 2**22  # numbers: with 20,000 characters to choose from, or words of 100,000 characters
MAX_COUNT: Final = 10_000_000
MAX_LENGTH: Final = 100_000
PATIENCE: Final = 20  # rounds in a row without one acceptable word before giving up


@checked
@dataclass(frozen=True)
class Sampling:
    """How words are drawn.

    temperature: below 1 keeps to the likely, above 1 wanders; 0 always takes the likeliest character.
    top_k: choose among the k likeliest characters only; 0 for all. top_p: among the fewest that reach probability p.
    prefix: what every word begins with. max_length: characters after which a word is cut.
    new: leave out words of the training list, and the empty one. unique: no word twice. seed: of the draw, not of the training.

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

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature <= 1000.0:
            raise ConfigError(f"temperature got {self.temperature}; expected 0 to 1000")
        if self.top_k < 0:
            raise ConfigError(f"top-k got {self.top_k}; expected 0 (all characters) or more")
        if not 0.0 < self.top_p <= 1.0:
            raise ConfigError(f"top-p got {self.top_p}; expected more than 0 and at most 1")
        if not 1 <= self.max_length <= MAX_LENGTH:
            raise ConfigError(f"max length got {self.max_length}; expected 1 to {MAX_LENGTH:,}")
        if len(self.prefix) > self.max_length:
            raise ConfigError(f"prefix has {len(self.prefix)} characters; expected at most the max length, {self.max_length}")
        if self.seed < 0:
            raise ConfigError(f"seed got {self.seed}; expected 0 or more")


def sample_words(
    engine: Evaluator,
    config: MLPConfig,
    parameters: Mapping[str, Array],
    vocabulary: Vocabulary,
    count: int,
    how: Sampling,
    known: Collection[str] = frozenset(),
) -> list[str]:
    """Draw `count` words; fewer if `new` or `unique` cannot be met in reasonable time.

    known: the training list, which `how.new` leaves out. Raises VocabularyError for a prefix with an unknown
    character, ConfigError for a count outside 1 to MAX_COUNT.
    """
    if not 1 <= count <= MAX_COUNT:
        raise ConfigError(f"count got {count}; expected 1 to {MAX_COUNT:,}")
    start = [0] * config.context + vocabulary.encode(how.prefix)
    room = how.max_length - len(how.prefix)
    generator = np.random.default_rng([how.seed])
    words: list[str] = []
    seen = set(known) if how.new else set()
    fruitless = 0
    # Uniforms are drawn row by row, so the words do not depend on how many rows are drawn at a time.
    widest = max(1, min(BATCH, NUMBERS // max(room, config.vocabulary_size)))
    while len(words) < count and fruitless < PATIENCE:
        rows = min(widest, count - len(words) if not (how.new or how.unique) else max(count - len(words), 256))
        contexts = np.tile(np.array(start[len(start) - config.context :], np.int32), (rows, 1))  # (N, T)
        uniforms = generator.random((rows, room))  # (N, L)
        with np.errstate(all="ignore"):  # as for `mean_loss`
            drawn = engine.sample(
                config, parameters, contexts, uniforms, temperature=how.temperature, top_k=how.top_k, top_p=how.top_p
            )
        before = len(words)
        for ending in vocabulary.decode_all(drawn):
            word = how.prefix + ending
            if (how.new or how.unique) and (word in seen or not word):  # the empty word is neither new nor of use
                continue
            if how.unique:
                seen.add(word)
            words.append(word)
            if len(words) == count:
                break
        fruitless = 0 if len(words) > before else fruitless + 1
    return words
