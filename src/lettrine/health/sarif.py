"""Findings as SARIF 2.1.0 (OASIS), a format that code hosts read to show findings of tools beside the code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lettrine.health.evidence import SOURCE, Evidence
from lettrine.health.findings import Finding, Report

SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
LEVELS: Final = {"info": "note", "warning": "warning", "critical": "error"}


def to_sarif(report: Report) -> dict[str, Any]:
    """One run of one tool: its rules are the kinds of the findings, its results the findings, each at the lines known.

    A finding without a line of its own is shown at that of the whole task: code hosts leave out what has none.
    """
    whole = next((each for each in report.trace.evidence if each.kind == SOURCE and not each.where), None)
    places = {name: each for each in report.trace.evidence if each.kind == SOURCE for name in each.where}
    kinds = list(dict.fromkeys(finding.id for finding in report.findings))
    rules = [{"id": kind, "shortDescription": {"text": kind.replace("-", " ")}} for kind in kinds]
    driver = {"name": "lettrine", "informationUri": "https://pypi.org/project/lettrine", "rules": rules}
    results = [_result(finding, places, whole) for finding in report.findings]
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def _result(finding: Finding, places: Mapping[str, Evidence], whole: Evidence | None) -> dict[str, Any]:
    locations = [_location(name, places.get(name, whole)) for name in finding.where]
    if not locations and whole is not None:
        locations = [_physical(whole)]
    return {
        "ruleId": finding.id,
        "level": LEVELS[finding.severity],
        "message": {"text": f"{finding.message} {finding.why} {finding.remedy}"},
        "locations": locations,
    }


def _location(name: str, place: Evidence | None) -> dict[str, Any]:
    location: dict[str, Any] = {"logicalLocations": [{"fullyQualifiedName": name, "kind": "member"}]}
    return location if place is None else location | _physical(place)


def _physical(place: Evidence) -> dict[str, Any]:
    line = max(1, int(place.figure("line")))
    return {"physicalLocation": {"artifactLocation": {"uri": place.words["file"]}, "region": {"startLine": line}}}
