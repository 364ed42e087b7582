"""`recipe`: published experiments by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lettrine.cli.progress import progress
from lettrine.cli.show import console, note, out_json, plain

if TYPE_CHECKING:
    from lettrine.recipes.runner import RecipeRun

SIGNAL_BASE = 128  # exit code of a process that a signal ended: 128 + its number

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="A recipe, see lettrine recipe list.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    recipes = typer.Typer(no_args_is_help=True, help="Published experiments by name: list them, show one, run it on your words.")
    recipes.command("list", epilog="Example: lettrine recipe list")(list_recipes)
    recipes.command("show", epilog="Example: lettrine recipe show deep-gain-3")(show)
    recipes.command("faults", epilog="Example: lettrine recipe faults, then: lettrine recipe run --fault no-end")(list_faults)
    recipes.command("run", epilog="Example: lettrine recipe run deep-tanh-5/3 names.txt --html page.html")(run)
    app.add_typer(recipes, name="recipe")


def list_recipes(json: Json = False) -> None:
    """List every recipe."""
    from lettrine.recipes.catalogue import RECIPES  # noqa: PLC0415 - --help answers without numpy

    if json:
        out_json({"recipes": [{"name": each.name, "lesson": each.lesson, "steps": each.steps} for each in RECIPES]})
        return
    from rich.table import Table  # noqa: PLC0415

    table = Table("name", "steps", "what it shows", box=None)
    table.columns[1].justify = "right"
    for each in RECIPES:
        table.add_row(each.name, f"{each.steps:,}", each.lesson)
    console().print(table)


def list_faults(json: Json = False) -> None:
    """List the faults that can be planted in a healthy recipe, to see what the health check says about them."""
    from lettrine.tools.faults import FAULTS  # noqa: PLC0415

    if json:
        rows = [
            {"name": f.name, "planted": f.planted, "remedy": f.remedy, "finding": f.finding, "torch": f.torch} for f in FAULTS
        ]
        out_json({"faults": rows})
        return
    from rich.table import Table  # noqa: PLC0415

    table = Table("name", "what is done wrong", "finding", box=None)
    for each in FAULTS:
        table.add_row(each.name, each.planted, each.finding)
    console().print(table)


def show(name: Name, json: Json = False) -> None:
    """Show what a recipe trains and what was published for it."""
    from lettrine.recipes.catalogue import find_recipe  # noqa: PLC0415
    from lettrine.recipes.describe import describe, published_rows  # noqa: PLC0415

    recipe = find_recipe(name)
    facts, rows = describe(recipe), published_rows(recipe)
    if json:
        header = ("figure", "published", "source", "words")
        out_json(
            {"recipe": name, "lesson": recipe.lesson, **facts, "published": [dict(zip(header, r, strict=True)) for r in rows]}
        )
        return
    from rich.table import Table  # noqa: PLC0415

    out = console()
    out.print(f"{name}: {recipe.lesson}")
    table = Table(box=None, show_header=False)
    for key, value in facts.items():
        table.add_row(key, value)
    out.print(table)
    published = Table("figure", "published", "source", "words", box=None)
    for row in rows:
        published.add_row(*row)
    out.print(published)


def run(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]... [WORDS]", help="Recipes, then a word list. Default: first-names.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Run every recipe.")] = False,
    fault: Annotated[str | None, typer.Option(help="Plant a fault in a healthy recipe, see lettrine recipe faults.")] = None,
    steps: Annotated[
        int, typer.Option(help="Fewer steps, for a quick look; final figures are not judged then. 0 means all.")
    ] = 0,
    seed: Annotated[int | None, typer.Option(help="Seed of the random numbers. Default: that of the published run.")] = None,
    engine: Annotated[str, typer.Option(help="auto, reference or native.")] = "auto",
    threads: Annotated[int, typer.Option(help="Processor threads.")] = 1,
    html: Annotated[Path | None, typer.Option(help="Also write a page with pictures; of several, a gallery.")] = None,
    json: Json = False,
) -> None:
    """Run recipes and show our figures beside the published ones.

    Only the page of --html is kept. To keep a network, use lettrine train.
    """
    from lettrine.recipes.choice import chosen_recipes  # noqa: PLC0415
    from lettrine.recipes.generator import SEED  # noqa: PLC0415
    from lettrine.recipes.runner import run_recipe  # noqa: PLC0415

    if html is not None:
        from lettrine.report.figure import page_path  # noqa: PLC0415

        page_path(html)  # say it before minutes of training, not after them
    if fault is not None:
        _run_fault(fault, names or [], engine=engine, threads=threads, html=html, json=json)
        return
    chosen, words = chosen_recipes(names or [], everything=everything)
    done: list[RecipeRun] = []
    for recipe in chosen:
        with progress(quiet=json, label=recipe.name) as listener:
            how: Any = {"steps": steps, "seed": SEED if seed is None else seed, "engine": engine, "threads": threads}
            done.append(run_recipe(recipe, words, on_progress=listener, **how))
        if not json:
            _print(done[-1])
        if done[-1].signal:
            break
    if json:
        out_json(done[0].to_dict() if len(chosen) == 1 else {"recipes": [each.to_dict() for each in done]})
    elif len(done) > 1:
        _print_summary(done)
    if html is not None:
        _write(html, done, quiet=json)
    if done[-1].signal:
        raise typer.Exit(SIGNAL_BASE + done[-1].signal)


def _write(html: Path, done: list[RecipeRun], *, quiet: bool) -> None:
    from lettrine.recipes.pages import write_gallery, write_page  # noqa: PLC0415

    path = write_page(html, done[0]) if len(done) == 1 else write_gallery(html, done)
    if not quiet:
        note(f"wrote {path}")


def _run_fault(name: str, words: list[str], *, engine: str, threads: int, html: Path | None, json: bool) -> None:
    from lettrine.errors import ConfigError  # noqa: PLC0415
    from lettrine.tools.fault_trials import try_fault  # noqa: PLC0415
    from lettrine.tools.faults import find_fault  # noqa: PLC0415
    from lettrine.training.api import as_word_list  # noqa: PLC0415

    chosen = find_fault(name)
    if len(words) > 1:
        raise ConfigError(
            f"--fault is planted in a recipe of its own; expected at most one word list, got {len(words)} arguments"
        )
    with progress(quiet=json, label=name) as listener:
        case = try_fault(chosen, as_word_list(words[0] if words else None), engine=engine, threads=threads, on_progress=listener)
    if html is not None:
        from lettrine.tools.fault_page import write_case  # noqa: PLC0415

        path = write_case(html, case)
        if not json:
            note(f"wrote {path}")
    if json:
        out_json(case.to_dict())
        return
    from lettrine.report.terminal import line  # noqa: PLC0415

    out = console()
    out.print(f"planted: {chosen.planted}", markup=False)
    for finding in case.before.findings:
        out.print(f"  {line(finding)}", markup=False)
    out.print(f"found: {'yes' if case.found else 'no'} ({chosen.finding})\n", markup=False)
    out.print(f"remedy: {chosen.remedy}", markup=False)
    for finding in case.after.findings:
        out.print(f"  {line(finding)}", markup=False)
    out.print(f"cured: {'yes' if case.cured else 'no'}", markup=False)


def _print(result: RecipeRun) -> None:
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from lettrine.recipes.describe import comparison_rows, taken, verdict  # noqa: PLC0415
    from lettrine.report.summary import verdict as health_verdict  # noqa: PLC0415
    from lettrine.report.terminal import line  # noqa: PLC0415

    out = console()
    out.print(Text.assemble("\n", (result.recipe.name, "bold"), f": {result.recipe.lesson}"))
    words = f"{len(result.words):,} words from {plain(result.words.source)}"
    out.print(f"{words}; {taken(result)}, {result.model.engine.name} engine", markup=False)
    table = Table("figure", "layer", "published", "source", "ours", "difference", "", box=None)
    for index in (2, 4, 5):
        table.columns[index].justify = "right"
    for row in comparison_rows(result.comparisons):
        style = {"within": "green", "outside": "bold red"}.get(row[-1], "")
        table.add_row(*row[:-1], Text(row[-1], style))
    out.print(table)
    out.print(verdict(result), markup=False)
    said = health_verdict(result.health)
    out.print(f"health: {said.headline}", markup=False)
    for finding in result.health.findings:
        out.print(f"  {line(finding)}", markup=False)


def _print_summary(done: list[RecipeRun]) -> None:
    from rich.table import Table  # noqa: PLC0415

    from lettrine.recipes.describe import summary_rows  # noqa: PLC0415

    table = Table("recipe", "within tolerance", "dev loss", "findings", "seconds", box=None)
    for row in summary_rows(done):
        table.add_row(*row)
    console().print("\n", table)
