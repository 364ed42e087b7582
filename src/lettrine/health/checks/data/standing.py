"""One input of several that is the same batch at all looks, while the others change; reported as "repeated-batch"."""

from __future__ import annotations

from collections.abc import Iterator

from lettrine.health import limits_wiring as limits
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace

_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")


def standing(trace: Trace) -> Iterator[Finding]:
    """An input that stands still although nothing in the other rows belongs to it."""
    for seen in trace.seen("standing input"):
        if not _belongs_to_nothing(seen):
            continue
        looks, place = int(seen.figure("looks")), int(seen.figure("input"))
        which = f"The {_ORDINALS[place]} input" if place < len(_ORDINALS) else f"Input number {place + 1}"
        yield Finding(
            id="repeated-batch",
            severity="warning" if seen.figure("chosen") or seen.figure("again") >= limits.STANDING_AGAIN else "info",
            where=seen.where,
            steps=seen.steps,
            value=float(looks),
            limit=1.0,
            message=f"{which} of {seen.where[0]} is the same {int(seen.figure('rows'))} rows in each of {looks} "
            f"different batches, {int(seen.figure('different'))} kinds of rows in no order; neither the other inputs nor "
            f"the targets beside them are more alike where these rows are the same{_met(seen)}.",
            why="What this input says belongs to other examples, so the network learns to pass over it, and cannot be led by it.",
            remedy="Take all inputs of an example from one data set and one iterator: for x, condition in loader. "
            "next(iter(loader)) makes a new iterator in each step, which begins with the first batch; a batch read before the "
            "loop stays the same.",
            reference="Karpathy 2019, A recipe for training neural networks: become one with the data",
        )


def _met(seen: Evidence) -> str:
    again = int(seen.figure("again"))
    return f", and {again} examples came again beside another of them" if again else ""


def _belongs_to_nothing(seen: Evidence) -> bool:
    """Whether enough batches were seen, all of them drawn from one distribution, and nothing in them goes with the input."""
    return (
        seen.figure("looks") >= limits.STANDING_LOOKS
        and seen.figure("told") <= limits.STANDING_TOLD
        and seen.figure("scatter") <= limits.STANDING_SCATTER
    )
