"""Policies, values and weights of examples: put together wrongly, beside their cures and beside healthy ones that look alike."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from trainings import batches, checked, named  # noqa: E402

from lettrine import health  # noqa: E402
from lettrine.health.findings import Finding  # noqa: E402

ACTIONS = 4


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(3)


def clipped_ratio(new: torch.Tensor, old: torch.Tensor) -> torch.Tensor:
    return (new - old).exp().clamp(0.8, 1.2)


def weighted(form: str, *, rows: int = 32) -> dict[str, Finding]:
    """Rows of which each has a weight, new at each step."""
    model = nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 4))
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    levels = torch.rand(rows)
    with health.watch(model, optimiser) as watch:
        for x, y in batches(12, rows):
            weights, logits = torch.rand(rows), model(x)
            each = functional.cross_entropy(logits, y, reduction="none")
            old = -1.4 - 0.1 * torch.rand(rows)
            loss = {
                "mean of the loss": (functional.cross_entropy(logits, y) * weights).mean,
                "two sizes": (functional.cross_entropy(logits, y) * torch.where(y < 2, 3.0, 0.5)).mean,
                "mean by hand": lambda: (weights[:, None] * each.mean()).sum() / rows,  # noqa: B023
                "divided": (functional.cross_entropy(logits, y) / (1 + weights)).mean,
                "log-probabilities": (-logits.log_softmax(1).gather(1, y[:, None])[:, 0].mean() * weights).sum,
                "a sum of all": (-logits.log_softmax(1).gather(1, y[:, None])[:, 0].sum() * weights).mean,
                "a ratio of all": lambda: (-clipped_ratio((-each).sum(), old) * weights).mean(),  # noqa: B023, PLW0108  evaluated only if asked for
                "each ratio": lambda: (-clipped_ratio(-each, old) * weights).mean(),  # noqa: B023, PLW0108  evaluated only if asked for
                "each": (each * weights).mean,
                "one number": lambda: functional.cross_entropy(logits, y) * weights.mean(),  # noqa: B023
                "tasks": (functional.cross_entropy(logits, y) * weights[:3]).mean,
                "always the same": (functional.cross_entropy(logits, y) * levels).mean,
            }[form]()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    return named(checked(watch.report()))


@pytest.mark.parametrize(
    "form", ["mean of the loss", "two sizes", "mean by hand", "divided", "log-probabilities", "a sum of all", "a ratio of all"]
)
def test_weights_that_come_after_the_mean(form: str) -> None:
    found = weighted(form)["averaged-first"]
    assert found.value == 32
    assert found.where == (("2",) if form in ("mean of the loss", "two sizes", "divided") else found.where)
    assert ("sum(-1)" if form == "a ratio of all" else "(loss * weights).mean()") in found.remedy


@pytest.mark.parametrize("form", ["each", "each ratio", "one number", "tasks", "always the same"])
def test_weights_that_need_no_remark(form: str) -> None:
    assert "averaged-first" not in weighted(form)


def valued(form: str, *, steps: int = 12) -> dict[str, Finding]:
    """Values of actions, compared with a reward and the best value of what comes next."""
    net = nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, ACTIONS))
    other = copy.deepcopy(net)
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    with health.watch(nn.ModuleDict({"net": net, "other": other}), optimiser) as watch:
        for step in range(steps):
            state, after = torch.randn(32, 6), torch.randn(32, 6)
            action, reward, goes_on = torch.randint(ACTIONS, (32,)), torch.randn(32), (torch.rand(32) < 0.9).float()
            value = net(state).gather(1, action[:, None]).squeeze(1)
            if form == "max":
                target = reward + 0.9 * net(after).max(1)[0] * goes_on
            elif form == "amax":
                value = net(state)[torch.arange(32), action]
                target = reward + torch.where(goes_on > 0, net(after).amax(dim=1), 0.0) * 0.9
            elif form == "detached":
                target = reward + 0.9 * net(after).max(1)[0].detach() * goes_on
            elif form == "without a graph":
                with torch.no_grad():
                    target = reward + 0.9 * net(after).max(1)[0] * goes_on
            elif form == "of a copy":
                target = reward + 0.9 * other(after).max(1)[0] * goes_on
            else:  # two views of one thing should agree: nothing is a reward here
                target = net(state + 0.1 * torch.randn(32, 6)).amax(1)
                value = net(state).amax(1)
            loss = functional.smooth_l1_loss(value, target) if form != "amax" else (target - value).pow(2).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
            if step % 5 == 4:
                other.load_state_dict(net.state_dict())
    return named(checked(watch.report()))


@pytest.mark.parametrize("form", ["max", "amax"])
def test_a_target_with_a_graph(form: str) -> None:
    found = valued(form)["value-target"]
    assert found.where == ("net",)
    assert "torch.no_grad()" in found.remedy


@pytest.mark.parametrize("form", ["detached", "without a graph", "of a copy", "agreement"])
def test_a_target_without_a_graph(form: str) -> None:
    assert "value-target" not in valued(form)


def clipped(form: str) -> dict[str, Finding]:
    """A policy with a clipped ratio, and a value beside it."""
    policy = nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, ACTIONS + 1))
    optimiser = torch.optim.Adam(policy.parameters(), lr=3e-3)
    with health.watch(policy, optimiser) as watch:
        for _ in range(6):
            state = torch.randn(32, 6)
            with torch.no_grad():
                old = policy(state)[:, :ACTIONS].log_softmax(1)
            action = torch.multinomial(old.exp(), 1)
            gain = (action[:, 0] == state[:, :ACTIONS].argmax(1)).float()
            for _ in range(2):
                answer = policy(state)
                ratio = torch.exp(answer[:, :ACTIONS].log_softmax(1).gather(1, action) - old.gather(1, action))[:, 0]
                free, held = ratio * (gain - 0.25), torch.clamp(ratio, 0.8, 1.2) * (gain - 0.25)
                loss = {
                    "minus in the minimum": lambda: torch.min(-free, -held).mean(),  # noqa: B023
                    "minus outside of the maximum": lambda: -torch.max(free, held).mean(),  # noqa: B023
                    "minimum": lambda: -torch.min(free, held).mean(),  # noqa: B023
                    "maximum of losses": lambda: torch.maximum(-free, -held).mean(),  # noqa: B023
                    "times a number": lambda: -1.0 * torch.minimum(free, held).sum() / 32,  # noqa: B023
                }[form]() + 0.5 * functional.mse_loss(answer[:, -1], gain)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                watch.loss(loss)
    return named(checked(watch.report()))


@pytest.mark.parametrize("form", ["minus in the minimum", "minus outside of the maximum"])
def test_a_clip_that_holds_nothing_back(form: str) -> None:
    found = clipped(form)["policy-loss"]
    assert "minimum" in found.remedy
    assert "min keeps" in found.message or "max keeps" in found.message


@pytest.mark.parametrize("form", ["minimum", "maximum of losses", "times a number"])
def test_a_clip_that_holds_back(form: str) -> None:
    assert "policy-loss" not in clipped(form)


def rounds(form: str) -> dict[str, Finding]:
    """Rounds of clipped steps over what was drawn before, with a bonus of entropy and a value beside them."""
    policy = nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, ACTIONS + 1))
    optimiser = torch.optim.Adam(policy.parameters(), lr=3e-3)
    with health.watch(policy, optimiser) as watch:
        for _ in range(8):
            state = torch.randn(32, 6)
            with torch.no_grad():
                kept = policy(state)[:, :ACTIONS].log_softmax(1)
            action = torch.multinomial(kept.exp(), 1)
            gain = (action[:, 0] == state[:, :ACTIONS].argmax(1)).float()
            for _ in range(3):
                answer = policy(state)
                log = answer[:, :ACTIONS].log_softmax(1)
                new, old = (each.gather(1, action)[:, 0] for each in (log, log if form == "old with a graph" else kept))
                ratio = {"inverse": old - new, "inverse of costs": old - new}.get(form, new - old)
                ratio = ratio if form == "no exponential" else ratio.exp()
                better = gain - 0.25
                chosen = torch.min(ratio * better, ratio.clamp(0.8, 1.2) * better).mean()
                value, entropy = functional.mse_loss(answer[:, -1], gain), -(log.exp() * log).sum(1).mean()
                if form == "value by hand":
                    value = (gain - answer[:, -1]).pow(2).mean()
                loss = chosen if form == "inverse of costs" else -chosen
                loss = loss + (-0.5 if form in ("value subtracted", "value by hand") else 0.5) * value
                loss = loss + (0.1 if form == "entropy added" else -0.01) * entropy
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                watch.loss(loss)
    return named(checked(watch.report()))


@pytest.mark.parametrize(
    ("form", "check", "told"),
    [
        ("inverse", "policy-loss", "exp(old - new)"),
        ("no exponential", "policy-loss", "difference of log-probabilities"),
        ("old with a graph", "policy-loss", "same weights with their graph"),
        ("entropy added", "wrong-direction", "entropy of the policy smaller"),
        ("value subtracted", "wrong-direction", "error of the values"),
        ("value by hand", "wrong-direction", "error of the values"),
    ],
)
def test_rounds_over_what_was_drawn_before(form: str, check: str, told: str) -> None:
    found = rounds(form)[check]
    assert found.severity == "warning"
    assert told in found.message


@pytest.mark.parametrize("form", ["as it should be", "inverse of costs"])
def test_rounds_that_need_no_remark(form: str) -> None:
    assert not {"policy-loss", "wrong-direction"} & rounds(form).keys()


def test_a_sum_of_what_was_drawn_times_a_sum_of_rewards() -> None:
    """Both may be next to 0 at first: that is no trained network whose loss rises."""
    policy = nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, ACTIONS))
    optimiser = torch.optim.Adam(policy.parameters(), lr=3e-3)
    with health.watch(policy, optimiser) as watch:
        for step in range(140):
            chances = torch.distributions.Categorical(logits=policy(torch.randn(16, 6)))
            total = torch.tensor(1e-6 if step < 3 else 1e-4)
            loss = -(chances.log_prob(chances.sample()).sum() * total)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    report = checked(watch.report())
    assert [each.words["nature"] for each in report.trace.seen("loss")] == ["policy"]
    assert not [each for each in report.findings if each.severity != "info"]


@pytest.mark.parametrize("rows", [(), (16,)])
@pytest.mark.parametrize("form", ["shares as logits", "shares", "logits", "logarithms"])
def test_a_distribution_of_shares(form: str, rows: tuple[int, ...]) -> None:
    policy = nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, ACTIONS))
    optimiser = torch.optim.Adam(policy.parameters(), lr=3e-3)
    with health.watch(policy, optimiser) as watch:
        for _ in range(8):
            state = torch.randn(*rows, 6)
            z = policy(state)
            given = {"shares as logits": z.softmax(-1), "logarithms": z.log_softmax(-1)}.get(form, z)
            chances = torch.distributions.Categorical(**({"probs": z.softmax(-1)} if form == "shares" else {"logits": given}))
            action = chances.sample()
            gain = (action == state[..., :ACTIONS].argmax(-1)).float() - 0.25
            loss = -(chances.log_prob(action) * gain).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    found = named(checked(watch.report()))
    assert ("probabilities-as-logits" in found) is (form == "shares as logits")
    if form == "shares as logits":
        assert found["probabilities-as-logits"].severity == "warning"
        assert "Categorical(probs=shares)" in found["probabilities-as-logits"].remedy
        assert "largest share that comes out is 48 %" in found["probabilities-as-logits"].why  # e / (e + 3)


def advantage(form: str) -> dict[str, Finding]:
    """Returns minus values, by which log-probabilities are weighted."""
    net = nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, ACTIONS + 1))
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    with health.watch(net, optimiser) as watch:
        for _ in range(12):
            state = torch.randn(32, 6)
            answer = net(state)
            log, value = answer[:, :ACTIONS].log_softmax(1), answer[:, ACTIONS:]
            action = torch.multinomial(log.detach().exp(), 1)[:, 0]
            gain = (action == state[:, :ACTIONS].argmax(1)).float()
            if form == "pairs of rows":  # each with each other one, on purpose
                weight: Tensor = (gain - gain.unsqueeze(1)).mean(0)
            else:
                weight = gain - (value.detach() if form == "table" else value.detach().squeeze(-1))
            policy = -(weight * log[torch.arange(32), action]).mean()
            loss = policy + functional.mse_loss(value[:, 0], gain)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    return named(checked(watch.report()))


def test_an_advantage_of_all_with_all() -> None:
    found = advantage("table")["broadcast"]
    assert found.value == 32
    assert "values.squeeze(-1)" in found.remedy


@pytest.mark.parametrize("form", ["column", "pairs of rows"])
def test_an_advantage_of_each(form: str) -> None:
    assert "broadcast" not in advantage(form)
