"""Runs the experiments one after another within the time limit, each in its own sandbox, and makes a report."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import isfinite
from typing import Any, Final, Protocol

from lettrine.errors import HealthError
from lettrine.health.checks import Skip
from lettrine.health.combining import combine
from lettrine.health.evidence import EXPERIMENT, Evidence
from lettrine.health.findings import Finding, Outcome, Report
from lettrine.health.recorder import Recorder
from lettrine.health.trace import Facts, ParameterInfo, Trace
from lettrine.torch.capture.catalogue import kind_of, parameter_info
from lettrine.torch.checkup.attempts import WATCHED
from lettrine.torch.checkup.confirming import confirmed, triable
from lettrine.torch.checkup.experiment import EXPERIMENTS, Experiment, Result
from lettrine.torch.checkup.labels import LABELS, REFUSED
from lettrine.torch.checkup.loading import place_of
from lettrine.torch.checkup.sandbox import random_restored
from lettrine.torch.checkup.sources import built_at, made_at
from lettrine.torch.checkup.task import Task
from lettrine.torch.checkup.values import leaves
from lettrine.torch.checkup.verdict import ordered

RESERVED: Final = 0.3  # of the time limit: kept for the remedies, once a finding has some that can be tried


class Bar(Protocol):
    """Called as each experiment begins, and at the end."""

    def __call__(self, done: int, total: int, title: str) -> None:
        """`done` of `total` experiments are finished; the one with this title begins."""


def run(
    task: Task,
    *,
    only: Iterable[str] | None = None,
    progress: bool = False,
    title: str = "Check-up",
    watched: Report | None = None,
    make: Callable[[], Any] | None = None,
) -> Report:
    """All experiments, or `only` some, then trials of the remedies that have not been tried.

    watched: what watching found: its remedies are tried too, and the report is of both. make: the function that made the task.
    Raises HealthError for an unknown id.
    """
    wanted = list(EXPERIMENTS) if only is None else list(only)
    if unknown := [name for name in wanted if name not in EXPERIMENTS]:
        raise HealthError(f"experiments got {', '.join(map(repr, unknown))}; expected among {', '.join(EXPERIMENTS)}")
    if not wanted:
        raise HealthError(f"experiments got none; expected at least one of {', '.join(EXPERIMENTS)}")
    if task.known.get(REFUSED) and "first-loss" not in wanted:
        message, remedy = task.known[LABELS].message, task.known[LABELS].remedy
        raise HealthError(f"checkup could not compute a loss: {message} {remedy}")
    found: list[Finding] = []
    outcomes: list[Outcome] = []
    evidence: list[Evidence] = []
    suspected = [] if watched is None else list(watched.findings)
    with random_restored(), _bar(progress) as tell:  # the bar draws random numbers, too
        for done, name in enumerate(wanted):
            each = EXPERIMENTS[name]
            tell(done, len(wanted), each.title)
            reserve(task, [*suspected, *found])
            findings, outcome, seen = perform(each, task)
            found += findings
            outcomes.append(outcome)
            evidence += seen
        tell(len(wanted), len(wanted), "remedies")
        task.reserved = 0.0
        listed, tried = confirmed(ordered(found), task)
        makers = (make, type(task.model), task.loss_fn, task.own_step)
        evidence += [*tried, *made_at(makers), *built_at(task.model, listed)]
        report = Report(tuple(listed), tuple(outcomes), make_trace(task, evidence), title)
        if watched is None:
            return report
        task.known[WATCHED] = watched.trace
        both = combine(watched, report)
        listed, tried = confirmed(both.findings, task)
    return replace(both, findings=tuple(listed), trace=replace(both.trace, evidence=(*both.trace.evidence, *tried)))


def perform(each: Experiment, task: Task) -> tuple[list[Finding], Outcome, list[Evidence]]:
    """Run one experiment in its sandbox. An exception inside is reported as failed; Ctrl-C passes through."""
    needed = each.passes * task.seconds
    if needed > task.left():
        time = f"it takes about {needed:.0f} s, more than was left" if needed >= 1 else "the time was up"
        return [], Outcome(each.id, "not run", f"{time}; give minutes=…"), []
    if task.known.get(REFUSED) and each.id != "first-loss":
        return [], Outcome(each.id, "not run", "no batch has labels that the loss takes"), []
    if each.trains and task.known.get("broken"):
        return [], Outcome(each.id, "not run", "the loss is not finite, so nothing can be learned from it"), []
    begun = task.now()
    try:
        with task.boxed():
            result = each.function(task)
    except Skip as skip:
        return [], Outcome(each.id, skip.status, skip.reason), []
    except (Exception, SystemExit) as error:  # noqa: BLE001  whatever breaks inside an experiment is shown as such
        said = " ".join(f"{type(error).__name__}: {error}".split())
        return [], Outcome(each.id, "failed", f"{said}{place_of(error)}"), []
    seconds = task.now() - begun
    return list(result.findings), Outcome(each.id, "found" if result.findings else "passed"), [_evidence(each, result, seconds)]


def _evidence(each: Experiment, result: Result, seconds: float) -> Evidence:
    figures = {"seconds": seconds, **{key: float(value) for key, value in result.figures.items()}}
    words = {"title": each.title, "said": result.said, **result.words}
    return Evidence(EXPERIMENT + each.id, result.where, (0, 0), figures, words)


def reserve(task: Task, findings: Iterable[Finding]) -> None:
    """Keep a share of the time for remedies, if one of these findings has some to try."""
    if isfinite(task.budget) and any(triable(each) for each in findings):
        task.reserved = RESERVED * task.budget


def make_trace(task: Task, evidence: Iterable[Evidence]) -> Trace:
    """A trace without steps: facts about the task, and the evidence of the experiments."""
    held = {id(each) for group in task.optimizer.param_groups for each in group["params"]} if task.optimizer else None
    facts = Facts(
        source="check-up",
        batch_size=next((int(tensor.shape[0]) for _, tensor in leaves(task.batches[0]) if tensor.ndim), 0),
        optimiser=kind_of_optimiser(task),
        notes={
            "model": kind_of(task.model),
            "batches looked at": str(len(task.batches)),
            "experiments": "|".join(f"{each.id}={each.title}" for each in EXPERIMENTS.values()),
        },
    )
    recorder = Recorder(facts=facts)
    for name, parameter in task.model.named_parameters():
        info: ParameterInfo = parameter_info(task.model, name, parameter, None if held is None else id(parameter) in held)
        recorder.parameters[info.name] = info
    for each in evidence:
        recorder.note_evidence(each)
    return recorder.trace()


def kind_of_optimiser(task: Task) -> str:
    """Class name, "" without one."""
    return type(task.optimizer).__name__ if task.optimizer is not None else ""


@contextmanager
def _bar(wanted: bool) -> Iterator[Bar]:
    """A progress bar on standard error; none if that is not a terminal."""
    if not wanted or not sys.stderr.isatty():
        yield lambda done, total, title: None  # noqa: ARG005
        return
    from rich.console import Console  # noqa: PLC0415  only who looks on pays for it
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (TextColumn("check-up"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        line: Any = bar.add_task("", total=None)
        yield lambda done, total, title: bar.update(line, completed=done, total=total, description=title)
