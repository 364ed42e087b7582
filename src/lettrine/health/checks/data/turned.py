"""Maps as targets, some of which are mirrored or turned apart from their pictures; reported as "shuffled-targets"."""

from __future__ import annotations

from collections.abc import Iterator

from lettrine.health import limits_wiring as limits
from lettrine.health.checks.consequence import consequence
from lettrine.health.checks.reading import share
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace


def turned(trace: Trace) -> Iterator[Finding]:
    """Some lie straight and some do not, and pictures go with their own maps far more often than with those of others."""
    for seen in trace.seen("turned"):
        told, straight, chance = (seen.figure(name) for name in ("told", "straight", "chance"))
        if told < limits.TURNED_ROWS or chance > limits.TURNED_CHANCE * told:
            continue
        apart = 1 - straight / told
        if apart < limits.TURNED_SHARE or told - straight - chance < limits.TURNED_BEYOND * told:
            continue
        if seen.figure("ways") == 1 and apart > 1 - limits.TURNED_SHARE:
            continue  # all of them turned in one way: that may be the task
        yield Finding(
            id="shuffled-targets",
            severity="info" if consequence(trace).well else "warning",
            where=seen.where,
            steps=seen.steps,
            value=apart,
            limit=limits.TURNED_SHARE,
            message=f"{share(apart)} of the targets lie mirrored or turned against their pictures: of {int(told):,} rows "
            f"in which it can be told, {int(told - straight):,} go best with their picture when they are turned back.",
            why="The network is asked for a map of what lies elsewhere, and can only answer with a blur of all ways.",
            remedy="Draw the random flips, turns and cuts once for each example, and apply them to the picture and to its "
            "target: with torchvision.transforms.v2, transform(image, tv_tensors.Mask(mask)) in one call.",
            reference="Ronneberger et al. 2015, U-Net, section 3.1",
        )
