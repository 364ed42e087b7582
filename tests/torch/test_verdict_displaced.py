"""Targets at other places than those they belong to, in small trainings."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from trainings import adam, checked, named, remarks

from lettrine import health
from lettrine.health.findings import Report

TOKENS, ROWS, LONG = 11, 6, 9


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(3)


class Reader(nn.Module):
    """A recurrent language model. cell: "by hand" collects its outputs step by step; otherwise a module of torch."""

    def __init__(self, cell: str = "GRU", *, batch_first: bool = True) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(TOKENS, 16), nn.Linear(16, TOKENS)
        self.cell = nn.GRUCell(16, 16) if cell == "by hand" else getattr(nn, cell)(16, 16, batch_first=batch_first)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        if not isinstance(self.cell, nn.GRUCell):
            return self.head(self.cell(x)[0])
        h, outs = x.new_zeros(len(x), 16), []
        for each in x.transpose(0, 1):
            h = self.cell(each, h)
            outs.append(self.head(h))
        return torch.cat(outs)


def trained(model: nn.Module, total: Callable[[Tensor], Tensor], steps: int = 8) -> Report:
    optimiser = adam(model)
    with health.watch(model, optimiser) as watch:
        for _ in range(steps):
            loss = total(torch.randint(1, TOKENS, (ROWS, LONG + 1)))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    return checked(watch.report())


def ce(logits: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(logits.reshape(-1, TOKENS), targets.reshape(-1))


def shifting(logits: Tensor, labels: Tensor) -> Tensor:
    """A loss that shifts by itself, with the last target ignored."""
    return ce(logits, functional.pad(labels, (0, 1), value=-100)[:, 1:].contiguous())


@pytest.mark.parametrize("way", ["program and loss", "data and loss", "cut twice"])
def test_shifted_twice(way: str) -> None:
    model = Reader()

    def total(rows: Tensor) -> Tensor:
        if way == "program and loss":
            return shifting(model(rows)[:, :-1], rows[:, 1:])
        if way == "data and loss":
            return shifting(model(rows[:, :-1]), rows[:, 1:])
        return ce(model(rows[:, :-1])[:, :-1], rows[:, 2:])

    finding = named(trained(model, total))["shuffled-targets"]
    assert "the token 2 places later in what embed is given, in all " in finding.message
    assert finding.where == ("embed",)


def test_last_target_wrapped_around() -> None:
    model = Reader("LSTM")
    finding = named(trained(model, lambda rows: ce(model(rows), rows.roll(-1, 1))))["shuffled-targets"]
    assert f"at the last of {LONG + 1} places is the row's own first token" in finding.message


def test_one_wrong_target_of_many_is_a_remark() -> None:
    model = Reader("LSTM")
    report = trained(model, lambda rows: ce(model(rows.repeat(1, 6)), rows.repeat(1, 6).roll(-1, 1)), steps=3)
    assert "the last of 60 places" in remarks(report)["shuffled-targets"].message


@pytest.mark.parametrize("way", ["by hand", "GRU", "LSTM", "turned"])
def test_another_order(way: str) -> None:
    model = Reader("GRU" if way == "turned" else way, batch_first=way == "turned")

    def total(rows: Tensor) -> Tensor:
        given, targets = rows[:, :-1], rows[:, 1:]
        return ce(model(given if way in ("by hand", "turned") else given.T), targets.T if way == "turned" else targets)

    finding = named(trained(model, total))["shuffled-targets"]
    orders = ("(batch, time)", "(time, batch)")
    predictions, targets = orders if way == "turned" else orders[::-1]
    assert f"flattened from {predictions}, their targets from {targets}" in finding.message


def _usual(model: nn.Module, rows: Tensor) -> Tensor:
    return ce(model(rows[:, :-1]), rows[:, 1:])


def _by_hand(model: nn.Module, rows: Tensor) -> Tensor:
    return ce(model(rows[:, :-1]), rows[:, 1:].T)


def _time_first(model: nn.Module, rows: Tensor) -> Tensor:
    return ce(model(rows[:, :-1].T), rows[:, 1:].T)


def _without_the_first(model: nn.Module, rows: Tensor) -> Tensor:
    """Nothing is asked at the first place, where too little is known."""
    return ce(model(rows[:, :-1])[:, 1:], rows[:, 2:])


def _without_the_first_step(model: nn.Module, rows: Tensor) -> Tensor:
    """The same, cut off before the last layer."""
    assert isinstance(model, Reader)
    return ce(model.head(model.cell(model.embed(rows[:, :-1]))[0][:, 1:]), rows[:, 2:])


def _two_heads(model: nn.Module, rows: Tensor) -> Tensor:
    """The second term asks for the token after the next one, as a model that predicts several tokens does."""
    return ce(model(rows[:, :-1]), rows[:, 1:]) + 0.5 * ce(model(rows[:, :-2]), rows[:, 2:])


def _later_heads(model: nn.Module, rows: Tensor) -> Tensor:
    """Heads for the second and the third token ahead alone, beside a frozen one for the next."""
    return ce(model(rows)[:, :-2], rows[:, 2:]) + ce(model(rows)[:, :-3], rows[:, 3:])


def _remembered(model: nn.Module, rows: Tensor) -> Tensor:
    """The token two places earlier."""
    return ce(model(rows)[:, 2:], rows[:, :-2])


def _masked(model: nn.Module, rows: Tensor) -> Tensor:
    """Some tokens are hidden, and only these are asked for."""
    hidden = torch.rand(rows.shape) < 0.3
    return ce(model(rows.masked_fill(hidden, 0)), rows.masked_fill(~hidden, -100))


def _one_marker(model: nn.Module, rows: Tensor) -> Tensor:
    """Rows begin and end with the same token."""
    rows = functional.pad(rows, (1, 1), value=0)
    return ce(model(rows[:, :-1]), rows[:, 1:])


def _square(model: nn.Module, rows: Tensor) -> Tensor:
    """As many rows as steps: the order cannot be told by the shape."""
    rows = rows[:, : ROWS + 1]
    return ce(model(rows[:, :-1]), rows[:, 1:].T)


@pytest.mark.parametrize(
    ("total", "cell"),
    [
        (_usual, "GRU"),
        (_usual, "LSTM"),
        (_by_hand, "by hand"),
        (_time_first, "RNN"),
        (_without_the_first, "GRU"),
        (_without_the_first_step, "GRU"),
        (_two_heads, "GRU"),
        (_later_heads, "GRU"),
        (_remembered, "GRU"),
        (_masked, "GRU"),
        (_one_marker, "LSTM"),
        (_square, "by hand"),
    ],
)
def test_targets_at_their_places(total: Callable[[nn.Module, Tensor], Tensor], cell: str) -> None:
    model = Reader(cell, batch_first=total is not _time_first)
    report = trained(model, lambda rows: total(model, rows))
    assert "shuffled-targets" not in {**named(report), **remarks(report)}
