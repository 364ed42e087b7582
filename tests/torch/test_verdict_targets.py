"""What the loss asks for, in real trainings: sick, cured, and healthy ones that look alike."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812
from verdicts import alarms, batches, classes, first, net, numbers, watched  # noqa: E402

IDS = {"target-range", "target-rows", "target-constant", "target-scale"}


def quiet(report):
    assert not IDS & {finding.id for finding in report.findings}, report.findings


def through(function):
    return lambda model, x, y: function(model(x), y)


@pytest.mark.parametrize(
    ("tail", "word"), [(nn.ReLU(), "ReLU"), (nn.Sigmoid(), "sigmoid"), (nn.Tanh(), "tanh"), (nn.Hardtanh(0, 0.5), "hard tanh")]
)
def test_targets_out_of_reach(tail, word):
    x, y = numbers()
    finding = first(watched(net(tail, out=1), batches(x, 2 * y[:, None]), through(F.mse_loss)))
    assert (finding.id, finding.where) == ("target-range", ("2",))
    assert finding.severity in ("warning", "critical")
    assert f"The {word} after 2" in finding.message


@pytest.mark.parametrize(
    ("high", "several", "sick"), [(1 / 255, False, True), (0.05, False, True), (0.9, False, False), (0.08, True, False)]
)
@pytest.mark.parametrize("loss", [F.binary_cross_entropy_with_logits, lambda out, y: likelihood(out.sigmoid(), y)])
def test_a_yes_next_to_0(high, several, sick, loss):
    """Masks divided by 255 twice. Shares of many sizes may be small (several)."""
    x, y = classes(kinds=2)
    asked = high * (torch.rand(len(y)) if several else y.float())[:, None]
    report = watched(net(out=1), batches(x, asked), through(loss))
    assert ("target-range" in alarms(report)) is sick
    assert not sick or ("ToTensor" in first(report).remedy) is (high < 0.01)


@pytest.mark.parametrize(("wide", "divided", "sick"), [(64, 255, True), (64, 1, False), (4, 255, False)])
def test_pictures_divided_by_255_twice(wide, divided, sick):
    """A few shares may be that small (wide=4)."""
    asked = torch.rand(512, wide) / divided
    report = watched(net(out=wide), batches(classes()[0], asked), through(F.binary_cross_entropy_with_logits))
    assert ("target-range" in alarms(report)) is sick


@pytest.mark.parametrize("inside", [True, False])
def test_targets_that_a_mask_takes_away_need_not_be_within_reach(inside):
    """Errors count where a mask is 1: the targets there are from 0 to 1 (inside), or all of them out of reach."""
    x, y = numbers()
    mask = (torch.arange(len(y)) % 2).float()[:, None]
    asked = torch.where(mask > 0, y[:, None].sigmoid() if inside else 4 + y[:, None].sigmoid(), 4 * y[:, None])

    def masked(model, x, y):
        return ((model(x) - y[:, :1]).abs() * y[:, 1:]).sum() / y[:, 1:].sum().clamp(min=1)

    report = watched(net(nn.Sigmoid(), out=1), batches(x, torch.cat([asked, mask], 1)), masked)
    assert ("target-range" in alarms(report)) is not inside


def likelihood(out, y):
    shares = out.clamp(1e-7, 1 - 1e-7)
    return -(y * shares.log() + (1 - y) * (1 - shares).log()).mean()


@pytest.mark.parametrize("loss", [F.binary_cross_entropy_with_logits, lambda out, y: likelihood(out.sigmoid(), y)])
def test_targets_that_are_no_probabilities(loss):
    x, y = classes(kinds=3)
    finding = first(watched(net(out=1), batches(x, y.float()[:, None]), through(loss)))
    assert (finding.id, finding.severity) == ("target-range", "critical")
    assert "3 outputs, and use cross_entropy" in finding.remedy
    x, y = numbers()
    finding = first(watched(net(out=1), batches(x, 30 + 9 * y[:, None]), through(loss)))
    assert finding.id == "target-range"
    assert "mse_loss" in finding.remedy


def bootstrapped(model, x, y):
    """Fitted values of a following state: the target is made in the step, and far below 0."""
    out = model(x)
    with torch.no_grad():
        target = y[:, None] - 3 + 0.9 * model(x.flip(0))
    return F.mse_loss(out, target)


def reinforced(model, x, y):
    logs = F.logsigmoid(model(x)).squeeze(1)
    return -(logs * y).mean()  # advantages have either sign


@pytest.mark.parametrize(
    ("tail", "change", "loss"),
    [
        ([nn.Sigmoid()], lambda y: y.sigmoid(), F.mse_loss),
        ([nn.Tanh()], lambda y: 1.01 * y.tanh(), F.mse_loss),  # a little noise at the border
        ([nn.Tanh()], lambda y: y.sign(), F.mse_loss),
        ([nn.ReLU()], lambda y: y.relu(), F.mse_loss),
        ([], lambda y: 3 * y, F.mse_loss),
        ([], lambda y: (y > 0).float() * 0.9 + 0.05, F.binary_cross_entropy_with_logits),  # smoothed
        ([nn.Sigmoid()], lambda y: (y > 0).float(), likelihood),
    ],
    ids=["sigmoid", "noisy-tanh", "signs", "relu", "linear", "smoothed", "written-out"],
)
def test_targets_within_reach(tail, change, loss):
    x, y = numbers()
    quiet(watched(net(*tail, out=1), batches(x, change(y)[:, None]), through(loss)))


@pytest.mark.parametrize(("tail", "loss"), [([nn.ReLU()], bootstrapped), ([], reinforced)], ids=["bootstrapped", "advantages"])
def test_targets_that_are_made(tail, loss):
    quiet(watched(net(*tail, out=1), batches(*numbers()), loss))


def test_rows_with_several_labels():
    x, _ = numbers()
    data = x, (x[:, :4] > 0).float()
    for model, loss in (
        (net(), F.cross_entropy),
        (net(nn.Softmax(1)), F.mse_loss),
        (net(nn.Softmax(1)), F.binary_cross_entropy),
    ):
        finding = first(watched(model, batches(*data), through(loss)))
        assert (finding.id, finding.severity, finding.where) == ("target-rows", "warning", ("2",))
    quiet(watched(net(), batches(*data), through(F.binary_cross_entropy_with_logits)))
    quiet(watched(net(nn.Sigmoid()), batches(*data), through(F.mse_loss)))
    shares = data[1] / data[1].sum(1, keepdim=True).clamp(min=1)
    quiet(watched(net(), batches(x, shares), through(F.cross_entropy)))  # each of k labels with 1 / k


def test_rows_of_a_mixture():
    x, y = classes()
    rows = F.one_hot(y, 4).float()
    quiet(watched(net(), batches(x, 0.7 * rows + 0.3 * rows.flip(0)), through(F.cross_entropy)))


def test_all_targets_ignored():
    x, y = classes()
    finding = first(watched(net(), batches(x, torch.full_like(y, -100)), through(F.cross_entropy)))
    assert (finding.id, finding.severity) == ("target-constant", "critical")
    half = torch.where(torch.arange(len(y)) % 2 == 0, y, -100)
    quiet(watched(net(), batches(x, half), through(F.cross_entropy)))


@pytest.mark.parametrize(
    ("data", "loss"),
    [
        ((numbers()[0], torch.ones(512, dtype=torch.int64)), F.cross_entropy),
        ((numbers()[0], torch.full((512, 4), 0.5)), F.mse_loss),
        ((numbers()[0], torch.zeros(512, 4)), F.binary_cross_entropy_with_logits),
    ],
)
def test_one_target_for_all(data, loss):
    finding = first(watched(net(), batches(*data), through(loss), steps=200, rate=0.1))
    assert (finding.id, finding.severity) == ("target-constant", "warning")


def test_targets_that_are_rarely_another():
    x, _ = numbers(4096)
    y = torch.zeros(4096, dtype=torch.int64)
    y[:8] = 1  # two in a thousand
    quiet(watched(net(), batches(x, y), through(F.cross_entropy), steps=300, rate=0.1))


def test_labels_of_a_discriminator():
    def loss(model, x, _):
        return F.binary_cross_entropy_with_logits(model(x), torch.ones(32, 1)) + F.binary_cross_entropy_with_logits(
            model(torch.rand(32, 6)), torch.zeros(32, 1)
        )

    quiet(watched(net(out=1), batches(*numbers()), loss, steps=200))


def test_residuals_held_against_nothing():
    """A physics-informed network: the equation's residual and the border are both held against 0."""

    def loss(model, x, y):
        inside, border = model(x), model(torch.zeros_like(x))
        return F.mse_loss(inside - y[:, None], torch.zeros(32, 1)) + F.mse_loss(border, torch.zeros(32, 1))

    quiet(watched(net(out=1), batches(*numbers()), loss, steps=200))


