"""Texts of which hardly a word is known: reported as "no-learning"."""

from __future__ import annotations

from collections.abc import Iterator

from lettrine.health import limits
from lettrine.health import limits_wiring as wiring
from lettrine.health.checks.consequence import consequence
from lettrine.health.checks.reading import share
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace


def one_token(trace: Trace) -> Iterator[Finding]:
    """Tokens that are nearly all the same, where little or nothing was learned from them."""
    course = consequence(trace)
    if not (course.bad or course.left >= limits.HARDLY_LEARNED):
        return
    for seen in trace.seen("one token"):
        known, token = int(seen.figure("known")), int(seen.figure("token"))
        if seen.figure("looks") < wiring.MASK_LOOKS or known < wiring.ONE_TOKEN_KNOWN or seen.figure("share") < wiring.ONE_TOKEN:
            continue
        yield Finding(
            id="no-learning",
            severity="warning",
            where=seen.where,
            steps=seen.steps,
            value=seen.figure("share"),
            limit=wiring.ONE_TOKEN,
            message=f"{share(seen.figure('share'))} of the tokens that {seen.where[0]} is given are {token}, padding at the ends "
            f"left out, of the {known:,} that it has; {course.words}.",
            why="What is one and the same in all texts says nothing about any of them.",
            remedy=f"Print some rows of ids beside their texts. If {token} stands for an unknown word, the vocabulary does not "
            "fit: it must be made with the same splitting, case and language, and with the ids that the network is given.",
            reference="Karpathy 2019, A recipe for training neural networks: become one with the data",
        )
