"""The results of the health check: findings, the outcome of every check, and the report with all of them."""

from __future__ import annotations

import importlib
import json
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from lettrine.arguments import checked
from lettrine.errors import HealthError, StorageError
from lettrine.health.evidence import EXPERIMENT, Evidence
from lettrine.health.scalars import ROOT, columns, of_trace
from lettrine.health.trace import Trace

SEVERITIES: Final = ("info", "warning", "critical")
STATUSES: Final = ("passed", "found", "not applicable", "not run", "failed")

OPEN: Final = ("not run", "failed")  # outcomes of checks that concern the network but gave no answer
VERDICTS: Final = ("healthy", "healthy as far as seen", "not judged", "not healthy")
NOT_JUDGED: Final = 4  # exit code; 2 and 3 are those of errors

_DRAWING: Final = "lettrine.report"
"""The module that draws reports, imported by name when one is first shown: this folder computes and does not draw, but
`print(report)` and `report.save(…)` belong to the report. It has `report_text`, `report_html`, `report_frame` (for notebooks),
`report_rich` and `report_figures`, each a function of the report."""


@checked
@dataclass(frozen=True)
class Finding:
    """One fault, named.

    id: the check that found it, such as "saturation".
    severity: "info", "warning" or "critical".
    where: qualified names of the modules or parameters, from the input on; empty for the whole network.
    steps: first and last optimiser step at which it was seen.
    value, limit: the measured figure and its limit; NaN if the fault has no figure.
    message: one plain sentence. why: what the fault does to training. remedy: what to do, with numbers.
    reference: the paper or lecture of the check.
    explains: messages of other findings that this one very likely caused; they are not listed separately.
    """

    id: str
    severity: str
    where: tuple[str, ...]
    steps: tuple[int, int]
    value: float
    limit: float
    message: str
    why: str
    remedy: str
    reference: str
    explains: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise HealthError(f"severity got {self.severity!r}; expected one of {', '.join(SEVERITIES)}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: figures that are NaN or infinite are None."""
        return {key: _plain(value) for key, value in asdict(self).items()}


@checked
@dataclass(frozen=True)
class Outcome:
    """The outcome of one check.

    status: one of STATUSES: "passed", "found", "not applicable", "not run" (something it needs was not recorded) or
        "failed" (the check itself broke: shown, never swallowed).
    reason: why it is not applicable, was not run, or failed, or which finding explains its own; empty otherwise.
    """

    check: str
    status: str
    reason: str = ""


ENDINGS: Final = (".html", ".htm", ".json", ".sarif", ".txt")
"""Of files that a report is written to."""


def report_path(path: str | Path) -> Path:
    """The path, if a report can be written to a file of this name. Ask before long work.

    Raises HealthError for another ending, StorageError if there is no such folder.
    """
    path = Path(path)
    if path.suffix.lower() not in ENDINGS:
        raise HealthError(f"report got the name {path.name!r}; expected one that ends in .html, .json, .sarif or .txt")
    if not path.parent.is_dir():
        raise StorageError(f"report could not be written to {path}: No such file or directory; choose another place")
    return path


@checked
@dataclass(frozen=True)
class Report:
    """The answer of the health check.

    findings: the likeliest cause first. outcomes: one for each check, in the order of their registration. trace: the figures
    behind it. title: the heading of the report. unjudged: reasons why the verdict cannot be "healthy", in half sentences, such as
    too few steps or modules that were not seen; empty if it can be.
    """

    findings: tuple[Finding, ...]
    outcomes: tuple[Outcome, ...]
    trace: Trace
    title: str = "Health"
    unjudged: tuple[str, ...] = ()
    _shown: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)  # forms that were drawn once

    @property
    def worst(self) -> str:
        """Severity of the worst finding; "" if there is none."""
        return max((finding.severity for finding in self.findings), key=SEVERITIES.index, default="")

    @property
    def unseen(self) -> tuple[Outcome, ...]:
        """The checks that concern this network and could not run."""
        return tuple(outcome for outcome in self.outcomes if outcome.status in OPEN)

    @property
    def verdict(self) -> str:
        """One of VERDICTS: "not healthy" with a warning or something critical; else "not judged" where too little was seen; else
        "healthy", or "healthy as far as seen" where some checks could not run.
        """
        if self.worst not in ("", "info"):
            return "not healthy"
        if self.unjudged or any(outcome.status == "failed" for outcome in self.outcomes):
            return "not judged"
        return "healthy as far as seen" if self.unseen else "healthy"

    @property
    def healthy(self) -> bool:
        """Whether enough was seen, and nothing worse than "info" was found in it."""
        return self.verdict.startswith("healthy")

    @property
    def exit_code(self) -> int:
        """For scripts: 1 if something is critical, NOT_JUDGED if too little was seen to say, else 0."""
        return 1 if self.worst == "critical" else NOT_JUDGED if self.verdict == "not judged" else 0

    def to_dict(self, *, figures: bool = False) -> dict[str, Any]:
        """Findings, outcomes and facts as plain values; of a check-up also what each experiment and trial measured, as
        "experiments". figures: all figures of the trace too, by step, as "figures".
        """
        steps = self.trace.steps
        tried = [_experiment(each) for each in self.trace.evidence if each.kind.startswith(EXPERIMENT)]
        told = {"figures": [{"step": step, "key": key, "value": value} for step, key, value in self.scalars()]} if figures else {}
        return {
            "title": self.title,
            "healthy": self.healthy,
            "verdict": self.verdict,
            "unjudged": list(self.unjudged),
            "worst": self.worst,
            "steps": [int(steps[0]), int(steps[-1])] if len(steps) else [],
            "sampled": len(steps),
            "findings": [finding.to_dict() for finding in self.findings],
            "outcomes": [asdict(outcome) for outcome in self.outcomes],
            "facts": {key: _plain(value) for key, value in asdict(self.trace.facts).items()},
            **({"experiments": tried} if tried else {}),
            **told,
        }

    def to_json(self, *, figures: bool = False) -> str:
        """The same as JSON text; missing figures are null."""
        return json.dumps(self.to_dict(figures=figures), indent=2, ensure_ascii=False, allow_nan=False)

    def scalars(self) -> Iterator[tuple[int, str, float]]:
        """Every figure as (step, key, value), in the order of the steps, for any tracker. Keys are those of
        `lettrine.health.scalars`. The last is the number of findings, "health/findings", at the last step.
        """
        last = 0
        for last, key, value in of_trace(self.trace):
            yield last, key, value
        yield last, f"{ROOT}/findings", float(len(self.findings))

    def to_frame(self) -> dict[str, NDArray[Any]]:
        """The same as columns of equal length: "step", and one for each key, NaN if a step does not have the figure.

        It is a plain dict of arrays and needs no library. `pandas.DataFrame(report.to_frame())` and
        `polars.DataFrame(report.to_frame())` accept it.
        """
        return columns(self.trace)

    def to_sarif(self) -> str:
        """The findings as SARIF 2.1.0 text, which code hosts show at the line where a module was built."""
        from lettrine.health.sarif import to_sarif  # noqa: PLC0415  it reads findings itself

        return json.dumps(to_sarif(self), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @checked
    def save(self, path: str | Path) -> Path:
        """Write the report: a page with charts if the name ends in .html, JSON in .json, SARIF in .sarif, plain text in .txt.

        Raises HealthError for another ending, StorageError if the disk refuses, MissingExtraError if charts cannot be drawn.
        """
        path = report_path(path)
        match path.suffix.lower():
            case ".html" | ".htm":
                text = str(self._drawn("report_html"))
            case ".json":
                text = self.to_json() + "\n"
            case ".sarif":
                text = self.to_sarif()
            case _:
                text = str(self) + "\n"
        temporary = path.with_name(path.name + ".partial")  # so that the file is whole or not there
        try:
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise StorageError(
                f"report could not be written to {path}: {error.strerror or error}; choose another place"
            ) from error
        return path

    def __str__(self) -> str:
        return str(self._drawn("report_text"))

    def _repr_html_(self) -> str:
        return str(self._drawn("report_frame"))

    def __rich__(self) -> Any:
        return self._drawn("report_rich")

    def charts(self) -> dict[str, Any]:
        """The pictures by name, such as "loss" and "activations": each has a `title`, a `reading`, a Vega-Lite `chart` and
        `save(path)` for PNG, SVG or JSON. Raises MissingExtraError without the extra `report`.
        """
        return dict(self._drawn("report_figures"))

    def _drawn(self, form: str) -> Any:
        """Draw it at the first call and keep it: a report does not change. Python's random numbers, which rich draws from, stay
        those of the training that goes on.
        """
        if form not in self._shown:
            state = random.getstate()
            try:
                self._shown[form] = getattr(importlib.import_module(_DRAWING), form)(self)
            finally:
                random.setstate(state)
        return self._shown[form]


def _experiment(seen: Evidence) -> dict[str, Any]:
    """What an experiment, or a trial of a remedy, measured. Figures of a trial: "without" and "with" the remedy, and "error", the
    standard error of their difference.
    """
    words = dict(seen.words)
    told = {"id": seen.kind.removeprefix(EXPERIMENT), "title": words.pop("title", ""), "said": words.pop("said", "")}
    return {**told, "where": list(seen.where), "figures": _plain(dict(seen.figures)), "words": words}


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, tuple | list) else value
