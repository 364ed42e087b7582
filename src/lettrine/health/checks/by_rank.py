"""Merges the findings of all ranks of a training: each is reported once, with the ranks that found it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lettrine.health.findings import Finding
from lettrine.health.limits_ranks import RARE
from lettrine.health.replicas import ranks_named
from lettrine.health.trace import Trace
from lettrine.health.uniting import RANKS

# findings that concern several ranks together
_TOGETHER = ("gradients-not-synchronised", "replicas-apart", "same-data", "ranks-unlike")


def merged(found: Sequence[Sequence[Finding]], ranks: Sequence[int]) -> list[Finding]:
    """found: the findings of each rank in `ranks`, rank 0 first. A finding of all ranks is worded as on rank 0.

    A finding of few ranks that is based on their own data is a remark unless it is critical: with many ranks, some such findings
    occur by chance.
    """
    by_id: dict[str, dict[int, list[Finding]]] = {}
    for rank, findings in zip(ranks, found, strict=True):
        for each in findings:
            by_id.setdefault(each.id, {}).setdefault(rank, []).append(each)
    told: list[Finding] = []
    for name, of_ranks in by_id.items():
        first = next(iter(of_ranks.values()))
        begun = min(of_ranks, key=lambda rank: of_ranks[rank][0].steps[0])
        if name == "non-finite" and begun != ranks[0]:  # a non-finite value spreads to all ranks through the gradients
            told += [replace(each, message=f"{ranks_named([begun])}: {each.message}") for each in of_ranks[begun]]
            continue
        if len(of_ranks) == len(ranks) or name in _TOGETHER:
            told += first
            continue
        rare = len(of_ranks) < RARE * len(ranks)
        for each in first:
            severity = "info" if rare and each.severity == "warning" else each.severity
            told.append(replace(each, severity=severity, message=f"{ranks_named(list(of_ranks))}: {each.message}"))
    return told


def unrecorded(trace: Trace, *, watched: bool) -> str:
    """Half a sentence that names the ranks with a recording, or those without; "" if all have one."""
    seen = next(iter(trace.seen(RANKS)), None)
    figures = {key: value for key, value in seen.figures.items() if key.startswith("rank ")} if seen else {}
    missing = [int(key.removeprefix("rank ")) for key, value in figures.items() if bool(value) is watched]
    if not missing:
        return ""
    word = "was" if len(missing) == 1 else "were"
    said = f"watched, but did not tell what {'it' if len(missing) == 1 else 'they'} saw" if watched else "not watched"
    return f"{ranks_named(missing).lower()} {word} {said}"
