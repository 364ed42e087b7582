"""How likely a trained model finds a word, and which character surprised it most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lettrine.inference.evaluation import exp
from lettrine.inference.predictor import Predictor
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


def score_words(model: Predictor, words: Sequence[str]) -> list[Score]:
    """Score each word. Raises VocabularyError for a character the model never saw."""
    if not words:
        return []
    examples = windows(words, model.vocabulary, model.context)
    losses = model.losses(examples.contexts, examples.targets)  # (N,)
    scores, start = [], 0
    for word in words:
        own = -losses[start : start + len(word) + 1]
        start += len(word) + 1
        spelled = [*word, model.vocabulary.end_sign]
        scores.append(Score(word, float(own.sum()), tuple(zip(spelled, own.tolist(), strict=True))))
    return scores
