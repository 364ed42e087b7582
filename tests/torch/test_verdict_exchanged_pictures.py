"""Pictures made sharp for a judge and close to their targets, which may be those of others."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from trainings import checked

from lettrine import health

SIDE, ROWS = 12, 12
Pairs = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Of sharp pictures: what the maker is given, and what it is to make of it."""


def sharp(count: int = 300) -> Tensor:
    """A bright patch somewhere."""
    line, place = torch.arange(SIDE), torch.randint(2, SIDE - 2, (2, count, 1))
    near = [(line - each).abs() < 3 for each in place]
    return 0.05 * torch.randn(count, 1, SIDE, SIDE) + (near[0][:, :, None] & near[1][:, None]).float()[:, None]


def blurred(pictures: Tensor) -> Tensor:
    return functional.avg_pool2d(pictures, 3, 1, 1)


def judged(pairs: Pairs, *, first: bool = True, steps: int = 215) -> list[health.Finding]:
    """What is said of the pairs. first: the maker's answers are compared with their targets before they are judged."""
    torch.manual_seed(1)
    pictures, wanted = pairs(sharp())
    maker = nn.Sequential(nn.Conv2d(1, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1))
    judge = nn.Sequential(nn.Conv2d(1, 6, 4, 2, 1), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(6 * 36, 1))
    optimisers = [torch.optim.Adam(each.parameters(), lr=1e-3, betas=(0.5, 0.9)) for each in (maker, judge)]
    with health.watch(nn.ModuleDict({"maker": maker, "judge": judge}), optimisers) as watch:
        for _ in range(steps):
            rows = torch.randint(len(pictures), (ROWS,))
            x, y = pictures[rows], wanted[rows]
            made = maker(x)
            told = functional.softplus(-judge(y)).mean() + functional.softplus(judge(made.detach())).mean()
            optimisers[1].zero_grad()
            told.backward()
            optimisers[1].step()
            if first:
                loss = 50 * functional.mse_loss(made, y) + functional.softplus(-judge(made)).mean()
            else:
                loss = functional.softplus(-judge(made)).mean() + 50 * functional.l1_loss(made, y)
            optimisers[0].zero_grad()
            loss.backward()
            optimisers[0].step()
            watch.loss(loss)
    report = checked(watch.report())
    assert report.trace.seen("exchanged pictures")
    return [each for each in report.findings if each.id == "shuffled-targets"]


def _strangers(pictures: Tensor) -> tuple[Tensor, Tensor]:
    return blurred(pictures), pictures[torch.randperm(len(pictures))]


@pytest.mark.parametrize("first", [True, False])
def test_targets_of_others(first: bool) -> None:
    (finding,) = judged(_strangers, first=first)
    assert (finding.severity, finding.where) == ("warning", ("maker",))
    assert "no more like its own than like those of others" in finding.message
    assert "by name" in finding.remedy


def _own(pictures: Tensor) -> tuple[Tensor, Tensor]:
    return blurred(pictures), pictures


def _mirrored(pictures: Tensor) -> tuple[Tensor, Tensor]:
    return blurred(pictures), pictures.flip(-1)


def _half(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """The other half is to be painted."""
    hidden = pictures.clone()
    hidden[..., SIDE // 2 :] = 0
    return hidden, pictures


def _noise(pictures: Tensor) -> tuple[Tensor, Tensor]:
    noise = torch.randn_like(pictures)
    return pictures + 0.5 * noise, noise


def _some(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Half of the pairs are right."""
    rows = torch.cat([torch.arange(150), 150 + torch.randperm(150)])
    return blurred(pictures), pictures[rows]


@pytest.mark.parametrize("pairs", [_own, _mirrored, _half, _noise, _some])
def test_targets_of_their_own(pairs: Pairs) -> None:
    assert judged(pairs) == []


def test_before_anything_can_be_learned() -> None:
    assert judged(_strangers, steps=60) == []
