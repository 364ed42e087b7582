"""The check of a generator and its judge that pull the same way."""

from __future__ import annotations

from collections.abc import Iterator

from lettrine.health import limits
from lettrine.health.checks.reference import looked_at
from lettrine.health.checks.registry import check
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace

_WAYS = {1.0: "lower", -1.0: "higher"}


@check("same-side")
def same_side(trace: Trace) -> Iterator[Finding]:
    """A generator that is trained towards what its judge is trained to say of it, or a judge that is told one thing of all.

    Measured: Which way the steps of the judge move its score of real and of generated examples, and which way those of the
        generator move it.
    Formula: sign(judge, generated) = -sign(judge, real) = -sign(generator, generated).
    """
    for seen in trace.seen("rivals"):
        judge, real, maker = seen.figure("judge_made"), seen.figure("judge_real"), seen.figure("maker")
        if seen.figure("looks") < limits.HANDED_POINTS or not judge:
            continue
        if judge == real:
            yield _one_label(seen, judge)
        elif maker == judge == -real and seen.figure("made") >= limits.HANDED_POINTS:
            yield _same_side(seen, judge)
    looked_at(trace)


def _one_label(seen: Evidence, way: float) -> Finding:
    judge, maker = seen.where
    return _finding(
        seen,
        f"The steps of {judge} make its score {_WAYS[way]} for real examples and for those of {maker} alike.",
        "A judge that is told one thing of all examples has nothing to tell apart, and teaches the generator nothing.",
        "Give the two opposite labels or signs: bce(d(real), ones) + bce(d(fake), zeros), or d(fake).mean() - d(real).mean().",
    )


def _same_side(seen: Evidence, way: float) -> Finding:
    judge, maker = seen.where
    return _finding(
        seen,
        f"The steps of {maker} make the score that {judge} gives to its examples {_WAYS[way]}, and so do the steps of {judge}.",
        "They should pull opposite ways: now the generator learns to be told apart from real examples.",
        "Train the generator on the label or sign that the judge gives to real examples: bce(d(fake), ones), or "
        f"{'-' if way > 0 else ''}d(fake).mean() for this judge.",
    )


def _finding(seen: Evidence, message: str, why: str, remedy: str) -> Finding:
    return Finding(
        id="same-side",
        severity="critical",
        where=seen.where,
        steps=seen.steps,
        value=seen.figure("looks"),
        limit=float(limits.HANDED_POINTS),
        message=message,
        why=why,
        remedy=remedy,
        reference="Goodfellow et al. 2014, Generative adversarial nets, algorithm 1",
    )
