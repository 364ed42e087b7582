"""Losses that jump for one step, on losses written by hand: batches that were lost, and what looks like them."""

from __future__ import annotations

import numpy as np
import pytest
from paper import make_trace, noisy, outcome, the

from lettrine.health import limits
from lettrine.health.evidence import Evidence
from lettrine.health.trace import Trace

LOST = (120, 171, 233, 391)


def course(places: tuple[int, ...] = LOST, height: float = 2.6) -> np.ndarray:
    losses = noisy(0.8 + 1.5 * np.exp(-np.arange(400) / 60), 0.03)
    losses[list(places)] = height
    return losses


def trained(losses: np.ndarray, *, labels: int = 32, scatter: float = 1.0) -> Trace:
    figures = {"looks": 8, "rows": 256, "alone": 1, "given": 1, "classes": 10, "classes_seen": 10, "single": 1}
    figures |= {"labels": 8 * labels, "scatter": scatter, "pure": 0}
    words = {"expects": "classes", "function": "cross_entropy", "operations": "", "place": "head.weight", "shape": "(32,)"}
    seen = Evidence("comparison", ("head", "classes"), (0, 94), {name: float(value) for name, value in figures.items()}, words)
    return make_trace(evidence=(seen,), loss=losses)


def test_batches_that_were_lost_are_remarked():
    finding = the(trained(course()), "repeated-batch")
    assert (finding.severity, finding.value, finding.steps) == ("info", 4, (120, 391))
    assert finding.message.startswith("At 4 of 400 steps the loss jumps")
    assert "to 2.6" in finding.message
    assert "non_blocking=True" in finding.remedy


@pytest.mark.parametrize(
    "trace",
    [
        trained(course(LOST[:2])),  # two may be anything
        trained(course(height=2.0)),  # above what is usual, and still better than guessing
        trained(course((110, 150, 190, 310))),  # at one place of each pass over the data
        trained(course(), labels=limits.JUMP_LABELS - 1),  # the mean of a few may be anything
        trained(course(), scatter=30),  # sorted data have a name of their own
        trained(course((*LOST, *(each + 1 for each in LOST)))),  # it lasts, so it is the weights
        trained(course(tuple(range(20, 400, 11)))),  # too many: another kind of data
        trained(np.where(np.arange(400) % 50 == 3, 1.4, course())),  # losses that are often far from others
        trained(course(())),
    ],
)
def test_what_looks_like_it(trace: Trace):
    assert outcome(trace, "repeated-batch")[0] == "not applicable"  # nothing was found, and no inputs were seen
