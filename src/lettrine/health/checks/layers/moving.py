"""Checks of parameters that should move: those in no optimiser, those that never change, those whose units stay alike."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lettrine.health import limits
from lettrine.health.checks.consequence import consequence
from lettrine.health.checks.layers.loaded import set_back
from lettrine.health.checks.layers.still import (
    by_hand,
    compiled_elsewhere,
    fixed_copies,
    fixed_targets,
    frozen_pairs,
    idle_optimisers,
    no_step,
    rounded_steps,
)
from lettrine.health.checks.reading import (
    listed,
    median,
    plural,
    span,
    usable,
)
from lettrine.health.checks.registry import Skip, check
from lettrine.health.findings import Finding
from lettrine.health.limits_wiring import FIXED_TRAINED, UNHELD_STEPS
from lettrine.health.trace import ParameterInfo, Trace


@check("not-optimised", needs=("parameters",))
def not_optimised(trace: Trace) -> Iterator[Finding]:
    """Trainable parameters that get a gradient but are in no optimiser: of the model, or of the loss.

    Measured: For each trainable parameter: whether a known optimiser holds it, and whether a gradient reaches it. Parameters
    that no gradient reaches, such as a backbone called under no_grad, are left out: they are fixed on purpose. Where
    {FIXED_TRAINED:.0%} of the matrices or more were trained before, and all that the optimisers hold has a gradient, it is a
    remark: an input or a prompt is trained. Of parameters that the loss adds after the model's output, such as prototypes or an
    adaptive softmax: whether they had a gradient at each step looked at and did not change in {UNHELD_STEPS} steps. And whether a
    parameter was put in the place of one that an optimiser holds.
    Formula: share = (trainable parameters that no optimiser holds) / (trainable parameters).
    """
    if all(info.optimised is None for info in trace.parameters):
        raise Skip("not run", "no optimizer is known; pass it to health.watch(model, optimizer)")
    yield from _of_the_loss(trace)
    yield from _replaced(trace)
    mask = usable(trace)
    trained = [info for info in trace.parameters if info.trainable]
    outside = [info.name for info in trained if info.optimised is False and _reached(trace, info.name)]
    if outside and _meant(trace):
        yield Finding(
            id="not-optimised",
            severity="info",
            where=tuple(outside),
            steps=span(trace, mask),
            value=len(outside) / len(trained),
            limit=0.0,
            message=f"No optimizer holds {listed(outside)}: {plural(outside, 'it was', 'they were')} trained before, and "
            f"{plural(outside, 'stays as it is', 'stay as they are')}.",
            why="Where an input, a prompt or another part is trained, the network around it is fixed on purpose.",
            remedy="If so, model.requires_grad_(False) saves the gradients that nobody uses. If not, build the optimizer from "
            "model.parameters().",
            reference="torch.optim: constructing an optimizer",
        )
    elif outside:
        yield Finding(
            id="not-optimised",
            severity="critical" if len(outside) == len(trained) else "warning",
            where=tuple(outside),
            steps=span(trace, mask),
            value=len(outside) / len(trained),
            limit=0.0,
            message=f"No optimizer holds {listed(outside)}, so {plural(outside, 'it stays', 'they stay')} as initialised.",
            why="The gradient is computed and never used.",
            remedy=(
                f"Build the optimizer after the model is complete, from model.parameters(), or call "
                f"optimizer.add_param_group for {plural(outside, 'it', 'these')}; freeze with requires_grad=False."
            ),
            reference="torch.optim: constructing an optimizer",
        )


def _meant(trace: Trace) -> bool:
    """Whether the network was trained before, and all that the optimisers hold has a gradient: the loss depends on it."""
    return any(
        each.figure("trained") >= FIXED_TRAINED * each.figure("matrices") and each.figure("reached") == each.figure("held")
        for each in trace.seen("fixed net")
    )


def _of_the_loss(trace: Trace) -> Iterator[Finding]:
    for each in trace.seen("loss weights"):
        if each.figure("steps") < UNHELD_STEPS:
            continue
        count, steps, values = (int(each.figure(name)) for name in ("count", "steps", "values"))
        drawn, taker = each.words["drawn"], each.words["function"]
        one = count == 1
        yield Finding(
            id="not-optimised",
            severity="warning" if drawn or consequence(trace).bad else "info",
            where=(),
            steps=each.steps,
            value=float(values),
            limit=0.0,
            message=f"The loss has {'a parameter' if one else f'{count} parameters'} of its own ({each.words['shapes']}"
            f"{f'; in {taker}' if taker else ''}) that no optimizer holds: {'it' if one else 'each'} gets a gradient and did not "
            f"change in {steps} steps{f' ({drawn})' if drawn else ''}.",
            why="A loss that has weights (prototypes, an adaptive softmax, transitions, weights of terms) learns only if an "
            "optimizer holds them: model.parameters() does not contain them.",
            remedy="Give them to the optimizer too: [*model.parameters(), *loss_fn.parameters()]. Freeze what is meant to stay "
            "with requires_grad_(False).",
            reference="torch.optim: constructing an optimizer",
        )


def _replaced(trace: Trace) -> Iterator[Finding]:
    """Parameters that were assigned anew after the optimiser was made."""
    for each in trace.seen("replaced"):
        if each.figure("steps") < UNHELD_STEPS:
            continue
        names, steps = each.where, int(each.figure("steps"))
        yield Finding(
            id="not-optimised",
            severity="warning",
            where=names,
            steps=each.steps,
            value=each.figure("values"),
            limit=0.0,
            message=f"{listed(names)} {plural(names, 'is a new parameter', 'are new parameters')}, in place of "
            f"{plural(names, 'the one', 'those')} that the optimizer holds: the loss depends on {plural(names, 'it', 'them')}, "
            f"and {plural(names, 'it', 'they')} did not change in {steps:,} steps.",
            why="An optimizer holds the parameters it was given. One that is assigned later is unknown to it, whatever its name.",
            remedy="Write into the old one: with torch.no_grad(): weight.copy_(values). Or build the optimizer after the new one "
            "is assigned.",
            reference="torch.optim: constructing an optimizer",
        )


def _reached(trace: Trace, name: str) -> bool:
    """Whether a gradient reaches a parameter, as far as that was measured.

    A gradient left from before the watch never changes, because nobody clears it.
    """
    if name not in trace.parameter_stats:
        return True
    norms = np.nan_to_num(trace.parameter(name, "gradient_norm")[usable(trace)])
    return len(norms) < limits.NO_GRADIENT_RECORDS or bool(np.ptp(norms) > 0)


@check("never-moved")
def never_moved(trace: Trace) -> Iterator[Finding]:
    """Parameters that were made to learn and never change; an optimiser without any trainable parameter, or that never steps.

    Measured: For each parameter with a gradient and an optimiser: how far real steps move it.
    Formula: rms(after - before) = 0 at {NO_GRADIENT_RECORDS} or more sampled steps, where learning rate * rms(gradient) >
        {UNSEEN:g} * rms(weights), or the learning rate is 0. Or: no step in {STEPLESS_ROUNDS} or more rounds; an optimiser never
        steps while others do; adapters of low rank are frozen at their start; more than {ROUNDED_SHARE:.0%} of the values of a
        low precision stay as they are at a step; a copy of another part was written at {REWRITTEN} looks or more, each time with
        the values that it had. Or: the step is compiled, and no weight changes in
        {STEPLESS_ROUNDS} steps. A network that tells the values of next states is as it was drawn. The same weights
        were loaded {SET_BACK} times or more, with steps between, and last after {SET_BACK_LATE:.0%} of the run. Without an
        optimiser: no value changes in {STILL_LOOKS} steps with a gradient.
    """
    yield from no_step(trace)
    yield from by_hand(trace)
    if all(info.optimised is None for info in trace.parameters) or not trace.parameter_stats:
        raise Skip("not run", "no optimizer is known; pass it to health.watch(model, optimizer)")
    mask = usable(trace)
    trained = [info for info in trace.parameters if info.trainable]
    frozen = [each for each in trace.seen("gradients") if each.figure("frozen")]
    if frozen:
        names = [name for each in frozen for name in each.where]
        others = [info.name for info in trained if info.optimised is False]
        yield Finding(
            id="never-moved",
            severity="critical",
            where=tuple(names),
            steps=span(trace, mask),
            value=float(len(names)),
            limit=0.0,
            message=f"An optimizer holds nothing that can move: {listed(names) if names else 'all it holds'} "
            f"{plural(names, 'has', 'have')} requires_grad=False.",
            why="The optimizer's steps change nothing.",
            remedy=f"Give it {listed(others)}, which can be trained and which no optimizer holds, or let its parameters train: "
            "requires_grad_(True)."
            if others
            else "Let its parameters train: requires_grad_(True), before the optimizer is built.",
            reference="torch.optim: constructing an optimizer",
        )
    yield from idle_optimisers(trace)
    yield from frozen_pairs(trace)
    yield from fixed_copies(trace)
    yield from fixed_targets(trace)
    yield from set_back(trace)
    yield from (rounded := list(rounded_steps(trace)))
    held = [info for info in trained if info.optimised and info.name in trace.parameter_stats]
    yield from (elsewhere := list(compiled_elsewhere(trace)))
    still = [info.name for info in held if not (rounded or elsewhere) and _never_moved(trace, info)]
    if still:
        rates = [median(trace.parameter(name, "learning_rate"), mask) for name in still]
        yield Finding(
            id="never-moved",
            severity="critical" if len(still) == len(trained) else "warning",
            where=tuple(still),
            steps=span(trace, mask),
            value=len(still) / len(trained),
            limit=0.0,
            message=f"{listed(still)} moved at no sampled step, although {plural(still, 'it has', 'they have')} a gradient.",
            why="The optimizer's steps change nothing.",
            remedy=(
                "Its learning rate is 0: set one, or look at the schedule."
                if any(rate == 0 for rate in rates)
                else "See that optimizer.step() acts on this model's own parameters and not on a copy of them."
            ),
            reference="torch.optim: constructing an optimizer",
        )


def _never_moved(trace: Trace, info: ParameterInfo) -> bool:
    """Whether a parameter did not change, although a step along its gradient was large enough not to be lost in rounding.

    A bias that a normalisation removes again has a gradient of rounding errors only; it is right that it stays.
    """
    stats = {stat: trace.parameter(info.name, stat) for stat in ("update_rms", "gradient_norm", "learning_rate", "rms")}
    mask = usable(trace) & np.isfinite(stats["update_rms"])
    moved, norms, rates, sizes = (values[mask] for values in stats.values())
    slopes = norms / np.sqrt(max(int(np.prod(info.shape)), 1))
    seen = (rates == 0) | ~(np.nan_to_num(rates, nan=1.0) * slopes <= limits.UNSEEN * sizes)
    return len(moved) >= limits.NO_GRADIENT_RECORDS and bool((moved == 0).all() and (slopes > 0).all() and seen.any())
