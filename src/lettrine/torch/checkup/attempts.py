"""Which remedies are tried for a finding that was not tried when it was made: one of a watch, or one that is certain without."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

import numpy as np
import torch

from lettrine.errors import LettrineError
from lettrine.health.checks.reading import median, rounded, usable
from lettrine.health.findings import Finding
from lettrine.health.limits import CHECKUP_EPS, GROWN
from lettrine.health.trace import Trace
from lettrine.torch.checkup.call import NotCalled
from lettrine.torch.checkup.remedies import (
    LOWER,
    NORM,
    SMALL_EPS,
    WARM,
    calibrated,
    clipped,
    eps_of_the_paper,
    eps_that_holds,
    falling,
    half_cosine,
    kept,
    linear,
    norms_first,
    norms_last,
    rate_at_peak,
    rate_times,
    redrawn,
    replayed,
    scaled,
    values_clipped,
    warmed,
    without_decay,
)
from lettrine.torch.checkup.task import Task, takes_closure
from lettrine.torch.checkup.trials import Remedy

HIGHER: Final = 10.0  # times the rate
FAR_LOWER: Final = 0.01  # times the rate, if it is one of another optimiser
WATCHED: Final = "watched"  # the trace of the watch, among what is known of a task


@dataclass(frozen=True)
class Attempt:
    """One remedy. said: in a few words. make: applies it for a training of that many steps. instead: what the training without
    the remedy does for that many steps, if it differs from the task.
    """

    said: str
    make: Callable[[int], Remedy]
    instead: Callable[[int], Remedy] | None = None


def large_eps(task: Task) -> bool:
    """Whether an optimiser of the family of Adam has an eps far above the usual one: then steps are small where gradients are."""
    adam = (torch.optim.Adam, torch.optim.AdamW, torch.optim.NAdam, torch.optim.RAdam, torch.optim.Adamax)
    groups = task.optimizer.param_groups if isinstance(task.optimizer, adam) else []
    return any(float(group["eps"]) > CHECKUP_EPS for group in groups)


def _times(factor: float) -> Attempt:
    said = f"{factor:g} times higher" if factor > 1 else f"{1 / factor:.3g} times lower"
    return Attempt(f"a rate {said}", lambda _: lambda task: rate_times(task, factor))


def _falls(name: str, shape: Callable[[float], float]) -> Attempt:
    return Attempt(f"a rate that falls to 0 along {name} over the run", lambda steps: lambda task: falling(task, steps, shape))


FALLS: Final = (_falls("a line", linear), _falls("half a cosine", half_cosine))


def _lower(_: Finding, __: Task) -> list[Attempt]:
    return [*(_times(factor) for factor in (*LOWER, FAR_LOWER)), *FALLS]


def _lower_or_clip(finding: Finding, task: Task) -> list[Attempt]:
    """Lower rates, and clipping. What is not finite for another reason, as a root of 0, is left alone."""
    if finding.id == "non-finite" and "learning rate" not in finding.remedy and "clip" not in finding.remedy:
        return []
    norm = usual_norm(finding, task.known.get(WATCHED))
    lower, much_lower = (_times(factor) for factor in LOWER)
    clip = Attempt(f"the gradient's norm clipped at {norm:g}", lambda _: lambda task: clipped(task, norm))
    return [much_lower, clip, lower, *FALLS]


def usual_norm(finding: Finding, trace: Trace | None) -> float:
    """The usual norm of the gradient before the trouble, as far as a watch saw it: without the one that broke the run."""
    if trace is None or "gradient_norm" not in trace.step_stats:
        return NORM
    norms = trace.step_stats["gradient_norm"][usable(trace) & (trace.steps < max(1, finding.steps[0]))]
    norms = norms[np.isfinite(norms)]
    grown = len(norms) > 1 and norms[-1] > GROWN * np.median(norms[:-1])
    norm = median(norms[:-1] if grown else norms)
    return rounded(norm) if isfinite(norm) and norm > 0 else NORM


def _higher(_: Finding, task: Task) -> list[Attempt]:
    eps = [Attempt(f"eps={SMALL_EPS:g}", lambda _: eps_of_the_paper)] if large_eps(task) else []
    return [_times(HIGHER), *eps]


def _warm(_: Finding, __: Task) -> list[Attempt]:
    warm = Attempt(
        "a rate that rises from 0 over the first half", lambda steps: lambda task: warmed(task, max(1, int(WARM * steps)))
    )
    return [warm, Attempt("the norms before the blocks", lambda _: norms_first), *(_times(factor) for factor in LOWER)]


def _schedule(_: Finding, task: Task) -> list[Attempt]:
    """Other schedules, against the one that was seen, squeezed into the steps of the trial."""
    instead = _seen_schedule(task.known.get(WATCHED))
    return [Attempt("the schedule's first rate, kept", lambda _: rate_at_peak, instead), *FALLS]


def _seen_schedule(trace: Trace | None) -> Callable[[int], Remedy] | None:
    rates = trace.step_stats["learning_rate"] if trace is not None and "learning_rate" in trace.step_stats else np.empty(0)
    known = np.isfinite(rates)
    if trace is None or not known.any() or not rates[known].max() > 0:
        return None
    at = (trace.steps[known] / max(1, int(trace.loss.step[-1]))).tolist()
    shares = (rates[known] / rates[known].max()).tolist()
    return lambda steps: lambda task: replayed(task, steps, at, shares)


def _no_decay(_: Finding, __: Task) -> list[Attempt]:
    return [Attempt("no weight decay", lambda _: without_decay)]


def _eps(_: Finding, __: Task) -> list[Attempt]:
    return [Attempt("an eps that is not 0 in the parameters' type", lambda _: eps_that_holds)]


def _clip_later(finding: Finding, _: Task) -> list[Attempt]:
    """Clip after unscaling. The finding knows both limits: the intended one, and what of it remained after unscaling."""
    meant, left = finding.limit, finding.value
    if not (isfinite(meant) and isfinite(left) and 0 < left < meant):
        return []
    clip = values_clipped if "each value" in finding.remedy else clipped
    said = f"clipping at {meant:g} after unscaling"
    return [Attempt(said, lambda _: lambda task: clip(task, meant), lambda _: lambda task: clip(task, left))]


def _other_start(_: Finding, __: Task) -> list[Attempt]:
    return [
        Attempt("weights that keep the std of each layer's outputs at 1", lambda _: calibrated),
        Attempt("weights drawn anew by the modules themselves", lambda _: redrawn),
        *(_times(factor) for factor in LOWER),
    ]


def _clear(_: Finding, __: Task) -> list[Attempt]:
    return [Attempt("gradients cleared before each step", lambda _: lambda _: nullcontext(), lambda _: kept)]


def _unscale(finding: Finding, _: Task) -> list[Attempt]:
    """Divide by the scale of the GradScaler. The finding knows both norms."""
    factor = finding.value / finding.limit
    said = "gradients at their true size"
    return [Attempt(said, lambda _: lambda _: nullcontext(), lambda _: lambda task: scaled(task, factor))]


TRIED: Final[dict[str, Callable[[Finding, Task], list[Attempt]]]] = {
    "learning-rate-too-high": _lower,
    "update-too-large": _lower,
    "oscillation": _lower,
    "divergence": _lower_or_clip,
    "spike": _lower_or_clip,
    "non-finite": _lower_or_clip,
    "update-too-small": _higher,
    "learning-rate-too-low": _higher,
    "no-warmup": _warm,
    "schedule-to-zero": _schedule,
    "weight-decay": _no_decay,
    "eps-underflow": _eps,
    "clip-before-unscale": _clip_later,
    "missing-zero-grad": _clear,
    "scaled-gradients": _unscale,
    "dead-units": _other_start,
    "saturation": _other_start,
    "activation-scale": _other_start,
    "gradient-scale": _other_start,
}
"""The remedies to try, by kind of finding; the most telling first, since the last are left out where time is short."""

LATE: Final = ("divergence", "spike", "non-finite")
"""Faults that come at some step of a run: a trial that does not reach it shows nothing."""


def attempts_for(finding: Finding, task: Task) -> list[Attempt]:
    """The remedies to try for a finding; empty if a program cannot try any."""
    if task.optimizer is None or takes_closure(task.optimizer):
        return []
    make = TRIED.get(finding.id)
    return [each for each in make(finding, task) if _possible(each, task)] if make else []


def _possible(attempt: Attempt, task: Task) -> bool:
    """Whether the remedy can be applied: weights cannot be scaled in every network, and those of a trained one stay."""
    made: Any = attempt.make(1)
    if made is norms_first:
        return bool(norms_last(task.model))
    if made not in (calibrated, redrawn):
        return True
    trained = task.optimizer is not None and bool(task.optimizer.state)
    if trained or (task.whole and made is calibrated):
        return False
    try:
        with task.boxed():
            before = [each.detach().clone() for each in task.model.parameters()]
            with made(task):
                return any(not torch.equal(*both) for both in zip(before, task.model.parameters(), strict=True))
    except (LettrineError, NotCalled):
        return False
