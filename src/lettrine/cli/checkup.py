"""`checkup`: examine a PyTorch training by experiments."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from lettrine.cli.show import console, out_json
from lettrine.errors import HealthError

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def register(app: typer.Typer) -> None:
    """Add this command to the command line."""
    app.command(epilog="Example: lettrine checkup train.py:make --minutes 2 --save checkup.html")(checkup)


def checkup(
    task: Annotated[
        str,
        typer.Argument(
            metavar="FILE:FUNCTION", help="A function that returns model, batches, loss_fn, optimizer and, if you like, step."
        ),
    ],
    minutes: Annotated[float, typer.Option(help="How long it may take. The most important experiments come first.")] = 1.0,
    only: Annotated[str | None, typer.Option(help="Ids of experiments, with commas between. Default: all.")] = None,
    save: Annotated[
        str | None, typer.Option(help="Also write the report to a file ending in .html, .json, .sarif or .txt.")
    ] = None,
    autocast: Annotated[
        str | None, typer.Option(help="bfloat16 or float16: run forward passes under torch.autocast with this type.")
    ] = None,
    json: Json = False,
) -> None:
    """Examine a PyTorch training by experiments and say what is wrong with it. Exit code 1: something is critical."""
    from lettrine import health  # noqa: PLC0415 - start-up pays only for what it uses
    from lettrine.health.findings import report_path  # noqa: PLC0415

    place = None if save is None else report_path(save)  # before the experiments, not after them
    chosen = None if only is None else [name.strip() for name in only.split(",") if name.strip()]
    report = health.checkup(task=task, minutes=minutes, only=chosen, autocast=_dtype(autocast), progress=not json)
    if place is not None:
        report.save(place)
    if json:
        out_json({"task": task, **report.to_dict(), "experiments": experiments_of(report)})
    else:
        from lettrine.report import report_rich  # noqa: PLC0415

        console().print(report_rich(report))
    if report.exit_code:
        raise typer.Exit(report.exit_code)


def _dtype(name: str | None) -> Any:
    """The torch type of this name; None for None. Raises HealthError for a name that autocast does not know."""
    if name is None:
        return None
    from lettrine.torch.checkup import AUTOCAST  # noqa: PLC0415

    named = {str(each).removeprefix("torch."): each for each in AUTOCAST}
    if name not in named:
        raise HealthError(f"--autocast got {name!r}; expected {' or '.join(named)}")
    return named[name]


def experiments_of(report: object) -> list[dict[str, object]]:
    """The results of the experiments, as plain values."""
    from lettrine.health.evidence import EXPERIMENT  # noqa: PLC0415
    from lettrine.health.findings import Report  # noqa: PLC0415

    if not isinstance(report, Report):
        return []
    return [
        {"experiment": each.kind.removeprefix(EXPERIMENT), "said": each.words["said"], "figures": dict(each.figures)}
        for each in report.trace.evidence
        if each.kind.startswith(EXPERIMENT)
    ]
