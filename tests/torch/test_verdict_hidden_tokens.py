"""Tokens that are hidden, and a loss that asks for all, in small trainings."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from trainings import adam, checked, named, remarks

from lettrine import health
from lettrine.health.findings import Report

LETTERS, MASK = 12, 12


class Reader(nn.Module):
    """Each letter, beside what the letters before and after it say together."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.table, self.mix, self.say = nn.Embedding(LETTERS + 1, 24), nn.Conv1d(24, 24, 3, padding=1), nn.Linear(24, LETTERS)

    def forward(self, letters: Tensor) -> Tensor:
        h = self.table(letters)
        return self.say(h + torch.relu(self.mix(h.transpose(1, 2))).transpose(1, 2))


def trained(asked: str, *, told: bool = False, steps: int = 150) -> Report:
    """asked: "all" letters, or those that are "hidden" only; "mixed": all of a text in which other letters stand in the places.
    told: a hidden letter follows from the one before it.
    """
    model, generator = Reader(), torch.Generator().manual_seed(1)
    optimiser = adam(model, 1e-2)
    with health.watch(model, optimiser) as watch:
        for _ in range(steps):
            text = torch.randint(LETTERS, (32, 1), generator=generator) + torch.arange(10) if told else None
            text = torch.randint(LETTERS, (32, 10), generator=generator) if text is None else text % LETTERS
            hidden = torch.rand(text.shape, generator=generator) < 0.15
            given = torch.where(
                hidden, torch.randint(LETTERS, text.shape, generator=generator) if asked == "mixed" else MASK, text
            )
            target = text.masked_fill(~hidden, -100) if asked == "hidden" else text
            loss = functional.cross_entropy(model(given).flatten(0, 1), target.flatten())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    return checked(watch.report())


def test_all_letters_are_asked_where_some_are_hidden() -> None:
    finding = named(trained("all"))["leak"]
    assert "are hidden by token 12" in finding.message
    assert "(guessing gives 2.4" in finding.message  # ln 12 = 2.48
    assert finding.value == pytest.approx(0.85, abs=0.06)
    assert "labels[input != mask_token] = -100" in finding.remedy


def test_what_is_learned_all_the_same_is_a_remark() -> None:
    report = trained("all", told=True, steps=300)
    assert "leak" not in named(report)
    assert "hidden by token 12" in remarks(report)["leak"].message


@pytest.mark.parametrize("asked", ["hidden", "mixed"])
def test_hidden_letters_alone_are_asked_or_none_is_hidden(asked: str) -> None:
    report = trained(asked)
    assert not any("hidden by token" in each.message for each in report.findings)
