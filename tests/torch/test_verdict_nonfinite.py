"""Values that stop being finite, in real trainings: which operation is named, and when the learning rate is."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812
from verdicts import alarms, batches, classes, first, net, numbers, watched  # noqa: E402


def masked_rmse(epsilon, at):
    """The root of a mean squared error; at one step all rows are masked."""
    calls = []

    def loss(model, x, y):
        calls.append(1)
        mask = torch.full((len(x), 1), float(len(calls) != at))
        error = F.mse_loss(model(x) * mask, y[:, None] * mask)
        return (error + epsilon if epsilon else error).sqrt()

    return loss


def siamese(epsilon):
    calls = []

    def loss(model, x, y):
        calls.append(1)
        other = x.roll(1, 0) if len(calls) < 30 else torch.cat([x[:1], x.roll(1, 0)[1:]])
        squares = (model(x) - model(other)).pow(2).sum(1)
        return (
            torch.relu(1 - (squares + epsilon if epsilon else squares).sqrt()).pow(2).mean() + 0.01 * squares.mean() + 0 * y.sum()
        )

    return loss


def active(least):
    def loss(model, x, y):
        margins = torch.relu((model(x).squeeze(1) - y).abs() - 0.25)
        return margins.sum() / (margins > 0).sum().clamp(min=least)

    return loss


@pytest.mark.parametrize("every", [None, 1])
@pytest.mark.parametrize(
    ("make", "cure", "words"),
    [
        (lambda: masked_rmse(0, 40), lambda: masked_rmse(1e-8, 40), "root"),
        (lambda: siamese(0), lambda: siamese(1e-8), "root"),
        (lambda: active(0), lambda: active(1), "division"),
    ],
    ids=["rmse", "siamese", "active"],
)
def test_the_operation_is_named(make, cure, words, every):
    x, y = numbers(128)
    sick = watched(net(out=1), batches(x, 0.2 * y), make(), steps=80, rate=0.02, every=every)
    finding = next(each for each in sick.findings if each.id == "non-finite")
    assert finding is first(sick)
    assert words in finding.message
    assert "learning rate" not in finding.remedy
    cured = watched(net(out=1), batches(x, 0.2 * y), cure(), steps=60, rate=0.02, every=every)
    assert "non-finite" not in [each.id for each in cured.findings]


class Attention(nn.Module):
    def __init__(self, fill):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Linear(6, 6)  # NaN in every weight of it, once a gradient was
        self.query, self.key, self.value = (nn.Linear(6, 8) for _ in range(3))
        self.head, self.fill = nn.Linear(8, 4), fill

    def forward(self, x):
        inner = self.body(x)
        scores = self.query(inner) @ self.key(inner).transpose(1, 2)
        shares = scores.masked_fill(x[:, None, :, 0] > 0, self.fill).softmax(-1)
        return self.head((shares @ self.value(inner)).mean(1))


def test_a_softmax_of_nothing():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(256, 3, 6, generator=generator)
    y = x[:, 0, :4].argmax(1)
    data = list(zip(x.split(32), y.split(32), strict=True))
    sick = watched(Attention(float("-inf")), data, lambda model, x, y: F.cross_entropy(model(x), y))
    assert first(sick).id == "non-finite"
    assert "everything was masked" in first(sick).message
    assert alarms(watched(Attention(-1e9), data, lambda model, x, y: F.cross_entropy(model(x), y))) == []


def test_a_softmax_of_nothing_after_many_steps():
    """The row comes where nobody looks; at the next look all weights are NaN, but the mask is the data's."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(3200, 3, 6, generator=generator)
    x[:1920, 0, 0] = -1.0  # 60 batches in which no row is masked whole
    y = x[:, 0, :4].argmax(1)
    data = list(zip(x.split(32), y.split(32), strict=True))
    finding = first(watched(Attention(float("-inf")), data, lambda model, x, y: F.cross_entropy(model(x), y), steps=100))
    assert (finding.id, finding.steps) == ("non-finite", (60, 60))
    assert "everything was masked" in finding.message
    assert "unmasked" in finding.remedy


def test_targets_that_are_all_ignored_once():
    x, y = classes()
    y = y.clone()
    y[:] = -100
    report = watched(net(), batches(x, y), lambda model, x, y: F.cross_entropy(model(x), y))
    assert "learning rate" not in " ".join(each.remedy for each in report.findings)


def test_a_learning_rate_that_is_too_high_is_still_named():
    x, y = numbers()
    model = net(out=1)
    optimiser = torch.optim.SGD(model.parameters(), lr=50.0)
    from lettrine import health  # noqa: PLC0415

    with health.watch(model, optimiser) as watch:
        for _, (inputs, targets) in zip(range(60), batches(x, y), strict=False):
            optimiser.zero_grad()
            loss = F.mse_loss(model(inputs), targets[:, None])
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    findings = watch.report().findings
    assert "learning rate" in findings[0].remedy


