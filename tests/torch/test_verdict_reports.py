"""What people ask about most, as small trainings: each fault beside its cure and beside what looks like it."""

from __future__ import annotations

from math import nan

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812
from verdicts import alarms, batches, classes, first, net, numbers, watched  # noqa: E402

from lettrine import health  # noqa: E402


def error(model, x, y):
    return F.mse_loss(model(x), y)


def validated(model, data, held, *, steps=99, every=10, rate=3e-3):
    """Train with Adam on classes, and evaluate now and then."""
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    with health.watch(model, optimiser) as watch:
        for step, (x, y) in zip(range(steps), data, strict=False):
            model.train()
            optimiser.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimiser.step()
            watch.loss(loss)
            if step % every == every - 1:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(held[0]), held[1]))
    return watch.report()


def drawn(std, *tail):
    model = net(*tail, out=1)
    if std:
        for layer in (model[0], model[2]):
            nn.init.normal_(layer.weight, 0, std)
    return model


def test_weights_drawn_too_large_for_numbers():
    x, y = numbers()
    finding = first(watched(drawn(30.0), batches(x, y[:, None]), error, steps=120, rate=1e-2))
    assert (finding.id, finding.severity, finding.where) == ("initial-loss", "critical", ("0.weight", "2.weight"))
    assert "std of 1/sqrt(fan-in)" in finding.remedy
    for model in (drawn(0), drawn(30.0, nn.BatchNorm1d(1))):  # what a norm follows may be of any size
        assert "initial-loss" not in alarms(watched(model, batches(x, y[:, None]), error, steps=120, rate=1e-2))
    far = watched(drawn(0), batches(x, 1000 + y[:, None]), error, steps=120, rate=1e-2)
    assert "initial-loss" not in alarms(far)  # that the targets lie far from 0 is another fault


def by_hand(model, x, y):
    share = model(x).sigmoid().clamp(1e-7, 1 - 1e-7)
    return -(y * share.log() + (1 - y) * (1 - share).log()).mean()


def test_a_batch_that_holds_nan():
    x, _ = numbers()
    y = (x[:, :1] + x[:, 1:2] > 0).float()
    sick = x.clone()
    sick[14 * 32 + 5, 3] = nan  # at a step that nobody looks at
    data = [(sick[at : at + 32], y[at : at + 32]) for at in range(0, 512, 32)]
    finding = first(watched(net(out=1), data, by_hand, steps=32))
    assert (finding.id, finding.steps) == ("non-finite", (14, 14))
    assert "the batch may hold it" in finding.message
    assert finding.remedy.startswith("Look at batch 14, inputs and targets")
    assert "learning rate" not in finding.remedy
    assert alarms(watched(net(out=1), batches(x, y), by_hand, steps=32)) == []


@pytest.mark.parametrize(("last", "wanted"), [(nn.Sigmoid(), ["target-range"]), (nn.Identity(), []), (nn.Softplus(), [])])
def test_few_targets_out_of_reach(last, wanted):
    x, y = numbers(200)
    y = torch.stack([2 + 0.3 * y, 3 + 0.3 * y.roll(1)], 1)  # in batches of 4 only 40 rows are seen
    assert alarms(watched(net(last, out=2), batches(x, y, 4), error, steps=150)) == wanted


def normed(momentum):
    torch.manual_seed(0)
    layers = [nn.Linear(6, 24), nn.ReLU(), nn.BatchNorm1d(24, momentum=momentum), nn.Linear(24, 24), nn.ReLU()]
    return nn.Sequential(*layers, nn.BatchNorm1d(24, momentum=momentum), nn.Linear(24, 4))


def test_statistics_that_had_no_time_to_follow():
    x, y = classes()
    x = 0.05 * x + 1
    held = x[384:], y[384:]
    finding = first(validated(normed(0.01), batches(x[:384], y[:384]), held))
    assert (finding.id, finding.severity) == ("norm-statistics", "warning")
    assert "39 % of what they hold is still the start" in finding.message  # 0.99 ** 94
    assert alarms(validated(normed(0.1), batches(x[:384], y[:384]), held)) == []


def apart():
    """Four classes that are far from each other, and from 0."""
    generator = torch.Generator().manual_seed(1)
    y = torch.randperm(512, generator=generator) % 4
    return 1 + 0.1 * torch.eye(6)[y] + 0.02 * torch.randn(512, 6, generator=generator), y


