"""The discounts of counts: estimated, then scaled on held-out words; and counts with one example left out."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Integers: TypeAlias = NDArray[np.integer[Any]]
Floats: TypeAlias = NDArray[np.float64]

CEILING: Final = (1.0, 2.0, 3.0)  # of D1, D2, D3: no more can be taken off than there is
PLAIN: Final = (0.5, 1.0, 1.5)  # used if too few counts are 1, 2, 3 or 4 to estimate them
LEAST: Final = 1e-3  # with none, a character first met after a history would be impossible
_SCALES: Final = np.exp(np.linspace(np.log(0.4), np.log(2.0), 17))  # of the estimated discounts that are tried on held-out words
_ROUNDS: Final = 2  # over the depths


def estimated(counts: Integers) -> Floats:
    """D1, D2, D3 from how many counts are 1, 2, 3 and 4 (Chen & Goodman 1999, equation 17)."""
    n1, n2, n3, n4 = (int((counts == times).sum()) for times in (1, 2, 3, 4))
    if not (n1 and n2 and n3 and n4):
        return np.array(PLAIN)
    y = n1 / (n1 + 2 * n2)
    made: Floats = np.clip([1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3], LEAST, CEILING)
    return made


def scaled(discounts: Floats, factor: float | Floats) -> Floats:
    """Discounts times a factor, or several (F, 1), none larger than its count."""
    result: Floats = np.minimum(discounts * factor, CEILING)
    return result


def smoothed(link: Floats, discounts: Floats, lower: Floats) -> Floats:
    """Probability of each example at one depth, from that of the shorter history: (N,).

    link (N, 5): c(h w), c(h), and how many characters followed h once, twice, more often; all 0 if h was never seen.
    Several discounts (F, 3), or several lower probabilities (F, N), give (F, N).
    """
    kept = link[:, 0] - np.insert(discounts, 0, 0.0, axis=-1)[..., np.minimum(link[:, 0], 3).astype(np.int64)]
    total = np.maximum(link[:, 1], 1.0)
    return np.where(link[:, 1] > 0, kept / total + discounts @ link[:, 2:].T / total * lower, lower)


def folded(chain: Floats, discounts: Floats, uniform: float) -> Floats:
    """Probability of each example by its whole chain (K, N, 5), see `Counts.chain`: (N,)."""
    p = np.full(chain.shape[1], uniform)
    for link, taken in zip(chain, discounts, strict=True):
        p = smoothed(link, taken, p)
    return p


def left_out(chain: Floats) -> Floats:
    """The chain of training examples, each as if it had not been counted itself.

    One is taken from the count in the longest history. Where that was the only one, the next shorter history was followed by
    this character after one longer history fewer, and so on.
    """
    chain = chain.copy()
    going = np.ones(chain.shape[1], np.bool_)
    for link in chain[::-1]:
        rows = np.flatnonzero(going & (link[:, 1] > 0))
        count = link[rows, 0]
        link[rows, 1 + np.minimum(count, 3).astype(np.int64)] -= 1
        left = rows[count > 1]
        link[left, 1 + np.minimum(link[left, 0] - 1, 3).astype(np.int64)] += 1
        link[rows, :2] -= 1
        going[left] = False
    return chain


def scaled_on(chain: Floats, discounts: Floats, uniform: float) -> tuple[Floats, float]:
    """The discounts (K, 3), scaled depth by depth to lower the loss of these examples; and that loss, in nats."""
    made = discounts.copy()
    for _ in range(_ROUNDS):
        lower = np.full(chain.shape[1], uniform)
        for at, link in enumerate(chain):
            tried = scaled(discounts[at], _SCALES[:, None])  # (F, 3)
            p = smoothed(link, tried, lower)  # (F, N)
            for longer, taken in zip(chain[at + 1 :], made[at + 1 :], strict=True):
                p = smoothed(longer, taken, p)
            best = int(np.argmin(-np.log(p).mean(axis=1)))
            made[at], lower = tried[best], smoothed(link, tried[best], lower)
    return made, float(-np.log(lower).mean())
