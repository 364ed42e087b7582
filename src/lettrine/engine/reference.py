"""The engine in numpy. `passes` defines the network, `steps` the step of each optimiser.

Shape letters: B batch, T context, E embedding, H hidden (one layer's width), A words being written, L their length, V vocabulary,
N examples, S steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from lettrine.engine.base import (
    Doubles,
    Drawer,
    Indices,
    Integers,
    Optimiser,
    TrainState,
    check_batches,
    check_examples,
    check_moments,
)
from lettrine.engine.passes import backward, cross_entropy, forward, logits_of
from lettrine.engine.softmax import log_softmax, probabilities
from lettrine.engine.steps import optimiser_step, update_running
from lettrine.model.config import MLPConfig
from lettrine.model.counts import Counts
from lettrine.model.kinds import Kinds
from lettrine.model.parameters import Array, Parameters, check_parameters

CHUNK: Final = 4096  # examples evaluated at a time: bounds memory, and numpy is no faster with more
NUMBERS: Final = 2**22  # of the logits of one chunk: a vocabulary of 20,000 gets chunks of 200 examples


@dataclass
class Observation:
    """One batch seen from inside, at weights that do not change.

    outputs: of each module, by its name, in the order of the forward pass: "embedding" (B, T, E),
        "direct" (B, V), "layers.0" (B, H), "norms.0", "activations.0", …, "output" (B, V), "output_norm".
    output_gradients: gradient of the mean loss with respect to each of them, same names and shapes.
    gradients: gradient of the mean loss with respect to each parameter.
    statistics: mean and biased variance of the batch at each batch norm, each (H,).
    """

    loss: float
    outputs: dict[str, Array]
    output_gradients: dict[str, Array]
    gradients: Parameters
    statistics: dict[str, tuple[Array, Array]]


class ReferenceEngine:
    """The numpy engine; see `lettrine.engine.base.Engine` for what each method promises."""

    name: Final = "reference"

    def train(  # noqa: D102 - documented by the protocol
        self,
        config: MLPConfig,
        optimiser: Optimiser,
        state: TrainState,
        contexts: Integers,
        targets: Integers,
        indices: Indices,
        learning_rates: Doubles,
        *,
        threads: int = 1,  # noqa: ARG002 - numpy's own threads are set around the call, see training.trainer
        seed: int = 0,
    ) -> Doubles:
        check_parameters(config, state.parameters)
        check_moments(config, optimiser, state.parameters, state.moments)
        check_examples(config, contexts, targets)
        check_batches(indices, learning_rates, len(targets))
        losses = np.empty(len(learning_rates), np.float64)
        for step, (rows, learning_rate) in enumerate(zip(indices, learning_rates.tolist(), strict=True)):
            x, y = contexts[rows], targets[rows]  # (B, T), (B,)
            seen = forward(config, state.parameters, x, training=True, dropped=(seed, state.step))
            losses[step], d_logits = cross_entropy(logits_of(seen), y)
            if not np.isfinite(losses[step]):
                return losses[: step + 1]
            gradients, _ = backward(config, state.parameters, x, seen, d_logits)
            update_running(config, state.parameters, seen, len(y))
            optimiser_step(optimiser, state, gradients, learning_rate)
        return losses

    def drawer(  # noqa: D102
        self,
        config: MLPConfig,
        networks: Sequence[Mapping[str, Array]],
        counts: Counts | None = None,
        weights: tuple[float, float] = (1.0, 0.0),
        kinds: Kinds | None = None,
        *,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        threads: int = 1,  # noqa: ARG002
    ) -> Drawer:
        def mixed(contexts: Integers) -> Doubles:
            result = np.zeros((len(contexts), config.vocabulary_size))
            for parameters in networks:
                result += weights[0] / len(networks) * self.logits(config, parameters, contexts).astype(np.float64)
            if counts is not None:
                result += weights[1] * np.log(counts.probabilities(contexts))
            return result if kinds is None else result + kinds.logits(contexts)

        def drawer(contexts: Integers, uniforms: Doubles) -> Integers:
            words = np.zeros(uniforms.shape, np.int32)  # (N, L)
            alive, window = np.arange(len(contexts)), np.array(contexts)  # words that are not finished, and the context of each
            for place in range(uniforms.shape[1]):
                if not len(alive):
                    break
                drawn = _choose(probabilities(mixed(window), temperature, top_k, top_p), uniforms[alive, place])  # (A,)
                words[alive, place] = drawn
                window = np.concatenate([window[:, 1:], drawn[:, None]], axis=1)
                going = drawn != 0
                alive, window = alive[going], window[going]
            return words

        return drawer

    def count_probabilities(self, counts: Counts, contexts: Integers, targets: Integers | None = None) -> Doubles:  # noqa: D102
        return counts.probabilities(contexts) if targets is None else counts.probability(contexts, targets)

    def logits(self, config: MLPConfig, parameters: Mapping[str, Array], contexts: Integers) -> Array:  # noqa: D102
        check_parameters(config, parameters)
        check_examples(config, contexts)
        size = chunk_size(config)
        chunks = [
            logits_of(forward(config, parameters, contexts[start : start + size], training=False))
            for start in range(0, len(contexts), size)
        ]
        empty = np.empty((0, config.vocabulary_size), parameters["embedding.weight"].dtype)
        return np.concatenate(chunks) if chunks else empty  # (N, V)

    def negative_log_likelihood(  # noqa: D102
        self,
        config: MLPConfig,
        parameters: Mapping[str, Array],
        contexts: Integers,
        targets: Integers,
        *,
        threads: int = 1,  # noqa: ARG002
    ) -> Doubles:
        check_parameters(config, parameters)
        check_examples(config, contexts, targets)
        result = np.empty(len(targets), np.float64)  # (N,)
        size = chunk_size(config)
        for start in range(0, len(targets), size):
            part = slice(start, start + size)
            logits = logits_of(forward(config, parameters, contexts[part], training=False))
            result[part] = -log_softmax(logits)[np.arange(len(logits)), targets[part]]
        return result


def chunk_size(config: MLPConfig) -> int:
    """The number of examples to evaluate at a time."""
    return max(1, min(CHUNK, NUMBERS // max(config.vocabulary_size, *config.hidden)))


def _choose(chances: Doubles, uniforms: Doubles) -> Integers:
    """One character for each row of probabilities (N, V) and its uniform (N,): (N,)."""
    cumulated = np.cumsum(chances, axis=1)  # (N, V)
    # The last sum may be below 1 by rounding. The uniform is scaled by it, so the choice stays inside the kept set.
    drawn: Integers = (cumulated > uniforms[:, None] * cumulated[:, -1:]).argmax(axis=1).astype(np.int32)
    return drawn


def observe(
    config: MLPConfig,
    parameters: Mapping[str, Array],
    contexts: Integers,
    targets: Integers,
    *,
    seed: int = 0,
    step: int = 0,
) -> Observation:
    """Look at one batch (B, T), (B,) in training mode: outputs, their gradients, parameter gradients. Changes nothing.

    seed, step: of the dropout masks, where the network has dropout.

    Raises EngineError for arrays that do not fit.
    """
    check_parameters(config, parameters)
    check_examples(config, contexts, targets)
    seen = forward(config, parameters, contexts, training=True, dropped=(seed, step))
    loss, d_logits = cross_entropy(logits_of(seen), targets)
    gradients, output_gradients = backward(config, parameters, contexts, seen, d_logits)
    ordered = {name: output_gradients[name] for name in seen.outputs}
    return Observation(loss, seen.outputs, ordered, gradients, seen.statistics)


def norm_inputs(config: MLPConfig, parameters: Mapping[str, Array], contexts: Integers, name: str) -> Array:
    """The inputs of the batch norm `name` for each context, in eval mode: (N, H)."""
    seen = forward(config, parameters, contexts, training=False)
    if name == "output_norm":
        return seen.normalised.get("logits", seen.outputs["output"])
    return seen.outputs[name.replace("norms", "layers")]
