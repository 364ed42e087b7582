"""The check for networks that can see their targets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from lettrine.health import limits_wiring as limits
from lettrine.health.checks.data.reshaped import views_ahead
from lettrine.health.checks.reading import listed, plural
from lettrine.health.checks.registry import check
from lettrine.health.checks.wiring.thrown_away import thrown_away
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
    Formula: none: target[t] = input[t + 1] at all looks, {AHEAD_LOOKS} or more, and a module that reaches input[t + 1] at t.
    """
    yield from views_ahead(trace)
    yield from thrown_away(trace, "future-leak")
    seen = [each for each in trace.seen("ahead") if each.figure("looks") == each.figure("all") >= limits.AHEAD_LOOKS]
    for what, (one, many, remedy) in _HOW.items():
        found = [each for each in seen if each.words["what"] == what]
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
