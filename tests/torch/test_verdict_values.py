"""Targets of values, and returns of policies: put together rightly and wrongly."""

from __future__ import annotations

from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from lettrine import health  # noqa: E402

CELLS, GAMMA = 8, 0.95
Batch = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
Loss = Callable[[nn.Module, nn.Module, Batch], Tensor]


def transitions() -> Batch:
    """Steps in a corridor (B, CELLS + 1), whose last cell ends it and is worth 1: state, action, reward, next state, done."""
    place, action = torch.randint(0, CELLS, (64,)), torch.randint(0, 2, (64,))
    after = (place + 2 * action - 1).clamp(0, CELLS)
    done = (after == CELLS).float()
    state, following = (functional.one_hot(each, CELLS + 1).float() for each in (place, after))
    return state, action, done.clone(), following, done


def said(loss_of: Loss, out: int = 2, batch: Callable[[], Batch] = transitions, steps: int = 40) -> list[health.Finding]:
    torch.manual_seed(0)
    model, other = (nn.Sequential(nn.Linear(CELLS + 1, 24), nn.Tanh(), nn.Linear(24, out)) for _ in range(2))
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    with health.watch(model, optimiser) as watch:
        for _ in range(steps):
            loss = loss_of(model, other, batch())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    report = watch.report()
    assert report.trace.facts.errors == ()
    return [each for each in report.findings if each.id in ("value-target", "policy-loss")]


def target_of(other: nn.Module, batch: Batch) -> Tensor:
    _, _, reward, following, done = batch
    with torch.no_grad():
        return reward + GAMMA * (1 - done) * other(following).max(1).values


def taken(model: nn.Module, batch: Batch) -> Tensor:
    return model(batch[0]).gather(1, batch[1][:, None])[:, 0]


def target_first(model: nn.Module, other: nn.Module, batch: Batch) -> Tensor:
    target = target_of(other, batch)
    return functional.smooth_l1_loss(taken(model, batch), target)


def target_last(model: nn.Module, other: nn.Module, batch: Batch) -> Tensor:
    value = taken(model, batch)
    return functional.mse_loss(value, target_of(other, batch))


def double(model: nn.Module, other: nn.Module, batch: Batch) -> Tensor:
    _, _, reward, following, done = batch
    with torch.no_grad():
        best = model(following).argmax(1, keepdim=True)
        target = reward + GAMMA * (1 - done) * other(following).gather(1, best)[:, 0]
    return functional.mse_loss(taken(model, batch), target)


@pytest.mark.parametrize("loss", [target_first, target_last, double])
def test_targets_as_they_should_be(loss: Loss) -> None:
    assert said(loss) == []


@pytest.mark.parametrize(("discount", "told"), [(0.5, True), (0.85, False), (GAMMA, False)])
def test_a_reward_too_far_ahead(discount: float, told: bool) -> None:
    """About one transition in 20 brings a reward: 0.5 leaves a millionth of it, 0.85 a twenty-fifth. Costs are small."""

    def loss(model: nn.Module, other: nn.Module, batch: Batch) -> Tensor:
        _, action, reward, following, done = batch
        with torch.no_grad():
            target = reward - 0.01 * action + discount * (1 - done) * other(following).max(1).values
        return functional.mse_loss(taken(model, batch), target)

    found = said(loss, steps=120)
    assert bool(found) is told
    if told:
        assert (found[0].id, found[0].severity) == ("value-target", "info")
        assert "one transition in 20 brings a reward unlike" in found[0].message
        assert "a discount of about 0.97" in found[0].remedy


@pytest.mark.parametrize(
    ("every", "told"), [(10**9, True), (200, False), (0, False)], ids=["never", "seldom", "little by little"]
)
def test_a_target_network_outside_of_the_model(every: int, told: bool) -> None:
    """It is filled every so many steps, or follows slowly, or stays as it was drawn."""
    torch.manual_seed(0)
    model, other = (nn.Sequential(nn.Linear(CELLS + 1, 24), nn.Tanh(), nn.Linear(24, 2)) for _ in range(2))
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    with health.watch(model, optimiser) as watch:
        for step in range(520):
            loss = target_first(model, other, transitions())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
            with torch.no_grad():
                for old, new in zip(other.parameters(), model.parameters(), strict=True):
                    if not every or step % every == every - 1:
                        old.lerp_(new, 1.0 if every else 0.01)
    found = [each for each in watch.report().findings if each.id == "never-moved"]
    assert [each.severity for each in found] == (["info"] if told else [])
    for each in found:
        assert "target.load_state_dict(Sequential.state_dict())" in each.remedy


