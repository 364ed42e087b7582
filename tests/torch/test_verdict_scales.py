"""Numbers of unusual size, empty examples and overlaps of raw outputs, in real trainings: sick, and cured."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from verdicts import alarms, batches, classes, first, net, numbers, watched  # noqa: E402


def error(model, x, y):
    return functional.mse_loss(model(x), y)


@pytest.mark.parametrize(("inputs", "targets", "named"), [(255, 255, "input-scale"), (1, 1000, "target-scale")])
def test_divided_once_too_often(inputs, targets, named):
    x, y = numbers()
    sick = watched(net(out=1), batches(0.3 * x / inputs, 0.3 * y[:, None] / targets), error, steps=120, rate=3e-4)
    assert (first(sick).id, first(sick).severity) == (named, "warning")
    assert alarms(watched(net(out=1), batches(0.3 * x, 0.3 * y[:, None]), error, steps=120, rate=3e-4)) == []


def test_inputs_and_targets_of_thousands():
    """To scale the one is no help while the other stays: both are told."""
    x, y = numbers()
    report = watched(
        net(out=1),
        batches(1000 * x, 1000 * y[:, None]),
        lambda model, a, b: functional.l1_loss(model(a), b),
        steps=120,
        rate=1e-3,
    )
    assert alarms(report) == ["input-scale", "target-scale"]


class Bought(nn.Module):
    """Numbers of rows of an embedding and real numbers, in one table."""

    def __init__(self):
        super().__init__()
        self.who, self.body = nn.Embedding(100, 4), nn.Sequential(nn.Linear(7, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, rows):
        return self.body(torch.cat([self.who(rows[:, 0].long()), rows[:, 1:]], 1))


@pytest.mark.parametrize("unit", [1, 3000])
def test_numbers_of_rows_have_no_size(unit):
    x, y = numbers()
    who = torch.arange(512) * 7 % 100
    rows = torch.cat([who[:, None].float(), unit * x[:, :3]], 1)
    torch.manual_seed(0)
    report = watched(Bought(), batches(rows, y[:, None]), error, steps=120)
    [seen] = report.trace.seen("inputs")
    assert seen.figure("feature_most") < 3 * unit


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


class Graph(nn.Module):
    """Two rounds over who is linked to whom, (N, N), given before the features, (N, F)."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 16), nn.Linear(16, 3)

    def forward(self, links, x):
        return links @ self.second(torch.relu(links @ self.first(x)))


@pytest.mark.parametrize("scale", [1.0, 900.0])
def test_features_of_a_graph(scale):
    generator = torch.Generator().manual_seed(4)
    y = torch.arange(90) % 3
    near = torch.where(y[:, None] == y, 0.2, 0.02) > torch.rand(90, 90, generator=generator)
    links = near.float() / near.sum(1, keepdim=True).clamp(min=1)
    x = functional.one_hot(y, 4).float() + 0.5 * torch.randn(90, 4, generator=generator)
    x[:, 3] = scale * torch.rand(90, generator=generator)
    model = Graph()
    report = watched(
        model, [(x, y)] * 120, lambda model, x, y: functional.cross_entropy(model(links, x), y), steps=120, rate=1e-2
    )
    assert ("input-scale" in alarms(report)) is (scale > 1)
