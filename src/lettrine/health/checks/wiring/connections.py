"""Checks of connections: parameters that belong to nothing, gradients that are lost, graphs that grow without end."""

from __future__ import annotations

from collections.abc import Iterator
from math import nan
from typing import Final

import numpy as np

from lettrine.health import limits_wiring as limits
from lettrine.health.checks.consequence import consequence
from lettrine.health.checks.reading import listed, number, plural, share
from lettrine.health.checks.registry import Skip, check
from lettrine.health.checks.rivals.unasked import judges_unasked
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace


def seen_once(trace: Trace, kind: str) -> Evidence | None:
    """The evidence of a kind that occurs at most once; None if there is none."""
    return next(iter(trace.seen(kind)), None)


@check("unregistered")
def unregistered(trace: Trace) -> Iterator[Finding]:
    """Weights that the output depends on, but that belong to no module of the model and to no optimiser.

    Measured: The leaves of the loss's graph: parameters that belong neither to a module of the watched model nor to an
        optimiser, and whether their values stay the same.
    Formula: none: a parameter belongs to one of them or not. It must have been the same for {UNHELD_STEPS} steps.
    """
    seen = seen_once(trace, "unheld")
    if seen is not None and seen.words.get("made"):
        yield _made_anew(seen)
        return
    if seen is None or seen.figure("steps") < limits.UNHELD_STEPS:
        return
    names = tuple(filter(None, seen.words.get("names", "").split(", ")))
    drawn, steps, values = seen.words.get("drawn", ""), int(seen.figure("steps")), int(seen.figure("values"))
    still = f"did not change in {steps} steps" + (f" and {plural(names, 'is', 'are')} still as drawn at random" if drawn else "")
    yield Finding(
        id="unregistered",
        severity="warning" if drawn or consequence(trace).bad else "info",
        where=names,
        steps=seen.steps,
        value=float(values),
        limit=nan,
        message=(
            f"The output is made with {listed(names)}, which {plural(names, 'lies', 'lie')} in a plain list or dict: no "
            f"optimizer "
            f"holds {plural(names, 'it', 'them')}, and {plural(names, 'it', 'they')} {still} ({values:,} values)."
            if names
            else f"The output depends on {int(seen.figure('count'))} parameters ({values:,} values) outside of the watched "
            f"model, "
            f"which no optimizer holds and which {still}."
        ),
        why="torch finds only layers that are attributes or lie in its own containers: others are not trained, saved, moved to a "
        "device or put into eval mode.",
        remedy=(
            "Hold the layers in nn.ModuleList (nn.ModuleDict for a dict, nn.ParameterList for parameters), and build the "
            "optimizer "
            "after that."
            if names
            else "Give their parameters to an optimizer too, or set requires_grad to False if they are meant to stay."
        ),
        reference="torch.nn.ModuleList",
    )


def _made_anew(seen: Evidence) -> Finding:
    count, values = int(seen.figure("count")), int(seen.figure("values"))
    return Finding(
        id="unregistered",
        severity="warning",
        where=(),
        steps=seen.steps,
        value=float(values),
        limit=nan,
        message=f"The output depends on {count} {'parameter' if count == 1 else 'parameters'} ({values:,} values) drawn anew at "
        f"each step ({seen.words['drawn']}): a layer is made inside forward.",
        why="A layer that is made in forward is a new one at each step: it learns nothing, and the layers around it get noise.",
        remedy="Make the layer in __init__ and keep it as an attribute, so that the optimizer holds it; in forward only call it.",
        reference="torch.nn.Module: submodules assigned in the constructor are registered",
    )


_ADVERSARIAL: Final = "Goodfellow et al. 2014, Generative adversarial nets, algorithm 1"