def test_values_told_by_the_network_that_is_trained() -> None:
    (found,) = said(lambda model, _, batch: target_first(model, model, batch))
    assert (found.severity, "own values" in found.message) == ("info", True)


@pytest.mark.parametrize("own", [True, False])
def test_values_beyond_all_sums_of_rewards(own: bool) -> None:
    def far(model: nn.Module, other: nn.Module, batch: Batch) -> Tensor:
        with torch.no_grad():
            other[2].bias.fill_(100.0)  # rewards of 1 at most and a discount of 0.95: no value above 20
            model[2].bias.fill_(400.0)
        return target_first(model, model if own else other, batch)

    (found,) = said(far, steps=300)
    assert (found.severity, "larger than 20" in found.message) == ("warning", True)
    assert ("copy that is filled every few hundred steps" in found.remedy) is own


@pytest.mark.parametrize("loss", [target_first, target_last])
def test_the_value_of_the_state_itself(loss: Loss) -> None:
    def itself(model: nn.Module, other: nn.Module, batch: Batch) -> Tensor:
        state, action, reward, _, done = batch
        return loss(model, other, (state, action, reward, state, done))

    (found,) = said(itself)
    assert found.severity == "warning"
    assert "64 transitions the next state equals the state" in found.message
    assert "value(next_state)" in found.remedy


def test_a_critic_that_asks_itself_for_the_same_state() -> None:
    def critic(model: nn.Module, state: Tensor, asked: Tensor, reward: Tensor, done: Tensor) -> Tensor:
        with torch.no_grad():
            target = reward + GAMMA * (1 - done) * model(asked)[:, 0]
        return functional.mse_loss(model(state)[:, 0], target)

    (found,) = said(lambda model, _, b: critic(model, b[0], b[0], b[2], b[4]), out=1)
    assert "the next state equals the state" in found.message
    assert said(lambda model, _, b: critic(model, b[0], b[3], b[2], b[4]), out=1) == []


def test_values_that_are_moved_on_by_one_row() -> None:
    def rollout(model: nn.Module, _: nn.Module, batch: Batch) -> Tensor:
        state, _, reward, _, done = batch
        value = model(state)[:, 0]
        later = value.detach()
        return functional.mse_loss(value[:-1], reward[:-1] + GAMMA * (1 - done[:-1]) * later[1:])

    assert said(rollout, out=1) == []


@pytest.mark.parametrize("bent", [torch.sigmoid, torch.exp])
def test_targets_made_of_the_answer_by_a_function_that_bends(bent: Callable[[Tensor], Tensor]) -> None:
    def confidence(model: nn.Module, _: nn.Module, batch: Batch) -> Tensor:
        """How well a foretold width fits, as a target of the second output."""
        state, _, reward, _, done = batch
        foretold = model(state)
        fit = reward + (1 - done) * 0.5 * bent(foretold[:, 0]).detach()
        return functional.mse_loss(foretold[:, 0], reward) + functional.mse_loss(foretold[:, 1], fit)

    assert said(confidence) == []


def test_a_memory_that_holds_one_array() -> None:
    def overwritten() -> Batch:
        state, action, reward, _, done = transitions()
        same = state[:1].expand(64, -1).clone()
        return same, action, reward, same.clone(), done

    (found,) = said(target_first, batch=overwritten)
    assert "All 64 rows of a batch are even one and the same" in found.message
    assert "obs.copy()" in found.remedy


def test_a_game_of_one_state() -> None:
    """A bandit: the state never changes, and the next one is the same."""

    def bandit() -> Batch:
        _, action, reward, _, done = transitions()
        state = torch.ones(64, CELLS + 1)
        return state, action, reward, state.clone(), done

    assert said(target_first, batch=bandit) == []


