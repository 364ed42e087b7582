"""A trained language model: its shape, vocabulary and weights, and its uses."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from lettrine.arguments import checked
from lettrine.engine.base import Doubles, Drawer, Engine, Integers
from lettrine.engine.softmax import probabilities
from lettrine.errors import ConfigError
from lettrine.inference.evaluation import Loss, mean_loss
from lettrine.inference.mixture import Mixture, Prior
from lettrine.inference.sampling import Sampling, stream_words
from lettrine.inference.scoring import Score, Scores, score_many, score_words
from lettrine.model.config import MLPConfig
from lettrine.model.parameters import Array
from lettrine.text.labels import without_sign
from lettrine.text.vocabulary import Vocabulary
from lettrine.text.windows import windows


@checked
@dataclass(frozen=True)
class LanguageModel:
    """Everything needed to draw and to judge words; a `Predictor`.

    known: the words it was trained on, which `sample(new=True)` leaves out; may be empty. prior: counts beside the network, see
    `Prior`. others: networks of the same shape beside it. A model of counts alone has no parameters.
    labels: those of its words, each of which then begins with the sign of one (`lettrine.text.labels`), `known` ones too.
    """

    config: MLPConfig
    vocabulary: Vocabulary
    parameters: Mapping[str, Array] = field(repr=False)
    engine: Engine = field(repr=False)
    known: Collection[str] = field(default=frozenset(), repr=False)
    prior: Prior | None = field(default=None, repr=False)
    others: tuple[Mapping[str, Array], ...] = field(default=(), repr=False)
    labels: tuple[str, ...] = ()

    @property
    def mixture(self) -> Mixture:
        """The networks and the counts together, as one engine."""
        return Mixture(self.engine, self.prior, self.others)

    @checked
    def sample(self, count: int = 10, **how: object) -> list[str]:
        """Draw `count` words, fewer if no more are found; keywords are those of `Sampling`.

        Raises ConfigError for a wish that no word meets, and for new=True without `known` words; VocabularyError for a
        wish with an unknown character.
        """
        return list(chain.from_iterable(self.stream(count, **how)))

    @checked
    def stream(self, count: int = 10, **how: object) -> Iterator[list[str]]:
        """The same in portions, each as soon as it is drawn."""
        chosen = Sampling(**how)  # type: ignore[arg-type]
        if (chosen.new or chosen.not_near) and not self.known:
            raise ConfigError("new got no training words to leave out; give the model its `known` words, or sample from the run")
        known = without_sign(self.known) if self.labels and (chosen.new or chosen.not_near) else self.known
        return stream_words(self, count, chosen, known)

    @checked
    def score(self, words: Sequence[str], label: str = "") -> list[Score]:
        """Log-likelihood of each word and of each of its characters; of a model with labels, under one or under all of them."""
        return score_words(self, words, label)

    @checked
    def score_many(self, words: Sequence[str], label: str = "", *, threads: int = 1) -> Iterator[Scores]:
        """Log-likelihood of many words, in portions of arrays."""
        return score_many(self, words, label, threads)

    @checked
    def evaluate(self, words: Sequence[str]) -> Loss:
        """Mean loss over every character of the words, ends included."""
        examples = windows(words, self.vocabulary, self.context)
        return Loss(mean_loss(self.mixture, self.config, self.parameters, examples))

    @property
    def context(self) -> int:
        """T, how many characters it looks back."""
        return self.config.context

    def probabilities(self, contexts: Integers, *, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> Doubles:
        """Probabilities of the next character after each context (N, T): float64 (N, V), see `Predictor`."""
        with np.errstate(all="ignore"):  # weights that grew too large give no distribution, which is an answer and no warning
            return probabilities(self.mixture.logits(self.config, self.parameters, contexts), temperature, top_k, top_p)

    def losses(self, contexts: Integers, targets: Integers, *, threads: int = 1) -> Doubles:
        """Negative log-probability of each target after its context: float64 (N,), in nats."""
        with np.errstate(all="ignore"):
            return self.mixture.negative_log_likelihood(self.config, self.parameters, contexts, targets, threads=threads)

    def drawer(self, *, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0, threads: int = 1) -> Drawer:
        """An object that draws characters after contexts, see `Predictor`."""
        cuts = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
        draw = self.mixture.drawer(self.config, self.parameters, threads, **cuts)

        def quietly(contexts: Integers, uniforms: Doubles) -> Integers:
            with np.errstate(all="ignore"):  # weights that grew too large give no distribution, which is an answer and no warning
                return draw(contexts, uniforms)

        return quietly