@check("detached-generator")
def detached_generator(trace: Trace) -> Iterator[Finding]:
    """A network with its own optimiser whose output is only used without its graph.

    Measured: Whether the parameters of an optimiser ever get a gradient, and whether the output of their network is given to
        another network without its graph. And which parameters each term of a loss reaches.
    Formula: none: no gradient at any of {LOST_STEPS} or more steps that were looked at, while another optimiser's parameters
        have one. Or: a term reaches none of the parameters that are stepped after its backward pass, at as many. Or:
        one network is trained to tell what another makes from real examples, and that one is never trained by its answers.
    """
    for seen in trace.seen("gradients"):
        lost = seen.figure("none") == seen.figure("steps") >= limits.LOST_STEPS and seen.figure("others") > 0
        if not lost or seen.figure("frozen"):
            continue
        for pair in sorted(trace.seen("detached"), key=lambda each: len(each.where[1])):  # the whole critic before its layers
            maker, taker = pair.where
            if seen.where and all(name.startswith(f"{maker}.") for name in seen.where):
                yield Finding(
                    id="detached-generator",
                    severity="critical",
                    where=(maker,),
                    steps=seen.steps,
                    value=seen.figure("none"),
                    limit=0.0,
                    message=f"{maker} got no gradient at any step of its optimizer: {taker} is always given its output "
                    "without the graph that made it.",
                    why=f"What {taker} computes from the output cannot reach the weights of {maker}, which stay as they are.",
                    remedy=f"In the pass that trains {maker}, call {taker} on the output itself; detach() it, or make it under "
                    f"no_grad, only in the pass that trains {taker}.",
                    reference=_ADVERSARIAL,
                )
                return
    for seen in trace.seen("wasted term"):
        if seen.figure("looks") >= limits.LOST_STEPS:
            yield _wasted(seen)
            return
    yield from judges_unasked(trace)


def _wasted(seen: Evidence) -> Finding:
    maker, taker = seen.where[0] or "what is trained", seen.where[1] or "another network"
    term = seen.words["function"]
    return Finding(
        id="detached-generator",
        severity="warning",
        where=tuple(filter(None, seen.where[:1])),
        steps=seen.steps,
        value=seen.figure("looks"),
        limit=0.0,
        message=f"A term of the loss{f' ({term})' if term else ''} reaches only weights of {taker} and nothing of {maker}, "
        "which is stepped after this backward pass: its gradient is thrown away.",
        why=f"The term changes the number that is shown, and {maker} learns nothing from it.",
        remedy=f"In the pass that trains {maker}, give {taker} the output itself: no detach(), no .data, not made under no_grad.",
        reference=_ADVERSARIAL,
    )


@check("frozen-random")
def frozen_random(trace: Trace) -> Iterator[Finding]:
    """Frozen layers that still have their random start values.

    Measured: Frozen matrices (requires_grad=False) whose values still have the distribution that their module's
        initialisation draws.
    Formula: share = (values in such matrices) / (values in all matrices); a remark below {FROZEN_LITTLE:.0%}, if the rest
        learns.
    """
    seen = seen_once(trace, "frozen random")
    if seen is None or seen.figure("steps") < limits.FROZEN_STEPS:
        return
    course = consequence(trace)
    little = seen.figure("share") < limits.FROZEN_LITTLE and course.kind in ("learns", "falls")
    yield Finding(
        id="frozen-random",
        severity="info" if little or course.left <= limits.FROZEN_FINE else "warning",
        where=seen.where,
        steps=seen.steps,
        value=seen.figure("share"),
        limit=0.0,
        message=f"{listed(seen.where)} {plural(seen.where, 'is', 'are')} frozen, and still as drawn at random "
        f"({seen.words['drawn']}): {share(seen.figure('share'))} of the values of all matrices.",
        why="The layers behind get random features of the input, and training cannot improve these.",
        remedy="Load the trained weights before training (see that load_state_dict reports no missing keys), or let "
        f"{plural(seen.where, 'it', 'them')} train: requires_grad_(True) before the optimizer is built. "
        "If random features are meant, all is well.",
        reference="Yosinski et al. 2014, How transferable are features in deep neural networks?",
    )


@check("gradients-cleared")
def gradients_cleared(trace: Trace) -> Iterator[Finding]:
    """Gradients that are cleared before the optimiser uses them.

    Measured: Backward passes, and the gradients that exist when the optimiser steps.
    Formula: share = (steps at which gradients were cleared between two backward passes) / (steps looked at); or no gradient
        left at all of them.
    """
    told = trace.seen("gradients")
    if not told:
        raise Skip("not applicable", "no step of a torch optimizer was looked at")
    for seen in told:
        steps, called = seen.figure("steps"), seen.figure("called")
        # Zeros may come from the backward pass itself; gradients that shrank after it were set to 0.
        clipped = trace.step_stats["clipped"][np.isfinite(trace.step_stats["clipped"])]
        shrank = bool(len(clipped)) and float(clipped.mean()) >= limits.LOST_SHARE
        if seen.figure("zeros") > 0 and not shrank:
            continue
        if steps >= limits.LOST_STEPS and seen.figure("none") == called == steps and not seen.figure("others"):
            yield _finding(
                seen,
                "critical",
                called,
                f"At each of the {int(steps)} steps looked at a backward pass was made, and no gradient was left when the "
                f"optimizer "
                "stepped.",
                "Call zero_grad() before backward() or after step(), not between them.",
            )
        elif seen.figure("cleared") >= max(limits.LOST_STEPS, limits.LOST_SHARE * steps):
            micro = int(seen.figure("micro"))
            meant = seen.figure("scaled") >= limits.LOST_SHARE * seen.figure("accumulated")
            yield _finding(
                seen,
                "warning" if meant or consequence(trace).bad else "info",
                seen.figure("cleared"),
                f"{micro} backward passes or more are made before each step, and each finds the gradients of the one before "
                f"cleared: "
                "only the last one counts.",
                "Call zero_grad() once after each optimizer.step(), not before each backward(): then gradients add up.",
            )
        elif seen.figure("partly") >= max(limits.LOST_STEPS, limits.LOST_SHARE * steps):
            micro, meant = int(seen.figure("micro")), seen.figure("scaled") >= limits.LOST_SHARE * seen.figure("accumulated")
            yield _finding(
                seen,
                "warning" if meant or consequence(trace).bad else "info",
                seen.figure("partly"),
                f"{micro} backward passes or more are made before each step, and on the way the gradients are cleared, at "
                f"{int(seen.figure('partly'))} of {int(steps)} steps looked at: up to {int(seen.figure('lost'))} passes count "
                "for nothing.",
                "Call zero_grad() right after optimizer.step(), under the same condition, and nowhere else.",
            )


