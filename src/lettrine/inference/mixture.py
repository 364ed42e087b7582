"""Networks and counts as one model, mixed in logits.

    p(w | h) is in proportion to  p_network(w | h) ** a  *  p_counts(w | h) ** b  *  q(kind of w | kinds of h) ** c

a, b and c minimise the loss on the dev words. Several networks are first averaged in their logarithms. The last factor
(`lettrine.model.kinds`) is there only if words have capitals and small letters.
A weighted mean of probabilities was tried and is worse by 0.002 to 0.02 nats on all word lists (docs/sizes.md). With logits, a
character that one of them nearly excludes stays unlikely.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lettrine.engine.base import Doubles, Drawer, Engine, Integers
from lettrine.engine.softmax import log_softmax
from lettrine.model.config import MLPConfig
from lettrine.model.counts import Counts
from lettrine.model.kinds import Kinds
from lettrine.model.parameters import Array

EVEN: Final = (0.5, 0.5)  # weights without words to fit them on; few words keep the weights near these
KINDS_EVEN: Final = 0.5  # the same of the kinds of characters
EVENLY: Final = np.array([*EVEN, KINDS_EVEN])
PULL: Final = 30.0  # number of examples that EVEN counts for
MOST: Final = 2.0  # of either weight
ALONE: Final = (0.0, 1.0)  # the weights of counts without a network
DOUBT: Final = 2.0  # total nats by which counts alone must be better before networks are left out
NUMBERS: Final = 2**21  # logits worked out at a time, and those the weights are fitted on
_ROUNDS: Final = 8  # of Newton's method


@dataclass(frozen=True)
class Prior:
    """Counts beside a network, and the weights (a, b) of the two. A model of counts alone has the weights (0, 1).

    kinds: the counts of kinds of characters, with the weight c; None without.
    """

    counts: Counts
    weights: tuple[float, float] = EVEN
    kinds: Kinds | None = None


@dataclass(frozen=True)
class Mixture:
    """An engine for several networks of one shape and counts together; see `Engine` for each method.

    others: networks beside the one that each method gets.
    """

    engine: Engine
    prior: Prior | None = None
    others: Sequence[Mapping[str, Array]] = ()

    @property
    def name(self) -> str:
        """That of the engine below."""
        return self.engine.name

    def logits(self, config: MLPConfig, parameters: Mapping[str, Array], contexts: Integers) -> Array:
        """Logits (N, V); see `Engine`."""
        if self.prior is None and not self.others:
            return self.engine.logits(config, parameters, contexts)
        if self.prior is None:
            return self.of_networks(config, parameters, contexts)
        a, b = self.prior.weights
        counted: Array = b * np.log(self.engine.count_probabilities(self.prior.counts, contexts))
        if self.prior.kinds is not None:
            counted += self.prior.kinds.logits(contexts)
        return counted if a == 0.0 else a * self.of_networks(config, parameters, contexts) + counted

    def of_networks(self, config: MLPConfig, parameters: Mapping[str, Array], contexts: Integers) -> Array:
        """Log-probabilities of the networks alone, averaged, (N, V)."""
        each = [parameters, *self.others]
        logs = (log_softmax(self.engine.logits(config, one, contexts).astype(np.float64)) for one in each)
        return np.asarray(sum(logs)) / len(each)

    def negative_log_likelihood(
        self, config: MLPConfig, parameters: Mapping[str, Array], contexts: Integers, targets: Integers, *, threads: int = 1
    ) -> Doubles:
        """Loss of each example (N,); see `Engine`."""
        if self.prior is None and not self.others:
            return self.engine.negative_log_likelihood(config, parameters, contexts, targets, threads=threads)
        if self.prior is not None and self.prior.weights == ALONE and self.prior.kinds is None:
            return -np.log(self.engine.count_probabilities(self.prior.counts, contexts, targets))
        result = np.empty(len(targets), np.float64)
        size = max(1, NUMBERS // config.vocabulary_size)
        for start in range(0, len(targets), size):
            part = slice(start, start + size)
            logits = self.logits(config, parameters, contexts[part])
            result[part] = -log_softmax(logits)[np.arange(len(logits)), targets[part]]
        return result

    def drawer(self, config: MLPConfig, parameters: Mapping[str, Array], threads: int = 1, **cuts: Any) -> Drawer:
        """An object that draws words, see `Engine.drawer`; cuts: temperature, top_k, top_p."""
        prior = self.prior
        if prior is None:
            return self.engine.drawer(config, [parameters, *self.others], threads=threads, **cuts)
        networks = [parameters, *self.others] if prior.weights[0] else []
        return self.engine.drawer(config, networks, prior.counts, prior.weights, prior.kinds, threads=threads, **cuts)


def fitted(
    mixture: Mixture, config: MLPConfig, parameters: Mapping[str, Array], contexts: Integers, targets: Integers
) -> Prior | None:
    """The mixture's prior with the weights that minimise the loss on these examples, with PULL more examples for EVEN and
    KINDS_EVEN.

    The loss is convex in them, so a few Newton steps find the minimum. If counts alone are better, as on random words, the
    networks are left out.
    """
    prior = mixture.prior
    if prior is None:
        return None
    most = max(1, NUMBERS // config.vocabulary_size)
    contexts, targets = contexts[:most], targets[:most]
    if not len(targets):
        return _weighed(prior, EVENLY)
    counted = np.log(mixture.engine.count_probabilities(prior.counts, contexts))
    known = [] if prior.kinds is None else [replace(prior.kinds, weight=1.0).logits(contexts)]
    x = np.stack([mixture.of_networks(config, parameters, contexts), counted, *known])  # (2 or 3, N, V)
    came = x[:, np.arange(len(targets)), targets]  # (2 or 3, N)
    evenly = EVENLY[: len(x)]
    weights = evenly
    for _ in range(_ROUNDS):
        p = np.exp(log_softmax(np.tensordot(weights, x, 1)))
        mean = (x * p).sum(axis=2)  # (2, N)
        around = x - mean[:, :, None]
        slope = PULL * (weights - evenly) + (mean - came).sum(axis=1)
        curve = PULL * np.eye(len(x)) + np.einsum("inv,jnv,nv->ij", around, around, p)
        moved = np.clip(weights - np.linalg.solve(curve, slope), 0.0, MOST)
        if not np.isfinite(moved).all():  # a network whose weights overflowed
            return _weighed(prior, EVENLY)
        settled = np.abs(moved - weights).max() < 1e-4
        weights = moved
        if settled:
            break
    mixed, alone = np.tensordot(weights, x, 1), counted
    rows = np.arange(len(targets))
    lost = (log_softmax(alone)[rows, targets] - log_softmax(mixed)[rows, targets]).sum()
    return Prior(prior.counts, ALONE) if lost > DOUBT else _weighed(prior, weights)


def _weighed(prior: Prior, weights: NDArray[np.float64]) -> Prior:
    """With these weights (a, b, c), and without kinds that weigh nothing."""
    a, b, *c = weights.tolist()
    return Prior(prior.counts, (a, b), replace(prior.kinds, weight=c[0]) if prior.kinds is not None and c[0] else None)
