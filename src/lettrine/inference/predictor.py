"""The interface that sampling and scoring need from a model: which character comes next, and how likely each is.

A network, counts, or a mixture: any model with these methods can be sampled under any condition, and scored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from lettrine.engine.base import Doubles, Drawer, Integers
from lettrine.text.vocabulary import Vocabulary

# characters drawn at a time: few words are longer, so few random numbers are drawn even if 100,000 characters are allowed
PIECE: Final = 256


@dataclass(frozen=True)
class Cuts:
    """How a distribution is changed before it is drawn from, see `Predictor.probabilities` and `Sampling`."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0


class Predictor(Protocol):
    """A distribution of the next character, given the T characters before it.

    Contexts are int32 (N, T), the nearest character last; if a word has fewer characters, the row begins with end tokens (0).
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
        """The probabilities that `drawer` draws from, float64 (N, V): each row sums to 1."""
        ...

    def losses(self, contexts: Integers, targets: Integers, *, threads: int = 1) -> Doubles:
        """Negative log-probability of each target, float64 (N,), in nats."""
        ...

    def drawer(self, *, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0, threads: int = 1) -> Drawer:
        """An object that draws from these distributions repeatedly, see `lettrine.engine.base.Drawer`."""
        ...


def draw_on(draw: Drawer, contexts: Integers, room: int, uniforms: Callable[[NDArray[np.int64], int, int], Doubles]) -> Integers:
    """Words from contexts (N, T) to their ends, or to the room-th character: (N, at most room), 0 after the end.

    uniforms: a function that gives random numbers: for some of the words (by index), from which character on, and how many.
    """
    count, length = contexts.shape
    going, pieces = np.arange(count), [np.zeros((count, 0), np.int32)]
    for start in range(0, room, PIECE):
        piece = np.zeros((count, min(PIECE, room - start)), np.int32)
        piece[going] = draw(contexts, uniforms(going, start, piece.shape[1]))
        pieces.append(piece)
        on = piece[going, -1] != 0
        going, contexts = going[on], np.concatenate([contexts, piece[going]], axis=1)[on, -length:]
        if not len(going):
            break
    return np.concatenate(pieces, axis=1)
