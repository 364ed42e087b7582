"""The mean of a term of a loss over its examples."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, nan
from typing import Final

from lettrine.torch.graph.losses.terms import ERRORS, Term

_MEANS: Final = frozenset(("cross-entropy", "binary cross-entropy", *ERRORS))


def weight_of(terms: Sequence[Term], value: float) -> float:
    """A loss divided by the mean of its only term: by a mask, or by a weight that is not a number, it is not 1. NaN if there are
    several terms, or none with a mean.
    """
    if len(terms) != 1 or terms[0].root or terms[0].kind not in _MEANS:
        return nan
    mean = mean_of(terms[0])
    return value / mean if mean > 0 else nan


def mean_of(term: Term) -> float:
    """Mean of a term over its examples; computed from what it compares if it is not known."""
    if isfinite(term.value) or term.given is None or term.target is None:
        return term.value
    given, target, axis = term.given.detach(), term.target.detach(), term.options.get("axis", 0)
    if term.kind == "cross-entropy" and target.is_floating_point():
        return -float((given * target).sum(axis).mean())
    if term.kind == "cross-entropy":
        places = target if target.ndim == given.ndim else target.unsqueeze(axis)
        if places.ndim != given.ndim or any(
            places.shape[n] != given.shape[n] for n in range(given.ndim) if n != axis % given.ndim
        ):
            return nan
        kept = (places >= 0) & (places < given.shape[axis])
        return -float(given.gather(axis, places.clamp(0, given.shape[axis] - 1))[kept].mean())
    return nan
