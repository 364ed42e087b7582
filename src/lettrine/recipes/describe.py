"""Recipes and what came of them as rows of text, for the terminal and for pages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from lettrine.activations import ACTIVATIONS
from lettrine.model.initialisation import Initialisation
from lettrine.recipes.figures import ComparedFigure, agreement, difference_of, number_of
from lettrine.recipes.recipe import BATCH, QUANTITIES, SOURCES, Recipe
from lettrine.recipes.runner import RecipeRun

JUDGED: Final = {"within": "within", "beaten": "beaten", "outside": "outside", "noise": "within its noise", "": ""}


def describe(recipe: Recipe) -> dict[str, str]:
    """What is trained, and how."""
    shape = recipe.config(2)  # of any vocabulary
    norm = "batch norm before it" if shape.norm == "batch" else ""
    if shape.output_norm:
        norm += ", and of the logits"
    depth = f"{len(shape.hidden)} x {shape.hidden[0]}" if len(shape.hidden) > 1 else str(shape.hidden[0])
    after = " ".join(
        filter(None, ("no activation" if shape.activation == "identity" else shape.activation, norm and f"({norm})"))
    )
    return {
        "network": f"context {shape.context}, embedding {shape.embedding}, hidden {depth}, {after}",
        "initialisation": describe_initialisation(recipe.init, shape.activation),
        "training": describe_training(recipe),
    }


def describe_training(recipe: Recipe) -> str:
    """Optimiser, steps and learning rate in words."""
    how = recipe.ours
    if how is None:
        drop = f", {recipe.rate / 10:g} from half-way on" if recipe.drops else ""
        drop += "".join(f"; {rate:g} on {words.name}" for words, rate in recipe.rates if rate != recipe.rate)
        return f"{recipe.steps:,} steps of plain SGD, batches of {BATCH}, learning rate {recipe.rate:g}{drop}"
    many = f"{how.networks} networks, each " if how.networks > 1 else ""
    beside = ", mixed with counts" if how.prior == "counts" else ""
    steps = f"{recipe.steps:,} steps of {how.optimiser.kind}"
    return f"{many}{steps}, batches of {how.batch}, learning rate {recipe.rate:g} at its peak ({how.schedule}){beside}"


def describe_initialisation(init: Initialisation, activation: str) -> str:
    """Starting widths in words."""
    gain = ACTIVATIONS[activation].gain if init.hidden is None else init.hidden
    parts = [
        f"embedding N(0, {init.embedding:g})",
        f"hidden {gain:.3g}{' / sqrt(fan-in)' if init.hidden_fan_in else ''}",
        f"output {init.output:.3g}{' / sqrt(fan-in)' if init.output_fan_in else ''}",
    ]
    if init.hidden_bias or init.output_bias:
        parts.append(f"biases {init.hidden_bias:g} and {init.output_bias:g}")
    if init.output_norm != 1.0:
        parts.append(f"scale of the last batch norm {init.output_norm:g}")
    return ", ".join(parts)


def published_rows(recipe: Recipe) -> list[tuple[str, str, str, str]]:
    """What was printed for it: figure, values, source, words."""
    rows = []
    for figure in recipe.published:
        values = "  ".join(number_of(figure.key, value) for value in figure.values)
        remark = f"{values} ({figure.text})" if values and figure.text else values or figure.text
        rows.append((QUANTITIES[figure.key].text, remark, f"{figure.source}: {SOURCES[figure.source]}", figure.words.name))
    return rows


def comparison_rows(rows: Sequence[ComparedFigure]) -> list[tuple[str, str, str, str, str, str, str]]:
    """Published and ours, side by side: figure, layer, published, source, ours, difference, judgement."""
    made, before = [], ("", "")
    for row in rows:
        name = QUANTITIES[row.key].text + (f" ({row.text})" if row.text and not math.isnan(row.published) else "")
        where = (row.key, row.source)
        same = row.layer != "" and where == before
        published = row.text if math.isnan(row.published) else number_of(row.key, row.published)
        shown = "" if same and math.isnan(row.published) else published
        source = "" if same else f"{row.source}, {row.words}"
        difference = difference_of(row) if row.judged or not math.isnan(row.published) else ""
        made.append(
            (
                "" if same else name,
                short_layer(row.layer),
                shown,
                source,
                number_of(row.key, row.ours),
                difference,
                JUDGED[row.judged],
            )
        )
        before = where
    return made


def short_layer(name: str) -> str:
    """A layer as the tables name it: "layer 1" for its activation, "layer 1 weight" for its matrix."""
    place = name.split(".")
    if len(place) > 1 and place[1].isdecimal():
        return f"layer {int(place[1]) + 1}" + (" weight" if place[0] == "layers" else "")
    return place[0] + (" weight" if len(place) > 1 else "")


def taken(result: RecipeRun) -> str:
    """Steps and time, such as: 1,000 steps in 1.2 s."""
    return f"{result.steps:,} step{'' if result.steps == 1 else 's'} in {result.seconds:.1f} s"


def verdict(result: RecipeRun) -> str:
    """One sentence on how the figures agree."""
    within, noise, judged = agreement(result.comparisons)
    if result.recipe.ours is not None and judged:
        return f"The published loss is {'beaten' if within == judged else 'not beaten'}."
    if judged > sum(row.key == "parameters" for row in result.comparisons):
        some = f"{within} of {judged} published figures lie within their tolerance"
        differ = "differs" if noise == 1 else "differ"
        more = f"; {noise} more {differ} by no more than other batches or another split would" if noise else ""
        return f"{some} (losses 0.02 nats, standard deviations 10 %, saturation 3 points, parameters exact){more}."
    unjudged = "Not judged but for the parameters" if judged else "Not judged"
    if result.steps != result.recipe.steps:
        return f"{unjudged}: published after {result.recipe.steps:,} steps."
    if judged and all(row.key == "parameters" or (row.text and math.isnan(row.published)) for row in result.comparisons):
        return "Only the parameters are judged: the rest was published in words or as a picture."
    lists = sorted({row.words for row in result.comparisons})
    return f"{unjudged}: published for {' and '.join(lists)}."


def summary_rows(done: Sequence[RecipeRun]) -> list[tuple[str, str, str, str, str]]:
    """One row a recipe: name, agreement, dev loss, findings, seconds."""
    rows = []
    for result in done:
        within, noise, judged = agreement(result.comparisons)
        found = ", ".join(finding.id for finding in result.health.findings) or "none"
        dev = number_of("dev", result.figures["dev"][0])
        rows.append(
            (
                result.recipe.name,
                f"{within}{f' + {noise}' if noise else ''} of {judged}" if judged else "-",
                dev,
                found,
                f"{result.seconds:.1f}",
            )
        )
    return rows
