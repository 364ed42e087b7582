"""Trainings held back by too much dropout, momentum or decay, or by a term without its graph, each beside its cure."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from trainings import adam, mlp, named, train


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(3)


@pytest.mark.parametrize("share", [0.95, 0.05])
def test_the_share_to_keep_given_as_the_share_to_drop(share: float) -> None:
    model = nn.Sequential(nn.Linear(12, 48), nn.ReLU(), nn.Dropout(share), nn.Linear(48, 48), nn.ReLU(), nn.Dropout(share))
    model.append(nn.Linear(48, 4))
    told = named(train(model, steps=200))
    assert ("underfitting" in told) is (share > 0.5)
    if told:
        assert set(told["underfitting"].where) == {"2", "5"}


@pytest.mark.parametrize("last", [True, False])
def test_dropout_of_the_answers_of_a_regression(last: bool) -> None:
    """Its answers lose their second axis on the way to the loss."""
    model = nn.Sequential(nn.Linear(12, 48), nn.ReLU(), nn.Dropout(0.1), nn.Linear(48, 1), nn.Dropout(0.4 if last else 0.0))
    told = named(train(model, steps=60, make=lambda x, _: functional.mse_loss(model(x).squeeze(1), x[:, 0])))
    assert ("underfitting" in told and told["underfitting"].where == ("4",)) is last


@pytest.mark.parametrize("momentum", [0.999, 0.9])
def test_a_momentum_that_is_too_heavy(momentum: float) -> None:
    model = mlp()
    told = named(train(model, torch.optim.SGD(model.parameters(), 0.05, momentum=momentum), steps=300))
    assert ("divergence" in told) is (momentum > 0.9)
    if told:
        assert "A momentum of 0.999 (SGD)" in told["divergence"].message


class Two(nn.Module):
    """Two answers of one body."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.first, self.second = nn.Linear(12, 24), nn.Linear(24, 4), nn.Linear(24, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.relu(self.body(x))
        return self.first(hidden), self.second(hidden)


@pytest.mark.parametrize("added", ["itself", "item", "detach", "left out"])
def test_a_term_of_the_loss_without_its_graph(added: str) -> None:
    model = Two()

    def make(x: Tensor, y: Tensor) -> Tensor:
        one, two = model(x)
        first, second = functional.cross_entropy(one, y), functional.cross_entropy(two, (y > 1).long())
        terms = {"itself": second, "item": second.item(), "detach": second.detach(), "left out": 0.0}
        return first + terms[added]

    told = named(train(model, adam(model), steps=40, make=make))
    assert ("no-gradient" in told) is (added != "itself")
    if told:
        assert told["no-gradient"].where == ("second.weight", "second.bias")


@pytest.mark.parametrize(("way", "told"), [("argmax", True), ("softmax", False), ("item", True), ("trained apart", False)])
def test_a_term_without_a_graph_where_all_learn_from_others(way: str, told: bool) -> None:
    """Answers of two heads are to agree: by argmax they cannot be made to. A number of a loss with its own step is for show."""
    model = Two()

    def make(x: Tensor, y: Tensor) -> Tensor:
        one, two = model(x)
        loss = functional.cross_entropy(one, y) + functional.cross_entropy(two, (y > 1).long())
        if way == "argmax":
            return loss + (one.argmax(1).gt(1) != two.argmax(1).bool()).float().mean()
        if way == "softmax":
            return loss + (one.softmax(1)[:, 2:].sum(1) - two.softmax(1)[:, 1]).abs().mean()
        other = two.square().mean()
        if way == "trained apart":
            other.backward(retain_graph=True)
        return loss + other.item()

    assert ("no-gradient" in named(train(model, adam(model), steps=40, make=make))) is told


@pytest.mark.parametrize(("decay", "told"), [(30.0, True), (0.01, False)])
def test_a_decay_that_leaves_the_gradient_nothing(decay: float, told: bool) -> None:
    model = mlp()
    report = train(model, torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=decay), steps=200)
    assert ("weight-decay" in named(report)) is told