def test_the_scale_of_targets():
    x, y = numbers()
    sick = watched(net(out=1, hidden=5), batches(x, -2700 + 40 * y[:, None]), through(F.mse_loss), steps=400, rate=1e-3)
    finding = first(sick)
    assert (finding.id, finding.severity, finding.where) == ("target-scale", "warning", ("2",))
    assert "Train on (y + 2,69" in finding.remedy
    assert alarms(watched(net(out=1), batches(x, y[:, None]), through(F.mse_loss), steps=400)) == []


def test_a_large_scale_that_is_learned():
    x, y = numbers()
    quiet(watched(net(out=1), batches(x, 30 * y[:, None]), through(F.mse_loss), steps=800, rate=0.1))


def rows_of(y, count=3):
    return torch.stack([(0.5 + place) * y + y.roll(0).abs() * place for place in range(count)], 1)


@pytest.mark.parametrize(
    "loss",
    [
        F.cross_entropy,
        lambda out, y: -(y * out.softmax(1).clamp_min(1e-7).log()).sum(1).mean(),
        lambda out, y: -torch.einsum("bk,bk->b", y, out.log_softmax(1)).mean(),
    ],
    ids=["torch", "clamped", "einsum"],
)
def test_amounts_under_a_cross_entropy(loss):
    x, y = numbers()
    finding = first(watched(net(out=3), batches(x, rows_of(y)), through(loss), steps=40))
    assert (finding.id, finding.severity) == ("target-range", "critical")
    quiet(watched(net(out=3), batches(x, rows_of(y).softmax(1)), through(loss), steps=40))


