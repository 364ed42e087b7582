"""Measures of how good answers are, with and without the minus that makes a loss of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from verdicts import batches, net, numbers, watched  # noqa: E402

from lettrine import health  # noqa: E402


def turned(loss: Callable[[Tensor, Tensor], Tensor], y: Tensor, *, out: int) -> list[health.Finding]:
    """What is said of a loss of outputs and targets."""
    x, _ = numbers()
    report = watched(net(out=out), batches(x, y), lambda model, x, y: loss(model(x), y))
    return [each for each in report.findings if each.id == "wrong-direction"]


def marks() -> Tensor:
    """Which of the first five inputs are large (N, 5): targets of 0 and 1."""
    return (numbers()[0][:, :5] > 0.8).float()


def dice(z: Tensor, t: Tensor) -> Tensor:
    p = z.sigmoid()
    return (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)


def jaccard(z: Tensor, t: Tensor) -> Tensor:
    p = z.sigmoid().view(-1)
    both = (t.view(-1) * p).sum()
    return both / (p.sum() + t.sum() - both)


def by_row(z: Tensor, t: Tensor) -> Tensor:
    p = z.sigmoid()
    return ((2 * (p * t).sum(1) + 1) / (p.square().sum(1) + t.sum(1) + 1)).mean()


OVERLAPS = [dice, jaccard, by_row, lambda z, t: -(1 - dice(z, t)), lambda z, t: dice(z, t).log()]


@pytest.mark.parametrize("overlap", OVERLAPS)
def test_an_overlap_that_is_made_small(overlap: Callable[[Tensor, Tensor], Tensor]) -> None:
    (found,) = turned(overlap, marks(), out=5)
    assert found.severity == "critical"
    assert found.value < found.limit
    assert "overlap" in found.message
    assert "1 - dice" in found.remedy
    assert turned(lambda z, t: 1 - overlap(z, t), marks(), out=5) == []


def test_an_overlap_against_the_loss_beside_it() -> None:
    entropy = functional.binary_cross_entropy_with_logits
    (found,) = turned(lambda z, t: entropy(z, t) + dice(z, t), marks(), out=5)
    assert found.severity == "warning"
    assert "binary_cross_entropy_with_logits" in found.message
    assert turned(lambda z, t: entropy(z, t) + dice(z, 1 - t), marks(), out=5) == []  # other targets may be meant
    assert turned(lambda z, t: entropy(z, t) + 1 - dice(z, t), marks(), out=5) == []


def folded(z: Tensor, t: Tensor) -> Tensor:
    p = z.sigmoid()
    return (p.sum() + t.sum() - 2 * (p * t).sum()) / (p.sum() + t.sum())


def tversky(z: Tensor, t: Tensor) -> Tensor:
    p = z.sigmoid()
    right, wrong, missed = (p * t).sum(), (p * (1 - t)).sum(), ((1 - p) * t).sum()
    return (1 - (right + 1) / (right + 0.3 * wrong + 0.7 * missed + 1)) ** 0.75


def rates(z: Tensor, t: Tensor) -> Tensor:
    p = z.sigmoid()
    return (p * (1 - t)).sum() / (p.sum() + 1) + ((1 - p) * t).sum() / t.sum()


def false_alarms(z: Tensor, t: Tensor) -> Tensor:
    p = z.sigmoid()
    return (p * (1 - t)).sum() / (p.sum() + 1)


@pytest.mark.parametrize("loss", [folded, tversky, rates, false_alarms])
def test_quotients_that_should_fall(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    assert turned(loss, marks(), out=5) == []


def by_hand(z: Tensor, t: Tensor) -> Tensor:
    return (functional.normalize(z, dim=1) * functional.normalize(t, dim=1)).sum(1).mean()


@pytest.mark.parametrize("cosine", [lambda z, t: functional.cosine_similarity(z, t).mean(), by_hand])
def test_a_cosine_that_is_made_small(cosine: Callable[[Tensor, Tensor], Tensor]) -> None:
    y = numbers()[0][:, :3] * 2
    (found,) = turned(cosine, y, out=3)
    assert found.value < -0.5
    assert "1 - cosine" in found.remedy
    assert turned(lambda z, t: 1 - cosine(z, t), y, out=3) == []
    assert turned(lambda z, t: functional.cosine_similarity(z, -t).mean(), y, out=3) == []  # away from it is meant


def normal(z: Tensor, t: Tensor) -> Tensor:
    return torch.distributions.Normal(z[:, 0], functional.softplus(z[:, 1]) + 0.01).log_prob(t).mean()


def written(z: Tensor, t: Tensor) -> Tensor:
    return -0.5 * (z[:, 1] + (t - z[:, 0]) ** 2 / z[:, 1].exp()).mean()


def of_one_spread(z: Tensor, t: Tensor) -> Tensor:
    return torch.distributions.Normal(z[:, 0], 1.0).log_prob(t).sum()


@pytest.mark.parametrize("likelihood", [normal, written, of_one_spread])
def test_a_likelihood_that_is_made_small(likelihood: Callable[[Tensor, Tensor], Tensor]) -> None:
    y = numbers()[1]
    (found,) = turned(likelihood, y, out=2)
    assert found.severity == "critical"
    assert "log-likelihood" in found.message
    assert turned(lambda z, t: -likelihood(z, t), y, out=2) == []


def test_actions_of_which_all_rewards_are_below_0() -> None:
    def policy(z: Tensor, t: Tensor, *, at_once: bool) -> Tensor:
        policy = torch.distributions.Normal(z[:, 0], functional.softplus(z[:, 1]) + 0.1)
        action = policy.sample()
        rewards = -((action - t) ** 2) - 1
        if at_once:
            return -(policy.log_prob(action) * rewards).mean()
        return -(policy.log_prob(action).mean() * float(rewards.mean()))

    for at_once in (True, False):
        data = batches(*numbers())
        report = watched(net(out=2), data, lambda model, x, y, form=at_once: policy(model(x), y, at_once=form), steps=20)
        assert report.trace.seen("wrong direction") == ()


def test_a_disturbance_that_is_trained_against_a_network() -> None:
    """A small net learns to disturb the inputs of another, which is frozen: its overlap should fall."""
    judge, x = net(out=5).requires_grad_(requires_grad=False), numbers()[0]
    model = nn.Sequential(nn.Linear(6, 6), nn.Tanh())
    report = watched(model, batches(x, marks()), lambda model, x, y: dice(judge(x + model(x)), y))
    assert not [each for each in report.findings if each.id == "wrong-direction"]


def by_distribution(z: Tensor) -> Tensor:
    return torch.distributions.Categorical(logits=z).entropy().mean()


def by_shares(z: Tensor) -> Tensor:
    p = z.softmax(1)
    return -(p * (p + 1e-8).log()).sum(1).mean()


def by_logarithms(z: Tensor) -> Tensor:
    logs = z.log_softmax(1)
    return -(logs.exp() * logs).sum(1).mean()


@pytest.mark.parametrize("entropy", [by_distribution, by_shares, by_logarithms])
def test_a_bonus_of_entropy_that_is_added(entropy: Callable[[Tensor], Tensor]) -> None:
    def policy(z: Tensor, t: Tensor, factor: float) -> Tensor:
        policy = torch.distributions.Categorical(logits=z)
        action = policy.sample()
        gain = (action == t).float()
        return -(policy.log_prob(action) * (gain - gain.mean())).mean() + factor * entropy(z)

    y = numbers()[0][:, :4].argmax(1)
    (found,) = turned(lambda z, t: policy(z, t, 0.1), y, out=4)
    assert found.severity == "warning"
    assert "entropy of the policy" in found.message
    assert turned(lambda z, t: policy(z, t, -0.1), y, out=4) == []
    # without actions that are drawn, sure answers may be meant
    assert turned(lambda z, t: functional.cross_entropy(z, t) + 0.1 * entropy(z), y, out=4) == []
