"""A trained language model: its shape, its vocabulary, its weights, and what one asks of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from lettrine.arguments import checked
from lettrine.engine.base import Engine
from lettrine.errors import ConfigError
from lettrine.inference.evaluation import Loss, mean_loss
from lettrine.inference.mixture import Mixture, Prior
from lettrine.inference.sampling import Sampling, sample_words
from lettrine.inference.scoring import Score, score_words
from lettrine.model.config import MLPConfig
from lettrine.model.parameters import Array
from lettrine.text.vocabulary import Vocabulary
from lettrine.text.windows import windows


@checked
@dataclass(frozen=True)
class LanguageModel:
    """Everything needed to draw and to judge words.

    known: the words it was trained on, which `sample(new=True)` leaves out; may be empty. prior: counts beside the network, see
    `Prior`. others: networks of the same shape beside it. A model of counts alone has no parameters.
    """

    config: MLPConfig
    vocabulary: Vocabulary
    parameters: Mapping[str, Array] = field(repr=False)
    engine: Engine = field(repr=False)
    known: Collection[str] = field(default=frozenset(), repr=False)
    prior: Prior | None = field(default=None, repr=False)
    others: tuple[Mapping[str, Array], ...] = field(default=(), repr=False)

    @property
    def mixture(self) -> Mixture:
        """What answers: the networks and the counts together."""
        return Mixture(self.engine, self.prior, self.others)

    @checked
    def sample(self, count: int = 10, **how: object) -> list[str]:
        """Draw `count` words; keywords are those of `Sampling`. Raises ConfigError for new=True without `known` words."""
        chosen = Sampling(**how)  # type: ignore[arg-type]
        if chosen.new and not self.known:
            raise ConfigError("new got no training words to leave out; give the model its `known` words, or sample from the run")
        return sample_words(self.mixture, self.config, self.parameters, self.vocabulary, count, chosen, self.known)

    @checked
    def score(self, words: Sequence[str]) -> list[Score]:
        """Log-likelihood of each word and of each of its characters."""
        return score_words(self.mixture, self.config, self.parameters, self.vocabulary, words)

    @checked
    def evaluate(self, words: Sequence[str]) -> Loss:
        """Mean loss over every character of the words, ends included."""
        examples = windows(words, self.vocabulary, self.config.context)
        return Loss(mean_loss(self.mixture, self.config, self.parameters, examples.contexts, examples.targets))
