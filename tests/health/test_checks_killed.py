"""Units that die after a large step, in traces written by hand."""

from __future__ import annotations

import numpy as np
from paper import STEPS, found, make_trace, noisy, the, units

STUCK = noisy(np.full(200, 2.3))
BIG = np.where(np.array(STEPS) == 3, 0.6, 1e-3)  # of one step alone
DYING = np.where(np.array(STEPS) > 3, 0.7, 0.05)


def trace(*, dead=DYING, size=BIG, loss=STUCK):
    changes = {"act2.dead": dead, "fc2.weight.update_data": size}
    return make_trace(units={"act2": units(20, dead=range(14))}, loss=loss, **changes)


def test_one_step_that_killed_most_units():
    finding = the(trace(), "update-too-large")
    assert finding.severity == "critical"
    assert finding.where == ("fc2.weight", "act2")
    assert "Step 3 changed fc2.weight by 60 % of its size" in finding.message
    assert "5.0 % were dead at first and 70 % from step 5 on" in finding.message
    assert "from 0.1 to 0.01," in finding.remedy


def test_units_that_died_of_something_else():
    assert found(trace(size=1e-3), "update-too-large") == ()  # no large step
    late = np.where(np.array(STEPS) == 12, 0.6, 1e-3)
    assert found(trace(size=late), "update-too-large") == ()  # they were dead before it
    assert found(trace(dead=np.full(len(STEPS), 0.7)), "update-too-large") == ()  # and from the start on
    back = np.where(np.array(STEPS) == 5, 0.7, 0.05)
    assert found(trace(dead=back), "update-too-large") == ()  # they came back


def test_harm_is_needed():
    partly = noisy(2.3 - 0.6 * np.minimum(np.arange(200) / 100, 1))
    assert found(trace(loss=partly), "update-too-large") == ()
    assert found(trace(loss=partly, dead=np.where(np.array(STEPS) > 3, 0.95, 0.05)), "update-too-large") != ()
