"""Labels that never say yes, beside a part that only examples with a yes would train: reported as "target-constant"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from lettrine.health import limits
from lettrine.health.checks.reading import usable
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace

_LABELS = ("logits", "probabilities", "likelihood")


def no_positives(trace: Trace, seen: Sequence[Evidence]) -> Iterator[Finding]:
    """A detector none of whose places is an object. seen: the comparisons of answers with targets.

    That the other part gets a gradient of exactly 0 at all steps shows that the few batches looked at are not an accident.
    """
    empty = next((each for each in seen if _empty(each)), None)
    starved = [each.where[0] for each in seen if each is not empty and each.where and _without_gradient(trace, each.where[0])]
    if empty is None or not starved or not empty.where:
        return
    labels, part = empty.where[0], starved[0]
    yield Finding(
        id="target-constant",
        severity="warning",
        where=(labels,),
        steps=empty.steps,
        value=0.0,
        limit=0.0,
        message=f"All targets of {labels} were 0 in {int(empty.figure('looks'))} batches, up to step {empty.steps[1]:,}, and "
        f"{part}, which is compared with targets as well, got a gradient of exactly 0 at every sampled step.",
        why=f"No place counts as an object, so there is nothing for {part} to learn from: the network learns to say no to "
        "everything.",
        remedy="See how targets are given to places: anchors far larger or smaller than the boxes, a threshold of overlap that "
        "none reaches, boxes in another unit (pixels, or shares of the picture), or labels that start at another number.",
        reference="Ren et al. 2015, Faster R-CNN, section 3.1.2: anchors and their labels",
    )


def _empty(each: Evidence) -> bool:
    """Whether all labels of a question of yes or no were no."""
    late = each.figure("looks") >= limits.CONSTANT_LOOKS and each.steps[1] >= limits.CONSTANT_STEP
    return late and each.words["expects"] in _LABELS and each.figure("given") == 1 and each.figure("high") == 0


def _without_gradient(trace: Trace, module: str) -> bool:
    """Whether all trained parameters of a module had a gradient, of exactly 0, at every sampled step."""
    names = [info.name for info in trace.parameters if info.trainable and info.name.rpartition(".")[0] == module]
    norms = [trace.parameter(name, "gradient_norm")[usable(trace)] for name in names if name in trace.parameter_stats]
    seen = [each[np.isfinite(each)] for each in norms]
    return bool(seen) and all(len(each) >= limits.NO_GRADIENT_RECORDS and not each.any() for each in seen)
