"""Findings of all ranks of a training, said once each, with the ranks that they were made on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lettrine.health.findings import Finding
from lettrine.health.limits_ranks import RARE
from lettrine.health.replicas import ranks_named
from lettrine.health.trace import Trace
from lettrine.health.uniting import RANKS

_TOGETHER = ("gradients-not-synchronised", "replicas-apart", "same-data", "ranks-unlike")  # findings of no rank alone


def merged(found: Sequence[Sequence[Finding]], ranks: Sequence[int]) -> list[Finding]:
    """found: of each of these ranks, that of rank 0 first. What all have found is told as rank 0 does.

    What few ranks find, each of its own data, is a remark unless it is critical: the more ranks, the more of them come by chance.
    """
    by_id: dict[str, dict[int, list[Finding]]] = {}
    for rank, findings in zip(ranks, found, strict=True):
        for each in findings:
            by_id.setdefault(each.id, {}).setdefault(rank, []).append(each)
    told: list[Finding] = []
    for name, of_ranks in by_id.items():
        first = next(iter(of_ranks.values()))
        if len(of_ranks) == len(ranks) or name in _TOGETHER:
            told += first
            continue
        rare = len(of_ranks) < RARE * len(ranks)
        for each in first:
            severity = "info" if rare and each.severity == "warning" else each.severity
            told.append(replace(each, severity=severity, message=f"{ranks_named(list(of_ranks))}: {each.message}"))
    return told


def unheard(trace: Trace) -> str:
    """Half a sentence on the ranks that were not heard; "" if all were, or if one process trained alone."""
    seen = next(iter(trace.seen(RANKS)), None)
    missing = [int(key.removeprefix("rank ")) for key in seen.figures if key.startswith("rank ")] if seen else []
    if not missing:
        return ""
    word = "was" if len(missing) == 1 else "were"
    return f"{ranks_named(missing).lower()} {word} not heard: watch the model on every rank, and close each watch"
