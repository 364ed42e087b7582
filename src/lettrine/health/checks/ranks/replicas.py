"""Checks of the replicas of several processes: gradients that are not synchronised, and weights that differ.

Each compares the records of the ranks at the steps that all of them sampled: see `capture.replicas`. What the ranks were given is
checked in `rank_inputs`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from lettrine.health import limits_ranks as limits
from lettrine.health.checks.by_rank import unrecorded
from lettrine.health.checks.reading import listed, number, plural, share
from lettrine.health.checks.registry import Skip, check
from lettrine.health.findings import Finding
from lettrine.health.replicas import Replicas, compared, independent, ranks_named, recorded
from lettrine.health.trace import Trace

LEAST: Final = 2  # least number of ranks to compare
DDP: Final = "Li et al. 2020, PyTorch Distributed: Experiences on Accelerating Data Parallel Training"


def replicas(trace: Trace) -> Replicas:
    """The replicated parameters of all ranks. Raises Skip if there is nothing to compare."""
    several(trace)
    found = compared(trace)
    if found is None:
        raise Skip("not run", "no step was looked at on all ranks")
    if not found.names + found.began_apart:
        raise Skip("not applicable", "no parameter is held whole by several ranks")
    if independent(trace, found):
        raise Skip("not applicable", "each rank trains on its own, with its own optimizer or learning rate")
    return found


def several(trace: Trace) -> None:
    """Raises Skip unless several ranks were recorded."""
    if not trace.ranks:
        raise Skip("not applicable", "one process trains alone")
    if len(recorded(trace)) < LEAST:
        raise Skip("not run", unrecorded(trace, watched=False) or unrecorded(trace, watched=True))


@check("gradients-not-synchronised")
def gradients_not_synchronised(trace: Trace) -> Iterator[Finding]:
    """Replicas that step with different gradients, at all steps or at some, and so drift apart; or with a gradient that was
    scaled on some ranks only, for instance by clipping.

    Measured: On every rank the gradient of each parameter just before the optimiser uses it, and the parameter, each as a
    projection on a fixed pattern and a root mean square, at the first {FIRST} steps and then at 2, 4, 8 ... times as many.
    Formula: apart = rms over parameters of |difference between ranks| / rms; gradients differ from {GRADIENT_APART:g} on.
    """
    found = replicas(trace)
    if not found.drifted:
        return
    steps = found.steps[found.unlike]
    if not len(steps):
        return
    if found.factor:
        rank, factor = found.factor
        yield _unsynchronised(
            found,
            f"On rank {rank} the gradients are {number(factor, 3)} times as long as on rank 0 when the optimiser uses them, and "
            f"point the same way, at {_counted(found)}: something scales or clips them on some ranks only.",
            "Treat the gradients alike on every rank: clip, scale and unscale them outside of any `if rank == 0`, by a norm "
            "that was summed over all ranks.",
        )
    elif found.difference < limits.PARTLY:
        yield _unsynchronised(
            found,
            f"At {_counted(found)} ranks used gradients that differ by {share(found.difference)} of their size: "
            "something changes them on some ranks only.",
            "Treat the gradients in the same way on every rank between backward() and step().",
        )
    elif len(found.differing) < limits.MOST_OF * len(found.names):
        yield _unsynchronised(
            found,
            f"At {_counted(found)} ranks used different gradients of {listed(found.differing)} and the same of all others: some "
            "are lost, or left out when gradients are averaged.",
            "See how the gradients of these parameters are exchanged, and that every rank takes part in each exchange; "
            "DistributedDataParallel exchanges those of all parameters.",
            "warning" if found.unlike.all() else "critical",  # parameters that each rank has for itself on purpose always differ
        )
    elif not found.unlike.all():
        yield _unsynchronised(
            found,
            f"At {_counted(found)} ranks used different gradients, at the others the same: gradients are sometimes "
            "not synchronised.",
            "Call the DistributedDataParallel module itself at every step, not the model inside it, and make that module once; "
            "use no_sync() for all but the last backward pass of a step only.",
        )
    elif found.apart < limits.AVERAGED * found.moved:
        yield _unsynchronised(
            found,
            f"At {_counted(found)} ranks used different gradients, and yet stay close to each other: parameters seem to be "
            "averaged from time to time instead.",
            "If that is not intended, wrap the model in DistributedDataParallel and call the wrapped model.",
            "info",
        )
    else:
        yield _unsynchronised(
            found,
            f"At {_counted(found)} every rank used its own gradients: they are never synchronised, and each rank trains a "
            "separate network on its part of the data.",
            "Wrap the model in DistributedDataParallel after its last conversion or move (to, double, half), and call what that "
            "returns in every step; its hooks are lost when parameters are replaced afterwards. If each rank is meant to train a "
            "network of its own, give each a seed of its own too: then they are not compared.",
        )


def _unsynchronised(found: Replicas, message: str, remedy: str, severity: str = "critical") -> Finding:
    return Finding(
        id="gradients-not-synchronised",
        severity=severity,
        where=found.differing,
        steps=(int(found.steps[found.unlike][0]), int(found.steps[-1])),
        value=float(found.unlike.mean()),
        limit=limits.GRADIENT_APART,
        message=message,
        why=f"The replicas are {number(found.apart)} of the size of their weights apart at step {found.steps[-1]}. What is saved "
        "is one of them, trained on its own share of the data.",
        remedy=remedy,
        reference=DDP,
    )


def _counted(found: Replicas) -> str:
    unlike, looked = int(found.unlike.sum()), len(found.steps)
    return f"all {looked} steps compared" if unlike == looked else f"{unlike} of {looked} steps compared"


@check("replicas-apart")
def replicas_apart(trace: Trace) -> Iterator[Finding]:
    """Replicas of one network that differ although their gradients agree: they began differently, or drifted apart later.

    Measured: On every rank each parameter just before the optimiser's step, as a projection on a fixed pattern and a root mean
    square, at the first {FIRST} steps and then at 2, 4, 8 ... times as many.
    Formula: apart = rms over parameters of |difference between ranks| / rms; drifted from {APART:g} on, and {APART_SHARE:g} of
    the distance that training has moved them.
    """
    found = replicas(trace)
    if found.began_apart:
        yield _apart(
            found,
            found.began_apart,
            f"Ranks apply the same gradients to different weights: {listed(found.began_apart)} "
            f"{plural(found.began_apart, 'differs', 'differ')} at step {found.steps[0]} already.",
            "Give every rank the same weights before the first step: DistributedDataParallel sends those of rank 0 when it wraps "
            "a model; without it call torch.manual_seed before the model is built, or broadcast each parameter from rank 0.",
        )
    elif found.drifted and not found.unlike.any():
        since = int(found.steps[found.since])
        yield _apart(
            found,
            found.drifting,
            f"{_strayed(found, len(trace.ranks))}: at step {since} "
            f"{listed(found.drifting)} {plural(found.drifting, 'differs', 'differ')}, by {number(found.apart)} of the size of "
            f"the weights at step {found.steps[-1]}, though the gradients were equal at the {len(found.steps)} steps compared.",
            "Look for a difference between ranks: another learning rate or weight decay, a skipped step, gradients lost "
            "on the way, weights that are loaded or averaged. To find it, all_gather the gradients of all ranks at each step.",
            since,
        )


def _apart(found: Replicas, names: tuple[str, ...], message: str, remedy: str, since: int = 0) -> Finding:
    return Finding(
        id="replicas-apart",
        severity="critical",
        where=names,
        steps=(since, int(found.steps[-1])),
        value=found.apart,
        limit=limits.APART,
        message=message,
        why="A gradient averaged over different networks is right for none of them, and only one of them is saved.",
        remedy=remedy,
        reference=DDP,
    )


def _strayed(found: Replicas, count: int) -> str:
    if len(found.odd) == count:
        return "The ranks have drifted apart"
    return f"{ranks_named(found.odd)} {plural(found.odd, 'has', 'have')} drifted away from the others"
