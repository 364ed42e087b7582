"""The definition of the network, in numpy: read this file to understand the model.

Every operation of the forward pass, the backward pass and the optimiser step is spelled out, with
the shape it produces. Nothing here is tuned beyond what numpy gives; `native` must agree with it number by number.

Shape letters: B batch, T context, E embedding, H hidden (one layer's width), I a layer's inputs, V vocabulary,
N examples, S steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from lettrine.activations import activate, slope
from lettrine.engine.base import Doubles, Indices, Integers, Optimiser, TrainState, check_batches, check_examples, check_moments
from lettrine.engine.dropout import dropout_mask, key_of, rows_of
from lettrine.model.config import MLPConfig
from lettrine.model.counts import Counts
from lettrine.model.parameters import Array, Parameters, check_parameters, parameter_shapes

CHUNK: Final = 4096  # examples evaluated at a time: bounds memory, and numpy is no faster with more
NUMBERS: Final = 2**22  # of one array of a chunk's logits: a vocabulary of 20,000 gets chunks of 200 examples


@dataclass
class Observation:
    """One batch seen from inside, at weights that do not change.

    outputs: what each module gave, by module name, in the order of the forward pass: "embedding" (B, T, E),
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


@dataclass
class _Pass:
    """What the forward pass leaves behind for the backward pass."""

    outputs: dict[str, Array] = field(default_factory=dict)
    normalised: dict[str, Array] = field(default_factory=dict)
    statistics: dict[str, tuple[Array, Array]] = field(default_factory=dict)
    masks: dict[int, Array] = field(default_factory=dict)  # of dropout, by layer


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
            seen = _forward(config, state.parameters, x, training=True, dropped=(seed, state.step))
            losses[step], d_logits = _cross_entropy(_logits_of(seen), y)
            if not np.isfinite(losses[step]):
                return losses[: step + 1]
            gradients, _ = _backward(config, state.parameters, x, seen, d_logits)
            _update_running(config, state.parameters, seen, len(y))
            _optimiser_step(optimiser, state, gradients, learning_rate)
        return losses

    def choose(  # noqa: D102
        self, logits: Doubles, uniforms: Doubles, *, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0
    ) -> Integers:
        cumulated = np.cumsum(probabilities(logits, temperature, top_k, top_p), axis=1)  # (N, V)
        # The last sum may fall short of 1 by rounding; scaling the uniform keeps the choice inside the kept set.
        drawn: Integers = (cumulated > uniforms[:, None] * cumulated[:, -1:]).argmax(axis=1).astype(np.int32)
        return drawn

    def count_probabilities(self, counts: Counts, contexts: Integers, targets: Integers | None = None) -> Doubles:  # noqa: D102
        return counts.probabilities(contexts) if targets is None else counts.probability(contexts, targets)

    def logits(self, config: MLPConfig, parameters: Mapping[str, Array], contexts: Integers) -> Array:  # noqa: D102
        check_parameters(config, parameters)
        check_examples(config, contexts)
        size = chunk_size(config)
        chunks = [
            _logits_of(_forward(config, parameters, contexts[start : start + size], training=False))
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
            logits = _logits_of(_forward(config, parameters, contexts[part], training=False))
            result[part] = -log_softmax(logits)[np.arange(len(logits)), targets[part]]
        return result

    def sample(  # noqa: D102
        self,
        config: MLPConfig,
        parameters: Mapping[str, Array],
        contexts: Integers,
        uniforms: Doubles,
        *,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
    ) -> Integers:
        words = np.zeros(uniforms.shape, np.int32)  # (N, L)
        alive, window = np.arange(len(contexts)), np.array(contexts)  # rows still being written, and what each sees
        for place in range(uniforms.shape[1]):
            if not len(alive):
                break
            logits = self.logits(config, parameters, window).astype(np.float64)
            drawn = self.choose(logits, uniforms[alive, place], temperature=temperature, top_k=top_k, top_p=top_p)  # (A,)
            words[alive, place] = drawn
            window = np.concatenate([window[:, 1:], drawn[:, None]], axis=1)
            going = drawn != 0
            alive, window = alive[going], window[going]
        return words


def chunk_size(config: MLPConfig) -> int:
    """How many examples to evaluate at a time."""
    return max(1, min(CHUNK, NUMBERS // max(config.vocabulary_size, *config.hidden)))


def probabilities(logits: Array, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> Doubles:
    """What is drawn from: softmax(logits / temperature), cut to the likeliest and renormalised, (N, V), float64.

    temperature 0 puts everything on the likeliest character (the first of equals). top_k > 0 keeps the k likeliest; top_p < 1
    (nucleus sampling, Holtzman et al. 2020) the fewest likeliest that together reach p, at least one. Ties go to the lower index.
    """
    values = logits.astype(np.float64)
    if temperature == 0.0:
        kept = np.zeros_like(values)
        kept[np.arange(len(values)), values.argmax(axis=1)] = 1.0
        return kept
    kept = np.exp(log_softmax(values / temperature))
    if 0 < top_k < values.shape[1] or top_p < 1.0:
        order = np.argsort(-kept, axis=1, kind="stable")  # likeliest first
        ranked = np.take_along_axis(kept, order, axis=1)
        if top_k > 0:
            ranked[:, top_k:] = 0.0
        ranked /= ranked.sum(axis=1, keepdims=True)
        if top_p < 1.0:
            before = np.cumsum(ranked, axis=1) - ranked
            ranked[before >= top_p] = 0.0
            ranked /= ranked.sum(axis=1, keepdims=True)
        np.put_along_axis(kept, order, ranked, axis=1)
    return kept


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
    seen = _forward(config, parameters, contexts, training=True, dropped=(seed, step))
    loss, d_logits = _cross_entropy(_logits_of(seen), targets)
    gradients, output_gradients = _backward(config, parameters, contexts, seen, d_logits)
    ordered = {name: output_gradients[name] for name in seen.outputs}
    return Observation(loss, seen.outputs, ordered, gradients, seen.statistics)


def norm_inputs(config: MLPConfig, parameters: Mapping[str, Array], contexts: Integers, name: str) -> Array:
    """What the batch norm called `name` is given for each context, in eval mode: (N, H)."""
    seen = _forward(config, parameters, contexts, training=False)
    if name == "output_norm":
        return seen.normalised.get("logits", seen.outputs["output"])
    return seen.outputs[name.replace("norms", "layers")]


# ---- forward -------------------------------------------------------------------------------------------------------


def _forward(
    config: MLPConfig, p: Mapping[str, Array], contexts: Integers, *, training: bool, dropped: tuple[int, int] = (0, 0)
) -> _Pass:
    """The forward pass. dropped: seed and step of the dropout masks, in training."""
    seen = _Pass()
    out = seen.outputs
    out["embedding"] = p["embedding.weight"][contexts]  # (B, T, E)
    h = out["embedding"].reshape(len(contexts), -1)  # (B, T*E)
    if config.direct:
        out["direct"] = _linear(p, "direct", h)  # (B, V)
    for layer in range(len(config.hidden)):
        h = out[f"layers.{layer}"] = _linear(p, f"layers.{layer}", h)  # (B, H)
        if config.norm == "batch":
            h = out[f"norms.{layer}"] = _batch_norm(config, p, f"norms.{layer}", h, seen, training=training)  # (B, H)
        h = out[f"activations.{layer}"] = activate(config.activation, h)  # (B, H)
        if training and config.dropout:
            key = key_of(*dropped, layer)
            seen.masks[layer] = dropout_mask(config.dropout, key, rows_of(contexts), h.shape[1], h.dtype)
            h = out[f"dropouts.{layer}"] = h * seen.masks[layer]  # (B, H)
    logits = out["output"] = _linear(p, "output", h)  # (B, V)
    if config.direct:
        logits = logits + out["direct"]
        # The sum is what the loss or the last norm sees; kept apart from "output", whose own figures are measured.
        seen.normalised["logits"] = logits
    if config.output_norm:
        out["output_norm"] = _batch_norm(config, p, "output_norm", logits, seen, training=training)  # (B, V)
    return seen


def _logits_of(seen: _Pass) -> Array:
    if "output_norm" in seen.outputs:
        return seen.outputs["output_norm"]
    return seen.normalised.get("logits", seen.outputs["output"])


def _linear(p: Mapping[str, Array], name: str, x: Array) -> Array:
    y = x @ p[f"{name}.weight"].T  # (B, I) @ (I, out) -> (B, out)
    if f"{name}.bias" in p:
        y += p[f"{name}.bias"]
    return y


def _batch_norm(config: MLPConfig, p: Mapping[str, Array], name: str, x: Array, seen: _Pass, *, training: bool) -> Array:
    if training:
        mean, variance = x.mean(axis=0), x.var(axis=0)  # (H,), biased variance: divided by B
        seen.statistics[name] = (mean, variance)
    else:
        mean, variance = p[f"{name}.running_mean"], p[f"{name}.running_var"]
    normalised = seen.normalised[name] = (x - mean) / np.sqrt(variance + config.norm_eps)  # (B, H)
    y: Array = p[f"{name}.weight"] * normalised + p[f"{name}.bias"]
    return y


def log_softmax(logits: Array) -> Array:
    """Log-probabilities of logits (B, V)."""
    shifted = logits - logits.max(axis=1, keepdims=True)  # the largest becomes 0, so exp cannot overflow
    result: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))  # (B, V)
    return result


def _cross_entropy(logits: Array, targets: Integers) -> tuple[float, Array]:
    """Mean loss in nats, and its gradient with respect to the logits: (softmax - one-hot) / B."""
    log_probabilities, rows = log_softmax(logits), np.arange(len(targets))
    loss = -float(log_probabilities[rows, targets].mean())
    gradient = np.exp(log_probabilities)  # (B, V)
    gradient[rows, targets] -= 1.0
    gradient /= len(targets)
    return loss, gradient


# ---- backward ------------------------------------------------------------------------------------------------------


def _backward(
    config: MLPConfig, p: Mapping[str, Array], contexts: Integers, seen: _Pass, d_logits: Array
) -> tuple[Parameters, dict[str, Array]]:
    """Gradients by parameter, and gradients by module output, walking the forward pass from its end."""
    out = seen.outputs
    grads: Parameters = {}
    d_out: dict[str, Array] = {}
    inputs = out["embedding"].reshape(len(contexts), -1)  # (B, T*E)
    if config.output_norm:
        d_out["output_norm"] = d_logits
        d_logits = _batch_norm_back(config, p, "output_norm", d_logits, seen, grads)
    d_out["output"] = d_logits  # (B, V)
    d_inputs = np.zeros_like(inputs)
    if config.direct:
        d_out["direct"] = d_logits
        d_inputs += _linear_back(p, "direct", inputs, d_logits, grads)
    last = len(config.hidden) - 1
    top = "dropouts" if seen.masks else "activations"
    dh = _linear_back(p, "output", out[f"{top}.{last}"], d_logits, grads)  # (B, H)
    for layer in range(last, -1, -1):
        if seen.masks:
            d_out[f"dropouts.{layer}"] = dh
            dh = dh * seen.masks[layer]  # (B, H)
        d_out[f"activations.{layer}"] = dh
        name = f"norms.{layer}" if config.norm == "batch" else f"layers.{layer}"
        dh = dh * slope(config.activation, out[name], out[f"activations.{layer}"])  # (B, H)
        if config.norm == "batch":
            d_out[name] = dh
            dh = _batch_norm_back(config, p, name, dh, seen, grads)
        d_out[f"layers.{layer}"] = dh
        below = inputs if layer == 0 else out[f"{top}.{layer - 1}"]  # (B, I)
        dh = _linear_back(p, f"layers.{layer}", below, dh, grads)
    d_inputs += dh
    d_out["embedding"] = d_inputs.reshape(out["embedding"].shape)  # (B, T, E)
    grads["embedding.weight"] = _sum_by_character(d_inputs, contexts, p["embedding.weight"])
    return {name: grads[name] for name in parameter_shapes(config)}, d_out


def _linear_back(p: Mapping[str, Array], name: str, x: Array, dy: Array, grads: Parameters) -> Array:
    grads[f"{name}.weight"] = dy.T @ x  # (out, B) @ (B, I) -> (out, I)
    if f"{name}.bias" in p:
        grads[f"{name}.bias"] = dy.sum(axis=0)  # (out,)
    return dy @ p[f"{name}.weight"]  # (B, out) @ (out, I) -> (B, I)


def _batch_norm_back(config: MLPConfig, p: Mapping[str, Array], name: str, dy: Array, seen: _Pass, grads: Parameters) -> Array:
    """Gradient through y = weight * (x - mean) / sqrt(variance + eps) + bias, where mean and variance depend on x."""
    normalised, (_, variance) = seen.normalised[name], seen.statistics[name]
    d_bias = grads[f"{name}.bias"] = dy.sum(axis=0)  # (H,)
    d_weight = grads[f"{name}.weight"] = (dy * normalised).sum(axis=0)  # (H,)
    scale = p[f"{name}.weight"] / np.sqrt(variance + config.norm_eps)  # (H,)
    dx: Array = scale * (dy - (d_bias + normalised * d_weight) / len(dy))  # (B, H)
    return dx


def _sum_by_character(d_inputs: Array, contexts: Integers, table: Array) -> Array:
    """Each character's row collects the gradients of every place it stood at: (V, E)."""
    order = np.argsort(contexts, axis=None, kind="stable")  # (B*T,) places, sorted by character
    characters, first = np.unique(contexts.reshape(-1)[order], return_index=True)
    gradient = np.zeros_like(table)
    gradient[characters] = np.add.reduceat(d_inputs.reshape(-1, table.shape[1])[order], first, axis=0)
    return gradient


# ---- the step ------------------------------------------------------------------------------------------------------


def _update_running(config: MLPConfig, parameters: Parameters, seen: _Pass, batch: int) -> None:
    """Running = (1 - momentum) * running + momentum * batch, with the unbiased variance, as torch does."""
    for name, (mean, variance) in seen.statistics.items():
        unbiased = variance * (batch / max(batch - 1, 1))
        for kind, value in (("running_mean", mean), ("running_var", unbiased)):
            running = parameters[f"{name}.{kind}"]
            running += config.norm_momentum * (value - running)


def _optimiser_step(optimiser: Optimiser, state: TrainState, gradients: Parameters, learning_rate: float) -> None:
    state.step += 1
    for name, raw in gradients.items():
        parameter, decay, l2 = state.parameters[name], optimiser.decay_of(name), optimiser.l2_of(name)
        gradient = raw + 2.0 * l2 * parameter if l2 else raw
        if optimiser.kind == "adamw":
            _adamw(optimiser, state, name, gradient, learning_rate, decay)
        else:
            _sgd(optimiser, state, name, gradient + decay * parameter if decay else gradient, learning_rate)


def _sgd(optimiser: Optimiser, state: TrainState, name: str, gradient: Array, learning_rate: float) -> None:
    if optimiser.momentum:
        velocity = state.moments[f"momentum.{name}"]
        velocity *= optimiser.momentum
        velocity += gradient
        gradient = velocity
    state.parameters[name] -= learning_rate * gradient


def _adamw(optimiser: Optimiser, state: TrainState, name: str, gradient: Array, learning_rate: float, decay: float) -> None:
    """Loshchilov & Hutter 2019, with the bias corrections of Kingma & Ba 2015."""
    parameter, m, v = state.parameters[name], state.moments[f"exp_avg.{name}"], state.moments[f"exp_avg_sq.{name}"]
    if decay:
        parameter *= 1.0 - learning_rate * decay
    m += (1.0 - optimiser.beta1) * (gradient - m)
    v *= optimiser.beta2
    v += (1.0 - optimiser.beta2) * gradient * gradient
    correction1 = 1.0 - optimiser.beta1**state.step
    correction2 = 1.0 - optimiser.beta2**state.step
    parameter -= (learning_rate / correction1) * m / (np.sqrt(v) / correction2**0.5 + optimiser.eps)
