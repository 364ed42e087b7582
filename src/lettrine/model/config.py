"""The shape of a network, as one frozen value.

Bengio et al. 2003, "A Neural Probabilistic Language Model", JMLR 3. Each of the T characters before the one to predict is
looked up in an embedding table. The T vectors are concatenated and passed through hidden layers. The last layer gives one
logit for each character of the vocabulary.

Shape letters used everywhere: B batch, T context, E embedding, H hidden, V vocabulary, S steps, L layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from lettrine.activations import TRAINABLE
from lettrine.arguments import checked
from lettrine.errors import ConfigError

NORMS: Final = ("none", "batch")

MAX_WIDTH: Final = 1_000_000  # of any axis: a larger number is a typing error, and its memory could not be had
MAX_DROPOUT: Final = 0.9  # above this a layer passes on almost nothing
MAX_LAYERS: Final = 1_000
MAX_PARAMETERS: Final = 1_000_000_000


@checked
@dataclass(frozen=True)
class MLPConfig:
    """The shape of a character-level multi-layer perceptron.

    vocabulary_size: V, characters and the end-of-word token.
    context: T, how many characters the network sees.
    embedding: E, width of one character's vector.
    hidden: widths of the hidden layers, from the input; at least one.
    activation: non-linearity after each hidden layer, one of `lettrine.activations.TRAINABLE`. "gelu" is the tanh form
        of Hendrycks & Gimpel 2016, as torch's GELU(approximate="tanh").
    norm: "batch" puts batch normalisation (Ioffe & Szegedy 2015) between each hidden Linear and its activation.
    hidden_bias: whether hidden Linears have a bias. None means "unless norm is batch": a bias before
        batch norm does nothing, since the mean is subtracted again.
    output_bias: whether the last Linear has a bias.
    output_norm: batch normalisation of the logits, as the lecture's deep nets have it.
    direct: adds direct connections from the embeddings to the logits (W in Bengio's equation 1).
    norm_momentum: share of the batch's statistics in each update of the running ones (torch's convention).
    norm_eps: added to the variance before its root is taken.
    dropout: share of each hidden layer's outputs that is dropped in training (Srivastava et al. 2014).

    Raises ConfigError for a value outside its range.
    """

    vocabulary_size: int
    context: int = 8
    embedding: int = 24
    hidden: tuple[int, ...] = (200,)
    activation: str = "gelu"
    norm: str = "none"
    hidden_bias: bool | None = None
    output_bias: bool = True
    output_norm: bool = False
    direct: bool = False
    norm_momentum: float = 0.1
    norm_eps: float = 1e-5
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.hidden_bias is None:
            object.__setattr__(self, "hidden_bias", self.norm == "none")
        _whole("vocabulary size", self.vocabulary_size, least=2)
        _whole("context", self.context, least=1)
        _whole("embedding", self.embedding, least=1)
        if not self.hidden:
            raise ConfigError("hidden got no width; expected at least one hidden layer, such as 200 or 200x5")
        if len(self.hidden) > MAX_LAYERS:
            raise ConfigError(f"hidden got {len(self.hidden)} layers; expected at most {MAX_LAYERS}")
        for width in self.hidden:
            _whole("hidden", width, least=1)
        _one_of("activation", self.activation, TRAINABLE)
        _one_of("norm", self.norm, NORMS)
        if not 0.0 < self.norm_momentum <= 1.0:
            raise ConfigError(f"norm momentum got {self.norm_momentum}; expected more than 0 and at most 1")
        if not 0.0 < self.norm_eps < 1.0:
            raise ConfigError(f"norm eps got {self.norm_eps}; expected more than 0 and less than 1")
        if not 0.0 <= self.dropout <= MAX_DROPOUT:
            raise ConfigError(f"dropout got {self.dropout}; expected 0 to {MAX_DROPOUT}")
        if (count := self.parameter_count()) > MAX_PARAMETERS:
            raise ConfigError(
                f"this network would have {count:,} parameters; expected at most {MAX_PARAMETERS:,}: "
                "lower context, embedding or hidden"
            )

    def parameter_count(self) -> int:
        """How many numbers the optimiser trains (running statistics are not counted)."""
        inputs, total = self.context * self.embedding, self.vocabulary_size * self.embedding
        if self.direct:
            total += self.vocabulary_size * inputs
        for width in self.hidden:
            total += inputs * width + width * bool(self.hidden_bias) + 2 * width * (self.norm == "batch")
            inputs = width
        total += inputs * self.vocabulary_size + self.vocabulary_size * self.output_bias
        return total + 2 * self.vocabulary_size * self.output_norm

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "hidden": list(self.hidden)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MLPConfig:
        """The inverse of `to_dict`. Raises ConfigError for unknown or missing names and wrong types."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ConfigError(f"configuration has unknown entries {', '.join(unknown)}; expected {', '.join(sorted(known))}")
        hidden = values.get("hidden", (200,))
        if not isinstance(hidden, list | tuple):
            raise ConfigError(f"hidden got {hidden!r}; expected a list of widths")
        try:
            return cls(**{**values, "hidden": tuple(hidden)})
        except TypeError as error:
            raise ConfigError(
                f"configuration is incomplete or of the wrong type ({error}); expected {', '.join(sorted(known))}"
            ) from None


@checked
def parse_hidden(text: str) -> tuple[int, ...]:
    """Hidden widths from their written form: "200", "200x5" (five layers of 200), "300,100".

    Raises ConfigError for anything else.
    """
    widths: list[int] = []
    for part in text.split(","):
        width, times, count = part.strip().partition("x")
        if not width.isdecimal() or (times and not count.isdecimal()):
            raise ConfigError(f"hidden got {text!r}; expected a width such as 200, 200x5 or 300,100")
        repeat = int(count) if times else 1
        if repeat < 1 or repeat > MAX_LAYERS:
            raise ConfigError(f"hidden got {text!r}; expected 1 to {MAX_LAYERS} layers")
        widths += [int(width)] * repeat
    return tuple(widths)


def _whole(name: str, value: int, least: int) -> None:
    if not least <= value <= MAX_WIDTH:
        raise ConfigError(f"{name} got {value!r}; expected a whole number from {least} to {MAX_WIDTH:,}")


def _one_of(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"{name} got {value!r}; expected one of {', '.join(choices)}")
