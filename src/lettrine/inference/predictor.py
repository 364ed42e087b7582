"""What sampling and scoring ask of a model: which character comes next, and how likely each is.

A network, counts, or both mixed: whatever answers these four questions can be drawn from under any condition, and scored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from lettrine.engine.base import Doubles, Integers
from lettrine.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class Cuts:
    """How a distribution is changed before it is drawn from, see `Predictor.probabilities` and `Sampling`."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0


class Predictor(Protocol):
    """A distribution of the next character, given the T characters before it.

    Contexts are int32 (N, T), the nearest character last; where a word has fewer characters, the row begins with end tokens (0).
    """

    @property
    def vocabulary(self) -> Vocabulary:
        """The characters, V with the end token."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels whose signs stand before its words, see `lettrine.text.labels`; mostly none."""
        ...

    @property
    def context(self) -> int:
        """T, how many characters it looks back."""
        ...

    def probabilities(self, contexts: Integers, *, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> Doubles:
        """What `draw` draws from, float64 (N, V): each row sums to 1."""
        ...

    def losses(self, contexts: Integers, targets: Integers, *, threads: int = 1) -> Doubles:
        """Negative log-probability of each target, float64 (N,), in nats."""
        ...

    def draw(
        self, contexts: Integers, uniforms: Doubles, *, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0
    ) -> Integers:
        """Characters from each starting context until the end token or the L-th, int32 (N, L), 0 after the end.

        uniforms: float64 (N, L) in [0, 1), one for each character, see `lettrine.engine.base.Engine.sample`.
        """
        ...
