"""Checks of NaN and infinity on evidence written by hand: what is blamed, and what is not."""

from __future__ import annotations

import numpy as np
import pytest
from paper import the
from paper_evidence import operation, seen

from lettrine.health.trace import NonFinite

BROKEN = np.where(np.arange(200) < 120, 1.0 + 0.01 * np.sin(np.arange(200)), np.nan)


def broken(*evidence, loss=BROKEN, phase="loss", **changes):
    return seen(*evidence, loss=loss, first_nonfinite=NonFinite(120, "", phase), **changes)


@pytest.mark.parametrize(
    ("each", "words", "remedy"),
    [
        (operation("sqrt", "backward"), "root of sum in the loss was computed at exactly 0", "before the root"),
        (operation("div", "forward", where="pool"), "division in pool made it from finite values", "clamp(min=1)"),
        (operation("softmax", "forward", where="attention"), "everything was masked", "unmasked"),
        (operation("cross_entropy", "ignored"), "cross_entropy ignores", "labels are masked"),
        (operation("log"), "Nothing had grown before", "log(p + 1e-8)"),
        (operation("log", of="sigmoid", least=0.09), "it came down to 0.09", "log(p + 1e-8)"),
        (operation("log", of="sigmoid", least=0.3), "the batch may hold it", "Look at batch 120, inputs and targets"),
        (operation("div", least=1e-5), "Nothing had grown before", "clamp(min=1)"),
        (operation("div", least=2, first=16, last=3), "Nothing had grown before", "clamp(min=1)"),
    ],
)
def test_non_finite(each, words, remedy):
    finding = the(broken(each), "non-finite")
    assert words in finding.message
    assert remedy in finding.remedy
    assert "learning rate" not in finding.remedy


def test_non_finite_after_a_loss_of_exactly_nothing():
    loss = BROKEN.copy()
    loss[119] = 0.0
    finding = the(broken(operation("sqrt", least=0.3), loss=loss), "non-finite")
    assert "The loss before it was exactly 0" in finding.message


@pytest.mark.parametrize("each", [operation("sqrt", guarded="yes"), operation("div", least=5, first=6, last=5)])
def test_what_is_guarded_is_not_blamed(each):
    finding = the(broken(each), "non-finite")
    assert "kept away" not in finding.message
    assert finding.remedy.startswith("Look at batch 120")  # nothing had grown
    assert "learning rate" not in finding.remedy


def test_what_had_grown_is_blamed_on_the_rate():
    growing = np.where(np.arange(200) < 120, np.exp(np.maximum(0, np.arange(200) - 110)), np.nan)
    finding = the(broken(operation("sqrt"), loss=growing), "non-finite")
    assert finding.remedy.startswith("Lower the learning rate")
    shares = the(broken(operation("log", of="softmax"), loss=growing), "non-finite")
    assert "The input of the log of softmax in the loss is not kept away from 0" in shares.message
    assert "rate" not in shares.remedy  # a probability becomes 0 at any rate
