"""Models that freeze parts of themselves when they are told to train, told so and not."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from verdicts import alarms, batches, classes, watched

from lettrine import health
from lettrine.torch.graph.layers.freezing import _frozen_by_train, _only_freezes

loss = lambda model, x, y: nn.functional.cross_entropy(model(x), y)  # noqa: E731


class Staged(nn.Module):
    """The first stages stay as they are."""

    frozen = 1

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList(nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Tanh()) for _ in range(2))
        self.head = nn.Linear(6, 4)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        for stage in self.stages:
            x = stage(x)
        return self.head(x)

    def train(self, mode: bool = True) -> Staged:
        super().train(mode)
        self._freeze()
        return self

    def _freeze(self) -> None:
        for stage in self.stages[: self.frozen]:
            stage.eval()
            for parameter in stage.parameters():
                parameter.requires_grad = False


def freeze(part: nn.Module) -> None:
    part.requires_grad_(requires_grad=False)


class ByName(Staged):
    """Freezes by the names of its parameters, and through a function outside of it."""

    def train(self, mode: bool = True) -> ByName:
        nn.Module.train(self, mode)
        freeze(self.stages[0][0])
        for name, parameter in self.named_parameters():
            if any(name.startswith(f"{start}.1") for start in ("stages.0", "none")):
                parameter.requires_grad_(requires_grad=False)
        return self


class StillNorms(Staged):
    """Keeps the statistics of its batch norms."""

    def train(self, mode: bool = True) -> StillNorms:
        nn.Module.train(self, mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.eval()
        return self


class Wrapped(nn.Module):
    """Holds such a model and knows nothing of it."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


class Counting(Staged):
    """Its train() does more than freeze."""

    told: list[int] = []  # noqa: RUF012

    def train(self, mode: bool = True) -> Counting:
        super().train(mode)
        self.told.append(len(self.told))
        return self


class Saying(Staged):
    """Its train() prints."""

    def train(self, mode: bool = True) -> Saying:
        super().train(mode)
        print("freezing")  # noqa: T201
        return self


class Plain(Staged):
    """A train() that freezes nothing."""

    def train(self, mode: bool = True) -> Plain:
        nn.Module.train(self, mode)
        return self


def seen(model: nn.Module, steps: int = 60) -> health.Report:
    return watched(model, batches(*classes()), loss, steps)


def modes(report: health.Report) -> list[health.Finding]:
    return [each for each in report.findings if each.id == "wrong-mode"]


@pytest.mark.parametrize("kind", [Staged, ByName])
def test_never_told_to_train(kind: type[nn.Module]) -> None:
    (finding,) = modes(seen(kind()))
    assert finding.severity == "warning"
    assert finding.where == ("stages.0.0.weight", "stages.0.0.bias", "stages.0.1.weight", "stages.0.1.bias")
    assert f"train() of {kind.__name__} freezes" in finding.message
    assert not modes(seen(kind().train()))


def test_inside_another_model() -> None:
    (finding,) = modes(seen(Wrapped(Staged())))
    assert finding.where[0] == "inner.stages.0.0.weight"
    assert not modes(seen(Wrapped(Staged()).train()))


def test_a_model_without_norms() -> None:
    model = Staged()
    model.stages = nn.ModuleList(nn.Sequential(nn.Linear(6, 6), nn.Tanh()) for _ in range(2))
    (finding,) = modes(seen(model))
    assert finding.where == ("stages.0.0.weight", "stages.0.0.bias")


def test_norms_alone_are_a_remark() -> None:
    report = seen(StillNorms())
    (finding,) = modes(report)
    assert (finding.severity, finding.where) == ("info", ("stages.0.1", "stages.1.1"))
    assert "wrong-mode" not in alarms(report)


def test_frozen_by_hand() -> None:
    model = Staged()
    for stage in model.stages[:1]:
        stage.requires_grad_(requires_grad=False).eval()
    assert not [each for each in modes(seen(model)) if "train() of" in each.message]


@pytest.mark.parametrize("kind", [Plain, Saying, Counting])
def test_code_that_does_more_is_not_run(kind: type[nn.Module], capsys: pytest.CaptureFixture[str]) -> None:
    assert not modes(seen(kind()))
    assert capsys.readouterr().out == ""
    assert Counting.told == []


def test_trying_changes_nothing() -> None:
    model = Staged()
    before = {name: each.clone() for name, each in model.state_dict().items()}
    draws, twin = torch.get_rng_state(), copy.deepcopy(model)
    assert _only_freezes(model)
    assert _frozen_by_train(model)[1] == ["stages.0.1"]
    assert torch.equal(draws, torch.get_rng_state())
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())
    assert all(each.requires_grad for each in model.parameters())
    assert [each.training for each in model.modules()] == [each.training for each in twin.modules()]
