"""Labels that never say yes, beside a part that only examples with a yes would train: reported as "target-constant"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import nan

import numpy as np

from lettrine.health import limits, limits_wiring
from lettrine.health.checks.reading import number, usable
from lettrine.health.checks.reference import loss_seen
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace

_LABELS = ("logits", "probabilities", "likelihood")


def no_positives(trace: Trace, seen: Sequence[Evidence]) -> Iterator[Finding]:
    """A detector none of whose places is an object. seen: the comparisons of answers with targets.

    That the other part gets a gradient of exactly 0 at all steps shows that the few batches looked at are not an accident; so do
    squared errors that are all smaller than a single object would make them.
    """
    yield from _nowhere(trace, seen)
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


def _nowhere(trace: Trace, seen: Sequence[Evidence]) -> Iterator[Finding]:
    """Squared errors of whether something is there, always asked to be 0, and a mask by them that takes away all else."""
    empty = next((each for each in seen if _empty(each, ("squared",)) and each.figure("low") == 0), None)
    others = [each for each in seen if each is not empty]
    if empty is None or not others or empty.figure("left_out"):
        return
    places = empty.figure("places")
    if not all(each.figure("left_out") == 1 and each.figure("mask_places") == places for each in others):
        return
    one, most, rows = _one_object(trace, empty, len(seen))
    if not (most < limits_wiring.POSITIVES_HIDDEN * one and rows >= limits_wiring.POSITIVES_ROWS):
        return
    yield Finding(
        id="target-constant",
        severity="warning",
        where=empty.where[:1],
        steps=empty.steps,
        value=0.0,
        limit=0.0,
        message=f"All targets of whether something is there were 0 in {int(empty.figure('looks'))} batches, up to step "
        f"{empty.steps[1]:,}, and the mask of all other targets was 0 throughout. No later loss is above {number(most, 2)}, "
        f"where a single 1 among the {int(places):,} targets of a batch would add about {number(one, 2)}.",
        why="No place counts as an object: the network learns to say no to everything, and the loss is near 0 all the same.",
        remedy="See how targets are given to places: names of classes that are not on the list, or a number that stands for "
        "what is to be ignored; anchors or thresholds of overlap that no box reaches; boxes in another unit.",
        reference="Redmon et al. 2016, You only look once, section 2.2: the loss and its masks",
    )


def _one_object(trace: Trace, empty: Evidence, terms: int) -> tuple[float, float, float]:
    """What one target of 1 adds to a loss in which nothing else counts; the largest loss of the later half; examples in it.

    The weight of the term is the loss by the mean squared error, as far as the loss holds no other term. NaN if it does.
    """
    loss, error = loss_seen(trace), empty.figure("error")
    steps, means, peaks = trace.loss.step, trace.loss.mean, trace.loss.high
    if loss is None or loss.figure("terms") != terms or not len(steps) or not error > 0:
        return nan, nan, 0.0
    weight = float(means[np.searchsorted(steps, empty.steps[1], side="right") - 1]) / error
    half = steps[-1] / 2
    return weight / empty.figure("places"), float(peaks[steps >= half].max()), half * max(trace.facts.batch_size, 1)


def _empty(each: Evidence, kinds: tuple[str, ...] = _LABELS) -> bool:
    """Whether all labels of a question of yes or no were no."""
    late = each.figure("looks") >= limits.CONSTANT_LOOKS and each.steps[1] >= limits.CONSTANT_STEP
    return late and each.words["expects"] in kinds and each.figure("given") == 1 and each.figure("high") == 0


def _without_gradient(trace: Trace, module: str) -> bool:
    """Whether all trained parameters of a module had a gradient, of exactly 0, at every sampled step."""
    names = [info.name for info in trace.parameters if info.trainable and info.name.rpartition(".")[0] == module]
    norms = [trace.parameter(name, "gradient_norm")[usable(trace)] for name in names if name in trace.parameter_stats]
    seen = [each[np.isfinite(each)] for each in norms]
    return bool(seen) and all(len(each) >= limits.NO_GRADIENT_RECORDS and not each.any() for each in seen)
