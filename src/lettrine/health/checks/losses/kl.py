"""What `kl_div` takes for logarithms, or for probabilities; reported as "probabilities-as-logits" and "target-range"."""

from __future__ import annotations

from collections.abc import Iterator
from math import nan
from typing import Final

from lettrine.health import limits
from lettrine.health.checks.reading import number
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace

_ANSWERS: Final = ("shares",)
_TARGETS: Final = ("logarithms", "targets")
_SAID: Final = {
    "shares": (
        "The loss expects logarithms of probabilities and gets probabilities: each row given to kl_div sums to 1.",
        "It is then no divergence: it falls below 0, and is lowest where all of it is on one class.",
        "Give kl_div the log_softmax of the outputs, and the softmax of the teacher's as its target.",
    ),
    "logarithms": (
        "The targets of kl_div go down to {low}; it takes them for probabilities.",
        "It takes the logarithm of its targets, and that of a number below 0 is NaN.",
        "Give it softmax(...) as targets; or, where these are log_softmax(...), say log_target=True.",
    ),
    "targets": (
        "The targets of kl_div are shares of 1, and log_target=True has them taken for logarithms.",
        "Their exponentials lie between 1 and 2.7, whatever they say: nearly the same is asked of all classes.",
        "Leave log_target=True out, or give it log_softmax(...) as targets.",
    ),
}
"""What is told, why it matters and what to do, by what was mistaken."""


def kl_answers(trace: Trace) -> Iterator[Finding]:
    """Probabilities of answers that are taken for their logarithms."""
    return _mistaken(trace, "probabilities-as-logits", _ANSWERS)


def kl_targets(trace: Trace) -> Iterator[Finding]:
    """Logarithms that are taken for probabilities as targets, or the other way round."""
    return _mistaken(trace, "target-range", _TARGETS)


def _mistaken(trace: Trace, check: str, kinds: tuple[str, ...]) -> Iterator[Finding]:
    for seen in trace.seen("kl arguments"):
        what, low = seen.words["what"], seen.figure("low")
        if what not in kinds or seen.figure("looks") < limits.UPDATE_RECORDS:
            continue
        message, why, remedy = _SAID[what]
        yield Finding(
            id=check,
            severity="critical",
            where=(),
            steps=seen.steps,
            value=low if what in _TARGETS else seen.figure("looks"),
            limit=nan if what == "targets" else 0.0,
            message=message.format(low=number(low, 3)),
            why=why,
            remedy=remedy,
            reference="torch.nn.KLDivLoss: the input is of log-probabilities, the target of probabilities",
        )
