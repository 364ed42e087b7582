"""Named checks: each a pure function of the trace. `examine` runs them all."""

from lettrine.health.checks import (
    activations,
    connections,
    divergence,
    gradients,
    handed,
    head,
    heldout,
    leaks,
    losses,
    modes,
    nonfinite,
    optimisation,
    oscillation,
    targets,
    updates,
    wiring,
)
from lettrine.health.checks.registry import CHECKS, Check, Skip, check
from lettrine.health.checks.verdict import examine

__all__ = [
    "CHECKS",
    "Check",
    "Skip",
    "activations",
    "check",
    "connections",
    "divergence",
    "examine",
    "gradients",
    "handed",
    "head",
    "heldout",
    "leaks",
    "losses",
    "modes",
    "nonfinite",
    "optimisation",
    "oscillation",
    "targets",
    "updates",
    "wiring",
]
