"""The page of a run: what was asked, what came out, new words, and the health report."""

from __future__ import annotations

from dataclasses import replace
from math import exp
from pathlib import Path
from typing import TYPE_CHECKING

from lettrine.cli.show import number

if TYPE_CHECKING:
    from lettrine.report.html import Section
    from lettrine.training.run import Run

PAGE_WORDS = 60
TEMPERATURES = (0.4, 0.6, 0.8, 1.0, 1.2, 1.5)
FLAT = 2  # width of an embedding that is drawn as it is
LARGE = 1e6  # perplexity from which it is told as a power of ten
MEANINGS = {
    "expected_initial": "a uniform guess",
    "initial": "before training",
    "train": "training words",
    "dev": "held-out words (chose the weights)",
    "test": "held-out words (never looked at)",
}


def write_page(run: Run) -> Path | None:
    """Write report.html into the run's folder; None where the extra that draws is not installed, or nothing was watched."""
    from lettrine.errors import MissingExtraError  # noqa: PLC0415 - start-up pays only for what it uses
    from lettrine.report.html import write  # noqa: PLC0415
    from lettrine.training.folder import REPORT  # noqa: PLC0415

    if run.path is None or run.health is None:
        return None
    try:
        return write(run.path / REPORT, run.health, title=f"{run.path.name}: a language model", sections=_sections(run))
    except MissingExtraError:
        return None


def perplexity(value: float) -> str:
    """A perplexity, as a power of ten where it has more digits than say anything."""
    return number(value, 2) if value < LARGE else f"{value:.1e}"


def _sections(run: Run) -> list[Section]:
    from lettrine.inference.embeddings import kinds, telling  # noqa: PLC0415
    from lettrine.inference.evaluation import Loss  # noqa: PLC0415
    from lettrine.report.html import Section  # noqa: PLC0415
    from lettrine.tools.sections import embedding_section  # noqa: PLC0415

    config, settings, data = run.model.config, run.settings, run.data
    network = {
        "words": f"{data.words:,} from {data.source}",
        "examples": ", ".join(f"{count:,} {name}" for name, count in data.examples.items()),
        "vocabulary": f"{config.vocabulary_size} ({config.vocabulary_size - 1} characters and the end of the word)",
        "network": f"context {config.context}, embedding {config.embedding}, hidden {' '.join(map(str, config.hidden))}, "
        f"{config.activation}, norm {config.norm}; {config.parameter_count():,} parameters",
        "training": f"{settings.optimiser.kind}, learning rate {settings.peak:g} {settings.schedule}, batch {settings.batch}, "
        f"{settings.steps:,} steps, seed {settings.seed}, {run.model.engine.name} engine",
    }
    sections = [Section("The run", facts=network, place="last")]
    if run.results is not None:
        losses = {name: Loss(value) for name, value in run.results.loss.items()}
        rows = [[MEANINGS[name], number(x.nats), number(x.bits), perplexity(x.perplexity)] for name, x in losses.items()]
        sections.append(Section("Loss", header=["on", "nats", "bits per character", "perplexity"], rows=rows))
    sections = [_words(run), *sections]
    model, table = run.model, run.model.parameters.get("embedding.weight")
    if table is not None:
        names = [model.vocabulary.show(index) for index in range(model.vocabulary.size)]
        tells = telling(table, kinds(names, model.vocabulary.end_sign))
        if tells or table.shape[1] == FLAT:
            section = replace(embedding_section(model), place="last")
            sections.append(section if tells else replace(section, header=(), rows=()))
    return sections


def _words(run: Run) -> Section:
    """New words at several temperatures, with how likely each of their characters is."""
    from lettrine.errors import ConfigError  # noqa: PLC0415
    from lettrine.report.html import Section, Spelled  # noqa: PLC0415

    drawn = []
    for temperature in TEMPERATURES:
        try:
            words = run.sample(PAGE_WORDS, new=True, unique=True, temperature=temperature)
        except ConfigError:  # no new word at this temperature
            continue
        scores = run.model.score(words)
        spelled = [[(character, exp(chance)) for character, chance in each.characters[:-1]] for each in scores]
        drawn.append(Spelled(f"{temperature:g}", spelled))
    names = [each.name for each in drawn]
    text = "Drawn from the trained model, none of them in the training list. Marked: characters that it found unlikely there."
    return Section("New words", text=text, spelled=drawn, shown="1" if "1" in names else "".join(names[-1:]), place="first")
