"""Evidence "no step": a training in which the optimiser that was given to the watch has never stepped.

where: the names of the parameters that it holds. figures: rounds (calls of the model, or losses handed over); passes (backward
passes seen, up to those that are looked at in one step); gradient (1 if a parameter has one now, or a backward pass was seen);
broken (1 if a gradient is not finite now); scale, first_scale (of a GradScaler, where there is one); rate, first_rate (learning
rate now and as a schedule noted it at first). NaN where unknown.

Not reported: weights that have changed all the same; passes without gradients or in eval mode, which are evaluations; and calls
without a loss and a backward pass, as of an agent that still fills its memory.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from math import isfinite, nan

import torch
from torch import Tensor
from torch.amp import GradScaler
from torch.optim import Optimizer

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.copies import local
from lettrine.torch.watching.probes import Probes


def no_step(probes: Probes, losses: int) -> Evidence | None:
    """What is known of a training that has made no step yet; None where it may be none. losses: how many were handed over."""
    modules, optimisers = probes.modules, probes.optimisers
    calls = probes.looker.calls
    held = {id(each): each for optimiser in optimisers for group in optimiser.param_groups for each in group["params"]}
    gradients = [local(each.grad) for each in held.values() if each.grad is not None]
    backward = probes.looker.passes > 0 or bool(gradients)
    if not held or not calls or not (backward or (losses and modules.training > 0)):
        return None
    figures = {
        "rounds": float(losses or calls),
        "passes": float(probes.looker.passes),
        "gradient": float(backward),
        "broken": float(any(not _finite(each) for each in gradients)),
        **_scales(),
        **_rates(optimisers),
    }
    names = tuple(name for name, each in probes.model.named_parameters() if id(each) in held)
    return Evidence("no step", names, (0, 0), figures, {"kind": type(optimisers[0]).__name__})


def _finite(gradient: Tensor) -> bool:
    return bool(torch.isfinite(gradient.coalesce().values() if gradient.is_sparse else gradient).all())


def _scales() -> dict[str, float]:
    """Of the GradScaler of this process whose scale has fallen most; there is no way to it but to look for it."""
    found = [each for each in gc.get_objects() if issubclass(type(each), GradScaler)]
    used = [each for each in found if each.is_enabled() and getattr(each, "_scale", None) is not None]
    fallen = [(float(each.get_scale()), float(getattr(each, "_init_scale", nan))) for each in used]
    scale, first = min(fallen, key=lambda pair: pair[0] / pair[1], default=(nan, nan))
    return {"scale": scale, "first_scale": first}


def _rates(optimisers: Sequence[Optimizer]) -> dict[str, float]:
    group = optimisers[0].param_groups[0]
    rate, first = (
        float(group[name]) if isinstance(group.get(name), int | float | Tensor) else nan for name in ("lr", "initial_lr")
    )
    return {"rate": rate, "first_rate": first if isfinite(first) else nan}
