"""Showing what the health check measured: charts, one HTML page, the terminal.

It computes nothing: every figure comes from the trace. All pictures use the same two colours: grey for the first
sampled step, blue for the last. `lettrine.health.Report` calls the functions here by name.
"""

from __future__ import annotations

from rich.console import RenderableType

from lettrine.health.findings import Report
from lettrine.report import html, pictures, terminal
from lettrine.report.figure import Figure, save_chart, save_charts
from lettrine.report.html import Section

__all__ = [
    "Figure",
    "Section",
    "report_figures",
    "report_frame",
    "report_html",
    "report_rich",
    "report_text",
    "save_chart",
    "save_charts",
]


def report_text(report: Report) -> str:
    """The report as plain text."""
    return terminal.to_text(report)


def report_rich(report: Report) -> RenderableType:
    """The report for a Rich console."""
    return terminal.render(report)


def report_html(report: Report) -> str:
    """The report as one page that loads nothing."""
    return html.render(report)


def report_frame(report: Report) -> str:
    """The page in a frame, for notebooks."""
    return html.frame(html.render(report))


def report_figures(report: Report) -> dict[str, Figure]:
    """The report's pictures by name."""
    return pictures.figures(report.trace, report.findings)
