"""The page of a run: what was asked, what came out, new words, and the health report."""

from __future__ import annotations

from math import isfinite
from pathlib import Path

from lettrine.inference.embeddings import characters_of
from lettrine.inference.evaluation import Loss
from lettrine.report.characters import characters_section
from lettrine.report.html import Section, write
from lettrine.training.run import MEANINGS, Run

PAGE_WORDS = 60


def write_run_page(path: Path, run: Run) -> Path:
    """Write the page of a run that was watched. Raises StorageError, MissingExtraError, HealthError if it was not watched."""
    name = path.parent.name if run.path is None else run.path.name
    return write(path, run.judged, title=f"{name}: a language model", sections=_sections(run))


def _sections(run: Run) -> list[Section]:
    config, settings, data, model = run.model.config, run.settings, run.data, run.model
    network = {
        "words": f"{data.words:,} from {data.source}",
        "examples": ", ".join(f"{count:,} {name}" for name, count in data.examples.items()),
        "vocabulary": f"{config.vocabulary_size} ({config.vocabulary_size - 1} characters and the end of the word)",
        "network": f"context {config.context}, embedding {config.embedding}, hidden {' '.join(map(str, config.hidden))}, "
        f"{config.activation}, norm {config.norm}; {config.parameter_count():,} parameters",
        "training": f"{settings.optimiser.kind}, learning rate {settings.peak:g} {settings.schedule}, batch {settings.batch}, "
        f"{settings.steps:,} steps, seed {settings.seed}, {model.engine.name} engine",
    }
    for change in settings.changes:
        network[f"from step {change.step:,} on"] = ", ".join(f"{name} {value}" for name, value in change.values.items())
    sections = [Section("The run", facts=network)]
    if run.results is not None:
        losses = {name: Loss(value) for name, value in run.results.loss.items()}
        rows = [[MEANINGS[name], _figure(x.nats), _figure(x.bits), _figure(x.perplexity, 2)] for name, x in losses.items()]
        sections.append(Section("Loss", header=["on", "nats", "bits per character", "perplexity"], rows=rows))
    words = run.sample(PAGE_WORDS, new=True, unique=True)
    sections.append(Section("New words", text="Drawn from the trained model, none of them in the training list.", words=words))
    return [*sections, characters_section(*characters_of(model.vocabulary, model.parameters["embedding.weight"]))]


def _figure(value: float, digits: int = 4) -> str:
    return f"{value:,.{digits}f}" if isfinite(value) else "-"
