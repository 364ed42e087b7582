"""The page of a run: settings, results, new words, and the health report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import exp, isfinite
from pathlib import Path

from lettrine.errors import ConfigError
from lettrine.inference.embeddings import characters_of, telling
from lettrine.inference.evaluation import Loss
from lettrine.report.characters import characters_section
from lettrine.report.figure import page_path
from lettrine.report.html import Section, Spelled, write
from lettrine.training.run import Run

PAGE_WORDS = 60
PAGE_CHARACTERS = 6_000  # of the words at one temperature: very long words are fewer, and drawn at temperature 1 only
TEMPERATURES = (0.4, 0.6, 0.8, 1.0, 1.2, 1.5)
FLAT = 2  # width of an embedding that is drawn without a projection
LARGE = 1e6  # larger figures are written as a power of ten


def write_run_page(path: Path, run: Run) -> Path:
    """Write the page of a run that was watched. Raises ConfigError, StorageError, MissingExtraError, HealthError if unwatched."""
    path = page_path(path)
    name = path.parent.name if run.path is None else run.path.name
    return write(path, run.judged, title=f"{name}: a language model", sections=_sections(run))


def _sections(run: Run) -> list[Section]:
    config, settings, data, model = run.model.config, run.settings, run.data, run.model
    characters = config.vocabulary_size - 1 - len(data.labels)
    network = {
        "words": f"{data.words:,} from {data.source}",
        "examples": ", ".join(f"{count:,} {name}" for name, count in data.examples.items()),
        "vocabulary": f"{config.vocabulary_size} ({characters} characters and the end of the word{_labels(data.labels)})",
        "network": f"context {config.context}, embedding {config.embedding}, hidden {' '.join(map(str, config.hidden))}, "
        f"{config.activation}, norm {config.norm}, dropout {config.dropout:g}; {run.size}",
        "training": f"{settings.optimiser.kind}, learning rate {settings.peak:g} {settings.schedule}, batch {settings.batch}, "
        f"{settings.steps:,} steps, seed {settings.seed}, {model.engine.name} engine",
    }
    for change in settings.changes:
        network[f"from step {change.step:,} on"] = ", ".join(f"{name} {value}" for name, value in change.values.items())
    sections = [_words(run), Section("The run", facts=network, place="last")]
    if run.results is not None:
        losses = {meaning: Loss(run.results.loss[name]) for name, meaning in run.meanings.items()}
        rows = [[meaning, _figure(x.nats), _figure(x.bits), _figure(x.perplexity, 2)] for meaning, x in losses.items()]
        sections.append(Section("Loss", header=["on", "nats", "bits per character", "perplexity"], rows=rows))
    table = model.parameters.get("embedding.weight")  # counts alone have none
    if table is not None:
        found = characters_of(model.vocabulary, table, labels=model.labels)
        tells = telling(found.groups, found.neighbours)
        if tells or found.width == FLAT:
            section = replace(characters_section(*found), place="last")
            sections.append(section if tells else replace(section, text="", header=(), rows=()))
    return sections


def _labels(labels: Sequence[str]) -> str:
    return f", labels {', '.join(labels)}" if labels else ""


def _words(run: Run) -> Section:
    """New words at several temperatures, with the probability of each character."""
    drawn = []
    count = max(1, min(PAGE_WORDS, PAGE_CHARACTERS // max(run.data.longest, 1)))
    for temperature in TEMPERATURES if count == PAGE_WORDS else (1.0,):
        try:
            words = run.sample(count, new=True, unique=True, temperature=temperature)
        except ConfigError:  # no new word at this temperature
            continue
        scores = run.model.score(words)
        spelled = [[(character, exp(chance)) for character, chance in each.characters[:-1]] for each in scores]
        drawn.append(Spelled(f"{temperature:g}", spelled))
    names = [each.name for each in drawn]
    text = "Drawn from the trained model, none of them in the training list. Marked: characters that it found unlikely there."
    return Section("New words", text=text, spelled=drawn, shown="1" if "1" in names else "".join(names[-1:]), place="first")


def _figure(value: float, digits: int = 4) -> str:
    if not isfinite(value):
        return "-"
    return f"{value:,.{digits}f}" if value < LARGE else f"{value:.1e}"
