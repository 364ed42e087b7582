"""`train`: words in, a run folder out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lettrine.cli.live import shown_live
from lettrine.cli.options import taking_options
from lettrine.cli.progress import progress
from lettrine.cli.show import console, note, number, out_json, plain, table

if TYPE_CHECKING:
    from lettrine.health.findings import Report
    from lettrine.training.run import Run

SIGNAL_BASE = 128  # exit code of a process that a signal ended: 128 + its number
RUNS = Path("runs")
SHOWN_WORDS = 10

RUN = "Run"  # panels of --help, after those of the table of options


def register(app: typer.Typer) -> None:
    """Add this command to the command line."""
    app.command(epilog="Example: lettrine train names.txt --out my-run, or on the shipped list: lettrine train --hidden 200x5")(
        train
    )


@taking_options()
def train(
    options: dict[str, Any],
    out: Annotated[Path | None, typer.Option(help="Folder of the new run. Default: runs/NAME.", rich_help_panel=RUN)] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Go on with a run that was stopped.", rich_help_panel=RUN)
    ] = None,
    like: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Take network and training from another run.", rich_help_panel=RUN)
    ] = None,
    report: Annotated[
        bool, typer.Option("--report/--no-report", help="Write report.html into the run folder.", rich_help_panel=RUN)
    ] = True,
    live: Annotated[
        bool, typer.Option("--live", help="Show the training on a local page while it runs.", rich_help_panel=RUN)
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.", rich_help_panel=RUN)] = False,
) -> None:
    """Train a network on a word list and keep it in a run folder."""
    from lettrine.errors import ConfigError, install_line  # noqa: PLC0415 - --help answers without numpy
    from lettrine.training import api  # noqa: PLC0415
    from lettrine.training.folder import REPORT  # noqa: PLC0415
    from lettrine.training.options import choices, word_list_of  # noqa: PLC0415

    if resume is not None:
        if options or out is not None or like is not None:
            other = next(iter(options), "out" if out is not None else "like")
            raise ConfigError(
                f"--resume goes on as the run began; leave out {other.replace('_', '-')}, or start anew with --like {resume}"
            )
        with progress(quiet=json) as told, shown_live(told, wanted=live) as listener:
            run = api.resume(resume, on_progress=listener, page=report)
    else:
        chosen = choices(options, like)
        word_list = word_list_of(chosen.words)
        folder = out or _free_folder(word_list.source)
        with progress(quiet=json) as told, shown_live(told, wanted=live) as listener:
            run = api.train(
                word_list, out=folder, shape=chosen.shape, settings=chosen.settings, on_progress=listener, page=report
            )
        for remark in word_list.notes:
            note(remark)
    _print(run, json=json)
    if report and not json and run.health is not None and run.path is not None and not (run.path / REPORT).exists():
        note(f"for a page with pictures: {install_line('report')}")
    if run.signal:
        raise typer.Exit(SIGNAL_BASE + run.signal)


def _free_folder(source: str) -> Path:
    """runs/NAME, or runs/NAME-2 and so on if that exists."""
    name = "".join(c if c.isalnum() or c in "-_" else "-" for c in Path(source).stem).strip("-") or "run"
    folder, count = RUNS / name, 1
    while folder.exists():
        count += 1
        folder = RUNS / f"{name}-{count}"
    return folder


def _print(run: Run, *, json: bool) -> None:
    results = run.results
    if results is None:
        return
    if run.status == "interrupted":
        note(f"stopped at step {results.steps:,}; go on with: lettrine train --resume {run.path}")
    if json:
        out_json(run.summary())
        return
    if run.settings.engine == "auto" and run.model.engine.name == "reference":
        note("trained on the reference engine; where pip finds a C++ compiler it builds one that is several times faster")
    out = console()
    config, examples = run.model.config, run.data.examples
    characters = config.vocabulary_size - 1 - len(run.data.labels)
    out.print(f"{run.data.words:,} words, {characters} characters, {examples['train']:,} training examples, {run.size}")
    shown = table("loss in nats", "")
    for name, meaning in run.meanings.items():
        exact = f": ln {config.vocabulary_size}" if name == "expected_initial" else ""
        shown.add_row(number(results.loss[name]), meaning + exact)
    out.print(shown)
    if results.steps:
        speed = f"{results.steps_per_second:,.0f} a second, {run.model.engine.name} engine"
        out.print(f"{results.steps:,} steps in {results.seconds:.1f} s ({speed})\n")
    else:
        out.print(f"counted in {results.seconds:.1f} s\n")
    words = [plain(word) for word in run.sample(SHOWN_WORDS, new=True, unique=True)]
    between = " · " if any(" " in word for word in words) else " "
    out.print(f"new words: {between.join(words) or 'none that is not in the list'}", markup=False)
    if run.health is not None:
        out.print()
        _print_findings(run.health, plain(str(run.path)))
    out.print(f"\nkept in {plain(str(run.path))}. More words: lettrine sample {plain(str(run.path))}", markup=False)


def _print_findings(report: Report, run: str) -> None:
    """The verdict in one line, then one line for each finding. `lettrine health` shows the rest."""
    from lettrine.report.summary import verdict  # noqa: PLC0415
    from lettrine.report.terminal import line  # noqa: PLC0415
    from lettrine.training.trials import can_be_tried  # noqa: PLC0415

    out = console()
    out.print(f"health: {verdict(report).headline} (lettrine health {run})", markup=False)
    for finding in report.findings:
        out.print(f"  {line(finding)}", markup=False)
    if any(can_be_tried(finding) for finding in report.findings):
        out.print(f"  what helps, tried in seconds: lettrine health {run} --try", markup=False)
