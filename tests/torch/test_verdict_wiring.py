"""Trainings whose parts are wired wrongly, each beside its cure and beside healthy ones that look alike."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from trainings import adam, batches, checked, mlp, named, remarks, train

from lettrine import health
from lettrine.errors import HealthError


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(3)


class Listed(nn.Module):
    """Layers in a list: a plain one, or torch's."""

    def __init__(self, *, plain: bool) -> None:
        super().__init__()
        layers = [nn.Linear(12, 16), nn.Linear(16, 16)]
        self.layers = layers if plain else nn.ModuleList(layers)
        self.last = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return self.last(x)


def test_layers_in_a_plain_list() -> None:
    finding = named(train(Listed(plain=True)))["unregistered"]
    assert finding.where == ("layers[0].weight", "layers[0].bias", "layers[1].weight", "layers[1].bias")
    assert finding.value == 12 * 16 + 16 + 16 * 16 + 16
    assert "nn.ModuleList" in finding.remedy
    assert named(train(Listed(plain=False))) == {}


@pytest.mark.parametrize("how", ["made", "kept", "copied"])
def test_a_layer_made_in_forward(how: str) -> None:
    class Made(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.kept, self.last = nn.Linear(12, 16), nn.Linear(16, 16), nn.Linear(16, 4)

        def forward(self, x: Tensor) -> Tensor:
            ways = {"made": lambda: nn.Linear(16, 16), "kept": lambda: self.kept, "copied": lambda: copy.deepcopy(self.kept)}
            return self.last(torch.tanh(ways[how]()(torch.tanh(self.first(x)))))

    told = named(train(Made()))
    assert ("unregistered" in told) == (how == "made")
    if how == "made":
        assert "made inside forward" in told["unregistered"].message
        assert "__init__" in told["unregistered"].remedy


def test_hidden_layers_that_are_trained_frozen_or_used_under_no_grad_are_meant() -> None:
    trained = Listed(plain=True)
    parameters = [each for layer in trained.layers for each in layer.parameters()]
    assert "unregistered" not in named(train(trained, torch.optim.Adam([*trained.parameters(), *parameters], lr=3e-3)))
    frozen = Listed(plain=True)
    for layer in frozen.layers:
        layer.requires_grad_(False)
    assert "unregistered" not in named(train(frozen))


def test_a_network_behind_the_output_is_a_loss() -> None:
    model, judge = mlp(), mlp()  # the judge's weights are in the graph of the loss, not of the output

    def make(x: Tensor, y: Tensor) -> Tensor:
        output = model(x)
        return functional.cross_entropy(output, y) + 0.1 * judge(functional.pad(output, (0, 8))).square().mean()

    assert "unregistered" not in named(train(model, make=make))


def test_an_encoder_that_another_optimiser_trains_is_no_matter() -> None:
    encoder, head = nn.Sequential(nn.Linear(12, 16), nn.Tanh()), nn.Linear(16, 4)
    other, own = adam(encoder), adam(head)
    with health.watch(head, own) as watch:
        for x, y in batches(60):
            loss = functional.cross_entropy(head(encoder(x)), y)
            own.zero_grad()
            other.zero_grad()
            loss.backward()
            own.step()
            other.step()
            watch.loss(loss)
    assert named(checked(watch.report())) == {}


def test_an_encoder_that_nobody_trains() -> None:
    encoder, head = nn.Sequential(nn.Linear(12, 16), nn.Tanh()), nn.Linear(16, 4)
    finding = named(train(head, make=lambda x, y: functional.cross_entropy(head(encoder(x)), y)))["unregistered"]
    assert finding.where == ()
    assert "2 parameters (208 values) outside of the watched model" in finding.message


def test_a_model_without_anything_to_call() -> None:
    class Empty(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = [nn.Linear(4, 2)]

    model = Empty()
    with pytest.raises(HealthError, match=r"ModuleList"):
        health.watch(model, torch.optim.Adam(model.layers[0].parameters()))


class Frozen(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(12, 32), nn.Tanh(), nn.Linear(32, 8), nn.Tanh())
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


def test_a_frozen_body_that_is_still_random() -> None:
    model = Frozen()
    model.body.requires_grad_(False)
    finding = named(train(model))["frozen-random"]
    assert finding.where == ("body.0.weight", "body.2.weight")
    assert "load_state_dict" in finding.remedy


def test_a_frozen_body_that_was_trained_and_one_behind_something_trained() -> None:
    model = Frozen()
    train(model, steps=150)
    model.body.requires_grad_(False)
    assert "frozen-random" not in named(train(model))
    middle = nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 4))
    middle[2].requires_grad_(False)
    assert named(train(middle))["frozen-random"].where == ("2.weight",)


