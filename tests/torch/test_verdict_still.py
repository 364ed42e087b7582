"""Trainings of which a part stays as it is, and such whose answers depend on the batch, each beside its cure."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from trainings import adam, batches, checked, mlp, named, remarks, train

from lettrine import health
from lettrine.health.findings import Report


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(3)


@pytest.mark.parametrize("from_step", [0, 15, 99])
def test_one_of_two_optimisers_steps_late_or_never(from_step: int) -> None:
    model = nn.ModuleDict({"first": nn.Linear(12, 24), "last": nn.Linear(24, 4)})
    one, two = adam(model["first"]), adam(model["last"])
    with health.watch(model, [one, two]) as watch:
        for step, (x, y) in enumerate(batches(60)):
            loss = functional.cross_entropy(model["last"](torch.relu(model["first"](x))), y)
            one.zero_grad()
            two.zero_grad()
            loss.backward()
            two.step()
            if step >= from_step:
                one.step()
            watch.loss(loss)
    told = named(checked(watch.report()))
    assert ("never-moved" in told) == (from_step == 99)
    if from_step == 99:
        assert told["never-moved"].where == ("first.weight", "first.bias")


class Low(nn.Module):
    """A layer and a product of two thin matrices beside it, the second 0 at first."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base, self.a = base, nn.Parameter(torch.randn(4, base.in_features) / 4)
        self.b = nn.Parameter(torch.zeros(base.out_features, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + x @ self.a.T @ self.b.T


@pytest.mark.parametrize("trained", ["bias", "pairs", "pair"])
def test_pairs_of_low_rank_frozen_with_the_rest(trained: str) -> None:
    model = nn.Sequential(Low(nn.Linear(12, 24)), nn.ReLU(), Low(nn.Linear(24, 24)), nn.ReLU(), nn.Linear(24, 4))
    for name, parameter in model.named_parameters():
        wanted = {"bias": name == "4.bias", "pairs": name[2:] in "ab", "pair": name in ("2.a", "2.b")}
        parameter.requires_grad_(wanted[trained])
    told = named(train(model, torch.optim.Adam([each for each in model.parameters() if each.requires_grad], 1e-2)))
    assert ("never-moved" in told) == (trained == "bias")
    if trained == "bias":
        assert sorted(told["never-moved"].where) == ["0.a", "0.b", "2.a", "2.b"]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_steps_that_bfloat16_rounds_away(dtype: torch.dtype) -> None:
    model = mlp().to(dtype)
    report = train(
        model,
        torch.optim.SGD(model.parameters(), 1e-3),
        150,
        make=lambda x, y: functional.cross_entropy(model(x.to(dtype)).float(), y),
    )
    told = named(report) | remarks(report)
    assert ("never-moved" in told) == (dtype is torch.bfloat16)
    if dtype is torch.bfloat16:
        assert told["never-moved"].where == ("0.weight", "2.weight", "4.weight")
        assert "autocast" in told["never-moved"].remedy


def test_bfloat16_that_learns_all_the_same() -> None:
    model = mlp().bfloat16()
    report = train(model, adam(model, 3e-2), 100, make=lambda x, y: functional.cross_entropy(model(x.bfloat16()).float(), y))
    assert "never-moved" not in named(report)


@pytest.mark.parametrize("norm", [nn.GroupNorm(24, 24), nn.GroupNorm(4, 24), nn.LayerNorm(24), nn.Unflatten(1, (24, 1))])
def test_normalising_single_values(norm: nn.Module) -> None:
    single = [nn.LayerNorm(1), nn.Flatten()] if isinstance(norm, nn.Unflatten) else []
    report = train(nn.Sequential(nn.Linear(12, 24), norm, *single, nn.ReLU(), nn.Linear(24, 4)))
    alone = bool(single) or (isinstance(norm, nn.GroupNorm) and norm.num_groups == 24)
    assert ("no-gradient" in named(report)) == alone
    if alone:
        assert named(report)["no-gradient"].where == (("2",) if single else ("1",))


def evaluated(middle: nn.Module, rows: int = 50) -> Report:
    """A training with this in its middle, evaluated on so many rows."""
    model = nn.Sequential(nn.Linear(12, 24), middle, nn.ReLU(), nn.Linear(24, 4))
    optimiser = adam(model, 1e-2)
    with health.watch(model, optimiser) as watch:
        for step, (x, y) in enumerate(batches(60)):
            model.train()
            loss = functional.cross_entropy(model(x), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
            if step % 10 == 9:
                model.eval()
                for x, y in batches(1, rows, seed=9):  # noqa: PLW2901
                    with torch.no_grad():
                        watch.dev_loss(functional.cross_entropy(model(x), y))
    return checked(watch.report())


class Apply(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function, self.means = function, nn.Parameter(torch.randn(24) / 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Aside(Apply):
    """Keeps the mean over the batch for others to read, as a mixture of experts does."""

    def forward(self, x: Tensor) -> Tensor:
        self.load = x.softmax(1).mean(0)
        self.balance = (self.load * self.means).sum()
        return super().forward(x)


MIXED = {
    "mean": lambda x: x - x.mean(0),
    "std": lambda x: (x - x.mean(0, keepdim=True)) / (x.var(dim=0, keepdim=True) + 1e-5).sqrt(),
    "of all": lambda x: x / x.pow(2).mean(),
    "normalize": lambda x: 5 * functional.normalize(x, dim=0),
    "softmax": lambda x: x * x.softmax(0) * 20,
    "stacked": lambda x: (torch.stack([x, -x]).softmax(1) * x * 20).sum(0),
}
APART = {
    "features": lambda x: (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True),
    "softmax": lambda x: x * x.softmax(1) * 20,
    "normalize": lambda x: 5 * functional.normalize(x),
    "stacked": lambda x: (torch.stack([x, -x]).softmax(0) * x).sum(0),
}


@pytest.mark.parametrize("function", MIXED.values(), ids=MIXED)
def test_rows_that_see_one_another_in_eval_mode(function: Callable[[Tensor], Tensor]) -> None:
    told = named(evaluated(Apply(function)))
    finding = told.get("batch-mixing") or told["softmax-axis"]
    assert finding.where == ("1",)


@pytest.mark.parametrize("function", APART.values(), ids=APART)
def test_rows_that_stand_alone(function: Callable[[Tensor], Tensor]) -> None:
    assert named(evaluated(Apply(function))) == {}
    assert named(evaluated(Aside(function))) == {}


def test_a_batch_norm_without_running_statistics() -> None:
    told = named(evaluated(nn.BatchNorm1d(24, track_running_stats=False)))
    assert told["batch-mixing"].where == ("1",)
    assert "track_running_stats" in told["batch-mixing"].remedy
    assert named(evaluated(nn.BatchNorm1d(24))) == {}


def test_as_many_rows_as_in_training_may_be_the_nodes_of_one_graph() -> None:
    assert named(evaluated(Apply(MIXED["mean"]), rows=32)) == {}


@pytest.mark.parametrize("filled", ["with itself", "from the other", "averaged", "averaged with nothing", "never"])
def test_a_target_network_that_is_filled_with_its_own_weights(filled: str) -> None:
    torch.manual_seed(0)
    live = nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 4))
    target = copy.deepcopy(live).requires_grad_(False)
    optimiser = torch.optim.Adam(live.parameters())
    with health.watch(nn.ModuleDict({"live": live, "target": target}), optimiser) as watch:
        for step, (x, _) in enumerate(batches(45)):
            loss = functional.mse_loss(live(x), x[:, :4] + 0.5 * target(x.flip(1)))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
            if step % 5 == 4 and filled in ("with itself", "from the other"):
                target.load_state_dict((target if filled == "with itself" else live).state_dict())
            if filled.startswith("averaged"):
                with torch.no_grad():
                    for old, new in zip(target.parameters(), live.parameters(), strict=True):
                        old.lerp_(new, 0.0 if filled == "averaged with nothing" else 0.05)
    found = [each for each in watch.report().findings if each.id == "never-moved"]
    assert [each.where for each in found] == ([("target",)] if filled in ("with itself", "averaged with nothing") else [])
    assert not found or "target.load_state_dict(live.state_dict())" in found[0].remedy
