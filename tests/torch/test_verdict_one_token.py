"""Texts of which hardly a word is known, in small trainings."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from trainings import adam, checked, named, remarks

from lettrine import health

UNKNOWN, WORDS = 1, 200


class Text(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.table, self.gru, self.out = nn.Embedding(WORDS, 24), nn.GRU(24, 24, batch_first=True), nn.Linear(24, 2)

    def forward(self, words: Tensor) -> Tensor:
        return self.out(self.gru(self.table(words))[1][0])


def texts(kind: str) -> tuple[Tensor, Tensor]:
    """Whether more words are below 50 than above 150. kind: how many of them are unknown, or where padding stands."""
    generator = torch.Generator().manual_seed(1)
    words = torch.randint(2, WORDS, (1_000, 16), generator=generator)
    labels = ((words < 50).sum(1) > (words > 150).sum(1)).long()
    unknown = torch.rand(words.shape, generator=generator) < {"nearly all": 0.96, "half": 0.5}.get(kind, 0.0)
    words = words.masked_fill(unknown, UNKNOWN)
    empty = torch.arange(16) >= torch.randint(1, 3, (1_000, 1), generator=generator)
    if kind in ("padded", "padded before"):
        words = words.masked_fill(empty if kind == "padded" else empty.flip(1), 0)
        labels = torch.randint(2, (1_000,), generator=generator)  # nothing to learn: padding is not to be blamed
    return words, labels


def trained(kind: str) -> health.Report:
    (x, y), model, generator = texts(kind), Text(), torch.Generator().manual_seed(2)
    optimiser = adam(model)
    with health.watch(model, optimiser) as watch:
        for _ in range(150):
            rows = torch.randint(len(x), (32,), generator=generator)
            loss = functional.cross_entropy(model(x[rows]), y[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    return checked(watch.report())


def test_hardly_a_word_is_known() -> None:
    found = named(trained("nearly all"))
    assert found["no-learning"].where == ("table",)
    assert found["no-learning"].value == pytest.approx(0.96, abs=0.01)
    assert "are 1, padding at the ends left out, of the 200 that it has" in found["no-learning"].message
    assert "padding-mask" not in found  # the ends of rows hold the same, but so does all the rest


@pytest.mark.parametrize("kind", ["half", "padded", "padded before", "none"])
def test_other_texts(kind: str) -> None:
    report = trained(kind)
    assert not any("of the tokens that" in each.message for each in {**named(report), **remarks(report)}.values())
