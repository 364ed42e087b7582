"""A network that is told one amount of noise for all rows, whatever they hold, "repeated-batch"; or none, "underfitting"."""

from __future__ import annotations

from collections.abc import Iterator
from math import isnan

from lettrine.health import limits_wiring as limits
from lettrine.health.checks.reading import number, share
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace


def untold(trace: Trace) -> Iterator[Finding]:
    """The time or the amount of noise is the same number at all looks, while noise is mixed in by many amounts."""
    for seen in trace.seen("untold"):
        looks, value = seen.figure("looks"), seen.figure("value")
        if looks < limits.UNTOLD_LOOKS or seen.figure("constant") != looks or isnan(value):
            continue
        yield Finding(
            id="repeated-batch",
            severity="warning",
            where=seen.where,
            steps=seen.steps,
            value=looks,
            limit=float(limits.UNTOLD_LOOKS),
            message=f"{seen.where[0]} is told the number {number(value)} for every row, at all {int(looks)} steps looked at, "
            f"while noise is mixed into the rows by amounts from {number(seen.figure('low'))} to {number(seen.figure('high'))}.",
            why="How much noise a row holds must then be guessed, and when samples are drawn the number says nothing.",
            remedy="Hand over the times or amounts that the rows were mixed with: t = torch.randint(T, (len(x),)); noisy = "
            "a[t] * x + b[t] * noise; model(noisy, t).",
            reference="Ho, Jain & Abbeel 2020, Denoising diffusion probabilistic models, algorithm 1",
        )


def told_nothing(trace: Trace) -> Iterator[Finding]:
    """Nothing but the mixture is given, and what it shows of its noise is not enough; a remark where it is."""
    for seen in trace.seen("untold"):
        gain = seen.figure("gain")
        if seen.figure("alone") != 1 or seen.figure("looks") < limits.UNTOLD_LOOKS_ALONE or isnan(gain):
            continue
        costs = gain >= limits.UNTOLD_GAIN
        what = f"with the best factor for each quarter of them its squared error would be {share(gain)} lower"
        yield Finding(
            id="underfitting",
            severity="warning" if costs else "info",
            where=seen.where,
            steps=seen.steps,
            value=gain,
            limit=limits.UNTOLD_GAIN,
            message=f"{seen.where[0]} is not told how much noise a row holds ({number(seen.figure('low'))} to "
            f"{number(seen.figure('high'))} of it): {what if costs else 'here the rows themselves show it well enough'}.",
            why="For one and the same input another answer is right at each amount of noise: only a mean of them can be learned.",
            remedy="Give the network the time or the amount of each row too: an embedding of t, added to what it makes of x, "
            "model(noisy, t).",
            reference="Ho, Jain & Abbeel 2020, Denoising diffusion probabilistic models, section 3.2 and appendix B",
        )
