"""Evidence written by hand."""

from __future__ import annotations

import numpy as np
from paper import make_trace, noisy

from lettrine.health.evidence import Evidence

FLAT = noisy(np.full(400, np.log(10)), 0.01)


def comparison(expects="classes", operations="", words=(), **figures):
    figures = {"looks": 8, "rows": 256, "alone": 1, "given": 1, "classes": 10, "labels": 256, "single": 1, **figures}
    named = {"expects": expects, "function": "cross_entropy", "operations": operations, "place": "head.weight", "shape": "(32,)"}
    return Evidence("comparison", ("head", expects), (0, 94), figures, {**named, **dict(words)})


def inputs(**figures):
    usual = {"looks": 8, "rows": 32, "mean": 0, "std": 1, "low": -3, "high": 3, "feature_most": 1, "feature_least": 0.9}
    usual |= {"rescaled": 0, "pairs": 4, "same": 0, "distinct": 8, "alike": 0, "told": 30, "compared": 256}
    return Evidence("inputs", ("Net",), (0, 94), {**usual, **figures})


def operation(name, broke="", guarded="no", where="loss", of="sum", **figures):
    usual = {"least": 0.2, "first": 0.5, "last": 0.4, "step": 120 if broke else float("nan")}
    return Evidence("operation", (where, name), (0, 94), {**usual, **figures}, {"of": of, "broke": broke, "guarded": guarded})


def seen(*evidence, **changes):
    return make_trace(evidence=evidence, **changes)
