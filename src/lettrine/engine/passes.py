"""The definition of the network, in numpy: read this file to understand the model.

Every operation of the forward and the backward pass is written out, with the shape of its result.
Nothing is tuned beyond what numpy does; `native` must agree with it number by number.

Shape letters: B batch, T context, E embedding, H hidden (one layer's width), I a layer's inputs, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from lettrine.activations import activate, slope
from lettrine.engine.base import Integers
from lettrine.engine.dropout import dropout_mask, key_of, rows_of
from lettrine.engine.softmax import log_softmax
from lettrine.model.config import MLPConfig
from lettrine.model.parameters import Array, Parameters, parameter_shapes


@dataclass
class Pass:
    """The results of the forward pass that the backward pass needs."""

    outputs: dict[str, Array] = field(default_factory=dict)
    normalised: dict[str, Array] = field(default_factory=dict)
    statistics: dict[str, tuple[Array, Array]] = field(default_factory=dict)
    masks: dict[int, Array] = field(default_factory=dict)  # of dropout, by layer


# ---- forward -------------------------------------------------------------------------------------------------------


def forward(
    config: MLPConfig, p: Mapping[str, Array], contexts: Integers, *, training: bool, dropped: tuple[int, int] = (0, 0)
) -> Pass:
    """The forward pass. dropped: seed and step of the dropout masks, in training."""
    seen = Pass()
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
        # The loss or the last norm gets the sum. It is not "output": that module's own figures are measured.
        seen.normalised["logits"] = logits
    if config.output_norm:
        out["output_norm"] = _batch_norm(config, p, "output_norm", logits, seen, training=training)  # (B, V)
    return seen


def logits_of(seen: Pass) -> Array:
    """The logits of a forward pass: (B, V)."""
    if "output_norm" in seen.outputs:
        return seen.outputs["output_norm"]
    return seen.normalised.get("logits", seen.outputs["output"])


def _linear(p: Mapping[str, Array], name: str, x: Array) -> Array:
    y = x @ p[f"{name}.weight"].T  # (B, I) @ (I, out) -> (B, out)
    if f"{name}.bias" in p:
        y += p[f"{name}.bias"]
    return y


def _batch_norm(config: MLPConfig, p: Mapping[str, Array], name: str, x: Array, seen: Pass, *, training: bool) -> Array:
    if training:
        mean, variance = x.mean(axis=0), x.var(axis=0)  # (H,), biased variance: divided by B
        seen.statistics[name] = (mean, variance)
    else:
        mean, variance = p[f"{name}.running_mean"], p[f"{name}.running_var"]
    normalised = seen.normalised[name] = (x - mean) / np.sqrt(variance + config.norm_eps)  # (B, H)
    y: Array = p[f"{name}.weight"] * normalised + p[f"{name}.bias"]
    return y


def cross_entropy(logits: Array, targets: Integers) -> tuple[float, Array]:
    """Mean loss in nats, and its gradient with respect to the logits: (softmax - one-hot) / B."""
    log_probabilities, rows = log_softmax(logits), np.arange(len(targets))
    loss = -float(log_probabilities[rows, targets].mean())
    gradient = np.exp(log_probabilities)  # (B, V)
    gradient[rows, targets] -= 1.0
    gradient /= len(targets)
    return loss, gradient


# ---- backward ------------------------------------------------------------------------------------------------------


def backward(
    config: MLPConfig, p: Mapping[str, Array], contexts: Integers, seen: Pass, d_logits: Array
) -> tuple[Parameters, dict[str, Array]]:
    """Gradients by parameter, and gradients by module output: the forward pass in reverse order."""
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


def _batch_norm_back(config: MLPConfig, p: Mapping[str, Array], name: str, dy: Array, seen: Pass, grads: Parameters) -> Array:
    """Gradient through y = weight * (x - mean) / sqrt(variance + eps) + bias, where mean and variance depend on x."""
    normalised, (_, variance) = seen.normalised[name], seen.statistics[name]
    d_bias = grads[f"{name}.bias"] = dy.sum(axis=0)  # (H,)
    d_weight = grads[f"{name}.weight"] = (dy * normalised).sum(axis=0)  # (H,)
    scale = p[f"{name}.weight"] / np.sqrt(variance + config.norm_eps)  # (H,)
    dx: Array = scale * (dy - (d_bias + normalised * d_weight) / len(dy))  # (B, H)
    return dx


def _sum_by_character(d_inputs: Array, contexts: Integers, table: Array) -> Array:
    """The row of each character is the sum of the gradients at all its places: (V, E)."""
    order = np.argsort(contexts, axis=None, kind="stable")  # (B*T,) places, sorted by character
    characters, first = np.unique(contexts.reshape(-1)[order], return_index=True)
    gradient = np.zeros_like(table)
    gradient[characters] = np.add.reduceat(d_inputs.reshape(-1, table.shape[1])[order], first, axis=0)
    return gradient
