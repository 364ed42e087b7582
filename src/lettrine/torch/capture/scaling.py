"""The loss scale of mixed precision: gradients are measured as they would be without it."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any, Final

from torch import Tensor
from torch.amp import GradScaler
from torch.optim import Optimizer

from lettrine.torch.private import saved

_STEP: Final = GradScaler.step.__code__


def scaler_calling() -> GradScaler | None:
    """The GradScaler whose `step` is just calling the optimiser. So the user need not name it."""
    frame: FrameType | None = sys._getframe()  # noqa: SLF001  the one way to see a caller
    while frame is not None and frame.f_code is not _STEP:
        frame = frame.f_back
    return None if frame is None else frame.f_locals["self"]


def loss_scale(optimiser: Optimizer, scaler: GradScaler | None) -> tuple[float, float]:
    """The factors by which the gradients of parameters and of outputs are too large, just before a step.

    A GradScaler divides the gradients of parameters by its scale before the optimiser steps. A fused optimiser gets the scale and
    divides by it itself. The gradients of outputs stay scaled.
    """
    whole = float(scaler.get_scale()) if scaler is not None and scaler.is_enabled() else 1.0
    remaining: Any = getattr(optimiser, "grad_scale", None)
    return (1.0 if remaining is None else float(remaining)), whole


def has_scaled(scaler: GradScaler, loss: Tensor) -> bool:
    """Whether `scaler.scale` returned this loss: a product with its scale, which the loss's graph has saved."""
    factor: Any = None if loss.grad_fn is None else saved(loss.grad_fn, "other")
    return isinstance(factor, Tensor) and factor.numel() == 1 and float(factor) == scaler.get_scale()


def step_skipped(optimiser: Optimizer) -> bool:
    """Whether a fused optimiser is about to skip its step, because a GradScaler found a gradient that is not finite."""
    found: Any = getattr(optimiser, "found_inf", None)
    return found is not None and float(found) > 0.0
