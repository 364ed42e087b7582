"""Checks of a training by several processes: what one rank alone cannot see.

Each compares the records of the ranks at the steps that all of them sampled: see `capture.replicas`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import nan
from typing import Final

import numpy as np

from lettrine.health import limits_ranks as limits
from lettrine.health.checks.by_rank import unrecorded
from lettrine.health.checks.reading import listed, number, plural, share
from lettrine.health.checks.registry import Skip, check
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.replicas import Replicas, compared, independent, ranks_named, recorded
from lettrine.health.trace import Trace

LEAST: Final = 2  # least number of ranks to compare
DDP: Final = "Li et al. 2020, PyTorch Distributed: Experiences on Accelerating Data Parallel Training"


def _replicas(trace: Trace) -> Replicas:
    """The replicated parameters of all ranks. Raises Skip if there is nothing to compare."""
    _several(trace)
    found = compared(trace)
    if found is None:
        raise Skip("not run", "no step was looked at on all ranks")
    if not found.names + found.began_apart:
        raise Skip("not applicable", "no parameter is held whole by several ranks")
    if independent(trace, found):
        raise Skip("not applicable", "each rank trains on its own, with its own optimizer or learning rate")
    return found


def _several(trace: Trace) -> None:
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
    found = _replicas(trace)
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
    found = _replicas(trace)
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


@check("same-data")
def same_data(trace: Trace) -> Iterator[Finding]:
    """Ranks that train on the same examples: the work is done several times.

    Measured: A projection of the model's inputs, on every rank, at the first {FIRST} steps and then at 2, 4, 8 ... times as
    many, if the data should differ: only FSDP splits the network between ranks.
    Formula: ranks whose projections are equal at all of {SAME_LOOKS} steps or more, while they change from step to step.
    """
    fed = _fed(trace)
    if any(each.words.get("parallel") != "data" for each in fed.values()):
        raise Skip("not applicable", "the network itself is split between ranks, which then get the same data")
    if not any(each.words.get("sharded") == "yes" for each in trace.ranks[0].seen("replica")) and not _replicas(trace).all_alike:
        raise Skip("not applicable", "the ranks do not train the same network")
    steps, inputs = _over_steps(fed, "input")
    if len(steps) < limits.SAME_LOOKS:
        raise Skip("not run", f"{len(steps)} steps were compared; {limits.SAME_LOOKS} are needed")
    groups: dict[bytes, list[int]] = {}
    for rank, row in zip(fed, inputs, strict=True):
        if np.isfinite(row).all() and len(np.unique(row)) > 1:
            groups.setdefault(row.tobytes(), []).append(rank)
    for ranks in groups.values():
        if len(ranks) > 1:
            yield Finding(
                id="same-data",
                severity="warning",
                where=(),
                steps=(steps[0], steps[-1]),
                value=float(len(ranks)),
                limit=1.0,
                message=f"{ranks_named(ranks)} get the same data at all {len(steps)} steps compared.",
                why=f"{len(ranks)} processes do the work of one: their average gradient is that of one batch.",
                remedy="Give the loader a sampler that splits the data: DistributedSampler(dataset), with set_epoch(epoch) "
                "before each epoch. If data are drawn at random, seed the generator with the rank.",
                reference=DDP,
            )


@check("ranks-unlike")
def ranks_unlike(trace: Trace) -> Iterator[Finding]:
    """Ranks that differ in training mode, number type, or batch size.

    Measured: On every rank the modules in training mode (of those that behave differently in eval mode), the type of the
    model's output, and the number of examples, at the steps compared.
    Formula: a value that is constant over the last {UNLIKE_LOOKS} steps or more on every rank, but differs between ranks.
    """
    fed = _fed(trace)
    steps, modes = _over_steps(fed, "training")
    if len(steps) < limits.UNLIKE_LOOKS:
        raise Skip("not run", f"{len(steps)} steps were compared; {limits.UNLIKE_LOOKS} are needed")
    last = slice(-limits.UNLIKE_LOOKS, None)
    ranks = list(fed)
    if _differ(modes[:, last]):
        yield _unlike(
            steps,
            "warning",
            f"Some modules are in training mode on some ranks only: {_told(ranks, modes)}.",
            "Dropout and batch norm are active on some ranks only.",
            "Call model.train() on every rank after an evaluation, even if only rank 0 evaluates.",
        )
    kinds = {rank: each.words.get("dtype", "") for rank, each in fed.items()}
    if len(set(kinds.values())) > 1:
        told = ", ".join(
            f"{kind} on {ranks_named([each for each in kinds if kinds[each] == kind]).lower()}"
            for kind in dict.fromkeys(kinds.values())
        )
        yield _unlike(
            steps,
            "warning",
            f"The model's output has different types on different ranks: {told}.",
            "Ranks round differently, and a GradScaler skips steps on some of them only.",
            "Use autocast, and convert the model, in the same way on all ranks.",
        )
    _, rows = _over_steps(fed, "rows")
    if _differ(rows):
        yield _unlike(
            steps,
            "info",
            f"Batch sizes differ between ranks: {_told(ranks, rows)} examples.",
            "Gradients are averaged over ranks, so an example counts more on a rank with small batches.",
            "Give every rank batches of the same size, or weigh its loss by its share of the examples.",
        )


def _unlike(steps: Sequence[int], severity: str, message: str, why: str, remedy: str) -> Finding:
    return Finding(
        id="ranks-unlike",
        severity=severity,
        where=(),
        steps=(steps[0], steps[-1]),
        value=nan,
        limit=nan,
        message=message,
        why=why,
        remedy=remedy,
        reference=DDP,
    )


def _fed(trace: Trace) -> dict[int, Evidence]:
    """The record of the model's inputs on each recorded rank. Raises Skip if there is nothing to compare."""
    _several(trace)
    known = {rank: each.seen("fed") for rank, each in recorded(trace).items()}
    fed = {rank: seen[0] for rank, seen in known.items() if seen}
    if len(fed) < LEAST:
        raise Skip("not applicable", "one process trains alone" if not trace.ranks else "at most one rank recorded its calls")
    return fed


def _over_steps(fed: dict[int, Evidence], key: str) -> tuple[list[int], np.ndarray[tuple[int, int], np.dtype[np.float64]]]:
    """The steps sampled on all ranks, and one figure (ranks, steps)."""
    kept = [{int(name.split(":")[0]) for name in each.figures} for each in fed.values()]
    steps = sorted(set.intersection(*kept))
    return steps, np.array([[each.figure(f"{step}:{key}") for step in steps] for each in fed.values()]).reshape(len(fed), -1)


def _differ(rows: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> bool:
    """Whether every rank has a constant figure, and these differ."""
    return bool((rows == rows[:, :1]).all() and (rows != rows[:1]).any())


def _told(ranks: Sequence[int], rows: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> str:
    """The last figure of each rank."""
    return ", ".join(f"{int(row[-1])} on rank {rank}" for rank, row in zip(ranks, rows, strict=True))
