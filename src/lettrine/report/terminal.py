"""The report in the terminal: verdict, findings, one row for each module. Also as plain text, for logs and pipes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from itertools import islice
from typing import Final

from rich import box
from rich.console import Console, ConsoleOptions, Group, JustifyMethod, RenderableType, RenderResult
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from lettrine.health.findings import Finding, Report
from lettrine.report.experiments import SIGNS as EXPERIMENT_SIGNS
from lettrine.report.experiments import ExperimentRow, experiment_rows
from lettrine.report.summary import ModuleRow, folds, verdict, watched
from lettrine.report.words import clean, number, percent, short, steps_text

STYLES: Final = {"critical": "bold red", "warning": "yellow", "info": "cyan", "good": "green", "unknown": "yellow"}
SIGNS: Final = {"critical": "✗", "warning": "!", "info": "·"}
TIMES: Final = "\N{MULTIPLICATION SIGN}"
ROWS: Final = 24  # most rows of the table of modules; a page has them all
NAMES: Final = 6  # most layers named for one finding
LEAST_NAME: Final = 12  # least room for the names of modules, in letters
PLAIN_WIDTH: Final = 100


def render(report: Report) -> RenderableType:
    """The whole report for a Rich console: first the table, then verdict and findings, so that these stay in view."""
    return View(report)


@dataclass(frozen=True)
class View:
    """A report that fits itself to the width of the console."""

    report: Report

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        report = self.report
        table = folds(report.trace)
        rows = [replace(fold.row, name=f"{fold.size} {TIMES} {fold.row.name}") if fold.members else fold.row for fold in table]
        if rows:
            yield ModuleTable(rows)
        if len(rows) > ROWS:
            yield Text(f"  … {len(rows) - ROWS} of {len(rows)} modules left out here", style="dim")
        if any(fold.members for fold in table):
            yield Text("  A row with a star is one kind of layer, with the medians of its layers.", style="dim")
        tried = experiment_rows(report)
        if tried:
            yield experiment_table(tried)
        said = verdict(report)
        yield Text()
        yield Text(said.headline, style=STYLES[said.tone])
        yield Text(said.detail if tried else f"{said.detail} {watched(report.trace)}", style="dim")
        for error in report.trace.facts.errors:
            yield Text(f"The health check itself met an error: {clean(error)}", style="red")
        for finding in report.findings:
            yield Text()
            yield finding_text(finding, timed=len(report.trace.steps) > 0)
        for outcome in report.outcomes:
            if outcome.status == "failed":
                yield Text(f"The check {clean(outcome.check)} broke: {clean(outcome.reason)}", style="red")


@dataclass(frozen=True)
class ModuleTable:
    """One row for each module, at the last sampled step. Where whole names leave no room, kinds are dropped, then means; a name
    that is still too long has a line of its own above its figures, so that it can be copied.
    """

    rows: Sequence[ModuleRow]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        kept = self.rows if len(self.rows) <= ROWS else [*self.rows[: ROWS // 2], *self.rows[-(ROWS - ROWS // 2) :]]
        texts = fitting(kept, options.max_width)
        names = [clean(row.name) for row in kept]
        left = max(LEAST_NAME, room(options.max_width, texts.items()))
        beside = [name if len(name) <= left else "" for name in names]
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True, header_style="dim")
        table.add_column("module", no_wrap=True, min_width=LEAST_NAME)
        for heading, cells in texts.items():
            justify: JustifyMethod = "left" if heading == "kind" else "right"
            table.add_column(heading, justify=justify, no_wrap=True, min_width=wide([heading, *cells]))
        for name, *cells in zip(beside, *texts.values(), strict=True):
            table.add_row(Text(name), *map(Text, cells))
        drawn = console.render_lines(table, options, pad=False)
        for line, name, shown in zip(drawn, ["", "", *names], ["", "", *beside], strict=True):  # the heading has two lines
            if name != shown:
                yield Text(name, overflow="fold")
            yield from (*line, Segment.line())


def fitting(rows: Sequence[ModuleRow], width: int) -> dict[str, list[str]]:
    """The columns that leave room for the names."""
    columns = {
        "mean": [number(row.mean) for row in rows],
        "std": [number(row.std) for row in rows],
        "saturated": [percent(row.saturated) for row in rows],
        "dead": [percent(row.dead) for row in rows],
        "grad std": [number(row.gradient_std) for row in rows],
        "update:data": [number(row.update_data) for row in rows],
    }
    kinds = [short(row.kind, 18) for row in rows]
    longest = max(LEAST_NAME, wide([clean(row.name) for row in rows]))
    if room(width, [*columns.items(), ("kind", kinds)]) >= longest:
        return {"kind": kinds, **columns}
    if room(width, columns.items()) < longest:
        del columns["mean"]
    return columns


def experiment_table(rows: Sequence[ExperimentRow]) -> Table:
    """One row for each experiment: how it ended and what it measured."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True, header_style="dim")
    table.add_column("experiment", no_wrap=True)
    table.add_column("what was measured", overflow="fold")
    for row in rows:
        ran = row.status in ("passed", "found", "tried")
        text = clean(row.said if ran else f"{row.status}: {row.said}")
        table.add_row(Text(f"{EXPERIMENT_SIGNS[row.status]} {clean(row.title)}"), Text(text, style="" if ran else "dim"))
    return table


def room(width: int, columns: Iterable[tuple[str, Sequence[str]]]) -> int:
    """How many letters are left for the names beside these columns. Each column has a gap of two."""
    return width - sum(2 + wide([heading, *cells]) for heading, cells in columns)


def wide(cells: Iterable[str]) -> int:
    """The length of the longest."""
    return max(map(len, cells))


def finding_text(finding: Finding, *, timed: bool = True) -> RenderableType:
    """One finding: what, where and when, why, and what to do. timed: whether to tell the steps."""
    style = STYLES[finding.severity]
    head = Text.assemble((f"{SIGNS[finding.severity]} {finding.severity}", style), "  ", (clean(finding.message), "bold"))
    body = Table.grid(padding=(0, 2))
    body.add_column(style="dim", no_wrap=True)
    body.add_column(overflow="fold")
    if finding.where:
        body.add_row("where", Text(where_text(finding)))
    body.add_row(
        *(("when", Text(f"{steps_text(*finding.steps)}  [{clean(finding.id)}]")) if timed else ("kind", Text(clean(finding.id))))
    )
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
    """One plain line, printed when a finding comes up during training."""
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
    """The lines without the spaces at their ends."""
    return (row.rstrip() for row in text.split("\n"))
