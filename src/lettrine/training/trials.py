"""Trials of the remedies for a run's findings: the same short training with and without a remedy, on the engine of the run.

Both sides start from the same weights and see the same batches; each seed gives different ones. The loss on held-out words is
compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from math import isfinite, nan, sqrt
from pathlib import Path
from typing import Final

from lettrine.arguments import checked
from lettrine.errors import DivergedError
from lettrine.health.findings import Finding, Report
from lettrine.health.limits import TRIAL_ERRORS, UPDATE_AIM
from lettrine.text.words import WordList
from lettrine.training.api import train
from lettrine.training.diagnosis import load_health
from lettrine.training.folder import load_run, read_own_words
from lettrine.training.settings import Settings
from lettrine.training.shape import Shape

STEPS: Final = 400
SEEDS: Final = (1, 2, 3)
RATES: Final = (5.0, 30.0)  # times lower, or higher; the second only if the first does not help
LOWER: Final = ("non-finite", "update-too-large", "divergence", "spike", "oscillation")
HIGHER: Final = ("update-too-small", "slow-learning", "no-learning")
DECAY: Final = ("weight-decay",)
SCHEDULE: Final = ("schedule-to-zero",)
FALLING: Final = "one-cycle"  # the schedule that is tried for another one
START: Final = ("initial-loss", "saturation", "activation-scale", "gradient-scale", "dead-units", "symmetry")


@dataclass(frozen=True)
class RemedyTrial:
    """The result of trying one remedy.

    finding: id of the finding that it should cure. change: in words, such as "rate 0.1 → 0.02". without, with_remedy: held-out
    loss, mean over seeds; infinite if the loss stopped being finite. error: standard error of their difference; if one of them is
    not finite, that of the loss with the remedy.
    """

    finding: str
    change: str
    without: float
    with_remedy: float
    error: float

    @property
    def helps(self) -> bool:
        """Whether the loss is lower by more than noise."""
        if not isfinite(self.without):
            return isfinite(self.with_remedy)
        return self.without - self.with_remedy > TRIAL_ERRORS * self.error

    @property
    def said(self) -> str:
        """Such as "rate 0.1 → 0.02 tried: 2.31 → 2.05 (± 0.01)"."""
        noise = f" (± {self.error:.1g})" if isfinite(self.error) and self.error > 0 else ""
        words = "tried" if self.helps else "tried, without success"
        return f"{self.change} {words}: {_loss(self.without)} → {_loss(self.with_remedy)}{noise}"


@checked
def try_remedies(path: str | Path, *, steps: int = STEPS) -> tuple[Report, tuple[RemedyTrial, ...]]:
    """The health report of a saved run; each remedy that a program can try is followed by the result of its trial.

    Raises what `load_run` and `load_health` raise.
    """
    report, run = load_health(path), load_run(path)
    config = run.model.config
    shape = Shape(**{each.name: getattr(config, each.name) for each in fields(Shape)})
    words = read_own_words(Path(path), run.data)
    short = replace(run.settings, steps=steps, eval_every=0, health=False, changes=())
    trials: dict[str, RemedyTrial] = {}
    findings = []
    for finding in report.findings:
        tried = []
        for change, changed in _changes(finding, short):
            trial = trials.get(change) or _tried(finding.id, change, words, shape, short, changed)
            trials[change] = trial
            tried.append(trial)
            if trial.helps:
                break
        findings.append(_told(finding, tried, steps))
    return replace(report, findings=tuple(findings)), tuple(trials.values())


def _told(finding: Finding, tried: list[RemedyTrial], steps: int) -> Finding:
    """The finding with what its trials gave; a remedy of which none helps is not recommended."""
    said = "".join(f" In {steps} steps, {each.said}." for each in tried)
    if tried and not any(each.helps for each in tried):
        return replace(finding, remedy=f"Look for the cause first: what usually helps does not.{said}")
    return replace(finding, remedy=f"{finding.remedy}{said}")


def can_be_tried(finding: Finding) -> bool:
    """Whether a program can try the finding's remedy."""
    return finding.severity != "info" and finding.id in (*LOWER, *HIGHER, *START, *DECAY, *SCHEDULE)


def _changes(finding: Finding, settings: Settings) -> Iterator[tuple[str, Settings]]:
    """The finding's remedy, as settings; further ones for when it does not help."""
    rate = settings.learning_rate or nan
    asked = UPDATE_AIM / finding.value if finding.id == "update-too-small" and finding.value > 0 else 0.0
    factors = (float(f"{asked:.1g}"), *RATES) if asked > RATES[-1] else RATES  # far too small: as much as the steps lack
    for factor in factors if finding.id in (*LOWER, *HIGHER) else ():
        other = rate / factor if finding.id in LOWER else rate * factor
        yield f"rate {rate:.3g} → {other:.3g}", replace(settings, learning_rate=other)
    if finding.id in (*LOWER, *SCHEDULE) and settings.schedule != FALLING:
        yield f"schedule {settings.schedule} → {FALLING}", replace(settings, schedule=FALLING)
    if finding.id in DECAY and settings.optimiser.decay > 0:
        without = replace(settings.optimiser, weight_decay=0.0)
        yield f"weight decay {settings.optimiser.decay:.3g} → 0", replace(settings, optimiser=without)
    if finding.id in START and isinstance(settings.init, str) and settings.init != "kaiming":
        yield f"init {settings.init} → kaiming", replace(settings, init="kaiming")


def _tried(kind: str, change: str, words: WordList, shape: Shape, settings: Settings, changed: Settings) -> RemedyTrial:
    pairs = [tuple(_held_out(words, shape, replace(each, seed=seed)) for each in (settings, changed)) for seed in SEEDS]
    without, with_remedy = (sum(values) / len(pairs) for values in zip(*pairs, strict=True))
    # Where one is not finite, all that is known is how far seeds differ.
    apart = [a - b if isfinite(without) else b for a, b in pairs]
    return RemedyTrial(kind, change, without, with_remedy, _error(apart))


def _error(values: list[float]) -> float:
    """Standard error of the mean; NaN if a value is not finite."""
    mean = sum(values) / len(values)
    spread = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return sqrt(spread / len(values)) if isfinite(spread) else nan


def _held_out(words: WordList, shape: Shape, settings: Settings) -> float:
    try:
        run = train(words, shape=shape, settings=settings, page=False)
    except DivergedError:
        return float("inf")
    loss = run.results.loss.get("dev", nan) if run.results is not None else nan
    return loss if isfinite(loss) else float("inf")


def _loss(value: float) -> str:
    return f"{value:.3f}" if isfinite(value) else "not finite"
