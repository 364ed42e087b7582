"""From logits to probabilities, and to the distribution that words are drawn from."""

from __future__ import annotations

import numpy as np

from lettrine.engine.base import Doubles
from lettrine.model.parameters import Array


def log_softmax(logits: Array) -> Array:
    """Log-probabilities of logits (B, V)."""
    shifted = logits - logits.max(axis=1, keepdims=True)  # the largest becomes 0, so exp cannot overflow
    result: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))  # (B, V)
    return result


def probabilities(logits: Array, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> Doubles:
    """The distribution to draw from: softmax(logits / temperature), cut to the likeliest and renormalised, (N, V), float64.

    temperature 0 gives the likeliest character probability 1 (the first of equals). top_k > 0 keeps the k likeliest; top_p < 1
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