def test_an_advantage_beside_the_value_of_the_state() -> None:
    """A target of generalised advantages: the advantage plus the value of the same state, without a discount."""

    def advantages(model: nn.Module, _: nn.Module, batch: Batch) -> Tensor:
        with torch.no_grad():
            target = batch[2] * 2 - 1 + model(batch[0])[:, 0]
        return functional.mse_loss(model(batch[0])[:, 0], target)

    assert said(advantages, out=1) == []


def test_a_mean_of_a_target_and_the_answer() -> None:
    """Targets that give way to the answers, as against wrong labels."""

    def mean(model: nn.Module, _: nn.Module, batch: Batch) -> Tensor:
        value = model(batch[0])[:, 0]
        return functional.mse_loss(value, 0.8 * value.detach() + 0.2 * batch[2])

    assert said(mean, out=1) == []


def test_a_mask_of_true_and_false() -> None:
    def masked(model: nn.Module, other: nn.Module, batch: Batch) -> Tensor:
        target = batch[2] + GAMMA * other(batch[3]).max(1)[0].detach() * (batch[4] == 0)
        return functional.mse_loss(taken(model, batch), target)

    assert said(masked) == []


@pytest.mark.parametrize("form", ["max", "argmax", "index of the max"])
def test_the_best_action_instead_of_the_one_taken(form: str) -> None:
    def best(model: nn.Module, other: nn.Module, batch: Batch) -> Tensor:
        target = target_of(other, batch)
        value = model(batch[0])
        if form == "max":
            chosen = value.max(1)[0]
        elif form == "argmax":
            chosen = value.gather(1, value.argmax(1, keepdim=True))[:, 0]
        else:
            chosen = value.gather(1, value.detach().max(1)[1].unsqueeze(1)).squeeze(1)
        return functional.mse_loss(chosen, target)

    (found,) = said(best)
    assert found.severity == "warning"
    assert "gather(1, action" in found.remedy


def test_no_mask_of_the_ends_is_a_remark() -> None:
    def endless(model: nn.Module, other: nn.Module, batch: Batch) -> Tensor:
        with torch.no_grad():
            target = batch[2] + GAMMA * other(batch[3]).max(1).values
        return functional.mse_loss(taken(model, batch), target)

    (found,) = said(endless)
    assert found.severity == "info"
    assert "reward + 0.95 * (value of the next state)" in found.message


def episode(model: nn.Module, weigh: Callable[[list[float]], Tensor], *, reward: float, one_by_one: bool) -> Tensor:
    """The loss of 20 steps of a policy, each of which is worth `reward`."""
    logs = []
    for _ in range(20):
        state = functional.one_hot(torch.randint(0, CELLS, ()), CELLS + 1).float()
        drawn = torch.distributions.Categorical(logits=model(state))
        logs.append(drawn.log_prob(drawn.sample()))
    weights = weigh([reward] * 20)
    if one_by_one:
        return torch.stack([-log * weight for log, weight in zip(logs, weights, strict=True)]).sum()
    return -(torch.stack(logs) * weights).sum()


def summed(rewards: list[float]) -> list[float]:
    found, total = [], 0.0
    for reward in rewards:
        total = reward + GAMMA * total
        found.append(total)
    return found


def forwards(rewards: list[float]) -> Tensor:
    return torch.tensor(summed(rewards))


def backwards(rewards: list[float]) -> Tensor:
    return torch.tensor(summed(rewards[::-1])[::-1])


def standard(weights: Tensor) -> Tensor:
    return (weights - weights.mean()) / (weights.std() + 1e-8)


def of_episodes(weigh: Callable[[list[float]], Tensor], *, reward: float = 1.0, one_by_one: bool = False) -> list[health.Finding]:
    return said(lambda model, _, __: episode(model, weigh, reward=reward, one_by_one=one_by_one), steps=12)