def test_counts_of_words():
    x, y = numbers()
    counts = (rows_of(y).abs() * 2).round()
    loss = through(lambda out, y: -(y * out.log_softmax(1)).sum(1).mean())
    assert "target-range" not in alarms(watched(net(out=3), batches(x, counts), loss, steps=40))


@pytest.mark.parametrize(
    "loss", [F.soft_margin_loss, lambda out, y: F.relu(1 - y * out).mean()], ids=["soft margin", "hinge by hand"]
)
def test_labels_for_a_loss_of_signs(loss):
    x, y = numbers()
    labels = (y > 0).float()[:, None]
    finding = first(watched(net(out=1), batches(x, labels), through(loss)))
    assert (finding.id, finding.severity) == ("target-range", "critical")
    quiet(watched(net(out=1), batches(x, 2 * labels - 1), through(loss)))


class Judged(nn.Module):
    """What to do, and what it is worth."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.actor, self.critic = nn.Sequential(nn.Linear(6, 24), nn.Tanh()), nn.Linear(24, 3), nn.Linear(24, 1)

    def forward(self, x):
        h = self.body(x)
        return self.actor(h), self.critic(h).squeeze(1)


@pytest.mark.parametrize("size", [400.0, 1.0])
def test_a_critic_far_from_the_returns(size):
    def loss(model, x, y):
        logits, worth = model(x)
        chosen = torch.distributions.Categorical(logits=logits).sample()
        returns = size * (1 + (chosen == y).float())
        ahead = (returns - worth).detach() / size
        logs = logits.log_softmax(1).gather(1, chosen[:, None]).squeeze(1)
        return F.mse_loss(worth, returns) - (ahead * logs).mean()

    x, y = classes(kinds=3)
    report = watched(Judged(), batches(x, y), loss, steps=120, rate=3e-3)
    if size == 1:
        quiet(report)
        return
    finding = next(each for each in report.findings if each.id == "target-scale")
    assert (finding.severity, finding.where) == ("warning", ("critic",))


@pytest.mark.parametrize(
    "loss",
    [
        lambda out, y: F.mse_loss(out.mean(), y.mean()),
        lambda out, y: (out.mean(0) - y.mean(0)).pow(2).sum(),
        lambda out, y: (out - y).mean() ** 2,
    ],
    ids=["means", "means written out", "mean of differences"],
)
def test_a_loss_of_means(loss):
    x, y = numbers()
    report = watched(net(out=1), batches(x, y[:, None]), through(loss))
    finding = next(each for each in report.findings if each.id == "averaged-first")
    assert (finding.severity, finding.where) == ("warning", ("2",))


def test_shares_of_a_whole_batch():
    x, y = classes()
    shares = F.one_hot(y, 4).float()
    report = watched(net(), batches(x, shares), through(lambda out, y: F.cross_entropy(out.mean(0), y.mean(0))))
    assert "averaged-first" in alarms(report)


def bag(out, y):
    return F.mse_loss(out.mean(), y[0, 0])  # one target for all instances


@pytest.mark.parametrize("loss", [F.mse_loss, bag, lambda out, y: F.mse_loss(out, y) + (out.mean() - y.mean()) ** 2])
def test_means_on_purpose(loss):
    x, y = numbers()
    assert "averaged-first" not in {each.id for each in watched(net(out=1), batches(x, y[:, None]), through(loss)).findings}