class Halved(nn.Module):
    """Inputs of hundreds, of which 16 are added up: in half precision, in a layer or between two of them, or with an exp."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.first, self.last, self.how = nn.Linear(6, 64), nn.Linear(64, 4), how
        nn.init.constant_(self.first.weight, 1.0)
        if how == "layer":
            self.last.half()

    def forward(self, x):
        y = self.first(x.abs() * 100)
        if self.how == "between":
            y = (y.half() * 400).float()
        if self.how == "exp":
            y = y.exp()
        if self.how == "layer":
            return self.last(y.half() * 10)
        return self.last(y / 1000)


@pytest.mark.parametrize(
    ("how", "said", "advised"),
    [
        ("between", "a value between first and last exceeds what float16 can hold, 65,504", "lies between first and last"),
        ("layer", "It exceeds what float16 can hold", "what last does in float32"),
        ("exp", "a value between first and last is not finite", "an exp or a power that overflows"),
        ("", "", ""),
    ],
)
def test_values_out_of_the_range_of_their_type(how, said, advised):
    torch.manual_seed(0)
    model = Halved(how)
    if how == "layer":
        nn.init.constant_(model.last.weight, 1.0)
    report = watched(model, batches(*classes(64)), lambda m, x, y: F.cross_entropy(m(x).float(), y), steps=5)
    found = [each for each in report.findings if each.id == "non-finite"]
    assert bool(found) is bool(how)
    for each in found:
        assert said in each.message
        assert advised in each.remedy
        assert each.where == ("last",)


class Pooled(nn.Module):
    """A power of pooled values; keep: what the values are kept above, None for nothing. below: whether they can be negative."""

    def __init__(self, keep=None, *, below=True, learned=False):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = nn.Linear(6, 8), nn.Linear(8, 1)
        self.power = nn.Parameter(torch.tensor(3.0)) if learned else 3
        self.keep, self.below = keep, below

    def forward(self, x):
        values = self.body(x) if self.below else torch.relu(self.body(x) - 2.0)
        values = values if self.keep is None else values.clamp(min=self.keep)
        return self.head((values**self.power) ** (1 / self.power))


def pooled(**options):
    x, y = numbers(128)
    report = watched(Pooled(**options), batches(x, y), lambda m, a, b: F.mse_loss(m(a), b[:, None]), steps=40, rate=0.003)
    return next((each for each in report.findings if each.id == "non-finite"), None)


def test_a_fraction_as_the_power_of_a_negative_number_is_told_from_one_of_0():
    negative, zero = pooled(), pooled(below=False, learned=True)
    assert "got numbers below 0, down to -" in negative.message
    assert "x.clamp(min=1e-6) ** p" in negative.remedy
    assert "+ 1e-8" not in negative.remedy  # nothing small lifts them above 0
    assert "the power" in zero.message
    assert "its slope at 0 is infinite" in zero.remedy
    assert pooled(keep=1e-6) is None
    assert pooled(keep=1e-6, below=False, learned=True) is None


def hard_rows(*, guarded, at):
    """The mean over the rows that are still missed; none is left at one step."""
    calls = []

    def loss(model, x, y):
        calls.append(1)
        errors = (model(x).squeeze(1) - y).pow(2)
        left = max(0, 16 - 16 * len(calls) // at)
        keep = torch.arange(len(x)) < left
        return errors.mean() + (errors[keep].sum() / keep.sum().clamp(min=1) if guarded else errors[keep].mean())

    return loss


@pytest.mark.parametrize("every", [None, 1])
def test_a_mean_over_a_selection_that_becomes_empty_is_named(every):
    x, y = numbers(128)
    sick = watched(net(out=1), batches(x, 0.2 * y), hard_rows(guarded=False, at=47), steps=60, rate=0.002, every=every)
    finding = first(sick)
    assert finding.id == "non-finite"
    assert "the mean in the loss" in finding.message.lower()
    assert "keep.sum().clamp(min=1)" in finding.remedy
    cured = watched(net(out=1), batches(x, 0.2 * y), hard_rows(guarded=True, at=47), steps=60, rate=0.002, every=every)
    assert "non-finite" not in [each.id for each in cured.findings]


@pytest.mark.parametrize(
    ("keep", "guarded"),
    [
        (lambda p: p + 0.0, False),
        (lambda p: 1e-50 + p, False),  # 0 in float32
        (lambda p: p.clamp(min=0), False),
        (lambda p: p + 1e-8, True),
        (lambda p: p.clamp(1e-8, 1.0), True),
        (lambda p: p, False),
    ],
    ids=["zero", "too small", "clamped at zero", "added", "clamped", "bare"],
)
def test_a_logarithm_to_which_nothing_is_added(keep, guarded):
    def loss(model, x, y):
        p = F.hardsigmoid(model(x)[:, 0])
        return -torch.where(y > 0, keep(p).log(), keep(1 - p).log()).mean()

    x, y = numbers(128)
    report = watched(net(out=1), batches(x, y), loss, steps=10, rate=0.001)
    assert {each.words["guarded"] for each in report.trace.seen("operation")} == {"yes" if guarded else "no"}


def test_linear_layers_do_not_come_before_what_broke():
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 1))
    x, y = numbers(128)
    report = watched(model, batches(x, 0.2 * y), masked_rmse(0, 40), steps=80, rate=0.02)
    assert alarms(report) == ["non-finite"]
