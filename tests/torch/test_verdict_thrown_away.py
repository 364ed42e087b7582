"""Functions whose results are thrown away, in small trainings."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from trainings import adam, checked, named, remarks

from lettrine import health
from lettrine.health.findings import Finding
from lettrine.torch.graph.memory import tensors_within
from lettrine.torch.private import without_modes


class Own(torch.autograd.Function):
    """A function of the user's own, whose calls are not seen."""

    @staticmethod
    def forward(_: object, x: Tensor) -> Tensor:
        with without_modes():  # as a compiled function does it
            return x * 2

    @staticmethod
    def backward(_: object, gradient: Tensor) -> Tensor:
        return gradient * 2


class Places(nn.Module):
    """What tells places apart is added; and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.randn(7, 16))
        self.drop = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(x + self.table)


class Text(nn.Module):
    """One attention and two layers. way: what is made of the scores, or of the hidden layer, and whether it is used."""

    def __init__(self, way: str) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.way, self.embed, self.act = way, nn.Embedding(20, 16), nn.ReLU()
        self.places, self.same, self.shares = Places(), nn.Identity(), nn.Softmax(dim=-1)
        self.q, self.k, self.v, self.hidden = (nn.Linear(16, 16) for _ in range(4))
        self.head = nn.Linear(16, 2)
        self.shown: list[object] = []

    def forward(self, tokens: Tensor) -> tuple[Tensor, ...]:
        x, empty = self.embed(tokens), (tokens == 0)[:, None]
        if self.way == "places":
            self.places(x)
        elif self.way == "places used":
            x = self.same(self.places(x))
        elif self.way == "same":
            self.same(x)
        scores = self.q(x) @ self.k(x).transpose(1, 2) / 4
        scores = self.masked(scores, empty)
        h = self.hidden((scores.softmax(-1) @ self.v(x)).mean(1))
        return self.bent(h)

    def masked(self, scores: Tensor, empty: Tensor) -> Tensor:
        places = scores.shape[-1]
        if self.way == "filled":
            scores.masked_fill(empty, -1e9)
        elif self.way == "where":
            torch.where(empty, -1e9, scores)
        elif self.way == "later":
            scores.masked_fill(torch.ones(places, places).triu(1).bool(), -1e9)
        elif self.way == "nothing hidden":
            scores.masked_fill(tokens_of(scores), -1e9)
        elif self.way == "in place":
            scores.masked_fill_(empty, -1e9)
        elif self.way == "used":
            scores = scores.masked_fill(empty, -1e9)
        return scores

    def bent(self, h: Tensor) -> tuple[Tensor, ...]:
        if self.way == "relu":
            torch.relu(h)
        elif self.way == "act":
            self.act(h)
        elif self.way == "dropout":
            functional.dropout(h, 0.2)
        elif self.way == "act used":
            h = self.act(h)
        elif self.way == "shown":
            self.shown = [torch.relu(h).detach().mean()]
        elif self.way == "returned":
            return self.head(h), torch.relu(h)
        elif self.way == "of one's own":
            own = Own.apply(torch.relu(h))
            return (self.head(h) + self.head(own),)
        elif self.way == "probabilities":
            out = self.head(h)
            self.shares(out)
            return (out * 1.0,)
        elif self.way == "last":
            out = self.head(h)
            torch.relu(h)  # a leftover, after everything was made
            return (out,)
        return (self.head(h),)


def tokens_of(scores: Tensor) -> Tensor:
    return torch.zeros_like(scores).bool()


def trained(way: str) -> dict[str, Finding]:
    model = Text(way)
    optimiser, generator = adam(model), torch.Generator().manual_seed(1)
    with health.watch(model, optimiser) as watch:
        for _ in range(20):
            tokens = torch.randint(1, 20, (16, 7), generator=generator)
            tokens[:8, 4:] = 0
            loss = functional.cross_entropy(model(tokens)[0], torch.randint(2, (16,), generator=generator))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    report = checked(watch.report())
    return {key: each for key, each in {**remarks(report), **named(report)}.items() if "thrown away" in each.message}


@pytest.mark.parametrize(("way", "check"), [("filled", "padding-mask"), ("where", "padding-mask"), ("later", "future-leak")])
def test_masks_that_are_made_and_dropped(way: str, check: str) -> None:
    finding = trained(way)[check]
    assert finding.severity == "warning"
    assert ("43 %" if way == "later" else "21 %") in finding.message  # 21 of 49 pairs; 3 of 7 places of every second row
    assert "softmax is given the tensor as it was" in finding.message
    assert ("torch.where(" if way == "where" else "x = x.masked_fill(") in finding.remedy


@pytest.mark.parametrize(("way", "function"), [("relu", "relu"), ("act", "relu"), ("dropout", "dropout"), ("places", "Places")])
def test_functions_called_for_nothing(way: str, function: str) -> None:
    finding = trained(way)["no-gradient"]
    assert finding.message.startswith(f"What {function} returns")
    assert finding.where == ((way,) if way in ("act", "places") else ("Text",))
    assert finding.remedy.endswith("x = self.places(x)." if way == "places" else f"x = {function}(x).")


UNTOUCHED = (
    "nothing hidden, in place, used, act used, places used, same, shown, returned, of one's own, last, probabilities, none"
)


@pytest.mark.parametrize("way", UNTOUCHED.split(", "))
def test_results_that_are_used(way: str) -> None:
    assert trained(way) == {}


@dataclass(slots=True)
class Held:
    """What a module returns. It may hold itself."""

    tensor: Tensor
    own: object = None


def test_tensors_are_found_however_they_are_held():
    one, two = torch.ones(1), torch.ones(2)
    held = Held(one)
    held.own = [held, {"two": (two,)}]
    assert {id(each) for each in tensors_within(held)} == {id(one), id(two)}
