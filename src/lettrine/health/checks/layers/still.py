"""What stays as it is although it was made to learn: reported as "never-moved" and "no-gradient"."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite, nan

import numpy as np

from lettrine.health import limits_wiring as limits
from lettrine.health.checks.consequence import consequence
from lettrine.health.checks.judging import steps_taken
from lettrine.health.checks.reading import listed, number, plural, share
from lettrine.health.findings import Finding
from lettrine.health.limits import HARDLY_LEARNED
from lettrine.health.trace import Trace


def no_step(trace: Trace) -> Iterator[Finding]:
    """An optimiser that has never stepped."""
    for seen in trace.seen("no step"):
        if not trace.parameters or steps_taken(trace) > 1:
            continue  # it has stepped since
        rounds, kind = int(seen.figure("rounds")), seen.words["kind"]
        scale, first = seen.figure("scale"), seen.figure("first_scale")
        rate, first_rate = seen.figure("rate"), seen.figure("first_rate")
        called = bool(seen.figure("gradient"))
        if called and (scale < first or seen.figure("broken")):
            how = "the gradients are not finite, as a GradScaler finds before it leaves a step out"
            if scale < first:
                how = f"the GradScaler leaves every step out, and its scale has fallen from {number(first)} to {number(scale)}"
            why = "A step is left out where a gradient is inf or NaN; a scale that goes on falling shows that they stay so, "
            why += "whatever the scale is."
            remedy = "Find what is not finite: call loss.backward() once without the scaler and without autocast, under "
            remedy += "torch.autograd.set_detect_anomaly(True). A root of 0, a logarithm of 0 and 0/0 are the usual ones."
        elif called:
            how = "gradients are computed and never used"
            why = "The weights stay as they were drawn."
            remedy = "Call optimizer.step() after loss.backward() and before the gradients are cleared, in each round."
            if isfinite(first_rate) and rate != first_rate:
                how += f", while a schedule takes the learning rate from {number(first_rate)} to {number(rate)}"
                remedy += " scheduler.step() moves no weight: it only sets the learning rate of the steps to come."
        else:
            how = "no backward pass was seen either"
            why = "Without gradients and steps the weights stay as they were drawn."
            remedy = (
                "Call loss.backward() and then optimizer.step() in each round. If nothing is to be learned here, evaluate in "
            )
            remedy += "eval mode under torch.no_grad()."
        yield Finding(
            id="never-moved",
            severity="critical",
            where=seen.where,
            steps=(0, 0),
            value=float(rounds),
            limit=float(limits.STEPLESS_ROUNDS),
            message=f"The optimizer ({kind}) made no step in {rounds:,} rounds: {how}.",
            why=why,
            remedy=remedy,
            reference="torch.optim: taking an optimization step",
        )


def by_hand(trace: Trace) -> Iterator[Finding]:
    """Steps without an optimiser that change nothing, although there are gradients."""
    for seen in trace.seen("steps by hand"):
        looks = int(seen.figure("looks"))
        if seen.figure("moved") or looks < limits.STILL_LOOKS:
            continue
        yield Finding(
            id="never-moved",
            severity="critical",
            where=seen.where,
            steps=seen.steps,
            value=float(looks),
            limit=float(limits.STILL_LOOKS),
            message=f"{listed(seen.where)} {plural(seen.where, 'has', 'have')} the same values after each of {looks} steps "
            f"looked at, up to step {seen.steps[1]:,}, although {plural(seen.where, 'it has', 'they have')} a gradient. No "
            "optimizer is known.",
            why="Gradients are computed, and nothing changes the weights by them.",
            remedy="Change them in place: with torch.no_grad(): for p in model.parameters(): p -= rate * p.grad. A line "
            "p = p - rate * p.grad makes a new tensor of that name, and leaves the model's own as it was. Or build an optimizer "
            "and give it to health.watch.",
            reference="torch.no_grad; torch.optim: taking an optimization step",
        )


def compiled_elsewhere(trace: Trace) -> Iterator[Finding]:
    """A compiled step that trains something else than what is watched, or nothing: all weights are the same at each step seen."""
    held = [info.name for info in trace.parameters if info.trainable and info.optimised and info.name in trace.parameter_stats]
    if trace.facts.notes.get("compiled") != "step" or not held:
        return
    moved = np.array([trace.parameter(name, "update_rms") for name in held])
    seen = np.isfinite(moved).all(axis=0)
    steps, sizes = trace.steps[seen], np.array([trace.parameter(name, "rms")[seen] for name in held])
    # Sizes tell of steps between those that were sampled: with accumulation few losses are followed by one.
    if not len(steps) or steps[-1] - steps[0] < limits.STEPLESS_ROUNDS or moved[:, seen].any() or np.ptp(sizes, axis=1).any():
        return
    yield Finding(
        id="never-moved",
        severity="critical",
        where=tuple(held),
        steps=(int(steps[0]), int(steps[-1])),
        value=float(len(held)),
        limit=0.0,
        message=f"{listed(held)} did not change from step {steps[0]} to step {steps[-1]}, while losses of compiled code were "
        "handed over.",
        why="What the compiled step trains is not this model, or it makes no step at all.",
        remedy="See that backward() and optimizer.step() are called inside of the compiled step or after it, and that the model "
        "in it is the one that is watched and not a copy of it.",
        reference="torch.compile: the compiled function holds the modules that were there when it was made",
    )


def idle_optimisers(trace: Trace) -> Iterator[Finding]:
    """Optimisers that never step while others do."""
    for seen in trace.seen("idle"):
        if seen.figure("steps") < limits.LOST_STEPS or seen.steps[1] - seen.steps[0] < limits.UNHELD_STEPS:
            continue
        yield Finding(
            id="never-moved",
            severity="warning",
            where=seen.where,
            steps=seen.steps,
            value=float(len(seen.where)),
            limit=0.0,
            message=f"The optimizer of {listed(seen.where)} never stepped, up to step {seen.steps[1]}, while another one did, "
            f"and {plural(seen.where, 'it has', 'they have')} a gradient at each of its steps.",
            why="Gradients are computed and never used, so these weights stay as they were at the start.",
            remedy="Call step() of each optimizer after backward(), and zero_grad() of each before it.",
            reference="torch.optim: taking an optimization step",
        )


def frozen_pairs(trace: Trace) -> Iterator[Finding]:
    """Adapters of low rank that are frozen at their start."""
    for seen in trace.seen("frozen pairs"):
        if seen.figure("steps") < limits.FROZEN_STEPS:
            continue
        pairs, rank = int(seen.figure("pairs")), int(seen.figure("rank"))
        yield Finding(
            id="never-moved",
            severity="warning",
            where=seen.where,
            steps=seen.steps,
            value=float(pairs),
            limit=0.0,
            message=f"{listed(seen.where)} are frozen, and half of them are still 0: the {pairs} "
            f"{'pair' if pairs == 1 else 'pairs'} of matrices of rank {rank} or less add nothing, and never will.",
            why="A product with a matrix of zeros is 0. Adapters of low rank start so, and have to be trained.",
            remedy="Let them train: call requires_grad_(True) on them after the rest was frozen, and build the optimizer after "
            "that.",
            reference="Hu et al. 2021, LoRA: low-rank adaptation of large language models, section 4.1",
        )


def fixed_copies(trace: Trace) -> Iterator[Finding]:
    """Copies, such as target networks, that are filled with what they hold already, or never."""
    for seen in trace.seen("fixed copy"):
        written, asked, steps = seen.figure("written"), seen.figure("asked"), int(seen.figure("steps"))
        again = written >= limits.REWRITTEN and steps >= limits.FROZEN_STEPS
        never = written == 0 and asked >= limits.ASKED_LOOKS and steps >= limits.UNCOPIED_REMARK
        if not (again or never):
            continue
        live, copy = seen.where
        what = f"was written at {written:.0f} looks or more: each time with the values that it had."
        what = what if again else f"was never written: {live} learns from what an untrained network says."
        yield Finding(
            id="never-moved",
            severity="warning" if again or steps >= limits.UNCOPIED_STEPS else "info",
            where=(copy,),
            steps=seen.steps,
            value=written,
            limit=float(limits.REWRITTEN),
            message=f"{copy} began as a copy of {live}, still holds its random start values at step {seen.steps[1]:,}, and "
            f"{what}",
            why=f"{copy} goes on answering as an untrained network, however much {live} learns.",
            remedy=f"Fill it from the other network{'' if again else ' every few hundred steps'}: {copy}.load_state_dict("
            f"{live}.state_dict()); in a running average see that the new weights are those of {live}, with a share above 0.",
            reference="Mnih et al. 2015, Human-level control through deep reinforcement learning, algorithm 1",
        )


def fixed_targets(trace: Trace) -> Iterator[Finding]:
    """A target network outside of the model that is never filled."""
    for seen in trace.seen("fixed target"):
        name, steps = seen.where[0], int(seen.figure("steps"))
        if seen.figure("looks") < limits.ASKED_LOOKS or steps < limits.UNCOPIED_REMARK:
            continue
        yield Finding(
            id="never-moved",
            severity="warning" if steps >= limits.UNCOPIED_STEPS else "info",
            where=(name,),
            steps=seen.steps,
            value=float(steps),
            limit=float(limits.UNCOPIED_STEPS),
            message=f"The network that tells {name} the values of next states, no part of what is watched, was never written up "
            f"to step {seen.steps[1]:,}, and holds the values it was drawn with: {name} learns from what an untrained network "
            "says.",
            why=f"What it says of next states stays as it is, however much {name} learns: nothing is handed on from state to "
            "state.",
            remedy=f"Fill it from the other network every few hundred steps: target.load_state_dict({name}.state_dict()), once "
            "before the first step, too.",
            reference="Mnih et al. 2015, Human-level control through deep reinforcement learning, algorithm 1",
        )


def rounded_steps(trace: Trace) -> Iterator[Finding]:
    """Steps that are too small for the type of the weights."""
    seen = [
        each
        for each in trace.seen("rounded")
        if each.figure("steps") >= limits.ROUNDED_STEPS and each.figure("share") > limits.ROUNDED_SHARE
    ]
    course = consequence(trace)
    if not seen or course.well:
        return
    worst, names, dtype = (
        max(each.figure("share") for each in seen),
        tuple(each.where[0] for each in seen),
        seen[0].words["dtype"],
    )
    little = course.bad or course.left >= HARDLY_LEARNED
    yield Finding(
        id="never-moved",
        severity="warning" if little else "info",
        where=names,
        steps=seen[0].steps,
        value=worst,
        limit=limits.ROUNDED_SHARE,
        message=f"Of the values of {listed(names)} up to {share(worst)} stay as they are at a step, although they have a "
        f"gradient: {dtype} has too few digits to take in so small a change{_end(trace)}",
        why="A weight and a step some hundred times smaller add up to the same weight again, however often it is repeated.",
        remedy="Keep the weights in float32 and compute in low precision: leave out model.to(...), and call the model under "
        f"torch.autocast(device, torch.{dtype}).",
        reference="Micikevicius et al. 2018, Mixed precision training, section 3.1: a copy of the weights in single precision",
    )


def norms_of_one(trace: Trace) -> Iterator[Finding]:
    """Normalisations over a single value."""
    seen = [each for each in trace.seen("norm of one") if each.figure("looks") == each.figure("all") >= limits.MASK_LOOKS]
    if not seen:
        return
    names, kinds = tuple(each.where[0] for each in seen), {each.words["kind"] for each in seen}
    gives = plural(names, "normalises single values: it gives its", "normalise single values: they give their")
    yield Finding(
        id="no-gradient",
        severity="info" if consequence(trace).well else "warning",
        where=names,
        steps=seen[0].steps,
        value=1.0,
        limit=nan,
        message=f"{listed(names)} {gives} bias whatever goes in{_end(trace)}",
        why="One value minus its own mean is 0, so nothing passes forward and no gradient passes back.",
        remedy="Leave it out there, or let it take more values together: "
        + ("fewer groups in GroupNorm." if kinds == {"GroupNorm"} else "LayerNorm over several features."),
        reference="Ba, Kiros & Hinton 2016, Layer normalization, section 3",
    )


def _end(trace: Trace) -> str:
    """The end of a sentence: what became of it, if harm was measured."""
    course = consequence(trace)
    return f"; {course.words}." if course.bad else "."