@pytest.mark.parametrize("one_by_one", [False, True])
def test_rewards_added_up_from_the_first_step(one_by_one: bool) -> None:
    (found,) = of_episodes(forwards, one_by_one=one_by_one)
    assert found.severity == "warning"
    assert "20 actions" in found.message
    assert "0.95 times" in found.message
    assert "reversed(rewards)" in found.remedy
    assert len(of_episodes(lambda rewards: standard(forwards(rewards)), one_by_one=one_by_one)) == 1


@pytest.mark.parametrize("one_by_one", [False, True])
@pytest.mark.parametrize("reward", [1.0, -1.0])
def test_returns_as_they_should_be(reward: float, one_by_one: bool) -> None:
    assert of_episodes(backwards, reward=reward, one_by_one=one_by_one) == []
    assert of_episodes(lambda rewards: standard(backwards(rewards)), reward=reward, one_by_one=one_by_one) == []


@pytest.mark.parametrize("reward", [1.0, -1.0])
def test_returns_discounted_from_the_start_as_well(reward: float) -> None:
    """The gradient of the discounted return has the factor discount**t: its weights shrink from step to step."""
    power = GAMMA ** torch.arange(20)
    assert of_episodes(lambda rewards: power * backwards(rewards), reward=reward) == []


def test_weights_that_follow_no_rule() -> None:
    assert of_episodes(lambda rewards: torch.randn(len(rewards))) == []
    assert of_episodes(lambda rewards: torch.ones(len(rewards))) == []


def alive() -> Batch:
    """One for each step that does not fall off the end of the corridor."""
    state, action, _, following, done = transitions()
    return state, action, torch.ones(64), following, done


def without_ends(model: nn.Module, other: nn.Module, batch: Batch) -> Tensor:
    target = batch[2] + GAMMA * other(batch[3]).detach().max(1)[0]
    return functional.smooth_l1_loss(taken(model, batch), target)


def a_critic_without_ends(model: nn.Module, _: nn.Module, batch: Batch) -> Tensor:
    with torch.no_grad():
        target = batch[2] + GAMMA * model(batch[3])[:, 0]
    return functional.mse_loss(model(batch[0])[:, 0], target)


@pytest.mark.parametrize(("loss", "out"), [(without_ends, 2), (a_critic_without_ends, 1)])
def test_one_reward_and_no_ends(loss: Loss, out: int) -> None:
    (found,) = said(loss, out, alive)
    assert found.severity == "warning"
    assert "worth the same, 20," in found.why  # 1 / (1 - 0.95)
    assert "(1 - done)" in found.remedy


def test_rewards_that_say_where_it_ends() -> None:
    assert [each.severity for each in said(without_ends)] == ["info"]  # 1 at the end, 0 elsewhere
    assert said(a_critic_without_ends, 1) == []


def test_a_cost_of_each_step_that_may_never_end() -> None:
    def tired() -> Batch:
        state, action, _, following, done = transitions()
        return state, action, -torch.ones(64), following, done

    assert [each.severity for each in said(without_ends, batch=tired)] == ["info"]
    assert said(a_critic_without_ends, 1, tired) == []


def test_one_reward_and_an_end_that_is_marked() -> None:
    assert said(target_first, batch=alive) == []
    assert said(double, batch=alive) == []

    def put_into_zeros(model: nn.Module, other: nn.Module, batch: Batch) -> Tensor:
        going = batch[4] == 0
        value = torch.zeros(64)
        value[going] = other(batch[3][going]).max(1).values.detach()
        return functional.smooth_l1_loss(taken(model, batch), batch[2] + GAMMA * value)

    def by_index(model: nn.Module, other: nn.Module, batch: Batch) -> Tensor:
        value = other(batch[3]).max(1).values.detach().index_fill(0, batch[4].nonzero()[:, 0], 0.0)
        return functional.smooth_l1_loss(taken(model, batch), batch[2] + GAMMA * value)

    def along_one_episode(model: nn.Module, _: nn.Module, batch: Batch) -> Tensor:
        value = model(batch[0])[:, 0]
        following = torch.cat([value[1:].detach(), torch.zeros(1)])
        return functional.mse_loss(value, batch[2] + GAMMA * following)

    assert said(put_into_zeros, batch=alive) == []
    assert said(by_index, batch=alive) == []
    assert said(along_one_episode, 1, alive) == []
