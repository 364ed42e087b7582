"""Checks of padding on traces written by hand."""

from __future__ import annotations

import numpy as np
from paper import found, make_trace, noisy, the

from lettrine.health.evidence import Evidence


def counted(how, loss=None, **figures):
    told = {"looks": 6.0, "rows": 1.0, "run": 0.8, "token": 0.0, **figures}
    changes = {} if loss is None else {"loss": loss}
    return make_trace(evidence=(Evidence("padding counted", (), (0, 42), told, {"how": how}),), **changes)


def test_padding_among_what_the_loss_asks_for():
    told = {"class": 3.0, "padding": 0.01, "written": 1.3, "guess": 1.4}
    finding = the(counted("asked", **told), "padding-counted")
    assert finding.severity == "warning"
    assert "80 % of the targets are padding" in finding.message
    assert "ignore_index=3" in finding.remedy
    assert the(counted("asked", **told | {"written": 0.9}), "padding-counted").severity == "info"  # learned all the same
    assert the(counted("asked", **told | {"padding": 1.5}), "padding-counted").severity == "info"  # nothing learned: another's
    assert the(counted("asked", run=0.4, **told), "padding-counted").severity == "info"
    assert found(counted("asked", run=0.2, **told), "padding-counted") == ()
    assert found(counted("asked", rows=0.3, **told), "padding-counted") == ()
    assert found(counted("asked", looks=1.0, **told), "padding-counted") == ()


def test_a_mean_over_padding():
    rest = noisy(np.full(300, 1.6), 0.02)  # guessing: ln 10 = 2.3
    finding = the(counted("averaged", places=40.0, loss=rest), "padding-counted")
    assert finding.severity == "warning"
    assert "over all 40 places, and 80 % of them are padding (0)" in finding.message
    assert "stopped falling at 1.6" in finding.message
    assert the(counted("averaged", places=40.0, run=0.4, loss=rest), "padding-counted").severity == "info"
    assert the(counted("averaged", places=40.0, loss=rest / 2), "padding-counted").severity == "info"  # learned well enough
    assert the(counted("averaged", places=40.0, loss=np.full(300, 2.31)), "padding-counted").severity == "warning"
