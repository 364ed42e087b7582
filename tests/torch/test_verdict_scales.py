"""Numbers of unusual size, empty examples and overlaps of raw outputs, in real trainings: sick, and cured."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from verdicts import alarms, batches, classes, first, net, numbers, watched  # noqa: E402

from lettrine import health  # noqa: E402


def error(model, x, y):
    return functional.mse_loss(model(x), y)


@pytest.mark.parametrize(("inputs", "targets", "named"), [(255, 255, "input-scale"), (1, 1000, "target-scale")])
def test_divided_once_too_often(inputs, targets, named):
    x, y = numbers()
    sick = watched(net(out=1), batches(0.3 * x / inputs, 0.3 * y[:, None] / targets), error, steps=120, rate=3e-4)
    assert (first(sick).id, first(sick).severity) == (named, "warning")
    assert alarms(watched(net(out=1), batches(0.3 * x, 0.3 * y[:, None]), error, steps=120, rate=3e-4)) == []


def test_a_few_targets_rule():
    x, y = numbers()
    few = torch.arange(512) % 60 == 7
    finding = first(watched(net(out=1), batches(x, torch.where(few, 2000 * y, y)[:, None]), error, steps=200))
    assert (finding.id, finding.where) == ("target-scale", ("2",))
    assert "A few targets lie far from all others" in finding.message
    assert alarms(watched(net(out=1), batches(x, y[:, None]), error, steps=200)) == []
    skewed = (1.5 * y).exp()[:, None]  # a long tail, and nothing wrong
    assert alarms(watched(net(out=1), batches(x, skewed), error, steps=200)) == []


@pytest.mark.parametrize("part", [0.0, 0.4])
def test_empty_examples(part):
    x, y = classes(width=16)
    empty = torch.rand(512, generator=torch.Generator().manual_seed(6)) < part
    x[empty] = 0
    report = watched(net(width=16), batches(x, y), lambda model, x, y: functional.cross_entropy(model(x), y), steps=120)
    assert alarms(report) == (["repeated-batch"] if part else [])
    # Where they are empty and their target says so, all is well.
    y = torch.where(empty, 0, y)
    report = watched(net(width=16), batches(x, y), lambda model, x, y: functional.cross_entropy(model(x), y), steps=120)
    assert alarms(report) == []


@pytest.mark.parametrize("made", ["sum", "method"])
@pytest.mark.parametrize("cured", [False, True])
def test_an_overlap_of_raw_outputs(made, cured):
    x, y = numbers()
    masks = torch.stack([y > 0, y > 1, x[:, 2] > 0, x[:, 3] > 0], 1).float()

    def dice(model, x, y):
        shares = model(x).sigmoid() if cured else model(x)
        if made == "sum":
            return 1 - (2 * (shares * y).sum() + 1) / (shares.sum() + y.sum() + 1)
        flat, asked = shares.reshape(-1), y.reshape(-1)
        return 1 - (asked.mul(flat).sum() + 1).div((asked + flat - asked * flat).sum() + 1)

    found = [each for each in watched(net(), batches(x, masks), dice).findings if each.id == "probabilities-as-logits"]
    assert len(found) == (not cured)
    if not cured:
        assert found[0].where == ("2",)
        assert "The loss of overlap expects probabilities" in found[0].message


def test_a_cosine_with_labels_is_no_overlap():
    x, y = numbers()
    masks = torch.stack([y > 0, y > 1, x[:, 2] > 0, x[:, 3] > 0], 1).float()

    def cosine(model, x, y):
        out = model(x)
        return 1 - ((out * y).sum(1) / (out.norm(dim=1) * y.norm(dim=1) + 1e-6)).mean()

    assert "probabilities-as-logits" not in alarms(watched(net(), batches(x, masks), cosine))


def test_the_scale_of_frozen_layers_is_not_judged():
    torch.manual_seed(1)
    layers = [nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(24, 4))
    with torch.no_grad():
        for each in layers[::2]:
            each.weight.normal_().mul_(1.0)
    x, y = classes()

    def loss(model, x, y):
        return functional.cross_entropy(model(x), y)

    assert "activation-scale" in alarms(watched(model, batches(x, y), loss, rate=1e-3))
    for each in layers:
        each.requires_grad_(requires_grad=False)
    assert "activation-scale" not in alarms(watched(model, batches(x, y), loss, rate=1e-3))


@pytest.mark.parametrize("rate", [1e-6, 1e-3])
def test_a_network_that_is_still_as_drawn_where_no_loss_tells(rate: float) -> None:
    torch.manual_seed(0)
    actor, critic = nn.Linear(6, 12), nn.Linear(18, 1)
    first, second = (torch.optim.Adam(each.parameters(), lr=speed) for each, speed in ((actor, rate), (critic, 1e-3)))
    with health.watch(nn.ModuleDict({"actor": actor, "critic": critic}), [first, second]) as watch:
        for _ in range(500):
            place = torch.randn(8, 6)
            worth = critic(torch.cat([place, actor(place).detach()], 1)).mean()
            second.zero_grad()
            (worth - 1).square().backward()
            second.step()
            loss = -critic(torch.cat([place, actor(place)], 1)).mean()
            first.zero_grad()
            loss.backward()
            first.step()
            watch.loss(loss)
    found = [each for each in watch.report().findings if each.id == "update-too-small" and each.severity != "info"]
    assert [each.where for each in found] == ([("actor.weight",)] if rate == 1e-6 else [])
    assert not found or "from 1.0e-06 to 1.0e-05" in found[0].remedy


@pytest.mark.parametrize(("size", "wanted"), [(300.0, True), (1.0, False)])
def test_inputs_that_drown_a_part_whose_loss_has_no_reference(size: float, *, wanted: bool) -> None:
    torch.manual_seed(0)
    actor, critic = (nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, out)) for out in (3, 1))
    optimiser = torch.optim.Adam([*actor.parameters(), *critic.parameters()], lr=1e-3)
    with health.watch(nn.ModuleDict({"actor": actor, "critic": critic}), optimiser) as watch:
        for _ in range(45):
            place = torch.randn(32, 2)
            worth, moves = critic(size * place), actor(place).log_softmax(1)
            gain = place[:, :1] - worth.detach()
            loss = (worth - place[:, :1]).square().mean() - (moves.gather(1, moves.argmax(1, keepdim=True)) * gain).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    found = [each for each in watch.report().findings if each.id == "input-scale"]
    assert [each.where for each in found] == ([("critic",)] if wanted else [])
    assert not wanted or "critic.1, behind its first layer" in found[0].message
