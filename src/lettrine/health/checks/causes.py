"""Which findings are causes and which are symptoms: the order of the report, and what each finding explains."""

from __future__ import annotations

from typing import Final

_TROUBLE: Final = ("spike", "divergence", "oscillation", "no-learning", "overfitting", "underfitting")
_DEPTH: Final = ("activation-scale", "gradient-scale", "gradient-data")

ACTS: Final = ("missing-zero-grad", "spike", "update-too-large", "divergence", "oscillation", "initial-loss")
"""Causes that act step by step: they explain nothing that is there at the first step."""

FOLLOWING: Final = ("non-finite", "update-too-large", "update-too-small", "divergence", "spike", "no-learning")
"""What weights drawn far too large bring; a high first loss alone does not."""

BROKEN: Final = ("non-finite", "update-too-large")
"""What batch norms that no longer normalise bring about."""

_IDLE: Final = (
    *("no-gradient", "no-learning", "update-too-small", "gradient-data", "gradient-scale", "not-optimised", "symmetry"),
    "slow-learning",
)

_SYMPTOMS: Final = (
    *_TROUBLE,
    *_DEPTH,
    "held-out-labels",
    "non-finite",
    "no-gradient",
    "dead-units",
    "saturation",
    "norm-statistics",
    "initial-loss",
    "update-too-large",
    "update-too-small",
    "leak",
    "majority-class",
)
_LATER: Final = ("saturation", "dead-units", "gradient-scale", "gradient-data", "update-too-small")
"""What a training that only seems to fail, on held-out data that are wrong, may show without harm."""
HELD_OUT: Final = ("stale-evaluation", "dev-scale", "overfitting", "held-out-labels")
"""What is seen on held-out data."""
_DATA: Final = ("broadcast", "softmax-axis", "target-range", "target-rows", "target-constant", "relu-logits")
"""Findings that are certain from the shapes and values in the loss, however the training went."""
_LOSS: Final = (
    "averaged-first",
    "mixed-derivatives",
    "policy-loss",
    "value-target",
    "wrong-direction",
    "same-side",
    "other-loss",
)
"""A loss that is not what is meant."""
RATE: Final = {
    "up": ("update-too-small", "slow-learning"),
    "down": ("update-too-large", "divergence", "oscillation"),
}
"""Whether a remedy raises or lowers the learning rate."""

