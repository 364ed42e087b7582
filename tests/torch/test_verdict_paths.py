"""Words and frames of ctc_loss, in small trainings."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from trainings import adam, checked, named, remarks

from lettrine import health
from lettrine.health.findings import Report

ROWS, FRAMES, LETTERS = 6, 12, 5


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(3)


def trained(
    words: Tensor, sizes: Tensor, *, frames: int = FRAMES, blank: int = 0, joined: bool = False, tuples: bool = False
) -> Report:
    """joined: the words of all rows in one line. tuples: lengths as tuples of numbers."""
    model = nn.Linear(4, LETTERS + 1)
    optimiser = adam(model)
    lengths = torch.full((ROWS,), frames)
    targets = torch.cat([row[:size] for row, size in zip(words, sizes.tolist(), strict=True)]) if joined else words
    given = [tuple(each.tolist()) if tuples else each for each in (lengths, sizes)]
    with health.watch(model, optimiser) as watch:
        for _ in range(6):
            logs = model(torch.randn(frames, ROWS, 4)).log_softmax(-1)
            loss = functional.ctc_loss(logs, targets, *given, blank=blank, zero_infinity=True)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    return checked(watch.report())


def words(low: int, high: int) -> tuple[Tensor, Tensor]:
    """(ROWS, 4) letters, 0 after the end of each word, and their sizes."""
    sizes = torch.tensor([4, 3, 2, 4, 3, 2])
    return torch.randint(low, high, (ROWS, 4)) * (torch.arange(4) < sizes[:, None]), sizes


@pytest.mark.parametrize("form", ["rows", "joined", "tuples"])
def test_the_blank_as_a_letter(form: str) -> None:
    letters, sizes = words(0, LETTERS)
    letters[:, 0] = 0
    finding = named(trained(letters, sizes, joined=form == "joined", tuples=form == "tuples"))["target-range"]
    assert "have the number 0, which is its blank" in finding.message


def test_too_few_frames() -> None:
    letters, sizes = words(1, LETTERS + 1)
    letters[:] = torch.tensor([2, 2, 1, 3]) * (torch.arange(4) < sizes[:, None])  # the same two need a blank between them
    finding = named(trained(letters, sizes, frames=3))["target-range"]
    assert finding.message.startswith("67 % of the words need more frames than there are: one needs 5")
    assert "counts as 0" in finding.message


@pytest.mark.parametrize("form", ["rows", "joined", "tuples", "last"])
def test_words_that_can_be_found(form: str) -> None:
    """Padding of 0 after each word is no letter; the blank may be the last number."""
    letters, sizes = words(0, LETTERS) if form == "last" else words(1, LETTERS + 1)
    report = trained(letters, sizes, blank=LETTERS if form == "last" else 0, joined=form == "joined", tuples=form == "tuples")
    assert "target-range" not in {**named(report), **remarks(report)}


def test_one_word_that_is_too_long() -> None:
    letters, sizes = words(1, LETTERS + 1)
    sizes[1:] = 2
    letters[:, 1] = letters[:, 0] % LETTERS + 1
    report = trained(letters, sizes, frames=3)
    assert "target-range" not in {**named(report), **remarks(report)}


@pytest.mark.parametrize("same", [True, False])
def test_letters_that_are_not_in_the_list(same: bool) -> None:
    """Of each word only the space is left, or a second word is there."""
    letters = torch.full((ROWS, 1), 4)
    letters[0] = 4 if same else 2
    found = named(trained(letters, torch.ones(ROWS, dtype=torch.int64)))
    assert ("target-constant" in found) is same
    if same:
        assert "are the same one, 1 long; the network can say 5 letters" in found["target-constant"].message
