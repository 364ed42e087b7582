"""Losses without a value, models without layers to listen to, and trainings without a weight matrix."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812
from verdicts import batches, classes  # noqa: E402

from lettrine import health  # noqa: E402
from lettrine.errors import HealthError  # noqa: E402


def test_a_loss_on_the_meta_device_is_none():
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimiser = torch.optim.SGD(model.parameters(), 0.01)
    with health.watch(model, optimiser) as watch:
        watch.loss(torch.zeros((), device="meta"))
        for _ in range(20):
            optimiser.zero_grad()
            loss = model(torch.ones(8, 4)).square().mean()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
            watch.loss(torch.zeros((), device="meta"))
    report = watch.report()
    assert report.trace.facts.errors == ()
    assert len(report.trace.loss.step) == 20


def test_layers_in_a_plain_list():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = [nn.Linear(4, 8), nn.Linear(8, 2)]

    with pytest.raises(HealthError, match=r"self\.layers, make that an nn\.ModuleList"):
        health.watch(Net())


@pytest.mark.parametrize("trained", ["bias", "1."])
def test_only_biases_or_norms_are_trained(trained):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 4))
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name.endswith(trained) or name.startswith(trained)
    optimiser = torch.optim.Adam([each for each in model.parameters() if each.requires_grad], lr=1e-2)
    with health.watch(model, optimiser) as watch:
        for _, (x, y) in zip(range(120), batches(*classes()), strict=False):
            loss = F.cross_entropy(model(x), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    report = watch.report()
    assert [each for each in report.outcomes if each.status == "failed"] == []
    assert "no weight matrix is trained" in {each.reason for each in report.outcomes}