def test_a_decay_that_takes_much_at_each_step() -> None:
    model = mlp()
    (finding,) = [
        each
        for each in train(model, torch.optim.AdamW(model.parameters(), 2e-2, weight_decay=5.0), steps=300).findings
        if each.id == "weight-decay"
    ]
    assert "takes 10 % of the weights away at each step, half of them in 7 steps" in finding.message
    model = mlp()
    assert "weight-decay" not in named(train(model, torch.optim.AdamW(model.parameters(), 2e-2, weight_decay=0.1), steps=300))


@pytest.mark.parametrize("factor", [0.5, 1e-5])
def test_a_penalty_written_by_hand(factor: float) -> None:
    model = mlp()

    def make(x: Tensor, y: Tensor) -> Tensor:
        return functional.cross_entropy(model(x), y) + factor * sum(
            (each.pow(2).sum() for each in model.parameters()), torch.zeros(())
        )

    assert ("weight-decay" in named(train(model, adam(model, 1e-2), steps=200, make=make))) is (factor > 0.1)


class Attention(nn.Module):
    """Attention written out, over tokens."""

    def __init__(self, *, scaled: bool) -> None:
        super().__init__()
        self.embed, self.query, self.key = nn.Embedding(12, 48), nn.Linear(48, 48), nn.Linear(48, 48)
        self.value, self.out, self.scaled = nn.Linear(48, 48), nn.Linear(48, 4), scaled

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.embed(tokens) * (1 if self.scaled else 8)
        scores = self.query(hidden) @ self.key(hidden).transpose(1, 2) / (48**0.5 if self.scaled else 1)
        mixed: Tensor = self.out((scores.softmax(-1) @ self.value(hidden)).mean(1))
        return mixed


@pytest.mark.parametrize("scaled", [False, True])
def test_scores_of_attention_that_are_not_scaled(*, scaled: bool) -> None:
    model = Attention(scaled=scaled)
    labels = torch.randint(4, (12,), generator=torch.Generator().manual_seed(0))

    def make(x: Tensor, _: Tensor) -> Tensor:
        tokens = ((x.abs() * 7).long() % 12)[:, :8]
        return functional.cross_entropy(model(tokens), labels[tokens[:, 0]])

    seen = train(model, adam(model), steps=40, make=make).trace.seen("peaks")[0]
    assert (seen.figure("spread") > 4) is not scaled
    assert (seen.figure("first") > 0.7) is not scaled
    assert seen.figure("size") == 8


@pytest.mark.parametrize("index", [-1, slice(None), slice(0, 16)])
def test_one_row_of_the_answers_in_the_loss(index: int | slice) -> None:
    """output[-1] is the last example, not the last step. A part of the rows may be meant."""
    model = nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 1))
    told = named(train(model, steps=40, make=lambda x, _: functional.mse_loss(model(x)[index], x[:, :1][index])))
    assert ("other-loss" in told) is (index == -1)
    if index == -1:
        assert "output[-1] and target[-1]" in told["other-loss"].message


@pytest.mark.parametrize(("size", "told"), [(0.01, True), (0.3, False)])
@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])
def test_weights_that_begin_with_next_to_nothing(activation: type[nn.Module], size: float, told: bool) -> None:
    """Two hidden layers are too few to compare their outputs; a third of the usual size is made up for."""
    model = nn.Sequential(nn.Linear(12, 32), activation(), nn.Linear(32, 32), activation(), nn.Linear(32, 4))
    with torch.no_grad():
        for each in model.parameters():
            each.mul_(size)
    found = named(train(model, torch.optim.SGD(model.parameters(), 0.1), steps=250))
    assert ("activation-scale" in found) is told
    if told:
        assert found["activation-scale"].where == ("0.weight", "2.weight", "4.weight")
