"""The page of a fault that was planted and cured."""

from __future__ import annotations

from pathlib import Path

from lettrine.report.figure import page_path, write_bytes
from lettrine.report.html import Section, render_sections
from lettrine.report.pictures import figures
from lettrine.tools.fault_trials import Case

SHOWN = ("loss", "update-data")
PICTURES = {
    "saturation": ("activations", "saturation-first"),
    "dead-units": ("dead-units", "activations"),
    "symmetry": ("gradient-data", "gradients"),
    "activation-scale": ("output-scale", "gradient-scale"),
    "norm-statistics": ("norm-mean", "norm-variance"),
    "not-optimised": ("gradient-data",),
    "bias-before-norm": ("gradient-data",),
    "probabilities-as-logits": ("gradients",),
    "missing-zero-grad": ("activations",),
}
"""Pictures that show a finding, beside those of SHOWN."""


def write_case(path: str | Path, case: Case) -> Path:
    """One page of a fault: the fault, the findings and pictures, and the same with the remedy applied."""
    path, fault = page_path(path), case.fault
    said = f"{'Found' if case.found else 'Not found'}, and {'gone' if case.cured else 'not gone'} with the remedy."
    facts = {
        "planted": fault.planted,
        "remedy": fault.remedy,
        "named": fault.finding,
        "in": f"recipe {fault.recipe}",
        "verdict": said,
    }
    sections = [Section("The fault", facts=facts)]
    for title, report in (("With the fault", case.before), ("With the remedy", case.after)):
        drawn = figures(report.trace, report.findings)
        # The pictures that show the fault come first, then what every training shows.
        kept = {f"{title}-{key}": drawn[key] for key in dict.fromkeys((*PICTURES.get(fault.finding, ()), *SHOWN)) if key in drawn}
        told = {f"{finding.severity}: {finding.id}": f"{finding.message} {finding.remedy}" for finding in report.findings}
        sections.append(Section(title, text="" if told else "Nothing was found.", facts=told, figures=kept))
    write_bytes(path, render_sections(f"Fault: {fault.name}", sections).encode())
    return path
