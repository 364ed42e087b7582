"""Checks of the optimiser's settings: clipping, eps, state, and the weight of a KL term."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf, isfinite, nan

import numpy as np

from lettrine.health import limits_wiring as limits
from lettrine.health.checks.consequence import consequence, first_loss
from lettrine.health.checks.reading import (
    finite_curve,
    learning_rate,
    median,
    number,
    rounded,
)
from lettrine.health.checks.reference import guess_of
from lettrine.health.checks.registry import Skip, check
from lettrine.health.checks.wiring.connections import seen_once
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace


@check("clip-before-unscale")
def clip_before_unscale(trace: Trace) -> Iterator[Finding]:
    """Gradients clipped while they still carry the scale of a GradScaler.

    Measured: The norm of the gradients after unscaling, beside the scale of the GradScaler.
    Formula: norm * scale is the same round number at each step, so gradients were clipped while they were scaled.
    """
    seen = seen_once(trace, "clipping")
    if seen is None:
        raise Skip("not applicable", "no GradScaler, or too few steps under one were looked at")
    scale, norm, product = seen.figure("scale"), seen.figure("norm"), seen.figure("product")
    clipped = trace.step_stats["clipped"]
    clipped = clipped[np.isfinite(clipped)]
    constant = seen.figure("spread") < limits.CLIP_SPREAD and product <= limits.CLIP_MOST
    # Which of the two numbers was chosen by hand: a power of 2 as scale may make a round number of a round number.
    constant &= _chosen(product) and not (_chosen(norm) and norm >= limits.CLIP_LEAST)
    if scale < limits.CLIP_SCALE or not constant or not len(clipped) or float(np.mean(clipped)) < limits.LOST_SHARE:
        return
    course = consequence(trace)
    yield Finding(
        id="clip-before-unscale",
        severity="info" if course.well else "critical" if course.bad else "warning",
        where=(),
        steps=seen.steps,
        value=norm,
        limit=product,
        message=f"Gradients are clipped at {number(product)} while they are still {number(scale, 5)} times too large: after "
        f"unscaling "
        f"their norm is {number(norm)} at every step.",
        why="Clipping then acts at every step and makes all gradients too small by the factor of the scale.",
        remedy=f"Call scaler.unscale_(optimizer) before clip_grad_norm_(model.parameters(), {number(product)}).",
        reference="torch.amp: working with unscaled gradients",
    )


def _chosen(value: float) -> bool:
    """Whether a number has at most two significant digits, as numbers chosen by hand do; `clip_grad_norm_` adds an eps of
    1e-6.
    """
    return value > 0 and abs(float(f"{value:.1e}") / value - 1) < limits.CLIP_ROUND


@check("eps-underflow")
def eps_underflow(trace: Trace) -> Iterator[Finding]:
    """An eps of the optimiser that is 0 in the type of the parameters it divides by.

    Measured: The eps of each optimiser in the type of its parameters.
    Formula: none: dtype(eps) = 0.
    """
    seen = [each for each in trace.seen("optimiser") if each.figure("eps_zero")]
    if not seen:
        return
    eps, dtype, kind = seen[0].figure("eps"), seen[0].words["dtype"], seen[0].words["kind"]
    broke = trace.first_nonfinite is not None
    if trace.first_nonfinite is not None and trace.first_nonfinite.step == 0 and trace.first_nonfinite.phase == "forward":
        return  # it broke before the optimiser had made a step
    yield Finding(
        id="eps-underflow",
        severity="critical" if broke else "warning",
        where=seen[0].where,
        steps=(trace.first_nonfinite.step,) * 2 if trace.first_nonfinite is not None else seen[0].steps,
        value=eps,
        limit=nan,
        message=f"eps={number(eps)} of {kind} is 0 in {dtype}, the type of the parameters"
        + (f": values stopped being finite at step {trace.first_nonfinite.step}." if trace.first_nonfinite is not None else "."),
        why="A weight whose gradient has been 0 so far is updated by 0 / (0 + eps) = 0 / 0.",
        remedy="Keep the parameters in float32 and compute in half precision under torch.autocast with a GradScaler; or set "
        "eps=1e-4 (the smallest float16 above 0 is 6e-8).",
        reference="Micikevicius et al. 2018, Mixed precision training, section 3.1",
    )


@check("optimiser-state-lost", needs=("loss",))
def optimiser_state_lost(trace: Trace) -> Iterator[Finding]:
    """A trained network whose loss jumps because its optimiser starts without its old state; or an optimiser whose state is lost
    again and again.

    Measured: The first loss, how high the loss rises soon after it, how many steps it takes to come back, and whether the
    optimiser began with a state; and how many steps that state has kept, at each step looked at.
    Formula: rise = highest mean of three losses / level, within {RESUMED_STEPS} steps, {RESUMED_SWINGS} times the highest of the
        second half and {RESUMED_LOST:.0%} of guessing above the level; level = the first loss or that of the second half,
        whichever is higher; the first loss is below {RESUMED} of the loss of guessing. A remark if it is back at that level
        within {RESUMED_COST:.0%} of the run. Lost again and again: at {STATE_LOST:.0%} of the looks and {LOST_STEPS} or more,
        with nothing learned, or with no state older than its own running average reaches back, 1 / (1 - beta1) steps. Or:
        optimisers other than the one of the watch, {FLEETING} or more for each step.
    """
    yield from (again := [*_made_for_each_step(trace), *_again_and_again(trace)])
    if again:
        return
    seen = [each for each in trace.seen("optimiser") if not each.figure("state")]
    kinds = [each.words["kind"] for each in seen]
    stateful = any("Adam" in kind or "RMS" in kind or "Lion" in kind for kind in kinds) or trace.facts.momentum > 0
    guess, start = guess_of(trace), first_loss(trace)
    if not seen or not stateful or not isfinite(guess) or not isfinite(start):
        raise Skip("not applicable", "no optimizer with a state, or no loss of guessing to recognise a trained network by")
    steps, losses = finite_curve(trace, trace.loss)
    early = losses[steps < limits.RESUMED_STEPS]
    if not 0 < start < limits.RESUMED * guess or len(early) < 10:
        return
    smooth, later = np.convolve(losses, np.full(3, 1 / 3), mode="valid"), losses[len(losses) // 2 :]
    top_at = int(np.argmax(smooth[: len(early) - 2]))
    top, usual = float(smooth[top_at]), max(start, float(np.median(later)))
    # The very first step may destroy it: then only the first loss shows that it was trained.
    level = start if top_at == 0 else usual
    swings = float(smooth[len(smooth) // 2 :].max())  # in a trained network few examples make up the loss, so it jumps anyway
    if top < max(limits.RESUMED_RISE * level, limits.RESUMED_SWINGS * swings, level + limits.RESUMED_LOST * guess):
        return
    gone = float(np.median(later)) > max(limits.RESUMED_RISE * start, start + limits.RESUMED_LOST * guess)
    back = np.flatnonzero(smooth[top_at:] <= swings)
    cost = float(steps[top_at + int(back[0]) + 1] - steps[0]) if len(back) and not gone else inf
    rate = learning_rate(trace)
    yield Finding(
        id="optimiser-state-lost",
        severity="info" if cost <= limits.RESUMED_COST * (steps[-1] - steps[0]) else "warning",
        where=(),
        steps=(int(steps[0]), int(steps[top_at + 1])),
        value=top / level,
        limit=limits.RESUMED_RISE,
        message=f"Training begins with a trained network (loss {number(start, 3)}, guessing {number(guess, 3)}) and an optimizer "
        f"without any state ({kinds[0]}), and the loss rises to {number(top, 3)} at first"
        + (f"; it is back after {cost:,.0f} steps." if isfinite(cost) else " and never comes back."),
        why="Without its running averages, its first steps are as large as the learning rate allows, in every direction.",
        remedy="If this run continues an earlier one, load the optimizer too: "
        "optimizer.load_state_dict(checkpoint['optimizer']). "
        f"Otherwise warm the learning rate up from 0 to {number(rate)} over some hundred steps.",
        reference="torch.optim: saving and loading the state of an optimizer",
    )


def _made_for_each_step(trace: Trace) -> Iterator[Finding]:
    """Optimisers that are gone before their state could be of use."""
    for each in trace.seen("successors"):
        made, count = int(each.figure("steps")), int(each.figure("count"))
        if not each.words["keeps"] or made < limits.STEPLESS_ROUNDS or count < limits.FLEETING * made:
            continue
        yield Finding(
            id="optimiser-state-lost",
            severity="warning",
            where=(),
            steps=each.steps,
            value=float(count),
            limit=limits.FLEETING * made,
            message=f"The optimizer ({each.words['kind']}) is made anew in the loop: {count:,} of them made {made:,} steps, and "
            "the one that was given to the watch none.",
            why="It forgets its averages each time: every step follows the noise of one batch, and the first step of Adam moves "
            "each weight by the whole learning rate.",
            remedy="Make the optimizer once, before the loop, and call step() of that one.",
            reference="Kingma & Ba 2015, Adam: a method for stochastic optimization",
        )


def _again_and_again(trace: Trace) -> Iterator[Finding]:
    """Optimisers that begin anew many times in one run."""
    for each in trace.seen("optimiser ages"):
        lost, oldest, memory = each.figure("lost"), each.figure("oldest"), each.figure("memory")
        looks = each.figure("looks") - 1  # before the first one nothing could be lost
        if each.figure("back") < limits.STATE_BACK or lost < max(limits.LOST_STEPS, limits.STATE_LOST * looks):
            continue
        harm, young = consequence(trace), oldest < memory  # it never averages over as many steps as it was made to
        kept = f"; none was older than {oldest:.0f} of the {memory:.0f} steps that it averages over" if young else ""
        words = f"; {harm.words}" if harm.kind != "unknown" else ""
        yield Finding(
            id="optimiser-state-lost",
            severity="warning" if harm.bad or (young and not harm.well) else "info",
            where=(),
            steps=each.steps,
            value=lost,
            limit=limits.STATE_LOST * looks,
            message=f"The state of the optimizer ({each.words['kind']}) had been lost again at {lost:.0f} of {looks:.0f} looks"
            f"{kept}{words}.",
            why="Without its averages each step follows the noise of one batch, and is as large as the learning rate allows.",
            remedy="Make the optimizer once, before the loop, and keep its state: no optimizer.state.clear(), no load_state_dict "
            "of an old state, and no new optimizer for each epoch.",
            reference="Kingma & Ba 2015, Adam: a method for stochastic optimization",
        )


@check("collapsed-kl")
def collapsed_kl(trace: Trace) -> Iterator[Finding]:
    """Latent variables whose means do not depend on the input.

    Measured: The KL divergence between the distribution of the latent variables and the standard normal one.
    Formula: KL = sum over latents of (mean**2 + variance - ln(variance) - 1) / 2, in nats an example.
    """
    seen: Evidence | None = seen_once(trace, "latents")
    if seen is None:
        raise Skip("not applicable", "no latent variables with added noise were seen")
    if seen.figure("step") < limits.KL_STEPS or seen.figure("kl") >= limits.KL_COLLAPSED:
        return
    kl, size = seen.figure("kl"), int(seen.figure("size"))
    rate = median(trace.step_stats["learning_rate"])
    slower = f" With a rate of {number(rate)} let the weight of the KL term grow from 0 to 1." if isfinite(rate) else ""
    yield Finding(
        id="collapsed-kl",
        severity="warning",
        where=(),
        steps=seen.steps,
        value=kl,
        limit=limits.KL_COLLAPSED,
        message=f"The {size} latent variables say nothing about the input: their KL divergence is {number(rounded(kl))} nats an "
        f"example at "
        f"step {int(seen.figure('step')):,}.",
        why="The decoder has learned to ignore the latent variables, which costs nothing under a KL term that weighs too much.",
        remedy="Sum both terms over features and latent variables and divide both by the batch size; a mean over features makes "
        "the "
        f"reconstruction as many times too light.{slower}",
        reference="Bowman et al. 2016, Generating sentences from a continuous space, section 3.1",
    )
