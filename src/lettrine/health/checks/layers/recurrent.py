"""Saturated gates and states inside recurrent modules; reported under the id "saturation"."""

from __future__ import annotations

from collections.abc import Iterator

from lettrine.health import limits
from lettrine.health.checks.reading import listed, number, share
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace


def saturated_gates(trace: Trace) -> Iterator[Finding]:
    """Recurrent modules whose states, or gates and candidates, are mostly in the flat part, where the slope is almost 0.

    The gates of a trained LSTM or GRU are meant to be open or closed: they are judged at the first step only.
    """
    seen = [each for each in trace.seen("gates") if _most(each)[0] > limits.SATURATED_SHARE]
    if not seen:
        return
    worst = max(seen, key=lambda each: _most(each)[0])
    value, at_start = _most(worst)
    spread, where = worst.figure("inputs"), tuple(name for each in seen for name in each.where)
    what = "states" if worst.figure("recurrent") else "gates and candidates"
    large = spread > 3 * limits.HEALTHY_PREACTIVATION
    yield Finding(
        id="saturation",
        severity="critical" if value >= limits.SATURATED_CRITICAL else "warning",
        where=where,
        steps=(int(worst.figure("first")),) * 2 if at_start else worst.steps,
        value=value,
        limit=limits.SATURATED_SHARE,
        message=f"{share(value)} of the {what} inside {listed(where)} are saturated{' at the start' if at_start else ''}; up to "
        f"{share(limits.SATURATED_SHARE)} is usual.",
        why="Almost no gradient passes back in time through a saturated state or gate, so earlier steps are not learned from.",
        remedy=(
            f"Scale its input, whose std is {number(spread)}, to a std near 1 (layer norm, or divide the inputs)."
            if large
            else f"Shrink {worst.words['input']} and {worst.words['hidden']}: an orthogonal matrix for the latter keeps states "
            f"in range."
            if at_start
            else f"Clip the gradient norm at about 1 and lower the learning rate; {worst.words['hidden']} has grown too large."
        ),
        reference=f"{limits.STUDY}; Pascanu, Mikolov & Bengio 2013, On the difficulty of training recurrent neural networks",
    )


def _most(seen: Evidence) -> tuple[float, bool]:
    """The share that is judged, and whether it is that of the first step of the run."""
    fresh = seen.figure("first") == 0
    if seen.figure("recurrent"):
        first = seen.figure("states_first") if fresh else 0.0
        return (first, True) if first > limits.SATURATED_SHARE else (seen.figure("states"), False)
    return (min(seen.figure("states_first"), seen.figure("gates_first")), True) if fresh else (0.0, False)
