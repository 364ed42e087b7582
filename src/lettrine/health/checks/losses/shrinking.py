"""Likelihoods that pay for shrinking, since a logarithm has the wrong sign: "wrong-direction"."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from lettrine.health.checks.losses.endless import ADD_THE_DIVERGENCE
from lettrine.health.checks.reading import number
from lettrine.health.findings import Finding
from lettrine.health.limits_wiring import SCALE_FELL, VOLUME_FELL, VOLUME_LOOKS, VOLUME_VANISHED
from lettrine.health.trace import Trace

_TURN: Final = (
    "Turn the sign of the logarithm. z = x * exp(s) asks for -(log_prob(z) + s.sum(1)), z = (x - m) * exp(-s) for "
    "-(log_prob(z) - s.sum(1)), an error for (error * exp(-s)) ** 2 / 2 + s."
)


def shrinking(trace: Trace) -> list[Finding]:
    """Codes that shrink to one point, or scales that the loss pays for making small."""
    return [*_codes(trace)] or [*_scales(trace)]


def _codes(trace: Trace) -> Iterator[Finding]:
    """A flow that is rewarded for shrinking its codes."""
    for seen in trace.seen("volume"):
        first, last, before, after = (seen.figure(name) for name in ("first", "last", "before", "after"))
        vanished = last <= VOLUME_VANISHED < first and after <= before - VOLUME_FELL
        if seen.figure("looks") < VOLUME_LOOKS or not vanished:
            continue
        yield Finding(
            id="wrong-direction",
            severity="warning",
            where=seen.where,
            steps=seen.steps,
            value=last,
            limit=VOLUME_VANISHED,
            message=f"The codes of {seen.where[0]} shrink to 0: their mean square was {number(first, 2)} at first and is "
            f"{number(last, 2)} at step {seen.steps[1]:,}, where a standard normal prior has 1, and the number beside them "
            f"fell from {number(before, 2)} to {number(after, 2)}.",
            why="A likelihood pays for shrinking by the log-volume. With the wrong sign it is rewarded for it: all examples "
            "end in one point.",
            remedy="Turn the sign of the log-volume: loss = -(prior.log_prob(z).sum(1) + log_det).mean(), where log_det is "
            "that of z by x, positive where the flow expands.",
            reference="Dinh, Sohl-Dickstein & Bengio 2017, Density estimation using real NVP, section 3.2",
        )


def _scales(trace: Trace) -> Iterator[Finding]:
    """Scales whose logarithm is added with the sign of the other way."""
    latent = bool(trace.seen("latents"))
    for seen in trace.seen("log scale"):
        first, middle, last = (seen.figure(name) for name in ("first", "middle", "last"))
        if seen.figure("looks") < max(VOLUME_LOOKS, seen.figure("all")) or not last <= min(first - SCALE_FELL, middle):
            continue
        yield Finding(
            id="wrong-direction",
            severity="critical",
            where=seen.where,
            steps=seen.steps,
            value=last,
            limit=first - SCALE_FELL,
            message="The loss pays for small scales: the logarithm s of exp(s) is added to it with the sign that makes it "
            f"smaller the more the values shrink. On average s, or -s where they are divided, was {number(first, 2)} at first "
            f"and is {number(last, 2)} at step {seen.steps[1]:,}.",
            why="A likelihood pays for shrinking values, or errors, by the logarithm of their scale. With the other sign it has "
            "no highest value: the loss falls without end, and on held-out data the likelihood itself gets worse.",
            remedy=ADD_THE_DIVERGENCE if latent else _TURN,
            reference="Kingma & Welling 2014, Auto-encoding variational Bayes, equation 10"
            if latent
            else "Dinh, Sohl-Dickstein & Bengio 2017, Density estimation using real NVP, section 3.2",
        )
