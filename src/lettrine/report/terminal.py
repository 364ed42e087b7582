"""The report in the terminal: verdict, findings, one row a module. Also as plain text, for logs and pipes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import StringIO
from itertools import islice
from typing import Final

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lettrine.health.findings import Finding, Report
from lettrine.report.summary import ModuleRow, module_rows, verdict, watched
from lettrine.report.words import clean, number, percent, short, steps_text

STYLES: Final = {"critical": "bold red", "warning": "yellow", "info": "cyan", "good": "green", "unknown": "yellow"}
SIGNS: Final = {"critical": "✗", "warning": "!", "info": "·"}
ROWS: Final = 24  # of the table of modules; a page has them all
NAMES: Final = 6  # of one finding's layers
PLAIN_WIDTH: Final = 100


def render(report: Report) -> RenderableType:
    """The whole report for a Rich console: table, then verdict and findings, which are read last and so stay in view."""
    rows = module_rows(report.trace)
    said = verdict(report.findings, report.outcomes)
    parts: list[RenderableType] = [module_table(rows)] if rows else []
    if len(rows) > ROWS:
        parts.append(Text(f"  … {len(rows) - ROWS} of {len(rows)} modules left out here", style="dim"))
    parts += [Text(), Text(said.headline, style=STYLES[said.tone]), Text(f"{said.detail} {watched(report.trace)}", style="dim")]
    parts += [Text(f"The health check itself met an error: {clean(error)}", style="red") for error in report.trace.facts.errors]
    for finding in report.findings:
        parts += [Text(), finding_text(finding)]
    failed = [outcome for outcome in report.outcomes if outcome.status == "failed"]
    parts += [Text(f"The check {clean(outcome.check)} broke: {clean(outcome.reason)}", style="red") for outcome in failed]
    return Group(*parts)


def module_table(rows: Sequence[ModuleRow]) -> Table:
    """One row a module, at the last sampled step."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True, header_style="dim")
    table.add_column("module", no_wrap=True, overflow="ellipsis")
    table.add_column("kind", style="dim", no_wrap=True, overflow="ellipsis")
    for heading in ("mean", "std", "saturated", "dead", "grad std", "update:data"):
        table.add_column(heading, justify="right", no_wrap=True, min_width=len(heading))
    kept = rows if len(rows) <= ROWS else [*rows[: ROWS // 2], *rows[-(ROWS - ROWS // 2) :]]
    for row in kept:
        figures = (
            number(row.mean),
            number(row.std),
            percent(row.saturated),
            percent(row.dead),
            number(row.gradient_std),
            number(row.update_data),
        )
        table.add_row(Text(short(row.name, 34)), Text(short(row.kind, 18)), *figures)
    return table


def finding_text(finding: Finding) -> RenderableType:
    """One finding: what, where and when, why, and what to do."""
    style = STYLES[finding.severity]
    head = Text.assemble((f"{SIGNS[finding.severity]} {finding.severity}", style), "  ", (clean(finding.message), "bold"))
    body = Table.grid(padding=(0, 2))
    body.add_column(style="dim", no_wrap=True)
    body.add_column(overflow="fold")
    if finding.where:
        body.add_row("where", Text(where_text(finding)))
    body.add_row("when", Text(f"{steps_text(*finding.steps)}  [{clean(finding.id)}]"))
    body.add_row("why", Text(clean(finding.why)))
    for each in finding.explains:
        body.add_row("explains", Text(clean(each)))
    body.add_row("remedy", Text(clean(finding.remedy), style="bold"))
    if finding.reference:
        body.add_row("source", Text(clean(finding.reference), style="dim"))
    return Group(head, Padding(body, (0, 0, 0, 2)))


def where_text(finding: Finding) -> str:
    """The layers of a finding, at most NAMES of them."""
    names = ", ".join(clean(name) for name in islice(finding.where, NAMES))
    more = len(finding.where) - NAMES
    return f"{names} and {more} more" if more > 0 else names


def line(finding: Finding) -> str:
    """One plain line, for the moment a finding comes up during training."""
    where = f" ({where_text(finding)})" if finding.where else ""
    head = f"{SIGNS[finding.severity]} {finding.severity} at step {finding.steps[0]:,}"
    return f"{head}: {clean(finding.message)}{where} → {clean(finding.remedy)}"


def to_text(report: Report, width: int = PLAIN_WIDTH) -> str:
    """The report as plain text without colours, for `print(report)` and logs."""
    console = Console(file=StringIO(), width=width, color_system=None, force_terminal=False, legacy_windows=False)
    with console.capture() as capture:
        console.print(render(report))
    return "\n".join(rstripped(capture.get())).strip("\n")


def rstripped(text: str) -> Iterator[str]:
    """Lines without the spaces that a table pads them with."""
    return (row.rstrip() for row in text.split("\n"))