EXPLAINS: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(
        _LOSS, ("non-finite", *_TROUBLE, "update-too-large", "dead-units", "saturation", "initial-loss", "target-scale", *_LOSS)
    ),
    "gradients-not-synchronised": ("replicas-apart",),
    "eps-underflow": ("non-finite", *_TROUBLE, "update-too-large", "no-gradient"),
    "gradients-cleared": (*_IDLE, "never-moved", "dead-units", "saturation"),
    "detached-generator": (*_IDLE, *_TROUBLE),
    "unregistered": (*_IDLE, "initial-loss"),
    "never-moved": (*_IDLE, "frozen-random", "dead-units", "saturation", "oscillation", "divergence", "held-out-labels"),
    "frozen-random": (*_IDLE, *_DEPTH, "dead-units"),
    "padding-mask": ("no-learning", "slow-learning", "leak", "non-finite"),
    "padding-counted": ("no-learning", "slow-learning", "underfitting"),
    "growing-graph": (*_TROUBLE, "update-too-large", *_DEPTH),
    "clip-before-unscale": (*_IDLE, *_DEPTH),
    "weight-decay": (
        *_TROUBLE,
        *_DEPTH,
        "update-too-large",
        "update-too-small",
        "dead-units",
        "norm-statistics",
        "slow-learning",
    ),
    "no-warmup": (*_TROUBLE, *_DEPTH, "update-too-large", "update-too-small", "dead-units", "saturation", "slow-learning"),
    "optimiser-state-lost": (*_TROUBLE, "update-too-large"),
    "shared-norm": ("norm-statistics", "overfitting", "held-out-labels", "dev-scale"),
    "schedule-to-zero": ("no-learning", "update-too-small", "slow-learning"),
    "collapsed-kl": ("no-learning", "dead-units", *_DEPTH, "update-too-small"),
    "future-leak": ("leak", "overfitting", "held-out-labels"),
    "batch-mixing": (*_TROUBLE, "held-out-labels", "dead-units", "slow-learning"),
    "underfitting": ("no-learning", "slow-learning", "dead-units", "update-too-small"),
    "eval-dropout": ("held-out-labels", "dev-scale"),
    **dict.fromkeys(_DATA, (*_SYMPTOMS, "target-scale")),
    # A softmax over one unit has a gradient of exactly 0, as if it had been cleared.
    "softmax-axis": (*_SYMPTOMS, "target-scale", "target-range", "gradients-cleared", "never-moved", "symmetry", "batch-mixing"),
    "target-scale": (*_SYMPTOMS, "slow-learning"),
    "raw-contrast": ("initial-loss", "non-finite", *_TROUBLE, "update-too-large", "activation-scale", "saturation", "dead-units"),
    "input-scale": (*_SYMPTOMS, "slow-learning"),
    "repeated-batch": _SYMPTOMS,
    "sorted-data": _SYMPTOMS,
    "shuffled-targets": (
        *_TROUBLE,
        "majority-class",
        "held-out-labels",
        "dead-units",
        "saturation",
        "leak",
        "slow-learning",
        "underfitting",
    ),
    "non-finite": (*_TROUBLE, "norm-statistics", "no-gradient"),
    "missing-zero-grad": ("update-too-large", "saturation", "dead-units", *_DEPTH, "norm-statistics", *_TROUBLE),
    "probabilities-as-logits": _SYMPTOMS,
    # Of these the last two only where values stopped being finite in the wrong mode: see `verdict`.
    "wrong-mode": ("norm-statistics", "dead-units", "saturation", *_DEPTH, *_TROUBLE, *BROKEN),
    "symmetry": (
        "saturation",
        "dead-units",
        "no-gradient",
        "update-too-large",
        "update-too-small",
        *_DEPTH,
        "no-learning",
        "initial-loss",
    ),
    "norm-gain": (
        *("no-learning", "slow-learning", "underfitting", "update-too-large", "update-too-small", "dead-units"),
        *(*_DEPTH, "initial-loss"),
    ),
    "not-optimised": (*_IDLE, "dead-units", "saturation"),
    "no-gradient": ("update-too-small", "gradient-scale", "gradient-data", "dead-units", "no-learning"),
    "spike": (
        "update-too-large",
        "saturation",
        "dead-units",
        *_DEPTH,
        "norm-statistics",
        "divergence",
        "oscillation",
        "no-learning",
    ),
    "update-too-large": ("saturation", "dead-units", *_DEPTH, "norm-statistics", *_TROUBLE),
    "activation-scale": (
        "update-too-large",
        "spike",
        "divergence",
        "saturation",
        "dead-units",
        "gradient-scale",
        "gradient-data",
        "update-too-small",
        "no-learning",
        "initial-loss",
    ),
    "initial-loss": (
        *FOLLOWING,
        "underfitting",
        "saturation",
        "dead-units",
        "activation-scale",
        "gradient-scale",
    ),
    "saturation": ("dead-units", "gradient-scale", "gradient-data", "update-too-small", "no-learning"),
    "dead-units": (
        "no-gradient",
        "norm-statistics",
        "gradient-scale",
        "gradient-data",
        "update-too-small",
        "no-learning",
        "symmetry",
    ),
    "gradient-scale": ("gradient-data", "update-too-small", "no-learning"),
    "gradient-data": ("no-learning",),
    "majority-class": ("underfitting", "slow-learning"),
    "no-learning": ("underfitting", "slow-learning"),
    # Those that go before it in ORDER explain it instead, unless no weights move: see `verdict`.
    "update-too-small": ("no-learning", *_DEPTH, "dead-units", "saturation", "underfitting"),
    "oscillation": ("divergence", "no-learning", "dead-units", "saturation", *_DEPTH),
    "norm-statistics": (
        *("update-too-large", "saturation", "dead-units", "no-gradient", "gradient-scale", "gradient-data"),
        *HELD_OUT,
    ),
    "held-out-labels": ("overfitting", *_LATER),
    "stale-evaluation": ("dev-scale", "overfitting", "held-out-labels"),
    "dev-scale": ("overfitting", "held-out-labels", *_LATER),
    "divergence": ("saturation", "dead-units", *_DEPTH, "norm-statistics", "no-learning", "overfitting"),
}
"""For each check, the likeliest cause first: the other findings that it explains."""

ORDER: Final = (
    "gradients-not-synchronised",
    "replicas-apart",
    "ranks-unlike",
    "same-data",
    *_DATA,
    "probabilities-as-logits",
    *_LOSS,
    "eps-underflow",
    "gradients-cleared",
    "detached-generator",
    "unregistered",
    "never-moved",
    "padding-mask",
    "batch-mixing",
    "future-leak",
    "growing-graph",
    "clip-before-unscale",
    "weight-decay",
    "no-warmup",
    "optimiser-state-lost",
    "frozen-random",
    "shared-norm",
    "schedule-to-zero",
    "collapsed-kl",
    "padding-index",
    "padding-counted",
    "repeated-batch",
    "sorted-data",
    "input-scale",
    "target-scale",
    "raw-contrast",
    "missing-zero-grad",
    "wrong-mode",
    "norm-gain",
    "symmetry",
    "underfitting",
    "activation-scale",
    "spike",
    "update-too-large",
    "non-finite",
    "not-optimised",
    "leak",
    "stale-evaluation",
    "shuffled-targets",
    "dev-scale",
    "held-out-labels",
    "majority-class",
    "oscillation",
    "divergence",
    "dead-units",
    "no-gradient",
    "saturation",
    "norm-statistics",
    "gradient-scale",
    "gradient-data",
    "update-too-small",
    "initial-loss",
    "bias-before-norm",
    "overfitting",
    "no-learning",
    "slow-learning",
    "eval-dropout",
)
"""Causes before symptoms; checks that are not listed come last, in the order of registration."""
