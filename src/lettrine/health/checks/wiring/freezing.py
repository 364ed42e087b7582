"""Parts that a model freezes when it is told to train, and that are trained, because it never was told: "wrong-mode"."""

from __future__ import annotations

from collections.abc import Iterator

from lettrine.health import limits_wiring as limits
from lettrine.health.checks.reading import listed, plural
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace


def never_told_to_train(trace: Trace) -> Iterator[Finding]:
    """The parameters, or else the batch norms."""
    for seen in trace.seen("freezes itself"):
        if seen.figure("looks") < limits.EVAL_LOOKS:
            continue
        owner, count = seen.words["owner"], int(seen.figure("parameters"))
        names = seen.where[:count] or seen.where
        what = f"{plural(names, 'it is', 'they are')} trained" if count else "statistics of each batch go into the running ones"
        yield Finding(
            id="wrong-mode",
            severity="warning" if count else "info",
            where=names,
            steps=seen.steps,
            value=float(len(names)),
            limit=0.0,
            message=f"train() of {owner} {'freezes' if count else 'puts into eval mode'} {listed(names)}, and has not been "
            f"called: {what}.",
            why="A model may freeze parts of itself when it is told to train; a fresh one is in training mode without having "
            "been told.",
            remedy="Call model.train() when the model is made, before its optimizer, and again after each evaluation.",
            reference="torch.nn.Module.train",
        )
