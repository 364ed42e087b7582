"""The old probabilities in the ratio of a clipped policy: kept, or computed anew each time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.distributions import Categorical, Distribution, Normal  # noqa: E402

from lettrine import health  # noqa: E402
from lettrine.health.findings import Finding  # noqa: E402

Policy = Callable[[Tensor], Distribution]
Old = Callable[[Policy, Tensor, Tensor, Tensor, Tensor], Tensor]
"""What stands for the old log-probabilities: of the policy, states, actions, kept ones and the new ones."""


def kept(_: Policy, __: Tensor, ___: Tensor, then: Tensor, ____: Tensor) -> Tensor:
    return then


def detached(_: Policy, __: Tensor, ___: Tensor, ____: Tensor, now: Tensor) -> Tensor:
    return now.detach()


def anew(policy: Policy, states: Tensor, actions: Tensor, _: Tensor, __: Tensor) -> Tensor:
    with torch.no_grad():
        return log_prob(policy(states), actions)


def log_prob(given: Distribution, actions: Tensor) -> Tensor:
    told = given.log_prob(actions)
    return told.sum(1) if told.ndim > 1 else told


def said(
    old: Old,
    *,
    continuous: bool = False,
    rounds: int = 4,
    small: bool = False,
    clipped: bool = True,
    same_states: bool = False,
    rate: float = 3e-3,
) -> list[Finding]:
    """Sixty-four actions are drawn and trained on for some rounds. small: in batches of 16. same_states: at each draw."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 24), nn.Tanh(), nn.Linear(24, 3))
    optimiser = torch.optim.Adam(net.parameters(), lr=rate)
    contexts = torch.randn(64, 5)

    def policy(states: Tensor) -> Distribution:
        return Normal(net(states), 0.5) if continuous else Categorical(logits=net(states))

    def drawn() -> Iterator[tuple[Tensor, ...]]:
        states = contexts if same_states else torch.randn(64, 5)
        with torch.no_grad():
            actions = policy(states).sample()
            then = log_prob(policy(states), actions)
        wanted = states[:, :3]
        good = -(actions - wanted).square().sum(1) if continuous else wanted.gather(1, actions[:, None])[:, 0]
        good = (good - good.mean()) / good.std()
        for _ in range(rounds):
            for rows in torch.randperm(64).split(16 if small else 64):
                yield states[rows], actions[rows], then[rows], good[rows]

    with health.watch(net, optimiser) as watch:
        for _ in range(12):
            for states, actions, then, good in drawn():
                now = log_prob(policy(states), actions)
                ratio = (now - old(policy, states, actions, then, now)).exp()
                held = torch.min(ratio * good, ratio.clamp(0.8, 1.2) * good) if clipped else ratio * good
                loss = -held.mean()
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                watch.loss(loss)
    report = watch.report()
    assert report.trace.facts.errors == ()
    return [each for each in report.findings if each.id == "policy-loss"]


@pytest.mark.parametrize("old", [detached, anew])
@pytest.mark.parametrize("continuous", [False, True])
def test_old_ones_that_are_the_present_ones(old: Old, continuous: bool) -> None:
    (found,) = said(old, continuous=continuous)
    assert found.severity == "warning"
    assert "computed anew" in found.message
    assert "kept_log_prob" in found.remedy


def test_in_small_batches() -> None:
    assert len(said(detached, small=True, rounds=8)) == 1


@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.parametrize("rounds", [1, 4])
def test_old_ones_that_were_kept(continuous: bool, rounds: int) -> None:
    assert said(kept, continuous=continuous, rounds=rounds) == []


def test_one_round_needs_no_kept_ones() -> None:
    assert said(detached, rounds=1) == []
    assert said(detached, rounds=1, same_states=True) == []  # other actions are drawn in the same states


def test_a_ratio_that_is_not_clipped_is_a_way_to_write_a_gradient() -> None:
    assert said(detached, clipped=False) == []


def test_a_policy_that_stands_still() -> None:
    assert said(kept, rate=0.0) == []
    assert said(kept, rate=1e-9) == []