@pytest.mark.parametrize("beside", ["as drawn", "trained"])
def test_a_frozen_table_beside_weights_that_were_trained_may_have_been_trained_too(beside: str) -> None:
    """Normal values look normal after a short training."""
    table, hidden = nn.Embedding(200, 16), nn.Linear(16, 16)
    if beside == "trained":
        nn.init.orthogonal_(hidden.weight)
    model = nn.Sequential(table, nn.Flatten(), nn.Unflatten(1, (4, 16)), hidden, nn.Tanh(), nn.Flatten(), nn.Linear(64, 2))
    table.requires_grad_(False)
    hidden.requires_grad_(False)
    x, y = torch.randint(0, 200, (32, 4)), torch.randint(0, 2, (32,))
    optimizer = adam(model)
    with health.watch(model, optimizer) as watch:
        for _ in range(60):
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    told = any(outcome.check == "frozen-random" and outcome.status == "found" for outcome in watch.report().outcomes)
    assert told == (beside == "as drawn")


def test_target_networks_and_random_targets_are_meant() -> None:
    class Twins(nn.Module):
        def __init__(self, *, copied: bool, average: float) -> None:
            super().__init__()
            self.online = nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 8))
            self.target = copy.deepcopy(self.online) if copied else nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 8))
            self.target.requires_grad_(False)
            self.average = average

        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                for ours, theirs in zip(self.target.parameters(), self.online.parameters(), strict=True):
                    ours.lerp_(theirs, self.average)
            return functional.mse_loss(self.online(x), self.target(x))

    for copied, average in ((True, 0.01), (True, 0.0), (False, 0.0)):
        model = Twins(copied=copied, average=average)
        assert "frozen-random" not in named(train(model, make=lambda x, _, model=model: model(x))), (copied, average)


class Gan(nn.ModuleDict):
    def __init__(self) -> None:
        super().__init__({"G": mlp()[:3], "D": nn.Sequential(nn.Linear(24, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))})


@pytest.mark.parametrize("detached", [True, False])
def test_a_generator_trained_on_a_detached_output(*, detached: bool) -> None:
    model = Gan()
    generator, critic = adam(model["G"], 1e-3), adam(model["D"], 1e-3)
    random = torch.Generator().manual_seed(5)
    with health.watch(model, [critic, generator]) as watch:
        for _ in range(45):
            fake = model["G"](torch.randn(32, 12, generator=random))
            real = model["D"](torch.randn(32, 24, generator=random))
            loss = functional.softplus(-real).mean() + functional.softplus(model["D"](fake.detach())).mean()
            critic.zero_grad()
            loss.backward()
            critic.step()
            fooled = functional.softplus(-model["D"](fake.detach() if detached else fake)).mean()
            generator.zero_grad()
            fooled.backward()
            generator.step()
            watch.loss(loss + fooled)
    report = checked(watch.report())
    if detached:
        assert report.findings[0].id == "detached-generator"
        assert report.findings[0].where == ("G",)
        assert "no-gradient" not in named(report)
    else:
        assert "detached-generator" not in named(report)
        assert "no-gradient" not in named(report)
        assert "gradients-cleared" not in named(report)


def micro(model: nn.Module, *, clear: bool, divide: bool, attack: bool = False, often: int = 1) -> health.findings.Report:
    """Four backward passes to a step. often: with `clear`, the gradients are cleared before each so many passes."""
    optimiser = adam(model)
    with health.watch(model, optimiser) as watch:
        for number, (x, y) in enumerate(batches(4 * 45), start=1):
            if clear and (number - 1) % often == 0:
                optimiser.zero_grad()
            x.requires_grad_(attack)
            loss = functional.cross_entropy(model(x), y)
            (loss / 4 if divide else loss).backward()
            watch.loss(loss)
            if number % 4 == 0:
                optimiser.step()
                optimiser.zero_grad()
    return checked(watch.report())


