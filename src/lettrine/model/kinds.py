"""The kind of the next character (capital, small letter ...), predicted from the kinds of the two before it.

A list of 200 names shows each capital a few times, and neither a network nor counts can conclude from this that capitals never
follow small letters. There are few kinds of characters, so few words are enough: kinds are counted after pairs of kinds; a
pair is smoothed with the nearer kind alone, and that with no context (MacKay & Peto 1995, "A hierarchical Dirichlet language
model").
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lettrine.errors import EngineError

Integers = NDArray[np.integer[Any]]
Floats = NDArray[np.float64]

END, CAPITAL, LETTER, DIGIT, SPACE, SIGN = range(6)
KINDS: Final = 6
MOST: Final = 2.0  # of the weight
STRENGTH: Final = 1.0  # weight of a shorter history, in examples


@dataclass(frozen=True, eq=False, repr=False)
class Kinds:
    """Kinds counted, made by `counted_kinds`.

    kinds: of each character, the end of a word first, (V,). logs (KINDS, KINDS, KINDS): logarithm of how often each kind follows
    two others, the further one first. weight: its weight beside networks and counts.
    """

    kinds: NDArray[np.int64]
    logs: Floats
    weight: float = 1.0

    def logits(self, contexts: Integers) -> Floats:
        """The weight times log q(kind of w | kinds of h) for each context (N, T) and character w: (N, V)."""
        result: Floats = (self.weight * self.logs[_before(self.kinds, contexts)])[:, self.kinds]
        return result


def counted_kinds(characters: Sequence[str], contexts: Integers, targets: Integers) -> Kinds | None:
    """The kinds of these examples, whose characters are numbered from 1; None without both capitals and small letters."""
    kinds = np.array([END, *map(_kind, characters)])
    if not {CAPITAL, LETTER} <= set(kinds.tolist()):
        return None
    found = np.zeros((KINDS, KINDS, KINDS))
    np.add.at(found, (*_before(kinds, contexts), kinds[targets]), 1.0)
    shares = np.full(KINDS, 1.0 / KINDS)
    for seen in (found.sum(axis=(0, 1)), found.sum(axis=0), found):
        shares = (seen + STRENGTH * shares) / (seen.sum(axis=-1, keepdims=True) + STRENGTH)
    return Kinds(kinds, np.log(shares))


def _kind(character: str) -> int:
    if character == " ":
        return SPACE
    category = unicodedata.category(character)
    if category in ("Lu", "Lt"):
        return CAPITAL
    return {"L": LETTER, "M": LETTER, "N": DIGIT}.get(category[0], SIGN)


def _before(kinds: NDArray[np.int64], contexts: Integers) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The kinds of the last two characters of each context (N, T)."""
    nearer = kinds[contexts[:, -1]]
    return (kinds[contexts[:, -2]] if contexts.shape[1] > 1 else np.zeros_like(nearer)), nearer


def kinds_to_arrays(kinds: Kinds) -> dict[str, NDArray[Any]]:
    """Plain arrays to be kept in a file."""
    return {"kinds": kinds.kinds, "kind_logs": kinds.logs, "kind_weight": np.array([kinds.weight])}


def kinds_from_arrays(arrays: Mapping[str, NDArray[Any]], vocabulary_size: int) -> Kinds | None:
    """The inverse of `kinds_to_arrays`; None if there are none. Raises EngineError, or KeyError if some are missing."""
    if "kinds" not in arrays:
        return None
    kinds, logs, weight = arrays["kinds"], arrays["kind_logs"], arrays["kind_weight"]
    if kinds.shape != (vocabulary_size,) or kinds.dtype != np.int64 or kinds.min() < 0 or kinds.max() >= KINDS:
        raise EngineError(f"kinds of characters are {kinds.dtype} of shape {kinds.shape}; expected one of {KINDS} for each")
    if logs.shape != (KINDS,) * 3 or weight.shape != (1,) or logs.dtype != weight.dtype or logs.dtype != np.float64:
        raise EngineError(f"kinds of characters have figures of shape {logs.shape}; expected {(KINDS,) * 3} and a weight")
    if not (np.isfinite(logs).all() and (logs <= 0).all() and 0 <= weight[0] <= MOST):
        raise EngineError("kinds of characters have figures that are no logarithms of shares; train again")
    return Kinds(np.array(kinds), np.array(logs), float(weight[0]))
