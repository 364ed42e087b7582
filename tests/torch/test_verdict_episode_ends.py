"""Targets of values, with the mask of the ends of episodes as it should be and turned round."""

from __future__ import annotations

from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from lettrine import health  # noqa: E402

CELLS = 8
Targets = Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]


def transitions() -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Steps in a corridor (B, CELLS + 1), whose last cell ends it and is worth 1: state, action, reward, next state, done."""
    place, action = torch.randint(0, CELLS, (64,)), torch.randint(0, 2, (64,))
    after = (place + 2 * action - 1).clamp(0, CELLS)
    done = (after == CELLS).float()
    state, following = (functional.one_hot(each, CELLS + 1).float() for each in (place, after))
    return state, action, done.clone(), following, done


def said(targets: Targets, *, by_hand: bool = False) -> list[health.Finding]:
    torch.manual_seed(0)
    model, other = (nn.Sequential(nn.Linear(CELLS + 1, 24), nn.Tanh(), nn.Linear(24, 2)) for _ in range(2))
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    with health.watch(model, optimiser) as watch:
        for _ in range(40):
            state, action, reward, following, done = transitions()
            value = model(state).gather(1, action[:, None])[:, 0]
            target = targets(other, reward, following, done)
            loss = (value - target).pow(2).mean() if by_hand else functional.smooth_l1_loss(value, target)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    report = watch.report()
    assert report.trace.facts.errors == ()
    return [each for each in report.findings if each.id == "value-target"]


def filled(other: nn.Module, reward: Tensor, following: Tensor, places: Tensor) -> Tensor:
    value = other(following).max(1).values.detach()
    value[places] = 0.0
    return reward + 0.95 * value


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_mask_turned_round(by_hand: bool) -> None:
    def turned(other: nn.Module, reward: Tensor, following: Tensor, done: Tensor) -> Tensor:
        return reward + 0.95 * done * other(following).max(1)[0].detach()

    (found,) = said(turned, by_hand=by_hand)
    assert found.severity == "warning"
    assert 0 < found.value < 0.2
    assert "(1 - done)" in found.remedy
    assert said(lambda other, reward, following, done: turned(other, reward, following, 1 - done), by_hand=by_hand) == []


def test_places_set_to_0() -> None:
    assert len(said(lambda other, reward, following, done: filled(other, reward, following, done == 0))) == 1
    assert said(lambda other, reward, following, done: filled(other, reward, following, done == 1)) == []


def test_episodes_of_one_step() -> None:
    assert said(lambda other, reward, following, done: reward + 0.95 * other(following).amax(1).detach() * (done * 0)) == []


def test_no_mask() -> None:
    (found,) = said(lambda other, reward, following, _: reward + 0.95 * other(following).amax(1).detach())
    assert found.severity == "info"
    assert "nothing marks the ends" in found.message


def test_answers_of_a_teacher_that_are_sure() -> None:
    def sure(other: nn.Module, _: Tensor, following: Tensor, __: Tensor) -> Tensor:
        said = other(following).max(1)[0].detach()
        return said * (said > said.quantile(0.9)).float() * 1.0

    assert said(sure) == []


@pytest.mark.parametrize("end", [0, 1])
def test_values_of_the_network_itself(end: int) -> None:
    """Its second call, without a graph, gives the target."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(CELLS + 1, 24), nn.Tanh(), nn.Linear(24, 2))
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    with health.watch(model, optimiser) as watch:
        for _ in range(40):
            state, action, reward, following, done = transitions()
            value = model(state).gather(1, action[:, None])[:, 0]
            with torch.no_grad():
                target = reward + 0.95 * model(following).max(1)[0] * (done == end)
            optimiser.zero_grad()
            loss = functional.mse_loss(value, target)
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    found = [each.id for each in watch.report().findings if each.severity != "info"]
    assert ("value-target" in found) is (end == 1)
