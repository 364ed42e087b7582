"""Measures of how good the answers are, handed to `backward` as they are: reported under "other-loss"."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from lettrine.health import limits
from lettrine.health.checks.reading import number
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace

_REMEDIES: Final = {
    "overlap": "Train on 1 - overlap, such as loss = 1 - dice.",
    "cosine": "Train on 1 - cosine, such as loss = 1 - F.cosine_similarity(output, target).mean().",
    "log-likelihood": "Put a minus before it: loss = -log_prob.mean().",
}
_WHY: Final = {
    "overlap": "The network learns to answer where the targets are not.",
    "cosine": "The network learns to give vectors that point away from their targets.",
    "log-likelihood": "The network learns to find the data unlikely, which has no end: the loss falls until numbers overflow.",
}


def wrong_directions(trace: Trace) -> Iterator[Finding]:
    """What each step makes smaller, although more of it is better."""
    for seen in trace.seen("wrong direction"):
        beside, first, last = seen.words["with"], seen.figure("first"), seen.figure("last")
        if seen.figure("looks") < max(seen.figure("all"), limits.HANDED_POINTS) or not (beside or _worse(seen)):
            continue
        what = seen.words["what"]
        yield Finding(
            id="other-loss",
            severity="warning" if beside else "critical",
            where=(),
            steps=seen.steps,
            value=last,
            limit=first,
            message=f"The steps make the {what} with the targets smaller, although more of it is better: it was "
            f"{number(first, 3)} at first, and has come to {number(last, 3)}."
            + (f" {beside}, which is added to it, pulls towards the same targets." if beside else ""),
            why=_WHY[what],
            remedy=_REMEDIES[what],
            reference="torch.optim: an optimizer makes the loss smaller, unless maximize=True",
        )


def _worse(seen: Evidence) -> bool:
    """Whether it fell, a cosine below 0."""
    first, last = seen.figure("first"), seen.figure("last")
    return last < (min(first, 0.0) if seen.words["what"] == "cosine" else first)
