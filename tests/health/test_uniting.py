"""The traces of several processes as one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lettrine.health.evidence import Evidence
from lettrine.health.recorder import Recorder
from lettrine.health.schedule import Schedule
from lettrine.health.trace import PARAMETER_STATS, ParameterInfo, Trace
from lettrine.health.uniting import SHARD, united

NORM = PARAMETER_STATS.index("gradient_norm")


def part(number: int, norm: float) -> Trace:
    """A rank that holds 3 of the values of a parameter."""
    recorder = Recorder(Schedule(every=1))
    recorder.add(ParameterInfo("fc.weight", "fc", (2, 3)))
    for step in range(2):
        row = np.ones(len(PARAMETER_STATS))
        row[NORM] = norm
        recorder.record(step, parameters={"fc.weight": row})
    evidence = Evidence(SHARD, ("fc.weight",), (0, 0), {"part": float(number), "values": 3.0})
    return replace(recorder.trace(), evidence=(evidence,))


def test_the_gradient_of_a_whole_parameter_is_as_long_as_its_parts_together() -> None:
    whole = united([part(0, 3.0), part(1, 4.0)])
    assert whole.parameter("fc.weight", "gradient_norm").tolist() == [5.0, 5.0]
    assert [each.parameter("fc.weight", "gradient_norm").tolist() for each in whole.ranks] == [[5.0, 5.0]] * 2


def test_a_rank_that_recorded_nothing_stops_no_report() -> None:
    whole = united([part(0, 3.0), None], lost=(1,))
    assert whole.parameter("fc.weight", "gradient_norm").tolist() == pytest.approx([3.0, 3.0])
    assert [len(each.steps) for each in whole.ranks] == [2, 0]
