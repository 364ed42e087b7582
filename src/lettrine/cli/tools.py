"""`lr-range`, `gains`, `compare`, `norms`: tools around initialisation and learning rate."""

from __future__ import annotations

from math import isnan
from pathlib import Path
from typing import Annotated, Any

import typer

from lettrine.cli.options import taking_options
from lettrine.cli.show import console, note, out_json, plain

# The options of a training on which a sweep of the learning rate depends.
RANGE_OPTIONS = frozenset(
    "words context embedding hidden activation norm init optimizer momentum batch seed threads engine".split()  # noqa: SIM905
)
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command("lr-range", epilog="Example: lettrine lr-range names.txt --hidden 100x5 --norm batch --optimizer sgd")(lr_range)
    app.command(epilog="Example: lettrine gains --html gains.html")(gains)
    app.command(epilog="Example: lettrine compare runs/first-names runs/first-names-2 --html compared.html")(compare)
    app.command(epilog="Example: lettrine norms my-run")(norms)


def _check_page(html: Path | None) -> None:
    """Refuse a bad name for a page before the work is done, not after it."""
    if html is not None:
        from lettrine.report.figure import page_path  # noqa: PLC0415

        page_path(html)


@taking_options(RANGE_OPTIONS)
def lr_range(
    options: dict[str, Any],
    run: Annotated[Path | None, typer.Option(metavar="RUN", help="Start from this run, as it was trained.")] = None,
    like: Annotated[Path | None, typer.Option(metavar="RUN", help="Start afresh, with the settings of this run.")] = None,
    low: Annotated[float, typer.Option(help="Learning rate at the beginning of the sweep.")] = 1e-5,
    high: Annotated[float, typer.Option(help="Learning rate at its end; it stops earlier if the loss explodes.")] = 10.0,
    steps: Annotated[int, typer.Option(help="Steps of the sweep.")] = 600,
    html: Annotated[Path | None, typer.Option(help="Also write a page with the curve.")] = None,
    json: Json = False,
) -> None:
    """Find a learning rate: raise it step by step and see where the loss falls fastest and where it explodes. Keeps nothing."""
    _check_page(html)
    from lettrine.errors import ConfigError  # noqa: PLC0415 - --help answers without numpy
    from lettrine.training.lr_range import lr_range as sweep_fresh  # noqa: PLC0415
    from lettrine.training.lr_range import lr_range_of_run  # noqa: PLC0415
    from lettrine.training.options import choices, word_list_of  # noqa: PLC0415

    if run is not None:
        if other := next((key for key in options if key != "engine"), "like" if like is not None else ""):
            raise ConfigError(f"--run sweeps the run as it is; leave out {other}, or sweep a fresh network with --like {run}")
        found = lr_range_of_run(run, engine=options.get("engine", "auto"), low=low, high=high, steps=steps)
    else:
        chosen = choices(options, like)
        found = sweep_fresh(
            word_list_of(chosen.words), shape=chosen.shape, settings=chosen.settings, low=low, high=high, steps=steps
        )
    if html is not None:
        from lettrine.tools.pages import write_range_page  # noqa: PLC0415

        path = write_range_page(html, found)
        if not json:
            note(f"wrote {path}")
    if json:
        out_json(found.to_dict())
        return
    out = console()
    out.print(found.reason, markup=False)
    if not isnan(found.suggestion):
        out.print(f"suggested: --lr {found.suggestion:.2g}")


def gains(
    fan_in: Annotated[int, typer.Option(help="Inputs of a unit, for the spread of x @ w.")] = 10,
    html: Annotated[Path | None, typer.Option(help="Also write a page with the picture.")] = None,
    json: Json = False,
) -> None:
    """How large weights must be at the start: the gain of each activation, with a numerical check, and the spread of x @ w."""
    _check_page(html)
    from lettrine.tools.gains import gain_rows, spread_rows  # noqa: PLC0415

    spreads, rows = spread_rows(fan_in), gain_rows()
    if html is not None:
        from lettrine.tools.pages import write_gains_page  # noqa: PLC0415

        path = write_gains_page(html, rows, spreads, fan_in)
        if not json:
            note(f"wrote {path}")
    if json:
        spread = [{"weights": s.name, "scale": s.scale, "std": s.measured, "expected": s.expected} for s in spreads]
        out_json({"fan_in": fan_in, "spread": spread, "gains": [vars(row) for row in rows]})
        return
    from rich.table import Table  # noqa: PLC0415

    out = console()
    table = Table("weights", "std of x @ w", "scale x sqrt(fan-in)", box=None)
    for each in spreads:
        table.add_row(each.name, f"{each.measured:.3f}", f"{each.expected:.3f}")
    out.print(table)
    table = Table("activation", "gain", "exact", "std, 50 layers", "10 drawn", "gradient", "why", box=None)
    for row in rows:
        figures = (row.gain, row.exact, row.settled, row.sampled, row.backward)
        table.add_row(row.activation, *(f"{value:.3f}" for value in figures), row.derivation)
    out.print("")
    out.print(table)
    meaning = "exact: 1 / sqrt(E[f(z)^2]). std of the pre-activations: by theory after 50 layers, of a random net after 10. "
    out.print(f"\n{meaning}gradient: its factor with each layer back.", markup=False)


def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN RUN...", help="Run folders, as lettrine train wrote them.")],
    html: Annotated[Path | None, typer.Option(help="Also write a page with the curves.")] = None,
    json: Json = False,
) -> None:
    """Show runs side by side: the settings in which they differ, losses, findings."""
    _check_page(html)
    from lettrine.tools.comparison import compare_runs, differences, to_dict  # noqa: PLC0415

    read = compare_runs(runs)
    if html is not None:
        from lettrine.tools.pages import write_comparison_page  # noqa: PLC0415

        path = write_comparison_page(html, read)
        if not json:
            note(f"wrote {path}")
    if json:
        out_json(to_dict(read))
        return
    from rich.table import Table  # noqa: PLC0415

    from lettrine.tools.pages import result_cells  # noqa: PLC0415

    table = Table("", *(plain(run.name) for run in read), box=None)
    for name, values in differences(read):
        table.add_row(name, *map(plain, values))
    table.add_section()
    for cells in result_cells(read):
        table.add_row(*cells)
    table.add_row("findings", *(", ".join(run.findings) or "none" for run in read))
    console().print(table)


def norms(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run folder with batch norm.")],
    engine: Annotated[str, typer.Option(help="auto, reference or native.")] = "auto",
    json: Json = False,
) -> None:
    """Batch norm of a run with three statistics: those of the batch, the running ones, and those of the whole training set."""
    from lettrine.tools.norms import AGREE, compare_norms  # noqa: PLC0415

    found = compare_norms(run, engine=engine)
    if json:
        out_json(found.to_dict())
        return
    from rich.table import Table  # noqa: PLC0415

    out = console()
    table = Table("statistics", "train", "dev", box=None)
    for way, losses in found.losses.items():
        table.add_row(way, *(f"{losses[part]:.4f}" for part in ("train", "dev")))
    out.print(table)
    agree = "agree" if found.largest_gap <= AGREE else "do not agree"
    out.print(f"\nThe three {agree}: they differ by {found.largest_gap:.4f} nats at most. {found.advice}", markup=False)
