"""What is seen of how an optimiser is set, in small trainings."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from trainings import adam, batches, checked, mlp, named, remarks, train

from lettrine import health
from lettrine.health.findings import Report
from lettrine.torch.graph.steps import plateaus


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(3)


def scaled(model: nn.Module, *, unscale: bool, clip: float = 0.5, scale: float = 2.0**16) -> Report:
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    with health.watch(model, optimiser) as watch:
        for x, y in batches(45):
            loss = functional.cross_entropy(model(x), y)
            optimiser.zero_grad()
            scaler.scale(loss).backward()
            if unscale:
                scaler.unscale_(optimiser)
            nn.utils.clip_grad_norm_(model.parameters(), clip)
            scaler.step(optimiser)
            scaler.update()
            watch.loss(loss)
    return checked(watch.report())


def test_clipping_before_unscaling() -> None:
    finding = named(scaled(mlp(), unscale=False))["clip-before-unscale"]
    assert finding.limit == pytest.approx(0.5, rel=1e-3)
    assert "clip_grad_norm_(model.parameters(), 0.5)" in finding.remedy
    assert "clip-before-unscale" not in named(scaled(mlp(), unscale=True))
    assert "clip-before-unscale" not in named(scaled(mlp(), unscale=True, clip=1e-3))  # all clipped, and rightly so
    # 1 / 2**14 = 0.000061 looks like a round number, too
    assert "clip-before-unscale" in named(scaled(mlp(), unscale=False, clip=1.0, scale=2.0**14))


def test_an_eps_that_half_precision_cannot_hold() -> None:
    model = nn.Sequential(nn.Embedding(30, 8), nn.Flatten(), nn.Linear(24, 4)).half()

    def make(x: Tensor, y: Tensor) -> Tensor:
        return functional.cross_entropy(model(x[:, :3].abs().mul(3).long()).float(), y)

    report = train(model, steps=4, make=make)
    assert (report.findings[0].id, report.findings[0].severity) == ("eps-underflow", "critical")
    torch.manual_seed(3)
    model = nn.Sequential(nn.Embedding(30, 8), nn.Flatten(), nn.Linear(24, 4)).half()
    healthy = train(model, torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-4), steps=4, make=make)
    assert "eps-underflow" not in named(healthy)
    torch.manual_seed(3)
    model = nn.Sequential(nn.Embedding(30, 8), nn.Flatten(), nn.Linear(24, 4)).bfloat16()
    assert "eps-underflow" not in named(train(model, steps=4, make=make))


def test_what_an_optimiser_is_set_to() -> None:
    model = mlp()
    groups = [
        {"params": model[0].parameters(), "weight_decay": 0.0},
        {"params": model[2:].parameters(), "weight_decay": 0.3, "eps": 1e-6},
    ]
    optimiser = torch.optim.AdamW(groups, lr=1e-3)
    first, second = train(model, optimiser, steps=3).trace.seen("optimiser")
    assert (first.where, first.figure("weight_decay")) == (("0.weight", "0.bias"), 0.0)
    assert second.where == ("2.weight", "2.bias", "4.weight", "4.bias")
    assert (second.figure("weight_decay"), second.figure("decoupled"), second.figure("eps")) == (0.3, 1.0, 1e-6)
    assert (second.figure("state"), second.words["kind"]) == (0.0, "AdamW")
    again = train(model, optimiser, steps=3).trace.seen("optimiser")
    assert [each.figure("state") for each in again] == [1.0, 1.0]
    assert not train(mlp(), steps=3).trace.seen("optimiser")[0].figure("decoupled")


@pytest.mark.parametrize("first", [True, False])
def test_norms_behind_sums_are_counted(*, first: bool) -> None:
    layer = nn.TransformerEncoderLayer(12, 2, 16, dropout=0.1, batch_first=True, norm_first=first)
    model = nn.Sequential(nn.TransformerEncoder(layer, 3, enable_nested_tensor=False), nn.Flatten(), nn.Linear(12, 4))
    seen = train(model, steps=2, make=lambda x, y: functional.cross_entropy(model(x[:, None]), y)).trace.seen("post-norm")
    # Of the first layer's first norm the sum has no norm before it.
    assert [each.figure("post") for each in seen] == ([] if first else [5.0])


class Vae(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = nn.Linear(12, 6), nn.Linear(3, 12)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_variance = self.encode(x).chunk(2, dim=1)
        return self.decode(mean + torch.randn_like(mean) * (log_variance / 2).exp()), mean, log_variance


def test_the_divergence_of_latent_variables() -> None:
    model = Vae()
    with torch.no_grad():
        model.encode.weight.zero_()
        model.encode.bias.copy_(torch.tensor([1.0, 2.0, 0.0, 0.0, 0.0, 0.0]))

    def make(x: Tensor, _: Tensor) -> Tensor:
        output, mean, log_variance = model(x)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
        return (output - x).square().sum(1).mean() + kl.mean()

    report = train(model, torch.optim.SGD(model.parameters(), lr=1e-9), steps=3, make=make)
    seen = report.trace.seen("latents")[0]
    assert seen.figure("kl_first") == pytest.approx(2.5)  # (1 + 4) / 2
    assert seen.figure("size") == 3
    assert train(mlp(), steps=3).trace.seen("latents") == ()


class Hidden(nn.Module):
    """A variational autoencoder that returns its loss alone: means and spreads are found in the graph."""

    def __init__(self, *, way: str) -> None:
        super().__init__()
        self.way = way
        self.encode, self.decode = nn.Linear(12, 6), nn.Linear(3, 12)
        self.mean, self.spread = nn.Linear(12, 3), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        if self.way == "halves":
            mean, log_variance = self.encode(x).chunk(2, dim=-1)
        else:
            mean, log_variance = self.mean(x), self.spread(x)
        if self.way == "distribution":
            around = torch.distributions.Normal(mean, (log_variance / 2).exp())
            hidden = around.rsample()
            start = torch.distributions.Normal(torch.tensor(0.0), torch.tensor(1.0))
            kl = torch.distributions.kl_divergence(around, start).sum(1)
        else:
            hidden = mean + (log_variance / 2).exp() * torch.randn_like(mean)
            kl = 0.5 * (mean * mean + log_variance.exp() - 1 - log_variance).sum(1)
        return (self.decode(hidden) - x).square().sum(1).mean() + (0.0 if self.way == "noise" else kl.mean())


@pytest.mark.parametrize("way", ["halves", "layers", "distribution", "noise"])
def test_the_divergence_of_latent_variables_that_are_not_returned(way: str) -> None:
    model = Hidden(way=way)
    with torch.no_grad():
        for layer, bias in ((model.encode, [1.0, 2.0, 0, 0, 0, 0]), (model.mean, [1.0, 2.0, 0]), (model.spread, [0, 0, 0])):
            layer.weight.zero_()
            layer.bias.copy_(torch.tensor(bias))
    report = train(model, torch.optim.SGD(model.parameters(), lr=1e-9), steps=3, make=lambda x, _: model(x))
    seen = report.trace.seen("latents")
    if way == "noise":  # nothing draws it to a normal
        assert seen == ()
    else:
        assert seen[0].figure("kl_first") == pytest.approx(2.5)
        assert seen[0].figure("size") == 3


def test_a_resumed_run_without_its_optimiser() -> None:
    model = mlp(hidden=48)
    optimiser = adam(model, 1e-3)
    train(model, optimiser, steps=400)
    twin, state = copy.deepcopy(model), copy.deepcopy(optimiser.state_dict())
    lost = train(model, adam(model, 3e-2), steps=60)  # what a large rate is taken down to by its averages
    assert named(lost)["optimiser-state-lost"].value > 2
    kept = adam(twin, 1e-3)
    kept.load_state_dict(state)
    assert "optimiser-state-lost" not in named(train(twin, kept, steps=60))


@pytest.mark.parametrize("way", ["kept", "cleared", "loaded", "rarely", "momentum", "plain", "no gradients"])
def test_a_state_that_is_lost_again_and_again(way: str) -> None:
    model = mlp()
    plain = way in ("plain", "momentum")
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9 * (way == "momentum")) if plain else adam(model, 5e-4)
    fresh = copy.deepcopy(optimiser.state_dict())
    with health.watch(model, optimiser) as watch:
        for step, (x, y) in enumerate(batches(120)):
            optimiser.zero_grad()
            loss = functional.cross_entropy(model(x), y)
            loss.backward()
            if way == "no gradients" and step % 4:
                optimiser.zero_grad()
            optimiser.step()
            watch.loss(loss)
            if way in ("cleared", "momentum", "plain") and step % 2:
                optimiser.state.clear()
            if (way == "loaded" and step % 2) or (way == "rarely" and step % 60 == 59):
                optimiser.load_state_dict(fresh)
    report = checked(watch.report())
    found = {**named(report), **remarks(report)}.get("optimiser-state-lost")
    assert (found is not None) == (way in ("cleared", "loaded", "momentum"))
    if found is not None and way != "momentum":
        assert found.severity == "warning"
        assert "none was older than 1 of the 10 steps" in found.message


@pytest.mark.parametrize("warmed", [False, True])
@pytest.mark.parametrize(
    ("mode", "told", "wanted"), [("min", "score", True), ("max", "score", False), ("min", "loss", False), ("max", "loss", True)]
)
def test_a_plateau_that_takes_a_rising_score_for_a_loss(
    mode: str, told: str, monkeypatch: pytest.MonkeyPatch, *, wanted: bool, warmed: bool
) -> None:
    searches = []
    search = plateaus._scheduler
    monkeypatch.setattr(plateaus, "_scheduler", lambda optimiser: (searches.append(1), search(optimiser))[1])
    model = mlp()
    optimiser = adam(model)
    if warmed:
        torch.optim.lr_scheduler.LinearLR(optimiser, 0.999, total_iters=1)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, mode, factor=0.5, patience=1)
    x, y = next(batches(1, size=128, seed=7))
    with health.watch(model, optimiser) as watch:
        for step, (a, b) in enumerate(batches(48)):
            loss = functional.cross_entropy(model(a), b)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
            if step % 6 == 5:
                with torch.no_grad():
                    said = model(x)
                held = functional.cross_entropy(said, y)
                watch.dev_loss(held)
                plateau.step(held if told == "loss" else (said.argmax(1) == y).float().mean())
    assert not (warmed and searches), "the search takes too long for the training itself"
    found = named(checked(watch.report()))
    assert ("schedule-to-zero" in found) is wanted
    assert not wanted or f"mode='{'max' if mode == 'min' else 'min'}'" in found["schedule-to-zero"].remedy


@pytest.mark.parametrize("how", ["eps", "twice", "once", "slow"])
def test_steps_that_are_held_back_by_another_thing_than_the_rate(how: str) -> None:
    torch.manual_seed(3)
    model, parts = mlp(), 8
    optimiser: torch.optim.Optimizer = (
        torch.optim.Adam(model.parameters(), eps=10.0 if how == "eps" else 1e-8, lr=1e-6 if how == "slow" else 1e-3)
        if how in ("eps", "slow")
        else torch.optim.SGD(model.parameters(), lr=0.1)
    )
    parts = 1 if how in ("eps", "slow") else parts
    with health.watch(model, optimiser) as watch:
        for step in range(150):
            optimiser.zero_grad()
            told = 0.0
            for x, y in batches(parts, 8, seed=step):
                loss = functional.cross_entropy(model(x), y) / parts
                told += loss.item()
                (loss / parts if how == "twice" else loss).backward()
            optimiser.step()
            watch.loss(told)
    report = checked(watch.report())
    advice = " ".join(each.remedy for each in report.findings)
    assert ("Give Adam its usual eps, 1e-8: it has 10" in advice) is (how == "eps")
    assert ("Divide the loss by 8 alone" in advice) is (how == "twice")
    assert ("Raise the learning rate" in advice) is (how == "slow")
    assert report.trace.loss.mean[0] == pytest.approx(1.4, abs=0.25)  # ln 4, in the units it was handed over in