def _finding(seen: Evidence, severity: str, value: float, message: str, remedy: str) -> Finding:
    return Finding(
        id="gradients-cleared",
        severity=severity,
        where=(),
        steps=seen.steps,
        value=value,
        limit=0.0,
        message=message,
        why="What was computed for the examples of those passes is thrown away.",
        remedy=remedy,
        reference="torch.optim: Optimizer.zero_grad",
    )


@check("growing-graph")
def growing_graph(trace: Trace) -> Iterator[Finding]:
    """A loss whose graph reaches back through all earlier steps, or losses that are kept with their graphs.

    Measured: The number of operations in the graph of the loss, if the graph reaches back into earlier steps. And whether the
        graphs of earlier losses and outputs are still in memory.
    Formula: growth = nodes(now) / nodes(first look), {GROWN} or more; or age = steps since the first of {GROWN_LOOKS} or more
        looks in a row whose graphs are all still there, {KEPT_STEPS} or more.
    """
    grown = [each for each in trace.seen("reaching back") if each.figure("nodes") >= limits.GROWN * each.figure("nodes_first")]
    seen = next((each for each in grown if each.figure("back") >= limits.GROWN_LOOKS), None)
    if seen is not None:
        yield _reaching_back(seen)
        return
    for each in trace.seen("kept graphs"):
        if each.figure("kept") >= limits.GROWN_LOOKS and each.figure("age") >= limits.KEPT_STEPS:
            yield _kept(each)
            return


def _reaching_back(seen: Evidence) -> Finding:
    first, now, handed = seen.figure("nodes_first"), seen.figure("nodes"), bool(seen.where)
    return Finding(
        id="growing-graph",
        severity="warning",
        where=(),
        steps=seen.steps,
        value=now / first,
        limit=limits.GROWN,
        message=f"The graph of the loss{' handed over' if handed else ''} grows from step to step, from {number(first)} "
        f"operations at step {seen.steps[0]} to "
        f"{number(now)} at step {seen.steps[1]}: it reaches back into earlier steps.",
        why="What is kept holds the graphs of all steps before it, so memory grows until it runs out."
        if handed
        else "Each backward pass goes through all steps before, so time and memory grow until they run out, and gradients are "
        "taken "
        "at weights that have changed since.",
        remedy="Detach what is carried from one step to the next, such as a hidden state (h = h.detach()) or a running sum of "
        "losses "
        "(total += loss.item()), and leave out retain_graph=True.",
        reference="Williams & Peng 1990, An efficient gradient-based algorithm for on-line training of recurrent network "
        "trajectories",
    )


def _kept(seen: Evidence) -> Finding:
    losses = seen.words["what"] == "losses"
    return Finding(
        id="growing-graph",
        severity="warning",
        where=(),
        steps=seen.steps,
        value=seen.figure("age"),
        limit=float(limits.KEPT_STEPS),
        message=f"{'Losses' if losses else 'Outputs of the model'} are kept with their graphs: at step {seen.steps[1]} those of "
        f"the last {seen.figure('age'):.0f} steps were still in memory.",
        why="A tensor that is kept holds all operations that made it, so memory grows with each step.",
        remedy="Keep plain numbers: total += loss.item(), losses.append(loss.item())."
        if losses
        else "Detach what is kept: outputs.append(output.detach()).",
        reference="PyTorch FAQ: My model reports cuda runtime error(2): out of memory",
    )
