"""Answers in eval mode that depend on the batch; reported as "batch-mixing"."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from lettrine.health import limits_wiring as limits
from lettrine.health.checks.reading import listed
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace

_REMEDY: Final = {
    "batch_norm": "Leave track_running_stats at True, so that eval mode uses the statistics of the training data; or take a "
    "norm that needs no neighbours: nn.GroupNorm, or nn.LayerNorm.",
    "softmax": "Take it along the axis of what is weighed for one example, not along that of the batch.",
}
_OTHERWISE: Final = (
    "Take it over the features of one example (dim=1 or later, keepdim=True); or keep running statistics in training and use "
    "those in eval mode, as nn.BatchNorm1d does."
)


def neighbours(trace: Trace) -> Iterator[Finding]:
    """Statistics of the batch at hand in eval mode."""
    left_on = {each.where[0] for each in trace.seen("mode") if each.figure("held_out")}  # "wrong-mode" tells of them
    seen = [
        each
        for each in trace.seen("neighbours")
        if each.figure("looks") == each.figure("all") >= limits.MASK_LOOKS and each.where[0] not in left_on
    ]
    for function in dict.fromkeys(each.words["function"] for each in seen):
        yield _finding(function, [each for each in seen if each.words["function"] == function])


def _finding(function: str, seen: list[Evidence]) -> Finding:
    names, batch, rows = tuple(each.where[0] for each in seen), int(seen[0].figure("batch")), int(seen[0].figure("rows"))
    what = {"batch_norm": "A batch norm", "softmax": "A softmax", "log_softmax": "A log-softmax"}.get(function, f"A {function}")
    return Finding(
        id="batch-mixing",
        severity="warning",
        where=names,
        steps=seen[0].steps,
        value=float(rows),
        limit=float(batch),
        message=f"{what} in {listed(names)} is taken over the examples at hand in eval mode too: over {batch} in training, over "
        f"{rows} on held-out data.",
        why="The answer to one example then depends on the other examples in its batch; alone it gets another answer, or none.",
        remedy=_REMEDY.get(function.removeprefix("log_"), _OTHERWISE),
        reference="Ioffe & Szegedy 2015, Batch normalization, section 3.1: inference with population statistics",
    )
