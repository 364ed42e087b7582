"""Checks of dropout and batch norm that act in the wrong mode or in several places, and of masks and axes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import nan
from typing import Final

import numpy as np

from lettrine.health import limits_wiring as limits
from lettrine.health.checks.consequence import consequence
from lettrine.health.checks.data.reshaped import views_mixing
from lettrine.health.checks.reading import finite_curve, listed, number, plural, share
from lettrine.health.checks.registry import Skip, check
from lettrine.health.checks.wiring.across import picked_across
from lettrine.health.checks.wiring.between_graphs import between_graphs
from lettrine.health.checks.wiring.links import links_not_moved_on
from lettrine.health.checks.wiring.neighbours import neighbours
from lettrine.health.checks.wiring.positions import positions_along_batch
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace

_RECURRENT: Final = ("RNN", "LSTM", "GRU")


def modes_in_part(trace: Trace) -> Iterator[Finding]:
    """Modules in another mode than the model that holds them; reported as "wrong-mode"."""
    seen = trace.seen("mode")
    cold = [
        each.where[0]
        for each in seen
        if _still(each.figure("held_out"), 0.0, each.figure("looks"))
        and _norm(each.words)
        and each.figure("fresh")
        and each.figure("trained")
    ]
    if cold:
        yield _mode(
            trace,
            cold,
            "warning",
            f"{listed(cold)} {plural(cold, 'is', 'are')} in eval mode while the model is in training mode, with the running "
            "statistics of the start (mean 0, variance 1): nothing is normalised.",
            "Call model.train() after all parts have been put together, and eval() only on parts whose statistics were trained.",
        )
    quiet = [
        each.where[0]
        for each in seen
        if _still(each.figure("held_out"), 0.0, each.figure("looks")) and not _norm(each.words) and each.figure("trained")
    ]
    if quiet:
        yield _mode(
            trace,
            quiet,
            "info",
            f"{listed(quiet)} {plural(quiet, 'drops', 'drop')} nothing: {plural(quiet, 'it is', 'they are')} in eval mode while "
            f"the "
            "model is in training mode.",
            "If that is not meant, call model.train() before training and again after each evaluation.",
        )
    on = [each for each in seen if each.figure("held_out")]
    if any(_norm(each.words) for each in on):  # dropout alone may be left on for its samples (Gal & Ghahramani 2016)
        warm = [each.where[0] for each in on]
        yield _mode(
            trace,
            warm,
            "warning",
            f"{listed(warm)} {plural(warm, 'is', 'are')} in training mode while the model is evaluated in eval mode.",
            "Call eval() on the whole model, and see that no part calls train() on itself or overrides eval(): each evaluation "
            "now changes the running statistics and depends on which examples lie in a batch.",
        )


def _still(held_out: float, wanted: float, looks: float) -> bool:
    return held_out == wanted and looks >= limits.EVAL_LOOKS


def _norm(words: object) -> bool:
    return "BatchNorm" in str(words)


def _mode(trace: Trace, names: list[str], severity: str, message: str, remedy: str) -> Finding:
    return Finding(
        id="wrong-mode",
        severity=severity,
        where=tuple(names),
        steps=(int(trace.steps[0]), int(trace.steps[-1])),
        value=float(len(names)),
        limit=0.0,
        message=message,
        why="Dropout and batch norm do one thing in training and another in evaluation, and the rest of the model expects that.",
        remedy=remedy,
        reference="torch.nn.Module.train",
    )


@check("eval-dropout")
def eval_dropout(trace: Trace) -> Iterator[Finding]:
    """Dropout called as a function that stays on although the model is in eval mode.

    Measured: Whether a dropout function drops values while the model is in eval mode, and whether its mode was given on
        purpose.
    Formula: none: it drops, or it does not.
    """
    for seen in trace.seen("eval dropout"):
        given, line, rate = seen.words["given"], seen.words["line"], seen.figure("rate")
        if given == "on purpose":
            return
        at = f" ({line})" if line else ""
        yield Finding(
            id="eval-dropout",
            severity="warning" if given == "default" else "info",
            where=seen.where,
            steps=seen.steps,
            value=rate,
            limit=0.0,
            message=f"Dropout in {listed(seen.where)}{at} goes on in eval mode: it drops {share(rate)} of the values there.",
            why="Held-out losses and answers are those of a network with missing values, and differ from call to call.",
            remedy="Give F.dropout its mode, F.dropout(x, p, training=self.training) (scaled_dot_product_attention: dropout_p=p "
            "if "
            "self.training else 0.0), or use nn.Dropout, which knows it.",
            reference="torch.nn.functional.dropout: training is True unless given",
        )


@check("shared-norm")
def shared_norm(trace: Trace) -> Iterator[Finding]:
    """One batch norm used in several places of the network whose inputs differ.

    Measured: Mean and variance of the input of one batch norm at each place that calls it.
    Formula: gap = abs(mean 1 - mean 2) / std; ratio = variance 1 / variance 2.
    """
    for seen in trace.seen("shared norm"):
        gap, ratio = seen.figure("gap"), seen.figure("ratio")
        apart = gap > limits.NORM_PLACES_GAP or ratio > limits.NORM_PLACES_RATIO
        if seen.figure("looks") < limits.NORM_PLACES_LOOKS or not apart:
            continue
        held_out, level = held_out_beside(trace)
        fine = held_out <= limits.NORM_HELD_OUT * level
        told = f"; the held-out loss is {number(held_out, 3)}, that of training {number(level, 3)}" if held_out > level else ""
        yield Finding(
            id="shared-norm",
            severity="info" if fine else "warning",
            where=seen.where,
            steps=seen.steps,
            value=gap,
            limit=limits.NORM_PLACES_GAP,
            message=f"{seen.where[0]} normalises {int(seen.figure('places'))} places of the network whose inputs differ: their "
            f"means "
            f"are {number(gap)} standard deviations apart, their variances {number(ratio)} times{told}.",
            why="It keeps one set of running statistics, a mixture that fits none of the places: in eval mode the network "
            "computes "
            "something else than in training.",
            remedy=f"Give each place a batch norm of its own instead of calling {seen.where[0]} again.",
            reference="Ioffe & Szegedy 2015, Batch normalization, section 3.1",
        )


def held_out_beside(trace: Trace) -> tuple[float, float]:
    """The last held-out loss and the training loss at the same step, NaN if unknown."""
    kept = np.isfinite(trace.dev.mean)
    _, losses = finite_curve(trace, trace.loss)
    if not kept.any() or not len(losses):
        return nan, nan
    return float(np.median(trace.dev.mean[kept][-3:])), float(np.mean(losses[-max(10, len(losses) // 10) :]))


def frozen_apart(trace: Trace, norms: Iterable[str]) -> str:
    """The advice for batch norms of a frozen part whose statistics move on; "" if one of them is trained."""
    names = list(norms)
    own = [info for name in names for info in trace.parameters if info.module == name]
    if len({info.module for info in own}) < len(names) or any(info.trainable for info in own):
        return ""
    return (
        f"Call eval() on {listed(names)} after each model.train(): their weights are frozen, but in training mode they normalise "
        "by the batch at hand, and their running statistics leave those that the frozen part was trained with."
    )


@check("batch-mixing")
def batch_mixing(trace: Trace) -> Iterator[Finding]:
    """A recurrent or attention module that gets the batch on its time axis; a view used where a transposition is needed; edges
    of many graphs that all point at the first; attention or edges between the graphs of a batch; statistics of the batch at hand
    in eval mode; positions added along the batch; a class or action that is picked along the axis of the examples.

    Measured: The length of the axis that a recurrent or attention module takes as time, beside the number of targets; the
        shapes before and after each view and reshape; the highest node number in the edges of several graphs; the
        share of the attention and of the edges that joins different graphs; the axes of means,
        norms and softmaxes in eval mode; the axis along which rows of a table are added.
    Formula: none: the first axis is as long as the targets, and the second one is not, at {MASK_LOOKS} or more looks; or a view
        swaps the lengths of axes, or no edge points beyond the largest graph's number of nodes, or an axis in eval mode is as
        long as the batch, which has another size than in training; or gather(0, index) with an index (N, 1) of class numbers.
    """
    seen = [each for each in trace.seen("batch axis") if each.figure("looks") >= limits.MASK_LOOKS]
    mixed = [each for each in trace.seen("states") if each.figure("looks") >= limits.MASK_LOOKS]
    yield from map(_mixed_states, mixed)
    kinds = (picked_across, views_mixing, links_not_moved_on, between_graphs, neighbours, positions_along_batch)
    views = [] if mixed else [finding for kind in kinds for finding in kind(trace)]
    yield from views
    if not seen:
        if mixed or views or any(info.role in ("recurrent", "attention") for info in trace.modules):
            return
        raise Skip("not applicable", "no recurrent or attention module")
    names, batch = tuple(name for each in seen for name in each.where), int(seen[0].figure("batch"))
    # An attention may look across a batch on purpose. A recurrent module that runs over examples in an order drawn anew does not.
    drawn = any(each.words["kind"] in _RECURRENT and each.figure("moved") >= limits.ROWS_MOVED for each in seen)
    yield Finding(
        id="batch-mixing",
        severity="info" if consequence(trace).well and not drawn else "warning",
        where=names,
        steps=seen[0].steps,
        value=float(batch),
        limit=nan,
        message=f"{listed(names)} {plural(names, 'takes', 'take')} the first axis for time, and {plural(names, 'is', 'are')} "
        f"given "
        f"one as long as the batch ({batch}; the second is {int(seen[0].figure('other'))})"
        + (", whose rows come back in another order." if drawn else "."),
        why="It then runs over the examples of a batch as if they followed one another: each answer depends on other examples.",
        remedy="Pass batch_first=True, or transpose its input: (time, batch, features). The check-up tells for certain whether "
        "examples of a batch see one another.",
        reference=f"torch.nn.{seen[0].words['kind']}: batch_first",
    )


def _mixed_states(seen: Evidence) -> Finding:
    name, first, batch = seen.where[0], int(seen.figure("first")), int(seen.figure("batch"))
    what, axis = seen.words["what"], "layers and directions" if seen.words["what"] == "states" else "time"
    return Finding(
        id="batch-mixing",
        severity="warning",
        where=seen.where,
        steps=seen.steps,
        value=float(first),
        limit=1.0,
        message=f"The {what} of {name} have the shape ({first}, {batch}, units), {axis} before the batch, and "
        f"{seen.words['function']} makes rows of {batch} of them: each row holds values of other examples.",
        why="A view does not move axes. What belongs to one example is spread over several rows, and each answer depends on its "
        "neighbours in the batch.",
        remedy=f"Bring the batch to the front first: {'h' if what == 'states' else 'y'}.transpose(0, 1).reshape({batch}, -1)"
        + ("." if what == "states" else ", or build it with batch_first=True."),
        reference="torch.nn.RNN: shapes of output and h_n",
    )
