"""The settings of an optimiser's groups as numbers. A library may keep there what it likes: None, or several numbers."""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import Any


def setting(group: Mapping[str, Any], name: str) -> float:
    """A setting of a group. NaN if it is absent or not one number: Adafactor's eps are two, and its rate may be None."""
    try:
        return float(group[name])
    except (KeyError, TypeError, ValueError, RuntimeError):  # torch: a tensor of several numbers
        return nan


def momentum(group: Mapping[str, Any]) -> float:
    """What a group keeps of the mean of its gradients at each step: its momentum, or the first of its betas."""
    betas = group.get("betas")
    if "momentum" in group or not isinstance(betas, (tuple, list)) or not betas:
        return setting(group, "momentum")
    return setting({"first": betas[0]}, "first")
