"""The check for networks that can see their targets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from lettrine.health import limits_wiring as limits
from lettrine.health.checks.data.reshaped import views_ahead
from lettrine.health.checks.reading import listed, plural, share
from lettrine.health.checks.registry import check
from lettrine.health.checks.wiring.thrown_away import thrown_away
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace

_HOW: Final = {
    "recurrent": ("runs backwards too", "run backwards too", "Build it with bidirectional=False."),
    "convolution": (
        "reaches to later places too",
        "reach to later places too",
        "Pad on the left alone, by (kernel - 1) * dilation: F.pad(x, (left, 0)), with padding=0 in the convolution.",
    ),
    "attention": (
        "attends to the place after each",
        "attend to the place after each",
        (
            "Mask what follows: is_causal=True with scaled_dot_product_attention, attn_mask=torch.ones(T, T).triu(1).bool() with "
            "MultiheadAttention, or scores.masked_fill(that mask, -inf) before the softmax."
        ),
    ),
}


@check("future-leak")
def future_leak(trace: Trace) -> Iterator[Finding]:
    """A network that predicts the next element of a sequence, but can see it in its input.

    Measured: Whether the targets are the inputs, shifted by one place; and which module sees the next place: a bidirectional
        recurrent module, a convolution with weights for later places, attention with a weight on the next place, a view that
        mixes places. Or a mask of later places that is put on a copy of the scores which nothing takes.
    Formula: none: target[t] = input[t + 1] at all looks, {AHEAD_LOOKS} or more, and a module that reaches input[t + 1] at t; at
        {AHEAD_WHOLE:.0%} of the targets, or at {AHEAD_PART:.0%}: then the loss also asks for a part of the text that is given.
    """
    yield from views_ahead(trace)
    yield from thrown_away(trace, "future-leak")
    seen = [each for each in trace.seen("ahead") if each.figure("looks") == each.figure("all") >= limits.AHEAD_LOOKS]
    yield from _partly([each for each in seen if limits.AHEAD_PART <= each.figure("share") < limits.AHEAD_WHOLE])
    for what, (one, many, remedy) in _HOW.items():
        found = [each for each in seen if each.words["what"] == what and each.figure("share") >= limits.AHEAD_WHOLE]
        if not found:
            continue
        names = tuple(name for each in found for name in each.where)
        yield Finding(
            id="future-leak",
            severity="critical",
            where=names,
            steps=found[0].steps,
            value=float(len(names)),
            limit=0.0,
            message=f"The target at each place is the element after it, and {listed(names)} {plural(names, one, many)}: the "
            "answer "
            "is among what it is given.",
            why="It learns to copy the next element, which is missing when the network is used: a low loss means nothing.",
            remedy=remedy,
            reference="Vaswani et al. 2017, Attention is all you need, section 3.2.3: preventing leftward information flow",
        )


def _partly(seen: list[Evidence]) -> Iterator[Finding]:
    """Attention that sees the given part of a text as a whole, while the loss asks for that part too."""
    if not seen:
        return
    names, part = tuple(name for each in seen for name in each.where), min(each.figure("share") for each in seen)
    yield Finding(
        id="future-leak",
        severity="warning",
        where=names,
        steps=seen[0].steps,
        value=part,
        limit=limits.AHEAD_PART,
        message=f"The target at each place is the element after it, and {listed(names)} {plural(names, 'attends', 'attend')} to "
        f"that very element at {share(part)} of the places that the loss asks about.",
        why="There the answer is copied: these places make the loss look low, and teach nothing of what is to be predicted.",
        remedy="Let the loss ask only for what comes after the part that is given, cross_entropy(..., ignore_index=-100) with "
        "targets of -100 in that part; or mask what follows there too.",
        reference="Dong et al. 2019, Unified language model pre-training: the loss of the second segment",
    )
