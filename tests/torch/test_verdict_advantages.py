"""Policies whose log-probabilities are weighted by a value: detached, or not."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from verdicts import numbers  # noqa: E402

from lettrine import health  # noqa: E402


class Both(nn.Module):
    """An actor and a critic on one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.common, self.actor, self.critic = nn.Linear(6, 24), nn.Linear(24, 4), nn.Linear(24, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.tanh(self.common(x))
        return self.actor(h), self.critic(h)[:, 0]


def drawn(form: str, logits: Tensor) -> tuple[Tensor, Tensor]:
    """The log-probability of an action for each row (B,), written in one of the usual ways, and the action (B,)."""
    if form == "distribution":
        policy = torch.distributions.Categorical(logits=logits)
        action = policy.sample()
        return policy.log_prob(action), action
    action = torch.multinomial(logits.softmax(1).detach(), 1)
    if form == "log of a pick":
        log = logits.softmax(1).gather(1, action).log()[:, 0]
    elif form == "index":
        log = logits.log_softmax(1)[torch.arange(len(logits)), action[:, 0]]
    else:
        log = logits.log_softmax(1).gather(1, action)[:, 0]
    return log, action[:, 0]


def trained(form: str, *, detached: bool) -> list[health.Finding]:
    torch.manual_seed(0)
    model, (x, _) = Both(), numbers(512)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    with health.watch(model, optimiser) as watch:
        for _ in range(60):
            state = x[torch.randint(len(x), (32,))]
            logits, value = model(state)
            log, action = drawn(form, logits)
            gain = (action == state[:, :4].argmax(1)).float()
            weight = (1 - log.exp()) ** 2 if form == "focal" else gain - (value.detach() if detached else value)
            entropy = -(logits.softmax(1) * logits.log_softmax(1)).sum(1).mean()
            loss = -(log * weight).mean() + functional.mse_loss(value, gain) - 0.01 * entropy
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    report = watch.report()
    assert report.trace.facts.errors == ()
    return [each for each in report.findings if each.id == "policy-loss"]


@pytest.mark.parametrize("form", ["distribution", "log of a pick", "index"])
def test_a_value_that_the_policy_trains(form: str) -> None:
    (found,) = trained(form, detached=False)
    assert set(found.where) == {"critic.weight", "critic.bias"}
    assert found.severity == "warning"
    assert "detach" in found.remedy
    assert trained(form, detached=True) == []


def test_a_weight_made_of_the_same_log_probability() -> None:
    assert trained("focal", detached=True) == []


class Valued(nn.Module):
    """An actor, and a critic that gives each action a value or one to the state."""

    def __init__(self, values: int) -> None:
        super().__init__()
        self.actor = nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, 4))
        self.critic = nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, values))


def weighted(values: int, order: str, *, detached: bool = False, shares: bool = False) -> list[health.Finding]:
    """A policy weighted by the value of the action taken. order: "sum" of both losses, or when two optimisers clear and step."""
    torch.manual_seed(0)
    model, (x, _) = Valued(values), numbers(512)
    parts = (model,) if order == "sum" else (model.actor, model.critic)  # two optimisers where a sum steps "both"
    optimisers = [torch.optim.Adam(each.parameters(), lr=3e-3) for each in parts]
    with health.watch(model, optimisers) as watch:
        for _ in range(40):
            state = x[torch.randint(len(x), (32,))]
            policy, worth = torch.distributions.Categorical(logits=model.actor(state)), model.critic(state)
            action = policy.sample()
            gain = (action == state[:, :4].argmax(1)).float()
            value = (worth.softmax(1) if shares else worth).gather(1, action[:, None] % values)[:, 0]
            weight = value if values > 1 else gain - value
            actor = -(policy.log_prob(action) * (weight.detach() if detached else weight)).mean()
            critic = functional.mse_loss(value, gain)
            for each in optimisers:
                each.zero_grad()
            if order in ("sum", "both"):
                (actor + critic).backward()
            else:
                actor.backward(retain_graph=True)
                if order == "cleared between":
                    optimisers[1].zero_grad()
                critic.backward()
            for each in optimisers:
                each.step()
            watch.loss(actor + critic)
    report = watch.report()
    assert report.trace.facts.errors == ()
    return [each for each in report.findings if each.id == "policy-loss"]


@pytest.mark.parametrize("order", ["sum", "both"])
@pytest.mark.parametrize("values", [1, 4])
def test_a_value_of_the_action_taken(values: int, order: str) -> None:
    (found,) = weighted(values, order)
    assert set(found.where) == {"critic.0.weight", "critic.0.bias", "critic.2.weight", "critic.2.bias"}
    assert weighted(values, order, detached=True) == []


def test_gradients_that_may_be_cleared_before_the_critic_steps() -> None:
    assert weighted(1, "cleared between") == []
    assert weighted(4, "cleared between") == []


def test_shares_of_another_head() -> None:
    assert weighted(4, "sum", shares=True) == []
