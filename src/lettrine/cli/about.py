"""`info` and `corpora`: facts about a run, and the list of word lists."""

from __future__ import annotations

from math import isfinite, nan
from typing import Annotated, Any

import typer

from lettrine.cli.runs import RUNS, complete_run, found_runs
from lettrine.cli.show import console, note, number, out_json, plain, table
from lettrine.errors import install_line

NARROW = ("run", "words", "test")  # columns of the list of runs; a terminal of WIDE characters shows more of them
MORE = ("dev", "status", "parameters", "from")
WIDE = 72

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command(epilog="Example: lettrine info my-run")(info)
    app.command(epilog="Example: lettrine corpora, then: lettrine train --corpus words:fr")(corpora)


def info(
    run: Annotated[
        str | None,
        typer.Argument(metavar="[RUN]", help="A run folder. Without one: list the runs.", autocompletion=complete_run),
    ] = None,
    engine: Annotated[bool, typer.Option("--engine", help="Show which engines and instruction sets this machine has.")] = False,
    json: Json = False,
) -> None:
    """Show the settings and results of a run. Without a run: list the runs in `runs` and in this folder."""
    from lettrine.engine.choice import describe_engines  # noqa: PLC0415 - --help answers without numpy
    from lettrine.training.folder import RUN, read_description, results_of  # noqa: PLC0415

    if run is None and not engine:
        _list_runs(json=json)
        return
    if engine or run is None:
        facts = describe_engines()
        if json:
            out_json(facts)
        else:
            for name, value in facts.items():
                print(f"{name:<12} {value}")  # noqa: T201
        return
    folder, description, config, _, settings, data = read_description(run)
    if json:
        out_json({"run": str(folder), "parameters": config.parameter_count(), **description})
        return
    shown = table(title=f"{plain(str(folder / RUN))}: {description['status']}")
    hidden = " ".join(map(str, config.hidden))
    shown.add_row(
        "words", f"{data.words:,} from {plain(data.source)}, {config.vocabulary_size - 1 - len(data.labels)} characters"
    )
    shown.add_row("examples", ", ".join(f"{count:,} {plain(name)}" for name, count in data.examples.items()))
    if settings.model == "counts":
        shown.add_row("model", f"counts of {config.context + 1} characters and fewer, no network")
    else:
        many = f"{settings.networks} of " if settings.networks > 1 else ""
        beside = "mixed with counts" if settings.prior == "counts" else "alone"
        shown.add_row(
            "network", f"{many}context {config.context}, embedding {config.embedding}, hidden {hidden}, {config.activation}"
        )
        shown.add_row("", f"norm {config.norm}, dropout {config.dropout:g}, {config.parameter_count():,} parameters, {beside}")
    if settings.model != "counts":
        shown.add_row("training", f"{settings.optimiser.kind}, learning rate {settings.peak:g}, {settings.schedule}")
        shown.add_row("", f"batch {settings.batch}, seed {settings.seed}, engine {plain(description['engine']['name'])}")
    if results := results_of(description):
        for name, loss in results.loss.items():
            shown.add_row(f"loss {plain(name).replace('_', ' ')}", f"{number(loss)} nats" if isfinite(loss) else "-")
        steps = "none" if not results.steps else ""
        shown.add_row(
            "steps",
            steps or f"{results.steps:,} in {number(results.seconds, 1)} s, {number(results.steps_per_second, 0)} a second",
        )
    console().print(shown)


def _list_runs(*, json: bool) -> None:
    """The runs in `runs` and in the current folder, the latest first."""
    from lettrine.errors import RunError  # noqa: PLC0415
    from lettrine.training.folder import read_description, results_of  # noqa: PLC0415

    rows: list[dict[str, Any]] = []
    for folder in found_runs():
        try:
            _, description, config, _, _, data = read_description(folder)
        except RunError as error:
            rows.append({"run": str(folder), "status": "damaged", "why": str(error)})
            continue
        results = results_of(description)
        losses = {} if results is None else {name: results.loss.get(name) for name in ("dev", "test")}
        facts = {"words": data.words, "source": data.source, "parameters": config.parameter_count()}
        rows.append({"run": str(folder), "status": description["status"], **facts, "loss": losses})
    if json:
        out_json({"runs": rows})
        return
    if not rows:
        note(f"there is no run in {RUNS} or here; train one with: lettrine train WORDS")
        return
    out = console()
    names = NARROW if out.width < WIDE else (*NARROW, *MORE)
    shown = table(*names)
    shown.columns[0].overflow = "fold"  # the user may type it as it is shown
    for row in rows:
        words, parameters = (f"{row[key]:,}" if key in row else "-" for key in ("words", "parameters"))
        dev, test = (number(row.get("loss", {}).get(name) or nan, 3) for name in ("dev", "test"))
        cells = {"run": plain(row["run"]), "words": words, "test": test, "dev": dev, "status": row["status"]}
        cells |= {"parameters": parameters, "from": plain(row.get("source", "-"))}
        shown.add_row(*(cells[name] for name in names))
    out.print(shown)


def corpora(json: Json = False) -> None:
    """List the word lists that come with lettrine or its extras."""
    from lettrine.text.corpora import list_corpora  # noqa: PLC0415

    known = list_corpora()
    if json:
        out_json({"corpora": [vars(each) for each in known]})
        return
    shown = table("name", "words", "what")
    for each in known:
        size = "" if each.size is None else f"{each.size:,}"
        shown.add_row(each.name, size, each.description, style="" if each.available else "dim")
    console().print(shown)
    if not all(each.available for each in known):
        note(f"the dim ones need: {install_line('corpora')}")
