"""An actor and a critic on a line: towards higher values, and towards lower ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from trainings import adam, checked

from lettrine import health
from lettrine.health.findings import Report

REWARDS: dict[str, Callable[[Tensor], Tensor]] = {
    "below 0": lambda far: -far,
    "of both signs": lambda far: 1 - far,
    "costs": lambda far: far,
}


class Critic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, state: Tensor, action: Tensor | None = None) -> Tensor:
        return self.layers(state if action is None else torch.cat([state, action], 1)).squeeze(-1)


def value(critic: nn.Module, state: Tensor, action: Tensor, form: str) -> Tensor:
    return critic(state, action) if form == "apart" else critic(torch.cat([state, action], 1))


def trained(
    sign: float, reward: str, form: str, discount: float = 0.95, size: float = 1.0, last: float = 0.0, shift: float = 0.0
) -> Report:
    """A point (place, speed) is pushed by an action from -1 to 1. With a discount of 0 the reward alone is learned.

    size: what both are told in, such as thousandths, after shift is added. last: size of the first weights of the actor's last
    layer, in a longer training.
    """
    torch.manual_seed(0)
    model, target = (
        nn.ModuleDict({"actor": nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 1), nn.Tanh()), "critic": Critic()})
        for _ in range(2)
    )
    if last:
        nn.init.uniform_(model["actor"][2].weight, -last, last)
    target.load_state_dict(model.state_dict())
    actor, critic = model["actor"], model["critic"]
    steps_actor, steps_critic = adam(actor, 1e-3), adam(critic, 2e-3)
    with health.watch(model, [steps_actor, steps_critic]) as watch:
        for _ in range(200 if last else 60):
            state, action = 2 * torch.rand(32, 2) - 1, 2 * torch.rand(32, 1) - 1
            speed = state[:, 1:] + 0.2 * action
            following, done = torch.cat([state[:, :1] + speed, speed], 1), (torch.rand(32) < 0.05).float()
            with torch.no_grad():
                ahead = value(target["critic"], size * (following + shift), target["actor"](size * (following + shift)), form)
                wanted = REWARDS[reward](following[:, 0].abs())
                wanted = wanted + discount * (1 - done) * ahead if discount else wanted
            loss = functional.mse_loss(value(critic, size * (state + shift), action, form), wanted)
            steps_critic.zero_grad()
            loss.backward()
            steps_critic.step()
            aim = sign * value(critic, size * (state + shift), actor(size * (state + shift)), form).mean()
            steps_actor.zero_grad()
            aim.backward()
            steps_actor.step()
            watch.loss(loss)
            with torch.no_grad():
                for old, new in zip(target.parameters(), model.parameters(), strict=True):
                    old.lerp_(new, 0.02)
    return checked(watch.report())


@pytest.mark.parametrize("form", ["apart", "in one tensor"])
@pytest.mark.parametrize(
    ("sign", "reward", "severity"),
    [
        (1, "below 0", "warning"),
        (1, "of both signs", "warning"),
        (1, "costs", "info"),
        (-1, "below 0", None),
        (-1, "of both signs", None),
        (-1, "costs", None),  # as rewards they are learned well
    ],
)
def test_the_sign_of_an_actor(form: str, sign: float, reward: str, severity: str | None) -> None:
    told = [each for each in trained(sign, reward, form).findings if each.id == "policy-loss"]
    assert len(told) == (severity is not None)
    for finding in told:
        assert (finding.severity, finding.where) == (severity, ("actor",))
        assert "loss = -critic(state, actor(state)).mean()" in finding.remedy


@pytest.mark.parametrize(("sign", "told"), [(1, ["info"]), (-1, [])])
def test_an_actor_beside_what_learns_rewards_alone(sign: float, told: list[str]) -> None:
    """What is foretold may be a cost, such as the drag of a shape: nothing says that it is not."""
    found = [each for each in trained(sign, "below 0", "in one tensor", discount=0.0).findings if each.id == "policy-loss"]
    assert [each.severity for each in found] == told
    for each in found:
        assert "critic is trained on numbers from -" in each.message


@pytest.mark.parametrize(("size", "told"), [(1_000.0, True), (1.0, False)])
def test_an_actor_whose_answers_are_saturated_by_its_inputs(size: float, told: bool) -> None:
    report = trained(-1.0, "below 0", "apart", size=size)
    found = [each for each in report.findings if each.id == "input-scale" and each.severity == "warning"]
    assert bool(found) is told
    for each in found:
        assert each.where == ("actor",)
        assert "outputs of actor.3 are saturated from the start" in each.message


@pytest.mark.parametrize(("size", "shift", "told"), [(1_000.0, 3.0, True), (1_000.0, 0.0, False), (1.0, 3.0, False)])
def test_an_actor_that_comes_to_its_stops_in_the_first_steps(size: float, shift: float, told: bool) -> None:
    """Small last weights, as usual in actors. Large readings of both signs carry it to both stops, where it may belong."""
    report = trained(-1.0, "below 0", "apart", size=size, last=1e-3, shift=shift)
    assert report.trace.output("actor.3", "saturated")[0] < 0.9
    found = [each for each in report.findings if each.id == "input-scale" and each.severity == "warning"]
    assert bool(found) is told
    for each in found:
        assert each.where == ("actor",)
        assert "none of the weights before it has a gradient" in each.message
