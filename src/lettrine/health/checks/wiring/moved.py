"""Running statistics that move on in a part of the network that is frozen: reported under "norm-statistics"."""

from __future__ import annotations

from collections.abc import Iterator

from lettrine.health import limits_wiring as limits
from lettrine.health.checks.reading import listed, number
from lettrine.health.checks.wiring.modes import held_out_beside
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace


def moved_statistics(trace: Trace) -> Iterator[Finding]:
    """Statistics that fitted held-out data at the start, and do not any more; and a held-out loss that suffers."""
    held_out, level = held_out_beside(trace)
    for seen in trace.seen("moved statistics"):
        then, now = seen.figure("then"), seen.figure("now")
        if not (then < limits.MOVED_FITTED and now > limits.NORM_PLACES_GAP and held_out > limits.NORM_HELD_OUT * level):
            continue
        part = seen.where[0].rpartition(".")[0]
        yield Finding(
            id="norm-statistics",
            severity="warning",
            where=seen.where,
            steps=seen.steps,
            value=now,
            limit=limits.NORM_PLACES_GAP,
            message=f"All weights up to {seen.where[0]} are frozen, but the running statistics of {listed(seen.where)} go on "
            f"changing: held-out inputs were {number(then)} standard deviations from them at "
            f"first, and are {number(now)} from them now. The held-out loss is {number(held_out, 3)}, that of training "
            f"{number(level, 3)}.",
            why="requires_grad=False does not stop batch norm: in training mode it takes on the statistics of the new batches, "
            "and the frozen weights after it were trained with the old ones.",
            remedy=f"Put the frozen part into eval mode after each model.train(): model.{part}.eval()."
            if part
            else f"Put {listed(seen.where)} into eval mode after each model.train().",
            reference="torch.nn.BatchNorm2d: track_running_stats, running statistics in training mode",
        )
