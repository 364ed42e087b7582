"""A judge that learns to tell what a generator makes, and that the generator is never trained by: "detached-generator"."""

from __future__ import annotations

from collections.abc import Iterator

from lettrine.health import limits_wiring as limits
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace


def judges_unasked(trace: Trace) -> Iterator[Finding]:
    """The first of them."""
    for seen in trace.seen("rivals"):
        judge, maker = seen.where
        told_apart = seen.figure("judge_made") == -seen.figure("judge_real") != 0 and seen.figure("looks") >= limits.LOST_STEPS
        if not told_apart or seen.figure("made") or seen.figure("alone") < limits.LOST_STEPS:
            continue
        yield Finding(
            id="detached-generator",
            severity="warning",
            where=(maker,),
            steps=seen.steps,
            value=seen.figure("alone"),
            limit=0.0,
            message=f"{judge} is trained to tell what {maker} makes from real examples, but no loss of {maker} asks {judge}: at "
            f"all {int(seen.figure('alone'))} steps of its optimizer that were looked at {maker} was trained by something else.",
            why=f"What {judge} learns never reaches {maker}, which need not become like the real examples.",
            remedy=f"Add what {judge} says to the loss of {maker}, of its output itself, without detach(), as in "
            "bce(judge(made), ones), beside any other loss.",
            reference="Goodfellow et al. 2014, Generative adversarial nets, algorithm 1",
        )
        return
