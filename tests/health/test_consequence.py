"""What became of learning: each kind from losses written by hand."""

from __future__ import annotations

from dataclasses import replace
from math import log

import numpy as np
import pytest
from paper import FACTS, make_trace, noisy

from lettrine.health.checks.consequence import consequence
from lettrine.health.evidence import Evidence
from lettrine.health.trace import NonFinite

UNKNOWN_LOSS = replace(FACTS, classes=0, loss_chain=())
FALLING = 0.8 + (log(10) - 0.8) * np.exp(-np.arange(200) / 40)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("learns", {"loss": noisy(FALLING)}),
        ("guessing", {"loss": noisy(np.full(200, log(10)))}),
        ("rises", {"loss": noisy(np.concatenate([FALLING, np.linspace(1.0, 4.0, 100)]))}),
        ("rises", {"loss": noisy(np.linspace(2.3, 9.0, 200)), "facts": UNKNOWN_LOSS}),
        ("flat", {"loss": noisy(np.full(200, 7.0)), "facts": UNKNOWN_LOSS}),
        ("falls", {"loss": noisy(np.linspace(7.0, 3.0, 200)), "facts": UNKNOWN_LOSS}),
        ("falls", {"loss": noisy(np.linspace(40.0, 9.0, 200))}),  # above guessing still, but on its way
        ("held out", {"loss": noisy(FALLING), "dev": np.linspace(2.35, 2.6, 8)}),
        ("not finite", {"loss": FALLING, "first_nonfinite": NonFinite(150, "fc1", "backward")}),
        ("unknown", {"loss": FALLING[:30]}),
    ],
)
def test_kinds(kind, changes):
    found = consequence(make_trace(**changes))
    assert found.kind == kind, found
    assert found.bad == (kind not in ("learns", "falls", "unknown"))


def test_why_the_losses_do_not_tell():
    against_another = Evidence("loss", (), (0, 94), {"terms": 1}, {"kind": "squared error", "nature": "adversarial"})
    late = make_trace(loss=FALLING, facts=UNKNOWN_LOSS)
    reasons = [
        make_trace(loss=FALLING[:30]),
        make_trace(loss=FALLING, evidence=(against_another,)),
        replace(late, loss=replace(late.loss, step=late.loss.step + 100)),
    ]
    found = [consequence(each) for each in reasons]
    assert [each.kind for each in found] == 3 * ["unknown"]
    told = ["too few losses were seen", "a loss of this kind need not fall", "the first losses were not seen"]
    assert [each.words.startswith(said) for each, said in zip(found, told, strict=True)] == 3 * [True], found


def test_words_hold_the_figures():
    found = consequence(make_trace(loss=np.full(200, 2.4)))
    assert found.words == "the loss, 2.4 at step 199, is no better than guessing (2.3)"


def test_well_is_far_below_guessing():
    assert not consequence(make_trace(loss=FALLING)).well  # 0.8 of 2.3
    assert consequence(make_trace(loss=FALLING - 0.7)).well