@pytest.mark.parametrize(("momentum", "steps", "alarmed"), [(0.01, 40, 1), (0.1, 40, 0), (None, 40, 0), (0.01, 16, 0)])
def test_statistics_of_a_short_run_that_are_mainly_the_start(momentum, steps, alarmed):
    x, y = apart()
    held = x[384:], y[384:]
    report = validated(normed(momentum), batches(x[:384], y[:384]), held, steps=steps, every=steps // 2, rate=1e-2)
    assert alarms(report) == ["norm-statistics"] * alarmed


def test_statistics_that_were_there_before_a_short_run():
    x, y = apart()
    data, held = batches(x[:384], y[:384]), (x[384:], y[384:])
    model = normed(0.1)
    validated(model, data, held, steps=200, every=100)
    for norm in (model[2], model[5]):
        norm.momentum = 0.01
    assert alarms(validated(model, data, held, steps=40, every=20, rate=1e-3)) == []


def test_statistics_that_are_measured_anew_before_each_evaluation():
    x, y = apart()
    model = normed(0.01)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    with health.watch(model, optimiser) as watch:
        for step, (rows, labels) in zip(range(40), batches(x[:384], y[:384]), strict=False):
            model.train()
            optimiser.zero_grad()
            loss = F.cross_entropy(model(rows), labels)
            loss.backward()
            optimiser.step()
            watch.loss(loss)
            if step % 20 == 19:
                used = torch.optim.swa_utils.AveragedModel(model)
                torch.optim.swa_utils.update_bn([x[:384]], used)
                used.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(used(x[384:]), y[384:]))
    assert alarms(watch.report()) == []


def test_statistics_are_not_blamed_for_held_out_data_of_another_scale():
    x, y = classes()
    report = validated(normed(0.1), batches(x[:384], y[:384]), (250 * x[384:], y[384:]), steps=240, every=24)
    assert (first(report).id, "norm-statistics" in alarms(report)) == ("dev-scale", False)
    assert "Held-out inputs have a mean" in first(report).message


@pytest.mark.parametrize(("rate", "wanted"), [(1e-3, ["update-too-small"]), (1.0, [])])
def test_the_loss_of_one_example_of_several(rate, wanted):
    """Examples one by one, a step after each 16 of them: the loss that is handed over is that of the last one."""
    x, y = classes()
    asked = F.one_hot(y, 4).float()
    model = net(nn.Sigmoid(), hidden=48)
    optimiser = torch.optim.SGD(model.parameters(), lr=rate)
    with health.watch(model, optimiser) as watch:
        for step in range(120):
            optimiser.zero_grad()
            for at in range(16):
                loss = F.mse_loss(model(x[(16 * step + at) % 512]), asked[(16 * step + at) % 512])
                loss.backward()
            optimiser.step()
            watch.loss(loss)
    assert [name for name in alarms(watch.report()) if name != "other-loss"] == wanted


def rewarded(rate, *, trained=False, steps=320):
    """A policy learns from rewards, whose loss tells nothing of how it goes."""
    generator = torch.Generator().manual_seed(1)
    model = net()
    if trained:  # weights that were learned elsewhere
        with torch.no_grad():
            for layer in (model[0], model[2]):
                layer.weight.mul_(3 * torch.rand(layer.weight.shape, generator=generator))
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    with health.watch(model, optimiser) as watch:
        for _ in range(steps):
            x = torch.randn(32, 6, generator=generator)
            logs = model(x).log_softmax(1)
            move = torch.multinomial(logs.detach().exp(), 1, generator=generator)
            paid = (move == x[:, :4].argmax(1, keepdim=True)).float()
            loss = -(logs.gather(1, move) * (paid - paid.mean())).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    return watch.report()


def test_a_random_start_that_is_kept():
    finding = first(rewarded(1e-6))
    assert (finding.id, finding.severity) == ("update-too-small", "warning")
    assert "steps together moved them by 0.1 % at most" in finding.message
    for report in (rewarded(1e-2), rewarded(1e-6, trained=True), rewarded(1e-6, steps=120)):
        assert "update-too-small" not in alarms(report)


class Two(nn.Module):
    """An actor and a critic that are called by themselves."""

    def __init__(self, *, scaled: bool) -> None:
        super().__init__()
        self.actor = net(width=2)
        self.critic = nn.Sequential(*([nn.BatchNorm1d(2, affine=False)] if scaled else []), *net(width=2, out=1))


@pytest.mark.parametrize(("size", "scaled", "wanted"), [(500.0, False, ["input-scale"]), (500.0, True, []), (1.0, False, [])])
def test_inputs_of_one_part_that_block_its_gradient(size, scaled, wanted):
    generator = torch.Generator().manual_seed(1)
    torch.manual_seed(0)
    model = Two(scaled=scaled)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    with health.watch(model, optimiser) as watch:
        for _ in range(120):
            x = torch.rand(64, 2, generator=generator) * 2 - 1
            logs = model.actor(x).log_softmax(1)
            move = torch.multinomial(logs.detach().exp(), 1, generator=generator)
            paid = x[:, :1] + 0.1 * move
            asked = model.critic(x * torch.tensor([size, 0.5]))
            loss = F.mse_loss(asked, paid) - (logs.gather(1, move) * (paid - asked.detach())).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    report = watch.report()
    assert alarms(report) == wanted
    if wanted:
        assert first(report).where == ("critic",)
        assert "are saturated from the start" in first(report).message


@pytest.mark.parametrize("how", ["anew", "once"])
def test_a_new_iterator_for_each_batch(how):
    x, y = numbers(1024)
    inputs, targets = x.split(32), y[:, None].split(32)
    pairs = [(inputs[at if how == "once" else 0], asked) for at, asked in enumerate(targets)]
    report = watched(net(out=1), pairs, error, steps=240)
    assert alarms(report) == (["repeated-batch"] if how == "anew" else [])
    if how == "anew":
        assert "next(iter(loader))" in first(report).remedy
