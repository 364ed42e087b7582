"""The page of a run: what was asked, what came out, new words, and the health report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lettrine.cli.show import number

if TYPE_CHECKING:
    from lettrine.report.html import Section
    from lettrine.training.run import Run

PAGE_WORDS = 60
MEANINGS = {
    "expected_initial": "a uniform guess",
    "initial": "before training",
    "train": "training words",
    "dev": "held-out words (chose the weights)",
    "trigram_test": "held-out words (never looked at), counting three characters",
    "counts_test": "the same, counting well (Kneser-Ney)",
    "network_test": "the same, the network alone",
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


def _sections(run: Run) -> list[Section]:
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
    sections = [Section("The run", facts=network)]
    if run.results is not None:
        losses = {name: Loss(run.results.loss[name]) for name in MEANINGS if name in run.results.loss}
        rows = [[MEANINGS[name], number(x.nats), number(x.bits), number(x.perplexity, 2)] for name, x in losses.items()]
        sections.append(Section("Loss", header=["on", "nats", "bits per character", "perplexity"], rows=rows))
    words = run.sample(PAGE_WORDS, new=True, unique=True)
    sections.append(Section("New words", text="Drawn from the trained model, none of them in the training list.", words=words))
    return [*sections, embedding_section(run.model)] if run.model.parameters else sections
