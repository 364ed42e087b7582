"""A seed that is set in each step, so that all steps draw the same numbers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from verdicts import batches, classes, net, numbers

from lettrine import health

WIDE = 8


def told(kind: str, *, seeded: bool, own: bool = False, steps: int = 120) -> list[tuple[str, str]]:
    """Train with dropout, or take noise off. own: the noise comes from a generator of its own, made anew in each step."""
    if kind == "dropout":
        (x, y), model = classes(), nn.Sequential(nn.Dropout(0.2), net())
    else:
        (x, y), model = numbers(width=WIDE), net(width=WIDE, out=WIDE)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    with health.watch(model, optimiser) as watch:
        for _, (a, b) in zip(range(steps), batches(x, y), strict=False):
            if seeded:
                torch.manual_seed(0)
            if kind == "dropout":
                loss = nn.functional.cross_entropy(model(a), b)
            else:
                loss = nn.functional.mse_loss(model(a + 0.5 * drawn(a, own=own)), a)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    return [(each.id, each.severity) for each in watch.report().findings if "random generator" in each.message]


def drawn(like: Tensor, *, own: bool) -> Tensor:
    if own:
        return torch.randn(like.shape, generator=torch.Generator().manual_seed(1))
    return torch.randn_like(like)


@pytest.mark.parametrize(("kind", "severity"), [("dropout", "info"), ("noise", "warning")])
def test_a_seed_that_is_set_in_each_step(kind: str, severity: str) -> None:
    assert told(kind, seeded=True) == [("repeated-batch", severity)]
    assert told(kind, seeded=False) == []


def test_a_state_that_comes_back_after_other_numbers_is_left_alone() -> None:
    x, _ = numbers(width=WIDE)
    model = net(width=WIDE, out=WIDE)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    with health.watch(model, optimiser) as watch:
        for step, (a, _) in zip(range(120), batches(x, x), strict=False):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(step)
                noise = torch.randn_like(a)
            loss = nn.functional.mse_loss(model(a + 0.5 * noise), a)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    assert not [each for each in watch.report().findings if "random generator" in each.message]


def test_a_generator_of_its_own_and_nothing_drawn_are_left_alone() -> None:
    assert told("noise", seeded=True, own=True) == []
