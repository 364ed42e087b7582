"""Remedies of a run's findings, tried: what helps is told with its figures, and so is what does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import lettrine
from lettrine.health.findings import Finding
from lettrine.training import trials
from lettrine.training.trials import RemedyTrial, try_remedies

SHAPE = lettrine.Shape(context=3, embedding=4, hidden=(16,), activation="tanh")


def keep(tmp_path: Path, words: list[str], **settings: object) -> Path:
    chosen = lettrine.Settings(steps=120, batch=32, **settings)
    lettrine.train(words, out=tmp_path / "run", shape=SHAPE, settings=chosen, page=False)
    return tmp_path / "run"


def finding(kind: str) -> Finding:
    return Finding(kind, "warning", (), (0, 9), 1.0, 2.0, "message", "why", "Do something.", "source")


def test_a_rate_far_too_high(tmp_path: Path, few_words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    run = keep(tmp_path, few_words, learning_rate=4.0, optimiser=lettrine.Optimiser("sgd"), schedule="constant")
    health = replace(trials.load_health(run), findings=(finding("update-too-large"), finding("spike"), finding("leak")))
    monkeypatch.setattr(trials, "load_health", lambda _: health)
    report, tried = try_remedies(run, steps=60)
    assert [each.change for each in tried] == ["rate 4 → 0.8"]  # two findings, one remedy, one trial
    assert tried[0].helps
    assert tried[0].with_remedy < tried[0].without
    assert report.findings[0].remedy == f"Do something. In 60 steps, {tried[0].said}."
    assert report.findings[1].remedy == report.findings[0].remedy
    assert report.findings[2].remedy == "Do something."


def test_a_rate_that_is_still_too_high_when_lowered(
    tmp_path: Path, few_words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only where the first rate does not help, a lower one is tried; if none helps, none is recommended."""
    run = keep(tmp_path, few_words, learning_rate=4.0, optimiser=lettrine.Optimiser("sgd"), schedule="constant")
    health = replace(trials.load_health(run), findings=(finding("update-too-large"),))
    monkeypatch.setattr(trials, "load_health", lambda _: health)
    for last, remedy in ((2.0, "Do something."), (3.0, "Look for the cause first")):
        losses = {4.0: 3.0, 0.8: 3.0, 4 / 30: last}
        monkeypatch.setattr(trials, "_held_out", lambda _w, _s, settings, losses=losses: losses[settings.learning_rate])
        report, tried = try_remedies(run, steps=60)
        schedule = [] if last < 3.0 else ["schedule constant → one-cycle"]
        assert [each.change for each in tried] == ["rate 4 → 0.8", "rate 4 → 0.133", *schedule]
        assert [each.helps for each in tried] == [False, last < 3.0, *([False] * len(schedule))]
        assert report.findings[0].remedy.startswith(remedy)


