"""Health of trials, told to Optuna and to Ray Tune."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
import torch
from torch import nn

from lettrine.health import observers
from lettrine.integrations.optuna import TrialHealth


def train(model: nn.Module, optimizer: torch.optim.Optimizer, after: Any, steps: int = 60) -> float:
    """Sixteen numbers learned from eight; the last loss."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(32, 8, generator=generator)
    y = x[:, :4].argmax(1)
    for _ in range(steps):
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        after()
    return float(loss.detach())


def made(rate: float) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4))
    return model, torch.optim.SGD(model.parameters(), lr=rate)


def test_optuna_is_told_and_a_sick_trial_is_pruned_or_out_of_the_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observers, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(observers, "LOOK_FIRST", 0.0)
    monkeypatch.setattr(observers, "LOOK_SHARE", 1e9)

    def objective(trial: optuna.Trial) -> float:
        rate, prune = trial.suggest_float("rate", 0.0, 1e9), trial.suggest_int("prune", 0, 1)
        model, optimizer = made(rate)
        with TrialHealth(trial, model, optimizer) as check:
            train(model, optimizer, check.prune_if_sick if prune else lambda: None)
        return -rate  # the sick one would be the best

    study = optuna.create_study()
    for rate, prune in ((0.3, 1), (1e8, 0), (1e8, 1)):
        study.enqueue_trial({"rate": rate, "prune": prune})
    study.optimize(objective, n_trials=3)
    well, sick, pruned = study.get_trials()
    assert [each.state.name for each in (well, sick, pruned)] == ["COMPLETE", "COMPLETE", "PRUNED"]
    assert well.constraints == {"critical": 0.0}
    assert sick.constraints["critical"] > 0
    assert pruned.constraints["critical"] > 0
    assert study.best_trial.number == 0
    assert 0 < well.user_attrs["health/0.weight/update_data"] < 1
    assert well.user_attrs["health/step"] > 0
    assert sick.user_attrs["health/findings"]


def test_watched_by_optuna_or_not_the_weights_are_the_same() -> None:
    alone, watched = made(0.3), made(0.3)
    train(*alone, lambda: None)
    trial = optuna.create_study().ask()
    with TrialHealth(trial, *watched) as check:
        train(*watched, check.prune_if_sick)
    for one, other in zip(alone[0].parameters(), watched[0].parameters(), strict=True):
        assert torch.equal(one, other)


def test_ray_tune_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray.tune")
    from lettrine.integrations.ray import TuneHealth

    told: list[dict[str, Any]] = []
    monkeypatch.setattr(ray, "report", told.append)
    model, optimizer = made(0.3)
    with TuneHealth(model, optimizer) as check:
        train(model, optimizer, lambda: check.report_metrics({"loss": 1.0}), steps=30)
    check.report_metrics({"loss": 0.5})
    assert told[0] == {"loss": 1.0}  # nothing was sampled and handed on yet
    assert 0 < told[-2]["health/0.weight/update_data"] < 1
    assert (told[-1]["loss"], told[-1]["health/critical"]) == (0.5, 0.0)


@pytest.mark.filterwarnings("ignore")
def test_ray_tune_finds_the_healthy_trial() -> None:
    """On a real cluster of two workers."""
    ray = pytest.importorskip("ray")
    tune = pytest.importorskip("ray.tune")

    def trainable(config: dict[str, float]) -> None:  # made here, so it travels whole
        from lettrine.integrations.ray import TuneHealth

        observers.LOOK_FIRST, observers.LOOK_SECONDS, observers.LOOK_SHARE = 0.0, 0.0, 1e9
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4))
        optimizer = torch.optim.SGD(model.parameters(), lr=config["rate"])
        x = torch.randn(32, 8)
        with TuneHealth(model, optimizer) as check:
            for _ in range(60):
                loss = nn.functional.cross_entropy(model(x), x[:, :4].argmax(1))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        check.report_metrics({"loss": loss.item()})

    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        wanted = tune.TuneConfig(metric="health/critical", mode="min")
        run = tune.RunConfig(verbose=0)
        rates = {"rate": tune.grid_search([1e8, 0.3])}
        found = tune.Tuner(trainable, param_space=rates, tune_config=wanted, run_config=run).fit()
    finally:
        ray.shutdown()
    assert not found.errors
    assert found.get_best_result().config == {"rate": 0.3}
    assert {each.config["rate"]: each.metrics["health/critical"] > 0 for each in found} == {1e8: True, 0.3: False}
