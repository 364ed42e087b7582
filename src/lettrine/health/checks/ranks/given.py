"""Checks of what several processes were given and how they ran: the same data, or another mode, type or batch size.

Each compares the evidence "fed" of the ranks at the steps that all of them sampled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import nan

import numpy as np

from lettrine.health import limits_ranks as limits
from lettrine.health.checks.ranks.replicas import DDP, LEAST, replicas, several
from lettrine.health.checks.registry import Skip, check
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.replicas import ranks_named, recorded
from lettrine.health.trace import Trace

Figures = np.ndarray[tuple[int, int], np.dtype[np.float64]]
"""One figure of every rank at every step compared, (ranks, steps)."""


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
    if not any(each.words.get("sharded") == "yes" for each in trace.ranks[0].seen("replica")) and not replicas(trace).all_alike:
        raise Skip("not applicable", "the ranks do not train the same network")
    steps, inputs = _over_steps(fed, "input")
    if len(steps) < limits.SAME_LOOKS:
        raise Skip("not run", f"{len(steps)} of the {limits.SAME_LOOKS} steps needed were compared")
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
        raise Skip("not run", f"{len(steps)} of the {limits.UNLIKE_LOOKS} steps needed were compared")
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
    several(trace)
    known = {rank: each.seen("fed") for rank, each in recorded(trace).items()}
    fed = {rank: seen[0] for rank, seen in known.items() if seen}
    if len(fed) < LEAST:
        raise Skip("not applicable", "one process trains alone" if not trace.ranks else "at most one rank recorded its calls")
    return fed


def _over_steps(fed: dict[int, Evidence], key: str) -> tuple[list[int], Figures]:
    """The steps sampled on all ranks, and one figure (ranks, steps)."""
    kept = [{int(name.split(":")[0]) for name in each.figures} for each in fed.values()]
    steps = sorted(set.intersection(*kept))
    return steps, np.array([[each.figure(f"{step}:{key}") for step in steps] for each in fed.values()]).reshape(len(fed), -1)


def _differ(rows: Figures) -> bool:
    """Whether every rank has a constant figure, and these differ."""
    return bool((rows == rows[:, :1]).all() and (rows != rows[:1]).any())


def _told(ranks: Sequence[int], rows: Figures) -> str:
    """The last figure of each rank."""
    return ", ".join(f"{int(row[-1])} on rank {rank}" for rank, row in zip(ranks, rows, strict=True))