def test_a_rate_far_too_low_is_raised_by_what_the_steps_lack(
    tmp_path: Path, few_words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps of 1e-8 of the weights, where 1e-3 is usual: five or thirty times the rate would change nothing either."""
    run = keep(tmp_path, few_words, learning_rate=1e-6, prior="none", optimiser=lettrine.Optimiser("sgd"), schedule="constant")
    small = replace(finding("update-too-small"), value=1e-8)
    health = replace(trials.load_health(run), findings=(small,))
    monkeypatch.setattr(trials, "load_health", lambda _: health)
    _, (tried,) = try_remedies(run, steps=60)
    assert tried.change == "rate 1e-06 → 0.1"
    assert tried.helps


def test_a_run_that_broke_is_tried_at_a_lower_rate(tmp_path: Path, few_words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    run = keep(tmp_path, few_words, learning_rate=4.0, optimiser=lettrine.Optimiser("sgd"), schedule="constant")
    health = replace(trials.load_health(run), findings=(finding("non-finite"),))
    monkeypatch.setattr(trials, "load_health", lambda _: health)
    monkeypatch.setattr(trials, "_held_out", lambda _w, _s, settings: float("inf") if settings.learning_rate > 1 else 2.0)
    report, (tried,) = try_remedies(run, steps=60)
    assert tried.said == "rate 4 → 0.8 tried: not finite → 2.000"
    assert report.findings[0].remedy == f"Do something. In 60 steps, {tried.said}."


def test_a_weight_decay_far_too_strong(tmp_path: Path, few_words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes 60 % of the weights at each step: without it, more is learned."""
    run = keep(tmp_path, few_words, learning_rate=0.01, prior="none", optimiser=lettrine.Optimiser("adamw", weight_decay=60.0))
    health = replace(trials.load_health(run), findings=(finding("weight-decay"),))
    monkeypatch.setattr(trials, "load_health", lambda _: health)
    report, (tried,) = try_remedies(run, steps=120)
    assert tried.change == "weight decay 60 → 0"
    assert tried.helps
    assert report.findings[0].remedy == f"Do something. In 120 steps, {tried.said}."
    assert trials.can_be_tried(finding("weight-decay"))


def test_a_schedule_that_ends_at_nothing(tmp_path: Path, few_words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Another schedule is tried, with the same rate and the same words; the usual one has no other."""
    for schedule, changes in (("step", ["schedule step → one-cycle"]), ("one-cycle", [])):
        run = keep(tmp_path / schedule, few_words, schedule=schedule)
        health = replace(trials.load_health(run), findings=(finding("schedule-to-zero"),))
        monkeypatch.setattr(trials, "load_health", lambda _, health=health: health)
        losses = {"step": 3.0, "one-cycle": 2.0}
        monkeypatch.setattr(trials, "_held_out", lambda _w, _s, settings, losses=losses: losses[settings.schedule])
        _, tried = try_remedies(run, steps=60)
        assert [each.change for each in tried] == changes
        assert all(each.helps for each in tried)


@pytest.mark.parametrize("wide", [16, 200])
def test_a_start_that_is_naive(tmp_path: Path, few_words: list[str], monkeypatch: pytest.MonkeyPatch, wide: int) -> None:
    run = tmp_path / "run"
    shape = replace(SHAPE, hidden=(wide,))
    lettrine.train(few_words, out=run, shape=shape, settings=lettrine.Settings(steps=120, batch=32, init="naive"), page=False)
    health = replace(trials.load_health(run), findings=(finding("initial-loss"),))
    monkeypatch.setattr(trials, "load_health", lambda _: health)
    report, (tried,) = try_remedies(run, steps=30)
    assert tried.change == "init naive → kaiming"
    # What did not help is said as well as what did, and is not recommended.
    assert ("Look for the cause first" in report.findings[0].remedy) is not tried.helps
    assert ("without success" in report.findings[0].remedy) is not (tried.with_remedy < tried.without - 3 * tried.error)


def test_trying_changes_nothing_of_the_run(tmp_path: Path, few_words: list[str]) -> None:
    run = keep(tmp_path, few_words)
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    try_remedies(run, steps=30)
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before


def test_how_far_seeds_differ_is_told_where_one_side_breaks(
    tmp_path: Path, few_words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = keep(tmp_path, few_words)
    health = replace(trials.load_health(run), findings=(finding("spike"),))
    monkeypatch.setattr(trials, "load_health", lambda _: health)
    rate = trials.load_run(run).settings.learning_rate
    ends = {1: 2.0, 2: 2.1, 3: 2.2}

    def held_out(_: object, __: object, settings: lettrine.Settings) -> float:
        return float("inf") if settings.learning_rate == rate else ends[settings.seed]

    monkeypatch.setattr(trials, "_held_out", held_out)
    report, (tried, *_) = try_remedies(run, steps=60)
    assert tried.error == pytest.approx(0.1 / 3**0.5)
    assert "not finite → 2.100 (± 0.06)" in report.findings[0].remedy


def test_what_is_said() -> None:
    inf = float("inf")
    assert RemedyTrial("spike", "rate 0.1 → 0.02", 2.31, 2.05, 0.01).said == "rate 0.1 → 0.02 tried: 2.310 → 2.050 (± 0.01)"
    assert "without success" in RemedyTrial("spike", "rate 0.1 → 0.02", 2.31, 2.30, 0.01).said
    assert "not finite → 2.050" in RemedyTrial("spike", "rate 9 → 2", inf, 2.05, float("nan")).said
    assert not RemedyTrial("spike", "rate 9 → 2", inf, inf, float("nan")).helps
