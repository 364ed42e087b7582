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


YES_ALONE = {
    "yes alone": lambda model, x, y: -(_soft(y) * F.logsigmoid(model(x))).mean(),
    "of a sigmoid": lambda model, x, y: -(_soft(y) * model(x).sigmoid().clamp(1e-6, 1 - 1e-6).log()).sum(1).mean(),
    "both": lambda model, x, y: -(_soft(y) * F.logsigmoid(model(x)) + (1 - _soft(y)) * F.logsigmoid(-model(x))).mean(),
    # One of four is right: a softmax takes from the others what it gives to that one.
    "softmax": lambda model, x, y: -(_soft(y) * model(x).log_softmax(1)).sum(1).mean(),
}


@pytest.mark.parametrize("loss", YES_ALONE)
def test_a_loss_that_counts_only_where_the_answer_is_yes(loss):
    report = watched(net(), batches(*classes()), YES_ALONE[loss], steps=100)
    assert alarms(report) == (["wrong-direction"] if loss in ("yes alone", "of a sigmoid") else [])
    if alarms(report):
        assert "as 75 % of them are" in first(report).message


class Remembers(nn.Module):
    def __init__(self, steps):
        super().__init__()
        torch.manual_seed(0)
        self.steps, self.memory, self.out = steps, nn.LSTM(6 // steps, 16, batch_first=True), nn.Linear(16, 1)

    def forward(self, x):
        return self.out(self.memory(x.unflatten(1, (self.steps, -1)))[0][:, -1])


@pytest.mark.parametrize("steps", [1, 6])
def test_sequences_of_one_step_need_no_memory(steps):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(512, 6, generator=generator)
    y = x.cumsum(1)[:, -1:].sin() + 0.5 * torch.randn(512, 1, generator=generator)
    report = watched(Remembers(steps), batches(x, y), lambda model, x, y: F.mse_loss(model(x), y), steps=150)
    assert alarms(report) == (["underfitting"] if steps == 1 else [])
    if steps == 1:
        assert first(report).where == ("memory",)
        assert "weight_hh_l0" in first(report).message


@pytest.mark.parametrize("unit", [400.0, 1.0])
def test_a_bias_that_stays_behind(unit):
    """The rate that weights of large inputs bear hardly moves the bias: all that is left of the error is one number."""
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(1024, 1, generator=generator) - 0.5
    y = 200 * x + 32 + 0.1 * torch.randn(1024, 1, generator=generator)
    torch.manual_seed(1)
    model = nn.Linear(1, 1)
    optimiser = torch.optim.SGD(model.parameters(), lr=4.0 / unit**2 if unit > 1 else 0.3)
    with health.watch(model, optimiser) as watch:
        for _, (a, b) in zip(range(400), batches(unit * x, y), strict=False):
            optimiser.zero_grad()
            loss = F.mse_loss(model(a), b)
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    report = watch.report()
    assert alarms(report) == (["input-scale"] if unit > 1 else [])
    if unit > 1:
        assert "the answers miss the targets by 30" in first(report).message


@pytest.mark.parametrize("whole", [False, True])
def test_a_part_is_trained_and_the_sum_is_shown(whole):
    """One of two heads is in the loss of backward() alone, and what the watch is handed rises."""
    generator = torch.Generator().manual_seed(1)
    x, y = classes()
    far = 4 * torch.randn(512, 1, generator=generator).abs() + x[:, :1]
    torch.manual_seed(0)
    body, kind, place = nn.Sequential(nn.Linear(6, 32), nn.Tanh()), nn.Linear(32, 4), nn.Linear(32, 1)
    model = nn.ModuleDict({"body": body, "kind": kind, "place": place})
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    with health.watch(model, optimiser) as watch:
        for step in range(300):
            rows = torch.randint(512, (32,), generator=generator)
            inner = body(x[rows])
            part = F.cross_entropy(kind(inner), y[rows])
            total = part + F.mse_loss(place(inner), far[rows]) * (1 if whole else 1 + step / 20)
            optimiser.zero_grad()
            (total if whole else part).backward()
            optimiser.step()
            watch.loss(total)
    report = watch.report()
    assert (alarms(report)[:1] == ["other-loss"]) is not whole
    assert whole or "Call backward() on the loss that you mean to train on" in first(report).remedy


def test_memory_that_is_not_used_is_told_without_a_loss_too():
    x, y = classes()
    model = Remembers(1)
    optimiser = torch.optim.Adam(model.parameters())
    with health.watch(model, optimiser) as watch:
        for _, (a, b) in zip(range(100), batches(x, y), strict=False):
            optimiser.zero_grad()
            F.mse_loss(model(a)[:, 0], b.float()).backward()
            optimiser.step()
    report = watch.report()
    told = [each for each in report.findings if each.id in ("underfitting", "no-gradient")]
    assert any("weight_hh_l0" in each.message for each in told)
