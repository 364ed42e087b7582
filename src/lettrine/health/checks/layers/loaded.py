"""Weights that are loaded again and again while they train; reported as "never-moved" and "update-too-large"."""

from __future__ import annotations

from collections.abc import Iterator

from lettrine.health import limits_wiring as limits
from lettrine.health.checks.consequence import consequence
from lettrine.health.checks.reading import number
from lettrine.health.findings import Finding
from lettrine.health.limits import HARDLY_LEARNED
from lettrine.health.trace import Trace


def set_back(trace: Trace) -> Iterator[Finding]:
    """Steps that are lost, since the same weights are loaded after them. Trials, folds and tasks that begin alike on purpose do
    so too: it is told aloud only where nothing shows that the training learns.
    """
    for seen in trace.seen("loaded weights"):
        loads, same, last = seen.figure("loads"), seen.figure("same"), seen.figure("last")
        to_the_end = len(trace.loss.step) > 0 and last >= limits.SET_BACK_LATE * trace.loss.step[-1]
        if loads < limits.SET_BACK or same < loads or not to_the_end:
            continue
        harm = consequence(trace)
        yield Finding(
            id="never-moved",
            severity="warning" if harm.bad or harm.kind == "unknown" or harm.left >= HARDLY_LEARNED else "info",
            where=(),
            steps=seen.steps,
            value=loads,
            limit=float(limits.SET_BACK),
            message=f"The same weights were loaded {loads:.0f} times while the model trained, the last time at step {last:,.0f}: "
            f"what about {seen.figure('steps'):.0f} steps had learned was lost each time"
            + (f"; {harm.words}." if harm.bad else "."),
            why="A training that begins again at the same weights never gets further than the steps between two beginnings.",
            remedy="Load weights once, before the loop; and load what was learned, not what was there before: the mean of all "
            "clients, state_dict() after the steps, the network that is trained and not its copy.",
            reference="torch.nn.Module.load_state_dict",
        )


def resized(trace: Trace) -> Iterator[Finding]:
    """Weights that are another size each time they are loaded, such as a mean that is divided by the wrong number."""
    for seen in trace.seen("loaded weights"):
        loads, size, harm = seen.figure("fresh"), seen.figure("size"), consequence(trace)
        far = size >= limits.RESIZED or 0 < size <= 1 / limits.RESIZED
        if not far or loads < limits.RESIZED_LOADS or not harm.bad:
            continue
        yield Finding(
            id="update-too-large",
            severity="critical" if harm.kind == "not finite" else "warning",
            where=(),
            steps=seen.steps,
            value=size,
            limit=limits.RESIZED,
            message=f"Weights were loaded {loads:.0f} times while the model trained, and were {number(size)} times as large "
            f"afterwards, each time; {harm.words}.",
            why="Weights of another size make another network: what was learned is lost.",
            remedy="Load weights of the size they had. A mean over clients or copies is their sum divided by how many they are; "
            "shares that weigh them sum to 1.",
            reference="McMahan et al. 2017, Communication-efficient learning of deep networks, algorithm 1",
        )
