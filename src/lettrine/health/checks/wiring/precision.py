"""Layers that compute in float32 among others in half precision; reported as "wrong-mode"."""

from __future__ import annotations

from collections.abc import Iterator

from lettrine.health import limits_wiring as limits
from lettrine.health.checks.reading import listed, plural, share
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace


def left_in_float32(trace: Trace) -> Iterator[Finding]:
    """What autocast does not reach, at every pass looked at, although it lies between layers that it reaches."""
    seen = [each for each in trace.seen("precision") if each.figure("looks") == each.figure("all") >= limits.MASK_LOOKS]
    part = sum(each.figure("size") for each in seen) / seen[0].figure("whole") if seen else 0.0
    if part < limits.FULL_PRECISION:
        return
    names, half = tuple(each.where[0] for each in seen), seen[0].words["type"]
    yield Finding(
        id="wrong-mode",
        severity="info",
        where=names,
        steps=seen[0].steps,
        value=part,
        limit=limits.FULL_PRECISION,
        message=f"{listed(names)} {plural(names, 'computes', 'compute')} in float32 between layers that autocast lets compute in "
        f"{half}: {share(part)} of all weights.",
        why="What is computed in float32 takes twice the memory and far more time on a GPU than in half of it.",
        remedy=f"If that is not meant, see what keeps {listed(names)} out of autocast: a block with enabled=False, a function of "
        "its own that casts its inputs (torch.amp.custom_fwd), or a call outside of the block.",
        reference="torch.amp: automatic mixed precision",
    )
