"""The page of one recipe, and the gallery of several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lettrine.inference.embeddings import characters_of
from lettrine.recipes.describe import comparison_rows, describe, short_layer, summary_rows, verdict
from lettrine.recipes.runner import RecipeRun
from lettrine.report.arrays import weight_gradients
from lettrine.report.characters import characters_section
from lettrine.report.figure import Figure, page_path, write_bytes
from lettrine.report.html import Section, render_sections, write
from lettrine.report.pictures import figures
from lettrine.report.words import scientific

GALLERY = ("loss", "update-data", "activations", "gradients", "gradient-data", "saturation-last")  # alike in height, two by two
PLANE = 2  # width of embeddings that are worth a picture in the gallery: nothing is lost in it
WORDS = 40
HEADER = ("figure", "layer", "published", "source", "ours", "difference", "judged")


def write_page(path: str | Path, result: RecipeRun) -> Path:
    """The page of one recipe: our figures beside the published ones, and every picture.

    Raises ConfigError, StorageError, MissingExtraError.
    """
    sections = [_experiment(result), _published(result), _gradients(result), _characters(result), _words(result)]
    return write(page_path(path), result.health, title=f"Recipe {result.recipe.name}", sections=[s for s in sections if s])


def write_gallery(path: str | Path, done: Sequence[RecipeRun]) -> Path:
    """One page of several recipes, side by side: a table of all, then the pictures of each."""
    header = ("recipe", "within tolerance", "dev loss", "findings", "seconds")
    text = "After a plus: figures that differ by no more than other batches or another split would."
    sections = [Section("All recipes", text=text, header=header, rows=summary_rows(done))]
    for result in done:
        drawn = figures(result.health.trace, result.health.findings)
        kept = {f"{result.recipe.name}-{key}": drawn[key] for key in GALLERY if key in drawn}
        if result.model.config.embedding == PLANE:
            kept |= _characters(result, f"{result.recipe.name}-embedding").figures
        sections.append(
            _published(result, title=result.recipe.name, text=f"{result.recipe.lesson} {verdict(result)}", figures=kept)
        )
    path = page_path(path)
    write_bytes(path, render_sections("Recipes", sections, facts=_facts(done[0])).encode())
    return path


def _facts(result: RecipeRun) -> dict[str, str]:
    words = result.words
    return {"words": f"{len(words):,} from {words.source}", "engine": result.model.engine.name, "seed": str(result.settings.seed)}


def _experiment(result: RecipeRun) -> Section:
    return Section(
        "The experiment",
        text=result.recipe.lesson,
        facts={
            **describe(result.recipe),
            **_facts(result),
            "taken": f"{result.steps:,} {'step' if result.steps == 1 else 'steps'} in {result.seconds:.1f} s",
        },
    )


def _published(
    result: RecipeRun, title: str = "Published and ours", text: str = "", figures: dict[str, Figure] | None = None
) -> Section:
    rows = comparison_rows(result.comparisons)
    return Section(title, text=text or verdict(result), header=HEADER, rows=rows, figures=figures or {})


def _gradients(result: RecipeRun) -> Section:
    """Gradients of the weights before and after, as figures and as densities."""
    before, after = (result.gradients[step] for step in (min(result.gradients), max(result.gradients)))

    def change(name: str, figure: str) -> str:
        return f"{scientific(getattr(before[name], figure))} → {scientific(getattr(after[name], figure))}"

    names = {name: short_layer(name) for name in before}
    rows = [(shown, *(change(name, figure) for figure in ("mean", "std", "ratio"))) for name, shown in names.items()]
    drawn = Figure(
        "Gradients of the weights",
        "How far a step of one size pulls at each weight. Layers whose rows are wider than the others' learn faster.",
        weight_gradients(
            {shown: {step: each[name].values for step, each in result.gradients.items()} for name, shown in names.items()},
            {shown: f"std {change(name, 'std')}" for name, shown in names.items()},
        ),
    )
    text = f"On the first batch, before the first step and after {result.steps:,}."
    header = ("weight", "mean", "std", "gradient:data")
    return Section("Gradients of the weights", text=text, header=header, rows=rows, figures={"weight-gradients": drawn})


def _words(result: RecipeRun) -> Section:
    words = result.sample(WORDS, new=True, unique=True)
    return Section("New words", text="Drawn from the trained network, none of them in the list it was trained on.", words=words)


def _characters(result: RecipeRun, key: str = "embedding") -> Section:
    model = result.model
    return characters_section(*characters_of(model.vocabulary, model.parameters["embedding.weight"]), key=key)
