"""What both page and terminal say: the verdict in words, and one row for each module."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import isfinite
from statistics import median
from typing import Final

from lettrine.health.findings import Report
from lettrine.health.trace import Trace
from lettrine.report.kinds import kinds
from lettrine.report.picking import Floats, ends, gradient_row, output_row
from lettrine.report.words import count, numeral

OPEN: Final = {"not applicable": "not applicable to this network", "not run": "could not run", "failed": "broke"}


@dataclass(frozen=True)
class Verdict:
    """The report in two sentences. tone: "critical", "warning", "info", "good" or "unknown"."""

    tone: str
    headline: str
    detail: str


def verdict(report: Report) -> Verdict:
    """The verdict in words. If too few checks could run, it does not say "healthy", and tells why."""
    findings, outcomes = report.findings, report.outcomes
    by_status = Counter(outcome.status for outcome in outcomes)
    ran = by_status["passed"] + by_status["found"]
    rest = [f"{numeral(by_status[status])} {words}" for status, words in OPEN.items() if by_status[status]]
    detail = capital(f"{count(ran, 'check')} ran" + (f", {', '.join(rest)}" if rest else "") + ".")
    by_severity = Counter(finding.severity for finding in findings)
    remarks = f", with {count(by_severity['info'], 'remark')}" if by_severity["info"] else ""
    match report.verdict:
        case "not judged":
            broke = by_status["failed"] or report.trace.facts.errors
            why = "; ".join(report.unjudged) or "a check broke"
            return Verdict("warning" if broke else "unknown", f"Not judged{remarks}: {why}.", detail)
        case "healthy as far as seen":
            names = ", ".join(outcome.check for outcome in report.unseen)
            seen = f"Healthy as far as {ran} of {ran + len(report.unseen)} checks could see{remarks}."
            return Verdict("good", seen, f"{detail} Could not run: {names}.")
        case "healthy":
            return Verdict("good", f"Healthy: {count(ran, 'check')}, none found a fault{remarks}.", detail)
    parts = [count(by_severity["critical"], "critical finding")] if by_severity["critical"] else []
    parts += [count(by_severity["warning"], "warning")] if by_severity["warning"] else []
    parts += [count(by_severity["info"], "remark")] if by_severity["info"] else []
    text = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    if len(findings) > 1:
        detail = f"Begin with the first: it is the likeliest cause. {detail}"
    return Verdict("critical" if by_severity["critical"] else "warning", f"Not healthy: {text}.", detail)


def capital(text: str) -> str:
    """With a capital letter first."""
    return text[:1].upper() + text[1:]


def watched(trace: Trace) -> str:
    """What the verdict is based on: how many modules and steps."""
    if not len(trace.steps):
        return "Nothing was measured."
    last = max(int(trace.steps[-1]), int(trace.recent.step[-1]) if len(trace.recent.step) else 0)
    over = f"{last + 1:,} steps" if last else "one step"
    return capital(f"{count(len(trace.modules), 'module')} watched over {over}, {numeral(len(trace.steps))} measured.")


@dataclass(frozen=True)
class ModuleRow:
    """One module at the last sampled step that measured it. update_data: of its weight; NaN if it has none."""

    name: str
    kind: str
    units: int
    mean: float
    std: float
    saturated: float
    dead: float
    gradient_std: float
    update_data: float


FIGURES: Final = tuple(field.name for field in fields(ModuleRow))[3:]


def module_rows(trace: Trace) -> list[ModuleRow]:
    """One row for each measured module, from the input on."""
    weights: dict[str, str] = {}
    for parameter in trace.parameters:
        if len(parameter.shape) > 1 and parameter.name in trace.parameter_stats:
            weights.setdefault(parameter.module, parameter.name)
    rows = []
    for module in trace.modules:
        name = module.name
        measured = {stat: last_finite(output_row(trace, name, stat)) for stat in ("mean", "std", "saturated", "dead")}
        gradient = last_finite(gradient_row(trace, name, "std"))
        update = last_finite(trace.parameter(weights[name], "update_data")) if name in weights else float("nan")
        if name in trace.outputs or name in trace.gradients or name in weights:
            rows.append(ModuleRow(name, module.kind, module.units, **measured, gradient_std=gradient, update_data=update))
    return rows


@dataclass(frozen=True)
class Fold:
    """One row of the table where blocks repeat. members: of a kind; the row holds their medians. Empty for a single layer."""

    row: ModuleRow
    members: tuple[ModuleRow, ...] = ()

    @property
    def size(self) -> int:
        """How many layers the row stands for."""
        return len(self.members) or 1


def folds(trace: Trace) -> list[Fold]:
    """The rows of a trace. A kind has one row, at the place of its first layer."""
    rows = {row.name: row for row in module_rows(trace)}
    kind_of = {}
    for kind in kinds({name: row.kind for name, row in rows.items()}):
        members = tuple(rows[name] for name in kind.members)
        units = {row.units for row in members}
        figures = {stat: midmost([getattr(row, stat) for row in members]) for stat in FIGURES}
        row = ModuleRow(kind.name, kind.cls, units.pop() if len(units) == 1 else 0, **figures)
        kind_of[kind.members[0]] = Fold(row, members)
    inside = {row.name for fold in kind_of.values() for row in fold.members}
    return [kind_of.get(name) or Fold(row) for name, row in rows.items() if name in kind_of or name not in inside]


def midmost(values: Sequence[float]) -> float:
    """The median of the finite values; NaN if there is none."""
    kept = [value for value in values if isfinite(value)]
    return median(kept) if kept else float("nan")


def last_finite(row: Floats) -> float:
    """The last finite value of a row; NaN if there is none."""
    found = ends(row)
    return float("nan") if found is None else float(row[found[1]])
