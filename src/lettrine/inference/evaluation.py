"""Losses of a whole split, exact and in bounded memory, and batch-norm statistics over the training set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from lettrine.engine.base import Evaluator, Integers
from lettrine.model.config import MLPConfig
from lettrine.model.parameters import Array, Parameters, copy_parameters
from lettrine.text.windows import Windows

LN2: Final = float(np.log(2.0))
SLICE: Final = 10**9  # multiplications per call of an engine: some hundredths of a second, so that Ctrl-C is noticed


def exp(nats: float) -> float:
    """Exponential of the loss: perplexity; infinite, without a warning, if it is too large for a float."""
    with np.errstate(over="ignore"):
        return float(np.exp(nats))


@dataclass(frozen=True)
class Loss:
    """Mean negative log-likelihood of one character. nats; bits: bits per character; perplexity = exp(nats)."""

    nats: float

    @property
    def bits(self) -> float:
        """Bits per character."""
        return self.nats / LN2

    @property
    def perplexity(self) -> float:
        """The number of equally likely characters with the same loss."""
        return exp(self.nats)

    def __repr__(self) -> str:
        return f"Loss({self.nats:.4f} nats, {self.bits:.4f} bits per character, perplexity {self.perplexity:.2f})"


def mean_loss(
    engine: Evaluator,
    config: MLPConfig,
    parameters: Mapping[str, Array],
    examples: Windows,
    threads: int = 1,
    stopped: Callable[[], object] = lambda: False,
) -> float:
    """Mean loss in nats over all examples, in eval mode; NaN without examples, and if `stopped` returned true on the way."""
    size, total, distinct = max(1, SLICE // config.parameter_count()), 0.0, examples.distinct
    contexts, targets = distinct.examples.contexts, distinct.examples.targets
    with np.errstate(all="ignore"):  # weights that grew too large give an infinite loss: a valid result, without a warning
        for start in range(0, len(targets), size):
            if stopped():
                return float("nan")
            some = slice(start, start + size)
            losses = engine.negative_log_likelihood(config, parameters, contexts[some], targets[some], threads=threads)
            total += float(losses @ distinct.times[some])
    return total / len(examples) if len(examples) else float("nan")


def precise_norms(config: MLPConfig, parameters: Mapping[str, Array], contexts: Integers) -> Parameters:
    """A copy of the parameters whose running statistics are those of all `contexts` (N, T), exactly.

    Batch norm's running statistics lag behind the weights; one pass over the training set per norm, from the input on,
    replaces them by the true mean and unbiased variance: precise batch norm (Wu & Johnson 2021, Rethinking "Batch" in
    BatchNorm), which makemore part 3 calls calibrating.
    """
    from lettrine.engine.reference import chunk_size, norm_inputs  # noqa: PLC0415 - drawing words starts without it

    result, size = copy_parameters(parameters), chunk_size(config)
    for name in [key.removesuffix(".running_mean") for key in parameters if key.endswith(".running_mean")]:
        count, mean, square = 0, np.float64(0.0), np.float64(0.0)
        for start in range(0, len(contexts), size):
            x = norm_inputs(config, result, contexts[start : start + size], name).astype(np.float64)  # (n, H)
            # Chan's pairwise update: exact where sums of squares would cancel
            n, m = len(x), x.mean(axis=0)
            delta = m - mean
            square = square + ((x - m) ** 2).sum(axis=0) + delta**2 * count * n / (count + n)
            mean = mean + delta * n / (count + n)
            count += n
        result[f"{name}.running_mean"][:] = mean
        result[f"{name}.running_var"][:] = square / max(count - 1, 1)
    return result
