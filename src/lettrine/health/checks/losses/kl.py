"""What `kl_div` takes for logarithms, or for probabilities; reported as "probabilities-as-logits" and "target-range"."""

from __future__ import annotations

from collections.abc import Iterator
from math import nan
from typing import Final

from lettrine.health import limits
from lettrine.health.checks.reading import number
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace

_SOURCE: Final = "torch.nn.KLDivLoss: the input is of log-probabilities, the target of probabilities"


def kl_answers(trace: Trace) -> Iterator[Finding]:
    """Probabilities of answers that are taken for their logarithms."""
    for seen in _seen(trace, "shares"):
        yield Finding(
            id="probabilities-as-logits",
            severity="critical",
            where=(),
            steps=seen.steps,
            value=seen.figure("looks"),
            limit=0.0,
            message="The loss expects logarithms of probabilities and gets probabilities: each row given to kl_div sums to 1.",
            why="It is then no divergence: it falls below 0, and is lowest where all of it is on one class.",
            remedy="Give kl_div the log_softmax of the outputs, and the softmax of the teacher's as its target.",
            reference=_SOURCE,
        )


def kl_targets(trace: Trace) -> Iterator[Finding]:
    """Logarithms that are taken for probabilities as targets, or the other way round."""
    for seen in _seen(trace, "logarithms"):
        yield Finding(
            id="target-range",
            severity="critical",
            where=(),
            steps=seen.steps,
            value=seen.figure("low"),
            limit=0.0,
            message=f"The targets of kl_div go down to {number(seen.figure('low'), 3)}; it takes them for probabilities.",
            why="It takes the logarithm of its targets, and that of a number below 0 is NaN.",
            remedy="Give it softmax(...) as targets; or, where these are log_softmax(...), say log_target=True.",
            reference=_SOURCE,
        )
    for seen in _seen(trace, "targets"):
        yield Finding(
            id="target-range",
            severity="critical",
            where=(),
            steps=seen.steps,
            value=seen.figure("low"),
            limit=nan,
            message="The targets of kl_div are shares of 1, and log_target=True has them taken for logarithms.",
            why="Their exponentials lie between 1 and 2.7, whatever they say: nearly the same is asked of all classes.",
            remedy="Leave log_target=True out, or give it log_softmax(...) as targets.",
            reference=_SOURCE,
        )


def _seen(trace: Trace, what: str) -> Iterator[Evidence]:
    for seen in trace.seen("kl arguments"):
        if seen.words["what"] == what and seen.figure("looks") >= limits.UPDATE_RECORDS:
            yield seen
