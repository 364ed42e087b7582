"""Mistakes that are made often, in small trainings: the cause itself is named first, and what looks like them is left alone."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812
from verdicts import alarms, batches, classes, first, net, watched  # noqa: E402

from lettrine import health  # noqa: E402


def crossed(model, x, y):
    return F.cross_entropy(model(x), y)


def deep():
    """Layers as torch draws them: without a norm their gradients become smaller from layer to layer."""
    torch.manual_seed(3)
    layers = [part for _ in range(5) for part in (nn.Linear(32, 32), nn.ReLU())]
    return nn.Sequential(nn.Linear(6, 32), nn.ReLU(), *layers, nn.Linear(32, 4))


@pytest.mark.parametrize(
    ("rate", "limit", "said"), [(1e-5, None, "Raise the learning rate"), (0.1, 1e-4, "clipped to a norm of")]
)
def test_steps_too_small_are_not_blamed_on_the_depth(rate, limit, said):
    x, y = classes()
    model = deep()
    optimiser = torch.optim.SGD(model.parameters(), lr=rate)
    with health.watch(model, optimiser) as watch:
        for _, (a, b) in zip(range(300), batches(x, y), strict=False):
            optimiser.zero_grad()
            loss = crossed(model, a, b)
            loss.backward()
            if limit:
                nn.utils.clip_grad_norm_(model.parameters(), limit)
            optimiser.step()
            watch.loss(loss)
    report = watch.report()
    assert (first(report).id, first(report).severity) == ("update-too-small", "critical")
    assert said in first(report).remedy
    assert alarms(report) == ["update-too-small"]


@pytest.mark.parametrize("optimised", [True, False])
def test_what_never_moves_is_not_blamed_on_the_depth(optimised):
    x, y = classes()
    model = deep()
    optimiser = torch.optim.SGD((model if optimised else deep()).parameters(), lr=0.1)
    with health.watch(model, optimiser) as watch:
        for _, (a, b) in zip(range(150), batches(x, y), strict=False):
            loss = crossed(model, a, b)
            loss.backward()
            if optimised:
                optimiser.zero_grad()
            optimiser.step()
            watch.loss(loss)
    assert alarms(watch.report()) == ["gradients-cleared" if optimised else "not-optimised"]


def _soft(y):
    return F.one_hot(y, 4).float()


EXCHANGED = {
    "cross_entropy": lambda model, x, y: F.cross_entropy(_soft(y), model(x)),
    "binary_cross_entropy_with_logits": lambda model, x, y: F.binary_cross_entropy_with_logits(_soft(y), model(x)),
    "binary_cross_entropy": lambda model, x, y: F.binary_cross_entropy(0.9 * _soft(y) + 0.025, model(x).sigmoid()),
    "kl_div": lambda model, x, y: F.kl_div(_soft(y), model(x).softmax(1), reduction="batchmean"),
}
IN_ORDER = {
    "soft targets": lambda model, x, y: F.cross_entropy(model(x), _soft(y)),
    "yes or no": lambda model, x, y: F.binary_cross_entropy_with_logits(model(x), _soft(y)),
    "shares": lambda model, x, y: F.kl_div(model(x).log_softmax(1), _soft(y), reduction="batchmean"),
    # The divergence the other way round, towards a fixed teacher, whose logarithms come first.
    "teacher": lambda model, x, y: F.kl_div((3 * _soft(y)).log_softmax(1), model(x).softmax(1), reduction="batchmean"),
}


@pytest.mark.parametrize("function", EXCHANGED)
def test_answers_and_targets_changed_places(function):
    finding = first(watched(net(), batches(*classes()), EXCHANGED[function], steps=30, rate=1e-3))
    assert (finding.id, finding.severity) == ("wrong-direction", "critical")
    assert f"{function}(" in finding.remedy


@pytest.mark.parametrize("loss", IN_ORDER)
def test_answers_and_targets_in_their_places(loss):
    assert "wrong-direction" not in alarms(watched(net(), batches(*classes()), IN_ORDER[loss], steps=60, rate=1e-3))


@pytest.mark.parametrize("late", [True, False])
def test_answers_that_are_dropped(late):
    torch.manual_seed(0)
    drop = nn.Dropout(0.3)
    model = net(drop) if late else nn.Sequential(nn.Linear(6, 24), nn.Tanh(), drop, nn.Linear(24, 4))
    report = watched(model, batches(*classes()), crossed, steps=150)
    assert alarms(report) == (["underfitting"] if late else [])
    if late:
        assert (first(report).where, "30 %" in first(report).message) == (("3",), True)


@pytest.mark.parametrize("order", ["sorted", "shuffled", "mostly one class"])
def test_batches_of_hardly_more_than_one_class(order):
    x, y = classes(1024)
    places = y.argsort(stable=True) if order == "sorted" else torch.arange(1024)
    if order == "mostly one class":
        kept = (y == 0) | (torch.arange(1024) % 12 == 0)
        x, y, places = x[kept], y[kept], torch.arange(int(kept.sum()))
    rows = [part for part in places.split(20) if len(part) == 20]
    report = watched(net(), [(x[part], y[part]) for part in rows], crossed, steps=3 * len(rows), rate=3e-2)
    assert ("sorted-data" in alarms(report)) is (order == "sorted")