def test_gradients_cleared_between_micro_batches() -> None:
    finding = named(micro(mlp(), clear=True, divide=True))["gradients-cleared"]
    assert "4 backward passes" in finding.message
    assert "gradients-cleared" not in named(micro(mlp(), clear=False, divide=True))
    assert "gradients-cleared" not in named(micro(mlp(), clear=False, divide=False))
    assert "gradients-cleared" in remarks(micro(mlp(), clear=True, divide=False))
    finding = named(micro(mlp(), clear=True, divide=True, often=2))["gradients-cleared"]
    assert "2 passes count for nothing" in finding.message
    assert "gradients-cleared" not in named(micro(mlp(), clear=True, divide=True, often=4))
    attacked = micro(mlp(), clear=True, divide=True, attack=True)  # the passes before look for the worst input
    assert "gradients-cleared" not in {**named(attacked), **remarks(attacked)}


def test_gradients_cleared_before_the_step() -> None:
    for to_none in (True, False):
        model = mlp()
        optimiser = adam(model)
        with health.watch(model, optimiser) as watch:
            for x, y in batches(45):
                loss = functional.cross_entropy(model(x), y)
                loss.backward()
                optimiser.zero_grad(set_to_none=to_none)
                optimiser.step()
                watch.loss(loss)
        report = checked(watch.report())
        assert report.findings[0].id == "gradients-cleared", to_none
        assert report.worst == "critical"
        assert "before backward()" in report.findings[0].remedy


def test_sharpness_aware_steps_clear_on_purpose() -> None:
    model = mlp()
    optimiser = adam(model)
    with health.watch(model, optimiser) as watch:
        for x, y in batches(45):
            functional.cross_entropy(model(x), y).div(2).backward()
            climbed = [0.01 * parameter.grad for parameter in model.parameters()]
            with torch.no_grad():
                for parameter, step in zip(model.parameters(), climbed, strict=True):
                    parameter.add_(step)
            optimiser.zero_grad()
            loss = functional.cross_entropy(model(x), y)
            (loss / 2).backward()
            with torch.no_grad():
                for parameter, step in zip(model.parameters(), climbed, strict=True):
                    parameter.sub_(step)
            optimiser.step()
            optimiser.zero_grad()
            watch.loss(loss)
    assert named(checked(watch.report())) == {}


def test_no_backward_pass_at_all() -> None:
    model = mlp()
    optimiser = adam(model)
    with health.watch(model, optimiser) as watch:
        for x, y in batches(45):
            loss = functional.cross_entropy(model(x), y)
            optimiser.step()
            watch.loss(loss)
    finding = named(checked(watch.report()))["no-gradient"]
    assert finding.severity == "critical"
    assert "loss.backward()" in finding.remedy


def test_an_optimiser_that_holds_only_what_is_frozen() -> None:
    model = mlp()
    model[4].requires_grad_(False)
    finding = train(model, torch.optim.Adam(model[4].parameters(), lr=1e-3)).findings[0]
    assert finding.id == "never-moved"
    assert finding.where == ("4.weight", "4.bias")
    assert "0.weight" in finding.remedy


def test_a_learning_rate_of_zero() -> None:
    assert train(mlp(), torch.optim.SGD(mlp().parameters(), lr=0.0)).findings[0].id == "not-optimised"
    model = mlp()
    assert train(model, torch.optim.SGD(model.parameters(), lr=0.0)).findings[0].id == "never-moved"


class Carried(nn.Module):
    """A running average of features, carried from batch to batch."""

    def __init__(self, *, detach: bool) -> None:
        super().__init__()
        self.first, self.last, self.detach, self.average = nn.Linear(12, 8), nn.Linear(8, 4), detach, torch.zeros(8)

    def forward(self, x: Tensor) -> Tensor:
        features = self.first(x)
        self.average = 0.5 * (self.average.detach() if self.detach else self.average) + 0.5 * features.mean(0)
        return self.last(features - self.average)


