"""A classifier of rare classes, trained under the watch: as it comes, with weighted classes, and where rare ones can be told."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812
from verdicts import batches, watched


def rare(shift, rows=3072):
    generator = torch.Generator().manual_seed(1)
    y = (torch.rand(rows, generator=generator) < 0.06).long()
    x = torch.randn(rows, 10, generator=generator)
    x[:, 0] += shift * y
    return x, y


def by_two(model, x, y):
    return F.cross_entropy(model(x), y)


def by_one(model, x, y):
    return F.binary_cross_entropy_with_logits(model(x)[:, 1], y.float())


def weighted(model, x, y):
    return F.cross_entropy(model(x), y, weight=torch.tensor([1.0, 15.0]))


@pytest.mark.parametrize(
    ("loss", "shift", "named"),
    [(by_two, 0.7, True), (by_one, 0.7, True), (weighted, 0.7, False), (by_two, 6.0, False)],
    ids=["two outputs", "one output", "weighted", "easy to tell"],
)
def test_majority_class(loss, shift, named):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 16), nn.Tanh(), nn.Linear(16, 2))
    report = watched(model, batches(*rare(shift), size=64), loss, steps=500, rate=3e-3)
    assert ("majority-class" in [each.id for each in report.findings if each.severity == "warning"]) is named


@pytest.mark.parametrize(("shift", "severities"), [(0.0, ["warning"]), (6.0, [])], ids=["nothing to tell", "easy to tell"])
def test_several_rare_labels(shift, severities):
    """Eight labels for each example, of which one in 20 says yes."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    y = (torch.rand(2048, 8, generator=generator) < 0.05).float()
    x = torch.randn(2048, 12, generator=generator)
    x[:, :8] += shift * y
    model = nn.Sequential(nn.Linear(12, 32), nn.Tanh(), nn.Linear(32, 8))
    report = watched(model, batches(x, y, size=64), by_place, steps=500, rate=3e-3)
    found = [each for each in report.findings if each.id == "majority-class"]
    assert [each.severity for each in found] == severities
    for each in found:
        assert "of the labels say no, and from step" in each.message


@pytest.mark.parametrize(
    ("weights", "shift", "told"),
    [
        ("as frequent", 1.2, True),
        ("inverse", 1.2, False),
        ("alike", 1.2, False),
        ("as frequent", 9.0, False),
        ("none of it", 1.2, False),
    ],
)
@pytest.mark.parametrize("outputs", [3, 1])
def test_weights_of_classes(weights, shift, told, outputs):
    """Three classes, of which one has 85 % of the labels; or it and the two others together, as no and yes."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    y = torch.multinomial(torch.tensor([0.85, 0.1, 0.05]), 3000, replacement=True, generator=generator)
    x = torch.randn(3000, 10, generator=generator)
    x[:, :3] += shift * F.one_hot(y, 3)
    y = y if outputs > 1 else (y > 0).long()
    counts = torch.bincount(y).float()
    chosen = {"as frequent": counts / counts.sum(), "inverse": counts.sum() / counts, "alike": torch.ones(len(counts))}
    weight = chosen.get(weights, torch.tensor([1.0, *[0.0] * (len(counts) - 1)]))  # the rare ones are left out on purpose
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, outputs))

    def loss(model, x, y):
        if outputs > 1:
            return nn.CrossEntropyLoss(weight=weight)(model(x), y)
        return nn.BCEWithLogitsLoss(pos_weight=weight[1:] / weight[:1])(model(x)[:, 0], y.float())

    report = watched(model, batches(x, y, size=60), loss, steps=400, rate=3e-3)
    found = [each for each in report.findings if each.id == "majority-class"]
    assert [each.severity for each in found] == (["warning"] if told else [])
    for each in found:
        assert f"The loss weighs class 0 {'17' if outputs > 1 else '5.'}" in each.message
        assert each.remedy.startswith("Turn the weights round")


def masks(shift):
    """Pictures (N, 1, 8, 8) with a bright square of 2 by 2 places, and where it is."""
    generator = torch.Generator().manual_seed(2)
    place = torch.randint(7, (256, 2), generator=generator)
    y = torch.zeros(256, 1, 8, 8)
    for each, (row, column) in zip(y, place.tolist(), strict=True):
        each[0, row : row + 2, column : column + 2] = 1
    return torch.randn(256, 1, 8, 8, generator=generator) + shift * y, y


def by_place(model, x, y):
    return F.binary_cross_entropy_with_logits(model(x), y)


def of_two(model, x, y):
    return F.cross_entropy(model(x), y)


@pytest.mark.parametrize(("loss", "shift", "named"), [(by_place, 0.3, True), (of_two, 0.3, True), (by_place, 5.0, False)])
def test_masks_that_are_all_background(loss, shift, named):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, 1 + (loss is of_two), 1))
    x, y = masks(shift)
    report = watched(model, batches(x, y[:, 0].long() if loss is of_two else y), loss, steps=300, rate=1e-2)
    assert ("majority-class" in [each.id for each in report.findings if each.severity == "warning"]) is named
