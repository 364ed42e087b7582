"""Parameters that no gradient reaches."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import nan
from typing import Final

import numpy as np

from lettrine.health import limits
from lettrine.health.checks.consequence import consequence
from lettrine.health.checks.layers.bare_terms import bare_terms, behind_an_error
from lettrine.health.checks.layers.restrained import unused_memory
from lettrine.health.checks.layers.still import norms_of_one
from lettrine.health.checks.reading import (
    listed,
    plural,
    span,
    usable,
)
from lettrine.health.checks.reference import bare_term
from lettrine.health.checks.registry import Skip, check
from lettrine.health.checks.wiring.thrown_away import thrown_away
from lettrine.health.findings import Finding
from lettrine.health.trace import Floats, ParameterInfo, Trace

_BACKWARDS: Final = re.compile(r"\bweight_hh_l\d+_reverse$")
"""Weights between the steps of the direction of a recurrent module that reads from the end."""


@check("no-gradient", needs=("parameters",))
def no_gradient(trace: Trace) -> Iterator[Finding]:
    """Trainable parameters that never got a gradient, or only zeros.

    Measured: For each trainable parameter: whether it has a gradient, and its norm, at every sampled step.
    Formula: none: the gradient is missing, or exactly 0, at all of them ({NO_GRADIENT_RECORDS} or more for zeros). It is a
        remark if the module is never called, or its output never used, and the rest learns; or if the loss fell well, and the
        gradient is exactly 0 or no module that learns comes after it. Or: a normalisation takes single
        values, and gives 0; or a term of the loss has no graph; or nothing takes what an activation, a dropout, a clamp or a
        mask returns, while the tensor that it was given goes on.
    """
    yield from (alone := list(norms_of_one(trace)))
    yield from thrown_away(trace, "no-gradient")
    mask = usable(trace)
    records = int(mask.sum())
    if not records:
        raise Skip("not run", "no sampled step before values stopped being finite")
    norms = {name: trace.parameter(name, "gradient_norm")[mask] for name in trace.parameter_stats}
    if all(np.isnan(values).all() for values in norms.values()):
        yield from _no_backward(trace)
        return
    trained = [info for info in trace.parameters if info.trainable and info.name in norms]
    missing = [info for info in trained if np.isnan(norms[info.name]).all()]
    unused = [info.name for info in missing if info.module not in trace.outputs and not _root(trace, info.module)]
    apart = {info.name for info in missing if info.optimised is False}  # such as another network in the same container
    zero = [
        info.name
        for info in trained
        if records >= limits.NO_GRADIENT_RECORDS
        and not alone
        and not np.isnan(norms[info.name]).all()
        and np.nanmax(norms[info.name]) == 0
        and not _cancels(info, trained, norms)
    ]
    backwards = [name for name in zero if _BACKWARDS.search(name)]
    told = unused_memory(trace) if len(trace.loss.step) else ()  # by "underfitting"
    zero = [name for name in zero if name not in (*backwards, *told)]
    called = next(iter(trace.seen("without graph")), None)
    bare = [name for name in unused if called is not None and name.rpartition(".")[0] in called.where]
    unused = [name for name in unused if name not in bare]
    missed = [info.name for info in missing if info.name not in (*unused, *bare)]
    course = consequence(trace)
    aside = [] if course.bad else [name for name in missed if _beside_what_learns(trace, name, norms)]
    missed = [name for name in missed if name not in aside]
    lost = bare_term(trace)
    counted, aside = (aside, []) if lost is not None and not (lost.words["cut"] or lost.words.get("apart")) else ([], aside)
    if not counted:
        yield from bare_terms(trace)
    left = behind_an_error(trace, aside)
    aside = [name for name in aside if name not in left]
    hidden = _handed_on_without_graph(trace, missed)
    fine = f"; {course.words}" if course.well and _dead_end(trace, missed, norms) else ""
    for names, severity, what, remedy in (
        (
            aside,
            "info",
            "never got a gradient: nothing that {it_is} used for reaches the loss",
            "Leave {it} out if nothing will ever use {it}; if the loss should, see that no detach() or argmax stands between.",
        ),
        (
            left,
            "warning",
            "never got a gradient: an error of what {it_is} used for is computed with its graph, and is not in the loss",
            "Add the error to the loss: loss = first + second. If it is only to be shown, compute it under torch.no_grad().",
        ),
        (
            counted,
            "warning",
            "never got a gradient, and a term of the loss"
            + (f" ({lost.words['function']})" if lost is not None else "")
            + " is added as a plain number: it was computed with a graph, and the loss does not contain it",
            "Add the term itself, without item(), float(), detach() or .data: loss = first + second; item() is for printing.",
        ),
        (
            missed,
            "info" if fine else "warning",
            f"never got a gradient{fine}",
            (
                f"{hidden}See that no detach(), no_grad() or .data stands between {{it}} and the loss; if {{it_is}} meant to "
                f"stay as "
                "{it_is} now, set requires_grad to False."
            ),
        ),
        (
            bare,
            "warning" if called is not None and called.figure("fresh") else "info",
            "never got a gradient: {it_is} called without a graph (no_grad, inference_mode)",
            (
                "Call {them} outside of torch.no_grad() to let {them} learn; if {it_is} meant to stay as {it_is} now, set "
                "requires_grad to False."
            ),
        ),
        (
            unused,
            "info" if apart.issuperset(unused) or not (course.bad or _handed_over_apart(trace, unused)) else "warning",
            "never got a gradient: the forward pass does not call {them}",
            "Leave {it} out if nothing will ever use {it}; if the forward pass should, see why it does not.",
        ),
        (
            backwards,
            "info" if course.well else "warning",
            "got a gradient of exactly 0 at every sampled step" + (f"; {course.words}" if course.well else ""),
            (
                "The last place of the output has seen one step of the direction that reads from the end. Use the state that "
                "the module returns beside its output (h_n), or the first place of that half: output[:, 0, hidden_size:]."
            ),
        ),
        (
            zero,
            "info" if course.well else "warning",
            "got a gradient of exactly 0 at every sampled step" + (f"; {course.words}" if course.well else ""),
            "See what multiplies {it} by 0 on the way to the loss: dead units, a zero-initialised layer behind, a mask.",
        ),
    ):
        if names:
            words = {
                "it": plural(names, "it", "them"),
                "it_is": plural(names, "it is", "they are"),
                "them": plural(names, "it", "them"),
            }
            yield Finding(
                id="no-gradient",
                severity=severity,
                where=tuple(names),
                steps=span(trace, mask),
                value=0.0,
                limit=nan,
                message=f"{listed(names)} {what.format(**words)}.",
                why="Without a gradient a parameter stays at its initial value, and what depends on it does not learn.",
                remedy=remedy.format(**words),
                reference="torch.autograd: requires_grad and leaf tensors",
            )


def _handed_over_apart(trace: Trace, names: list[str]) -> bool:
    """Whether an optimiser, or one of its groups, holds exactly these: then they were meant to be trained."""
    return any(each.where and set(each.where) <= set(names) for each in trace.seen("optimiser"))


def _beside_what_learns(trace: Trace, name: str, norms: dict[str, Floats]) -> bool:
    """Whether the module of a parameter is fed by one that gets gradients on another path: then it is an unused branch, such
    as the pooler of a language model, and not a cut between the input and the loss.
    """
    feeds = {info.name: info.fed_by for info in trace.modules}
    module, seen = feeds.get(name.rpartition(".")[0], ""), set[str]()
    while module and module not in seen:
        seen.add(module)
        own = [values for other, values in norms.items() if other.rpartition(".")[0] == module]
        if own:
            return any(np.nan_to_num(values).max(initial=0.0) > 0 for values in own)
        module = feeds.get(module, "")
    return False


def _dead_end(trace: Trace, names: list[str], norms: dict[str, Floats]) -> bool:
    """Whether these modules are called after all that learn: nothing is made of what they give, such as new features of the
    nodes in the last layer of a graph network.
    """
    depths = {info.name: info.depth for info in trace.modules}
    cut = [depths.get(name.rpartition(".")[0], 0) for name in names]
    learns = [
        depths.get(name.rpartition(".")[0], 0) for name, values in norms.items() if np.nan_to_num(values).max(initial=0.0) > 0
    ]
    return bool(cut) and bool(learns) and min(cut) > max(learns)


def _root(trace: Trace, module: str) -> bool:
    """Whether a module is the model itself, which is always called: only its own parameters have no dot in their name."""
    return not any(info.module != module and info.name.startswith(f"{module}.") for info in trace.parameters) and all(
        not info.name.startswith(f"{module}.") for info in trace.parameters
    )


def _cancels(info: ParameterInfo, trained: list[ParameterInfo], norms: dict[str, Floats]) -> bool:
    """Whether a bias gets no gradient while the weight of its layer does: it cancels later, in a difference or a softmax."""
    beside = [norms[other.name] for other in trained if other.module == info.module and len(other.shape) > 1]
    return len(info.shape) == 1 and any(np.nan_to_num(values).max(initial=0.0) > 0 for values in beside)


def _no_backward(trace: Trace) -> Iterator[Finding]:
    """The finding if steps were sampled but no parameter had a gradient at any of them."""
    told = trace.seen("gradients")
    steps = sum(each.figure("steps") for each in told)
    if not told or steps < limits.NO_GRADIENT_RECORDS or any(each.figure("none") < each.figure("steps") for each in told):
        raise Skip("not run", "no gradient of a parameter was recorded")
    if any(each.figure("called") for each in told):
        raise Skip("not run", "gradients were gone when the optimizer stepped; see gradients-cleared")
    if all(each.figure("frozen") for each in told):
        raise Skip("not run", "the optimizer holds only frozen parameters; see never-moved")
    yield Finding(
        id="no-gradient",
        severity="critical",
        where=(),
        steps=span(trace, usable(trace)),
        value=0.0,
        limit=nan,
        message=f"No parameter had a gradient at any of the {int(steps)} steps looked at.",
        why="The optimizer steps without any gradient.",
        remedy="Call loss.backward() before optimizer.step(), on a loss computed from the watched model's output, and clear "
        "gradients only after the step.",
        reference="torch.autograd: requires_grad and leaf tensors",
    )


def _handed_on_without_graph(trace: Trace, names: list[str]) -> str:
    """Where the graph is cut between these parameters and the loss, as a sentence; "" if that was not seen."""
    for pair in trace.seen("detached"):
        maker, taker = pair.where
        if pair.figure("looks") == pair.figure("passes") and any(name.startswith(f"{maker}.") for name in names):
            return f"{taker} gets the output of {maker} without its graph. "
    return ""
