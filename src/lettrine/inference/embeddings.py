"""What the embedding table has learned: the position of each character, and which are similar to the network."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lettrine.model.parameters import Array
from lettrine.text.labels import sign_of
from lettrine.text.vocabulary import Vocabulary

VOWELS: Final = {  # by script and the end of their Unicode names
    "LATIN": {"A", "E", "I", "O", "U", "Y", "AE", "OE", "DOTLESS I"},
    "CYRILLIC": {"A", "IE", "I", "O", "U", "YERU", "E", "YU", "YA", "BYELORUSSIAN-UKRAINIAN I", "UKRAINIAN IE"},
    "GREEK": {"ALPHA", "EPSILON", "ETA", "IOTA", "OMICRON", "UPSILON", "OMEGA"},
}


SHUFFLES: Final = 200
DEVIATIONS: Final = 3.0
MOST_COMPARED: Final = 2000  # characters; the table of a larger script is not judged


class Plane(NamedTuple):
    """Points on a plane, (V, 2). shares: the part of the variance on each axis; NaN for a 2-D table, shown as it is."""

    points: NDArray[np.float64]
    shares: tuple[float, float]


class Characters(NamedTuple):
    """The data a page shows about the V characters of a model.

    names, groups: the text of each character, and the kind that decides its colour. points (V, 2), shares: see `Plane`. width: E.
    neighbours (V, N): the nearest of each.
    """

    names: list[str]
    groups: list[str]
    points: NDArray[np.float64]
    shares: tuple[float, float]
    width: int
    neighbours: NDArray[np.int64]


def characters_of(vocabulary: Vocabulary, table: Array, count: int = 3, *, labels: Sequence[str] = ()) -> Characters:
    """The data for an embedding table (V, E), with the `count` nearest of each character; signs of labels are shown as the
    labels.
    """
    shown = [vocabulary.show(index) for index in range(vocabulary.size)]
    groups = kinds(shown, vocabulary.end_sign)
    signs = {sign_of(label, labels): label for label in labels}
    names = [signs.get(character, character) for character in shown]
    plane = project(table)
    return Characters(names, groups, plane.points, plane.shares, table.shape[1], nearest(table, count))


def project(table: Array) -> Plane:
    """The rows of an embedding table (V, E) on a plane: as they are for E = 2, else by their first two principal components.

    Principal components: the centred rows times the right singular vectors with the largest singular values (Pearson 1901); the
    sign of each is chosen so that its largest entry is positive. A table of width 1 lies on a line.
    """
    rows = np.asarray(table, np.float64)
    if rows.shape[1] == 2:
        return Plane(rows, (float("nan"), float("nan")))
    centred = rows - rows.mean(axis=0)  # (V, E)
    _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    kept = directions[:2]  # (2, E), or (1, E)
    kept = kept * np.sign(np.take_along_axis(kept, np.abs(kept).argmax(axis=1)[:, None], axis=1))
    points = np.zeros((len(rows), 2))
    points[:, : len(kept)] = centred @ kept.T
    total = float((sizes**2).sum()) or 1.0
    shares = [float(size**2) / total for size in sizes[:2]] + [0.0]
    return Plane(points, (shares[0], shares[1]))


def turned(points: NDArray[np.float64], like: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (V, 2) rotated or mirrored to be as near as possible to others: the axes of a plane may swap from one step to the
    next, but the picture should not. Orthogonal Procrustes (Schoenemann 1966).
    """
    left, _, right = np.linalg.svd(points.T @ like)
    turn: NDArray[np.float64] = left @ right
    return points @ turn


def nearest(table: Array, count: int = 3) -> NDArray[np.int64]:
    """For each character the `count` most similar others, by the cosine between their centred rows: (V, count)."""
    rows = np.asarray(table, np.float64)
    rows = rows - rows.mean(axis=0)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = rows / np.where(lengths > 0, lengths, 1.0)
    likeness = unit @ unit.T  # (V, V)
    np.fill_diagonal(likeness, -np.inf)
    return np.argsort(-likeness, axis=1, kind="stable")[:, : min(count, len(rows) - 1)]


def telling(groups: Sequence[str], neighbours: NDArray[np.int64]) -> bool:
    """Whether the most similar characters are of the same kind, such as vowels, more often than by chance.

    groups: of each character, as `kinds` gives them; neighbours (V, N): the nearest of each. The share of neighbours of the
    same kind is compared with SHUFFLES tables with shuffled rows (a permutation test, Fisher 1935): it must lie DEVIATIONS of
    their standard deviations above their mean. Otherwise the neighbours may be accidents.
    """
    kind = np.unique(groups, return_inverse=True)[1].reshape(-1)
    if len(set(groups)) < 2 or len(groups) > MOST_COMPARED:
        return False
    generator = np.random.default_rng(0)

    def agreement(of: NDArray[np.int64]) -> float:
        return float((of[neighbours] == of[:, None]).mean())

    shuffled = [agreement(generator.permutation(kind)) for _ in range(SHUFFLES)]
    return agreement(kind) > float(np.mean(shuffled)) + DEVIATIONS * float(np.std(shuffled))


def kinds(characters: Sequence[str], end_sign: str) -> list[str]:
    """A word for each character, to colour it by: end of word, vowel, consonant, other letter, or sign."""
    return [_kind(character, end_sign) for character in characters]


def _kind(character: str, end_sign: str) -> str:
    if character == end_sign:
        return "end of word"
    if not unicodedata.category(character[0]).startswith("L"):
        return "sign"
    plain = unicodedata.normalize("NFD", character)[0].lower()  # without its accents
    script, _, rest = unicodedata.name(plain, "").partition(" SMALL ")
    if script not in VOWELS:
        return "letter"
    return "vowel" if rest.removeprefix("LETTER ").removeprefix("LIGATURE ") in VOWELS[script] else "consonant"
