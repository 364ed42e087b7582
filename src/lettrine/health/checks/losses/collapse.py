"""Vectors that are compared with each other and have become one: reported as "no-learning"."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from lettrine.health import limits_wiring as limits
from lettrine.health.checks.reading import number, share
from lettrine.health.findings import Finding
from lettrine.health.limits import CONSTANT_STEP
from lettrine.health.trace import Trace

_APART_AGAIN = (
    "Lower the learning rate, by 10 at first; begin with all triplets or pairs, and take the hardest alone only later, or start "
    "from weights that were trained to classify. Without negatives keep the stopped gradient."
)
_PUSH: Final = (
    "Give the loss something that keeps vectors apart: negatives (triplet_margin_loss, or a cross-entropy among the examples of "
    "a batch), or a term for their variance; or stop the gradient of one side, .detach(), with a predictor behind the other."
)
_APART_FROM_THE_START = (
    "See that trained weights are loaded, if they should be, and strictly: load_state_dict(..., strict=True). Fresh layers lose "
    "the differences between examples one after another: draw them by kaiming_normal_ or put norms between them; then begin with "
    "all triplets or pairs, and take the hardest alone only later."
)


def collapsed(trace: Trace) -> Iterator[Finding]:
    """Embeddings without a distance, beside a loss that no longer changes; and triplets in another order."""
    yield from (swapped := list(_swapped(trace)))
    if any(each.severity == "warning" for each in swapped):
        return
    yield from (shrunk := [*_shrunk(trace), *_one_direction(trace)])
    if shrunk:
        return
    for seen in trace.seen("collapsed"):
        apart, last, value, before = (seen.figure(name) for name in ("apart", "last", "value", "before"))
        still = abs(value - before) <= limits.COLLAPSED_FLAT * abs(value)
        size, name = seen.figure("size"), seen.where[0]
        always = max(apart, last) <= limits.COLLAPSED * size
        nearly = last <= limits.COLLAPSED_NEARLY * apart and abs(value) >= limits.COLLAPSED_MOST * abs(seen.figure("first"))
        one, whole = last <= limits.COLLAPSED * apart or nearly or always, size if always else apart
        if not (one and still and abs(value) >= limits.COLLAPSED_LEFT * abs(seen.figure("first"))):
            continue
        yield Finding(
            id="no-learning",
            severity="warning",
            where=seen.where,
            steps=seen.steps,
            value=last / whole if whole else 0.0,
            limit=limits.COLLAPSED,
            message=f"{name} gives all examples the same vector: two of them lay {number(apart, 2)} apart at first, and "
            f"{number(last, 2)} at step {seen.steps[1]:,}{f', of a length of {number(size, 2)}' if always else ''}, where the "
            f"loss stands at {number(value, 3)}.",
            why="Where all distances are 0, a margin is the whole loss, and nothing pulls the vectors apart again.",
            remedy=_APART_FROM_THE_START if always else _APART_AGAIN,
            reference="Schroff et al. 2015, FaceNet, section 3.2; Hermans et al. 2017, In defense of the triplet loss, appendix",
        )


def _shrunk(trace: Trace) -> Iterator[Finding]:
    """A loss of nothing but distances, that falls because all vectors move together."""
    for seen in trace.seen("collapsed"):
        first, value, before, apart, last = (seen.figure(name) for name in ("first", "value", "before", "apart", "last"))
        fell = max(value, before) / first if first > 0 else 1.0
        alone = seen.figure("pulls") == 1 and seen.figure("looks") >= limits.LATE_LOOKS
        if not alone or not 0 <= fell <= limits.SHRUNK_LOSS or last > limits.SHRUNK_APART * apart:
            continue
        if fell < limits.SHRUNK_ALIKE * (last / apart) ** 2:
            continue  # pairs came nearer than the others did
        yield Finding(
            id="no-learning",
            severity="warning",
            where=seen.where,
            steps=seen.steps,
            value=last / apart,
            limit=limits.SHRUNK_APART,
            message=f"All vectors that {seen.where[0]} gives come together: the loss holds nothing but their distances, and fell "
            f"from {number(first, 3)} to {number(value, 3)} while any two of them came from {number(apart, 2)} to "
            f"{number(last, 2)} apart.",
            why="One vector for all examples has no distances at all. Nothing in the loss is against it, and it says nothing.",
            remedy=_PUSH,
            reference="Hadsell, Chopra & LeCun 2006, Dimensionality reduction by learning an invariant mapping, section 2.1",
        )


def _one_direction(trace: Trace) -> Iterator[Finding]:
    """Two views of one example that are no more alike than those of any two."""
    for seen in trace.seen("one direction"):
        last, pairs = seen.figure("last"), seen.figure("pairs")
        if seen.figure("looks") < limits.LATE_LOOKS or not min(last, pairs) >= limits.ONE_DIRECTION:
            continue
        yield Finding(
            id="no-learning",
            severity="warning",
            where=seen.where,
            steps=seen.steps,
            value=last,
            limit=limits.ONE_DIRECTION,
            message=f"{seen.where[0]} gives all examples the same direction: the cosine of two views of one example is "
            f"{number(pairs, 3)}, and that of any two examples {number(last, 3)} ({number(seen.figure('first'), 2)} at first).",
            why="One direction for all examples makes every cosine 1. The loss is then at its best, and the vectors say nothing.",
            remedy=_PUSH,
            reference="Chen & He 2021, Exploring simple Siamese representation learning, section 4.1",
        )


def same_places(trace: Trace) -> Iterator[Finding]:
    """Sequences that get one answer at all of their places."""
    for seen in trace.seen("same places"):
        within, places = seen.figure("within"), int(seen.figure("places"))
        late = seen.figure("looks") >= limits.LATE_LOOKS and seen.steps[1] >= CONSTANT_STEP
        if not late or within < limits.WITHIN_LEAST:
            continue
        yield Finding(
            id="no-learning",
            severity="warning",
            where=seen.where,
            steps=seen.steps,
            value=within,
            limit=limits.WITHIN_LEAST,
            message=f"{seen.where[0]} gives the same answer at all {places} places of a sequence, at every look up to step "
            f"{seen.steps[1]:,}; {share(within)} of the variance of the targets lies within sequences.",
            why="Nothing that enters tells one place from another, so what differs from place to place is never learned.",
            remedy="See what goes in at each place: a decoder is given the targets shifted by one, with a start value in front "
            "(tgt=y[:, :-1]), not zeros or one vector repeated; positions are added before attention.",
            reference="Vaswani et al. 2017, Attention is all you need, sections 3.1 and 3.5",
        )


def _swapped(trace: Trace) -> Iterator[Finding]:
    """Triplets whose anchors lie nearer to the negatives from the start, and a margin that is not learned."""
    for seen in trace.seen("triplets"):
        farther, first, value = seen.figure("farther"), seen.figure("first"), seen.figure("value")
        enough = seen.figure("rows") >= limits.TRIPLETS_ROWS and seen.figure("looks") >= limits.LATE_LOOKS
        if not enough or farther < limits.TRIPLETS_FARTHER or value < limits.TRIPLETS_LEFT * min(first, seen.figure("margin")):
            continue
        yield Finding(
            id="no-learning",
            severity="info" if seen.figure("chosen") else "warning",  # the hardest may be learned later
            where=(),
            steps=seen.steps,
            value=farther,
            limit=limits.TRIPLETS_FARTHER,
            message=f"Before any training {share(farther)} of the anchors lay nearer to their negative than to their positive, "
            f"and the triplet loss has hardly fallen since: {number(first, 3)} at first, {number(value, 3)} at step "
            f"{seen.steps[1]:,}.",
            why="Examples of one class are alike, and a fresh network mostly leaves them so. Where it is the other way round, "
            "positives and negatives have changed places, or only the hardest were chosen.",
            remedy="See the order: triplet_margin_loss(anchor, positive, negative), where the positive is of the anchor's class. "
            "If only the hardest triplets are taken on purpose, begin with all of them.",
            reference="Schroff et al. 2015, FaceNet, section 3.2",
        )
