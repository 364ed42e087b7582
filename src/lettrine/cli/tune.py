"""`tune`: many trainings, on one machine or several; the best one is kept."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from lettrine.cli.options import taking_options
from lettrine.cli.show import console, note, number, out_json, plain, table
from lettrine.cli.train import SIGNAL_BASE
from lettrine.training.option_table import OPTIONS

if TYPE_CHECKING:
    from lettrine.search.tuned import Standing, Tuned

SEARCH: Final = "Search"  # panel of --help
OTHERS: Final = ("model", "effort", "seconds", "networks", "health", "threads")  # the search decides these itself
MINUTE: Final = 60


def register(app: typer.Typer) -> None:
    """Add this command to the command line."""
    app.command(
        epilog="Example: lettrine tune names.txt --minutes 5, or on several machines at once: "
        "lettrine tune names.txt --minutes 60 --storage postgresql://user@host/studies"
    )(tune)


@taking_options([option.name for option in OPTIONS if option.name not in OTHERS])
def tune(
    options: dict[str, Any],
    minutes: Annotated[
        float | None, typer.Option(help="Time for the search. Default: 5, or no limit with --trials.", rich_help_panel=SEARCH)
    ] = None,
    trials: Annotated[
        int | None, typer.Option(help="Number of trainings, including those of other workers.", rich_help_panel=SEARCH)
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Where the study is kept: a path on a shared disk, or sqlite:///…, postgresql://…. Default: in the folder.",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    study: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the study. Default: from the words.", rich_help_panel=SEARCH)
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(help="Trainings side by side. Default: one per processor.", rich_help_panel=SEARCH)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the search. Default: runs/NAME-tune.", rich_help_panel=SEARCH)
    ] = None,
    healthy: Annotated[
        bool,
        typer.Option(
            "--healthy",
            help="Exclude runs about which the health check says something critical.",
            rich_help_panel=SEARCH,
        ),
    ] = False,
    report: Annotated[
        bool, typer.Option("--report/--no-report", help="Write report.html into the folder.", rich_help_panel=SEARCH)
    ] = True,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.", rich_help_panel=SEARCH)] = False,
) -> None:
    """Search for the best network and training for a word list. Options that are given are kept as they are.

    The same command continues a search that was stopped. Several machines with the same --storage work on the same search.
    """
    from lettrine.search import api  # noqa: PLC0415 - --help answers without numpy
    from lettrine.training.options import choices, word_list_of  # noqa: PLC0415

    chosen = choices(options)
    words = word_list_of(chosen.words)
    with _line(quiet=json) as told:
        found = api.tune(
            words,
            out=out,
            minutes=minutes,
            trials=trials,
            storage=storage,
            study=study,
            jobs=jobs,
            healthy=healthy,
            shape=chosen.shape,
            settings=chosen.settings,
            on_progress=told,
            page=report,
        )
    for remark in words.notes:
        note(remark)
    if json:
        out_json(found.summary())
    else:
        _print(found)
    if found.trial >= 0 and found.run is None and not found.signal:
        note(f"another worker trains the best of these, into {found.folder}")
    if found.signal:
        note("stopped; the same command goes on")
        raise typer.Exit(SIGNAL_BASE + found.signal)


@contextlib.contextmanager
def _line(*, quiet: bool) -> Iterator[Callable[[Standing], None]]:
    """The progress, as one line on standard error; nothing if that is no terminal."""
    terminal = console(error=True)
    if quiet or not terminal.is_terminal:
        yield lambda _: None
        return
    with terminal.status("searching") as status:
        yield lambda now: status.update(said(now))


def said(now: Standing) -> str:
    """The progress of a search, in words."""
    many = f"{now.census.finished} of {now.wanted}" if now.wanted else f"{now.census.finished}"
    parts = [f"{many} trials", f"{now.census.pruned} pruned", f"{now.census.running} running"]
    parts.append(f"best {number(now.best, 3)} (default {number(now.default, 3)})")
    if 0 < now.seconds < float("inf"):
        minutes, seconds = divmod(int(now.seconds), MINUTE)
        parts.append(f"{minutes}:{seconds:02d} left")
    return f"{'training the best with several networks: ' if now.ending else ''}{', '.join(parts)}"


def _print(found: Tuned) -> None:
    out = console()
    counted = found.census
    trials = "1 trial" if counted.finished == 1 else f"{counted.finished} trials"
    out.print(f"{trials}, {counted.pruned} of them pruned; study {plain(found.name)} at {plain(found.storage)}\n")
    shown = table("dev loss in nats", "")
    shown.add_row(number(found.default), "lettrine's own choice, one network")
    none = "no trial without a critical finding" if counted.finished > counted.pruned else "no trial is finished"
    shown.add_row(number(found.best), f"trial {found.trial}, one network" if found.trial >= 0 else none)
    run = found.run
    if run is not None and run.results is not None:
        shown.add_row(number(run.results.loss["dev"]), f"kept: {run.size}")
    out.print(shown)
    if found.kept_default:
        out.print("\nno settings were better than lettrine's own by more than noise, so those are kept")
    elif found.point:
        out.print("\nchosen: " + ", ".join(f"{name} {value:.4g}" for name, value in found.point.items()))
    if run is not None and run.results is not None:
        out.print(f"test loss {number(run.results.loss['test'])} (on words that chose nothing)")
        path = plain(str(run.path))
        out.print(f"\nkept in {path}. New words: lettrine sample {path}", markup=False)