@pytest.mark.parametrize("detach", [False, True])
def test_a_state_that_is_never_detached(*, detach: bool) -> None:
    model = Carried(detach=detach)
    optimiser = adam(model)
    with health.watch(model, optimiser) as watch:
        for x, y in batches(25):
            loss = functional.cross_entropy(model(x), y)
            optimiser.zero_grad()
            loss.backward(retain_graph=True)
            optimiser.step()
            watch.loss(loss)
    report = checked(watch.report())
    found = {**named(report), **remarks(report)}
    if detach:
        assert "growing-graph" not in found
    else:
        assert "detach" in found["growing-graph"].remedy
        assert found["growing-graph"].value > 5


def test_longer_sequences_later_are_no_growing_graph() -> None:
    rnn, last = nn.RNNCell(12, 8), nn.Linear(8, 4)
    model = nn.ModuleDict({"rnn": rnn, "last": last})
    lengths = iter(range(1, 100))

    def make(x: Tensor, y: Tensor) -> Tensor:
        state = torch.zeros(32, 8)
        for _ in range(next(lengths)):
            state = rnn(x, state)
        return functional.cross_entropy(last(state), y)

    assert "growing-graph" not in named(train(model, steps=25, make=make))


def test_a_bias_that_cancels_and_a_head_that_is_not_used() -> None:
    class Ranking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.score, self.later = nn.Linear(12, 16), nn.Linear(16, 1), nn.Linear(16, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.score(torch.tanh(self.body(x)))

    model = Ranking()

    def make(x: Tensor, _: Tensor) -> Tensor:
        scores = model(torch.cat([x + 0.5, x - 0.5]))
        return functional.softplus(scores[32:] - scores[:32]).mean()

    report = train(model, make=make)
    assert remarks(report)["no-gradient"].where == ("later.weight", "later.bias")
    assert "does not use them" in remarks(report)["no-gradient"].message
    assert "no-gradient" not in named(report)
    # A group of its own in the optimizer says that it was meant to be trained.
    groups = [{"params": [*model.body.parameters(), *model.score.parameters()]}, {"params": model.later.parameters()}]
    assert named(train(model, torch.optim.Adam(groups, lr=3e-3), make=make))["no-gradient"].where[0] == "later.weight"
    # What the optimizer does not hold either, another network in the same container, is no concern of this training.
    held = torch.optim.Adam([*model.body.parameters(), *model.score.parameters()], lr=3e-3)
    report = train(model, held, make=make)
    assert remarks(report)["no-gradient"].where == ("later.weight", "later.bias")
    assert "no-gradient" not in named(report)


@pytest.mark.parametrize(("way", "left_over"), [("left over", True), ("data", False), ("transposed", False)])
def test_a_parameter_that_no_function_is_given(way: str, left_over: bool) -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.own = nn.Linear(12, 4), nn.Parameter(torch.eye(4))

        def forward(self, x: Tensor) -> Tensor:
            h = self.body(x)
            return h if way == "left over" else h @ self.own.data if way == "data" else h @ self.own.T.detach()

    report = train(Own())
    found = (remarks if left_over else named)(report)["no-gradient"]
    assert found.where == ("own",)
    assert ("the forward pass does not use it" in found.message) is left_over


def test_a_branch_that_nobody_reads_is_a_remark() -> None:
    class Pooled(Frozen):
        def __init__(self) -> None:
            super().__init__()
            self.pooler = nn.Linear(8, 8)

        def forward(self, x: Tensor) -> Tensor:
            h = self.body(x)
            self.pooler(h)
            return self.head(h)

    report = train(Pooled())
    assert remarks(report)["no-gradient"].where == ("pooler.weight", "pooler.bias")
    assert "no-gradient" not in named(report)


def test_a_cut_inside_the_model_is_named_with_its_place() -> None:
    class Cut(Frozen):
        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.body(x).detach())

    finding = named(train(Cut()))["no-gradient"]
    assert finding.where == ("body.0.weight", "body.0.bias", "body.2.weight", "body.2.bias")
    assert finding.remedy.startswith("head gets the output of body without its graph.")
