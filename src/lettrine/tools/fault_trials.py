"""Plants a fault, examines the training with the health check, applies the remedy, and examines it again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from lettrine.engine.base import Indices
from lettrine.engine.choice import choose_engine
from lettrine.health.findings import Finding, Outcome, Report
from lettrine.health.limits import STUDY
from lettrine.inference.language_model import LanguageModel
from lettrine.recipes.generator import SEED, GeneratorBatches, TorchGenerator, draw_parameters
from lettrine.recipes.runner import RecipeRun, train_recipe
from lettrine.text.vocabulary import Vocabulary
from lettrine.text.windows import windows
from lettrine.text.words import WordList, split
from lettrine.tools.faults import Fault, healthy_recipe
from lettrine.tools.planting import Patient
from lettrine.training.session import OnProgress

DRAWN: Final = 100  # words drawn to see whether they end
ENDING: Final = 0.5  # share of them that must end


@dataclass(frozen=True)
class Case:
    """A fault and the result of its trial. before, after: the health reports of the sick and of the cured training."""

    fault: Fault
    words: WordList
    before: Report
    after: Report

    @property
    def found(self) -> bool:
        """Whether the fault was named, as a finding or as the consequence of one."""
        return self._named(self.before)

    @property
    def cured(self) -> bool:
        """Whether the remedy cured it."""
        return not self._named(self.after)

    def _named(self, report: Report) -> bool:
        return any(outcome.check == self.fault.finding and outcome.status == "found" for outcome in report.outcomes)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        fault = self.fault
        return {
            "fault": fault.name,
            "planted": fault.planted,
            "expected": fault.finding,
            "found": self.found,
            "remedy": fault.remedy,
            "cured": self.cured,
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
        }


def try_fault(
    fault: Fault, words: WordList, *, engine: str = "auto", threads: int = 1, on_progress: OnProgress = lambda _: None
) -> Case:
    """Train a healthy recipe with a fault planted in it, then without.

    Raises WordListError, EngineError, and MissingExtraError for a fault of torch training loops if torch is missing.
    """
    recipe = replace(healthy_recipe(fault), steps=fault.steps, drops=False)
    vocabulary = Vocabulary.from_words(words.words)
    parts = [windows(part, vocabulary, recipe.shape.context) for part in split(words.words)]
    settings = recipe.settings(engine=engine, threads=threads, seed=SEED).resolved(len(parts[0]))
    patient = Patient(recipe, settings, (parts[0], parts[1], parts[2]))
    if fault.torch:
        before, after = _in_torch(fault, patient, vocabulary)
    elif fault.name == "shared-generator":
        before, after = (_with_sampling(patient, words, vocabulary, on_progress, shared=shared) for shared in (True, False))
    else:
        before, after = (_examined(each, words, on_progress) for each in fault.patients(patient))
    return Case(fault, words, before, after)


def _train(patient: Patient, words: WordList, on_progress: OnProgress, batches: Any = None) -> RecipeRun:
    return train_recipe(
        patient.recipe,
        words,
        patient.settings,
        splits=patient.splits,
        engine=patient.engine(choose_engine(patient.settings.engine)),
        prepare=patient.prepare,
        batches=batches,
        on_progress=on_progress,
    )


def _examined(patient: Patient, words: WordList, on_progress: OnProgress) -> Report:
    result = _train(patient, words, on_progress)
    return _with_finding(result.health, "never-ends", endless_words(result.model, words))


def endless_words(model: LanguageModel, words: WordList) -> Finding | None:
    """A finding if most words of a model do not end."""
    longest = 2 * max(map(len, words))
    uniforms = np.random.default_rng([0]).random((DRAWN, longest))
    drawn = model.drawer()(np.zeros((DRAWN, model.context), np.int32), uniforms)  # (N, L)
    ended = float((drawn == 0).any(axis=1).mean())
    if ended >= ENDING:
        return None
    return Finding(
        id="never-ends",
        severity="critical",
        where=("output",),
        steps=(0, 0),
        value=ended,
        limit=ENDING,
        message=f"{100 * ended:.0f} % of {DRAWN} words end before twice the length of the longest word of the list.",
        why="The network never saw the end of a word, so it gives the end almost no probability.",
        remedy="Make one more example of each word: its last characters as the context, the end token as the target.",
        reference="Study notes on makemore part 3",
    )


class SharedBatches:
    """Batches from a stream of random numbers that other code uses too."""

    def __init__(self, batches: GeneratorBatches, generator: TorchGenerator, at: int) -> None:
        self._batches, self._generator, self._at = batches, generator, at

    def rows(self, start: int, stop: int) -> Indices:
        """As `GeneratorBatches`, one step at a time; at one step words are drawn in between."""
        if start == self._at:
            self._generator.integers(1000, (DRAWN,))
        return self._batches.rows(start, min(stop, start + 1))


def _with_sampling(patient: Patient, words: WordList, vocabulary: Vocabulary, on_progress: OnProgress, *, shared: bool) -> Report:
    """Train twice, once with words drawn half-way, from the batches' generator or from a separate one: the weights must be the
    same.
    """
    results = []
    for sampling in (False, True):
        config = patient.recipe.config(vocabulary.size)
        generator = TorchGenerator(patient.settings.seed)
        draw_parameters(config, patient.settings.initialisation, generator)  # train_recipe draws these from a separate generator
        other = generator if shared else TorchGenerator(1)
        batches = GeneratorBatches(generator, len(patient.splits[0]), patient.settings.batch, block=1)
        at = patient.settings.steps // 2 if sampling else -1
        results.append(_train(patient, words, on_progress, SharedBatches(batches, other, at)))
    quiet, drawn = (result.model.parameters["output.weight"] for result in results)
    gap = float(np.abs(quiet - drawn).max())
    finding = None
    if gap > 0.0:
        half = patient.settings.steps // 2
        finding = Finding(
            id="shared-generator",
            severity="warning",
            where=(),
            steps=(half, patient.settings.steps - 1),
            value=gap,
            limit=0.0,
            message=f"Drawing {DRAWN} characters at step {half} changed the training: its weights differ by up to {gap:.2g}.",
            why="Drawing samples changes the trained model, and no run can be repeated.",
            remedy="Use separate generators for sampling, batches and initialisation.",
            reference=f"{STUDY}; torch.Generator",
        )
    return _with_finding(results[1].health, "shared-generator", finding)


def _with_finding(report: Report, check: str, finding: Finding | None) -> Report:
    """The report with one more outcome, and the finding first if there is one."""
    outcome = Outcome(check, "passed" if finding is None else "found")
    found = report.findings if finding is None else (finding, *report.findings)
    return replace(report, findings=found, outcomes=(*report.outcomes, outcome))


def _in_torch(fault: Fault, patient: Patient, vocabulary: Vocabulary) -> tuple[Report, Report]:
    from lettrine.torch.faults import train_with_fault  # noqa: PLC0415 - only these few need torch

    config, settings = patient.recipe.config(vocabulary.size), patient.settings
    train = patient.splits[0]
    generator = TorchGenerator(settings.seed)
    parameters = draw_parameters(config, settings.initialisation, generator)
    rows = generator.integers(len(train), (fault.steps, settings.batch))
    shared = (config, parameters, train.contexts, train.targets, rows, settings.peak)
    return train_with_fault(*shared, fault.name), train_with_fault(*shared)
