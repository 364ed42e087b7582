"""The report as a value: its verdict, its JSON, and where it may be saved."""

from __future__ import annotations

import json
from dataclasses import replace
from math import inf, nan

import pytest
from paper import FACTS, make_trace

from lettrine.errors import HealthError, StorageError
from lettrine.health import Finding, Outcome, Report, examine


def finding(severity):
    return Finding("spike", severity, ("fc1",), (3, 9), nan, inf, "It broke.", "why", "remedy", "reference", ("and so on",))


def report(*severities, status="passed"):
    return Report(tuple(map(finding, severities)), (Outcome("spike", status, "reason"),), make_trace())


@pytest.mark.parametrize(
    ("severities", "worst", "healthy", "code"),
    [
        ((), "", True, 0),
        (("info",), "info", True, 0),
        (("warning", "info"), "warning", False, 0),
        (("info", "critical", "warning"), "critical", False, 1),
    ],
)
def test_the_worst_finding_decides(severities, worst, healthy, code):
    seen = report(*severities)
    assert (seen.worst, seen.healthy, seen.exit_code) == (worst, healthy, code)


def test_a_check_that_broke_is_not_health():
    assert not report(status="failed").healthy


def test_json_holds_no_nan_and_all_the_rest():
    values = json.loads(report("warning").to_json())
    assert values["findings"][0]["value"] is None
    assert values["findings"][0]["limit"] is None
    assert values["findings"][0]["where"] == ["fc1"]
    assert values["findings"][0]["explains"] == ["and so on"]
    assert values["outcomes"] == [{"check": "spike", "status": "passed", "reason": "reason"}]
    assert values["facts"]["classes"] == 10
    assert values["facts"]["norm_momentum"] is None
    assert (values["healthy"], values["steps"], values["sampled"]) == (False, [0, 199], 13)
    odd = replace(report(), trace=make_trace(facts=replace(FACTS, notes={"a": "ü"})))
    assert json.loads(odd.to_json())["facts"]["notes"] == {"a": "ü"}


def test_saving(tmp_path):
    seen = examine(make_trace(**{"act1.saturated": 0.8}))
    assert json.loads(seen.save(tmp_path / "health.json").read_text())["worst"] == "warning"
    assert "act1" in seen.save(tmp_path / "health.txt").read_text()
    with pytest.raises(HealthError, match=r"'health\.pdf'; expected one that ends in \.html, \.json, \.sarif or \.txt"):
        seen.save(tmp_path / "health.pdf")
    with pytest.raises(StorageError, match="could not be written"):
        seen.save(tmp_path / "nowhere" / "health.json")


def test_a_severity_must_be_one_of_three():
    with pytest.raises(HealthError, match="severity got 'fatal'"):
        finding("fatal")
