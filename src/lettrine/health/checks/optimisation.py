"""Checks of the optimiser's settings: schedule, clipping, eps, state, warm-up, and the weight of a KL term."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf, isfinite, nan
from typing import Final

import numpy as np

from lettrine.health import limits_wiring as limits
from lettrine.health.checks.capacity import at_rest
from lettrine.health.checks.connections import seen_once
from lettrine.health.checks.consequence import consequence, first_loss
from lettrine.health.checks.reading import (
    finite_curve,
    learning_rate,
    median,
    number,
    rounded,
    share,
    standard_error,
    usable,
)
from lettrine.health.checks.reference import guess_of
from lettrine.health.checks.registry import Skip, check
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace

_ROUNDING: Final = 1e-6  # of a rate: 0.1 times 0.1 is a little more than 0.01


@check("schedule-to-zero", needs=("loss",))
def schedule_to_zero(trace: Trace) -> Iterator[Finding]:
    """A schedule that lowers the learning rate to almost 0 while the loss still falls.

    Measured: The learning rate at the sampled steps, and how the loss fell before and after the rate became small. And what a
        ReduceLROnPlateau was told.
    Formula: idle = (steps with a rate below {SCHEDULE_LOW:.0%} of the peak, at the end) / (all steps). Or: {PLATEAU_DROPS} drops
        or more, since no number it was told was ever better than the first one, while the loss on held-out data came down to
        {PLATEAU_BETTER:.0%} of its first value or less.
    """
    for seen in trace.seen("plateau"):
        yield from _upside_down(trace, seen)
        return
    mask = usable(trace)
    rates, steps = trace.step_stats["learning_rate"][mask], trace.steps[mask]
    known = np.isfinite(rates)
    rates, steps = rates[known], steps[known]
    if not len(steps) or steps[-1] - steps[0] < limits.SCHEDULE_STEPS:
        raise Skip("not run", f"the learning rate was seen over fewer than {limits.SCHEDULE_STEPS} steps")
    peak, last, course = float(rates.max()), int(trace.loss.step[-1]), consequence(trace)
    if peak <= 0 or course.end <= limits.SCHEDULE_FINE * course.reference.value:
        return
    little = course.end >= limits.SCHEDULE_LITTLE * course.reference.value
    for low in (limits.SCHEDULE_LOW, limits.SCHEDULE_TENTH):
        high = np.flatnonzero(rates >= low * peak * (1 - _ROUNDING))  # a step to just a tenth is usual
        if high[-1] == len(steps) - 1:
            continue
        when = int(steps[high[-1] + 1])
        # The rate is known at sampled steps, which lie far apart in the end: it came down between two of them.
        idle = (last - (when + int(steps[high[-1]])) / 2) / max(last - int(steps[0]), 1)
        early = course.kind in ("guessing", "flat") or (when <= limits.SCHEDULE_EARLY * last and little)
        gone = low == limits.SCHEDULE_LOW and (early or _still_falling(trace, when, limits.SCHEDULE_FALL))
        # A tenth is much of a rate. It is too little only where next to nothing had been learned before and nothing was since.
        if idle > limits.SCHEDULE_SHARE and (gone or (little and _still_falling(trace, when, 0.0))):
            break
    else:
        return
    at, losses = finite_curve(trace, trace.loss)
    yield Finding(
        id="schedule-to-zero",
        severity="warning",
        where=(),
        steps=(when, last),
        value=idle,
        limit=limits.SCHEDULE_SHARE,
        message=f"The learning rate has been below {share(low)} of its peak ({number(peak)}) since step "
        f"{when:,}, for "
        f"{share(idle)} of the run; the loss{'' if early else ', still falling then,'} has stayed near "
        f"{number(float(np.mean(losses[at >= when])), 3)} since.",
        why="Steps this small change nothing: the rest of the run is wasted.",
        remedy=f"Spread the schedule over the whole run, {last + 1:,} steps: call scheduler.step() once an epoch if it counts "
        f"epochs, "
        f"or give it that many steps (T_max, total_steps, a gamma of {number(limits.SCHEDULE_LOW ** (1 / (last + 1)), 5)} a "
        f"step).",
        reference="Smith 2018, A disciplined approach to neural network hyper-parameters; torch.optim.lr_scheduler",
    )


def _upside_down(trace: Trace, seen: Evidence) -> Iterator[Finding]:
    """A scheduler that takes a rising score for one that should fall, or the reverse."""
    dev, calls, drops = trace.dev.mean[np.isfinite(trace.dev.mean)], int(seen.figure("calls")), int(seen.figure("drops"))
    if drops < limits.PLATEAU_DROPS or len(dev) < limits.PLATEAU_DROPS or not dev.min() <= limits.PLATEAU_BETTER * dev[0]:
        return
    mode = seen.words["mode"]
    other, way = ("max", "lower") if mode == "min" else ("min", "higher")
    yield Finding(
        id="schedule-to-zero",
        severity="warning",
        where=(),
        steps=seen.steps,
        value=float(drops),
        limit=float(limits.PLATEAU_DROPS),
        message=f"ReduceLROnPlateau(mode={mode!r}) has lowered the learning rate {drops} times, from "
        f"{number(seen.figure('rate_first'))} to {number(seen.figure('rate'))}: none of the {calls} numbers it was given was "
        f"{way} than the first ({number(seen.figure('best'), 3)}), while the loss on held-out data came down from "
        f"{number(float(dev[0]), 3)} to {number(float(dev.min()), 3)}.",
        why="The scheduler takes each improvement for the opposite, and makes the steps smaller and smaller.",
        remedy=f"Pass mode={other!r} if it is given a score such as accuracy; mode='min' is for a loss."
        if other == "max"
        else "Pass mode='min' if it is given a loss; mode='max' is for a score such as accuracy.",
        reference="torch.optim.lr_scheduler.ReduceLROnPlateau: mode",
    )


def _still_falling(trace: Trace, when: int, least: float) -> bool:
    """Whether the loss fell over the stretch before `when`, by more than its noise and by this share, and faster than since."""
    steps, losses = finite_curve(trace, trace.loss)
    before, since = losses[(steps >= when / 3) & (steps < when)], losses[steps >= when]
    if len(before) < 6 or len(since) < 6:
        return False
    half, half_since = len(before) // 2, len(since) // 2
    fell = float(np.mean(before[:half]) - np.mean(before[half:]))
    fell_since = float(np.mean(since[:half_since]) - np.mean(since[half_since:]))
    level, noise = abs(float(np.mean(before[half:]))), 3 * (standard_error(before) or 0.0)
    return fell > max(least * level, noise) and fell_since < fell / 2


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
    constant &= _chosen(product) and not _chosen(norm)  # which of the two numbers was chosen by hand
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


@check("no-warmup", needs=("loss",))
def no_warmup(trace: Trace) -> Iterator[Finding]:
    """A deep post-norm transformer at its full learning rate from the first step.

    Measured: Layer norms that come after a skip connection, and the learning rate of the first step.
    Formula: share = (rate at the first step) / (highest rate); loss at rest > {WARM_LEARNED} * (loss of guessing).
    """
    seen = seen_once(trace, "post-norm")
    if seen is None or seen.figure("post") < limits.POST_NORMS:
        raise Skip("not applicable", "no deep network with layer norms after its skip connections")
    rates = trace.step_stats["learning_rate"][usable(trace)]
    peak = learning_rate(trace)
    course = consequence(trace)
    hardly = at_rest(trace) and course.end > limits.WARM_LEARNED * course.reference.value
    if not (course.bad or hardly) or not len(rates) or trace.steps[0] != 0 or not rates[0] >= limits.WARM_SHARE * peak:
        return
    outcome = (
        course.words
        if course.bad
        else (
            f"the loss, at rest at {number(course.end, 3)}, is hardly below {course.reference.words} "
            f"({number(course.reference.value, 3)})"
        )
    )
    yield Finding(
        id="no-warmup",
        severity="critical",
        where=(),
        steps=(0, course.steps[1]),
        value=float(rates[0]),
        limit=limits.WARM_SHARE * peak,
        message=f"{int(seen.figure('post'))} layer norms come after skip connections (post-norm), the learning rate is "
        f"{number(float(rates[0]))} from the first step on, and {outcome}.",
        why="In such a network the gradients of the last layers are large at first; full steps along them lead to a state from "
        "which "
        "it does not learn.",
        remedy=f"Put the norms before the blocks (norm_first=True), or raise the learning rate from 0 to {number(peak)} over "
        f"the first "
        "few thousand steps.",
        reference="Xiong et al. 2020, On layer normalization in the transformer architecture",
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
