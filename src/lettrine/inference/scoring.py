"""How likely a trained model finds a word, and which character surprised it most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lettrine.engine.base import Evaluator
from lettrine.inference.evaluation import exp
from lettrine.model.config import MLPConfig
from lettrine.model.parameters import Array
from lettrine.text.vocabulary import Vocabulary
from lettrine.text.windows import windows


@dataclass(frozen=True)
class Score:
    """One word under a model, its end included.

    log_likelihood: nats, the sum of `characters`. characters: each character's own log-probability, the last for the end.
    """

    word: str
    log_likelihood: float
    characters: tuple[tuple[str, float], ...]

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


def score_words(
    engine: Evaluator, config: MLPConfig, parameters: Mapping[str, Array], vocabulary: Vocabulary, words: Sequence[str]
) -> list[Score]:
    """Score each word. Raises VocabularyError for a character the model never saw."""
    if not words:
        return []
    examples = windows(words, vocabulary, config.context)
    with np.errstate(all="ignore"):  # as for `mean_loss`
        losses = engine.negative_log_likelihood(config, parameters, examples.contexts, examples.targets)  # (N,)
    scores, start = [], 0
    for word in words:
        own = -losses[start : start + len(word) + 1]
        start += len(word) + 1
        spelled = [*word, vocabulary.end_sign]
        scores.append(Score(word, float(own.sum()), tuple(zip(spelled, own.tolist(), strict=True))))
    return scores
