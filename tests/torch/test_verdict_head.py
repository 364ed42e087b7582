"""How predictions reach the loss, in real trainings: sick, cured, and healthy ones that look alike."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812
from verdicts import alarms, batches, classes, first, net, numbers, watched  # noqa: E402

IDS = {"broadcast", "softmax-axis", "relu-logits", "probabilities-as-logits", "target-range", "target-rows", "target-constant"}


def quiet(report):
    assert not IDS & {finding.id for finding in report.findings}, report.findings


def through(function):
    return lambda model, x, y: function(model(x), y)


@pytest.mark.parametrize(
    "loss",
    [
        F.mse_loss,
        F.smooth_l1_loss,
        lambda out, y: ((out - y) ** 2).mean(),
        lambda out, y: (y - out).abs().mean(),
        lambda out, y: F.mse_loss(out.squeeze(1), y.unsqueeze(1)),
    ],
)
def test_broadcast(loss):
    finding = first(watched(net(out=1), batches(*numbers()), through(loss)))
    assert (finding.id, finding.severity, finding.where) == ("broadcast", "critical", ("2",))
    assert "32 by 32 pairs" in finding.message


@pytest.mark.parametrize("way", ["raw", "softmax", "log_softmax", "minus logsumexp"])
def test_what_the_loss_over_paths_gets(way):
    lengths, count = torch.full((8,), 12), torch.full((8,), 3)

    def loss(model, x, y):
        out = model(x)
        given = {"raw": out, "softmax": out.softmax(-1), "log_softmax": out.log_softmax(-1)}.get(
            way, out - out.logsumexp(-1, True)
        )
        return F.ctc_loss(given, y, lengths, count)

    frames, songs = torch.randn(20, 12, 8, 6), torch.randint(1, 5, (20, 8, 3))
    report = watched(nn.Linear(6, 5), zip(frames, songs, strict=True), loss, steps=20)
    if way in ("raw", "softmax"):
        finding = first(report)
        assert (finding.id, finding.severity) == ("probabilities-as-logits", "critical")
        assert "log_softmax" in finding.remedy
    else:
        quiet(report)


def test_broadcast_in_the_loss_of_a_policy():
    def loss(model, x, advantage):
        return -(model(x) * advantage).mean()  # (32, 1) against (32,)

    assert first(watched(net(out=1), batches(*numbers()), loss)).id == "broadcast"


def test_broadcast_to_rows_picked_of_a_column():
    x, y = numbers()
    returns = y[:, None]  # (512, 1), kept before the training

    def steps(squeeze):
        def loss(model, rows, _):
            value = model(x[rows.long()[:, 0]]).squeeze(1)
            wanted = returns[rows.long()[:, 0]]
            return ((wanted.squeeze(1) if squeeze else wanted) - value).pow(2).mean()

        return watched(net(out=1), ((torch.randint(512, (32, 1)).float(), y) for _ in range(20)), loss, steps=20)

    finding = first(steps(squeeze=False))
    assert (finding.id, finding.value) == ("broadcast", 32.0)
    assert "(32,) meet numbers of shape (32, 1) in sub" in finding.message.replace("__sub__", "sub")
    assert "broadcast" not in alarms(steps(squeeze=True))


def to_some_targets(model, x, y):
    answers = model(x).squeeze(1)
    wanted = y[:, None][torch.arange(len(y))]  # meant: the axis was added by hand, and rows picked after
    return (wanted - answers).abs().logsumexp(1).mean()


def pairwise_ranking(model, x, y):
    out = model(x).squeeze(1)
    return F.softplus(-(out[:, None] - out[None]) * (y[:, None] - y[None]).sign()).mean()


def to_all_targets(model, x, y):
    return (model(x).squeeze(1).unsqueeze(1) - y).abs().logsumexp(1).mean()  # meant: the axis was added by hand


def kernel(model, x, y):
    out = model(x)
    return (((out[:, None] - x[None, :, :4]) ** 2).sum(-1) * 0.1).mean() + y.mean() * 0


@pytest.mark.parametrize(
    ("model", "loss"),
    [
        (net(out=1), lambda model, x, y: F.mse_loss(model(x), y.unsqueeze(1))),
        (net(out=1), lambda model, x, y: F.mse_loss(model(x).squeeze(1), y)),
        (net(out=1), pairwise_ranking),
        (net(out=1), to_all_targets),
        (net(out=1), to_some_targets),
        (net(out=4), kernel),
        (net(out=3), lambda model, x, y: (torch.tensor([0.1, 0.5, 0.9]) * (model(x) - y[:, None]).abs()).mean()),  # quantiles
    ],
    ids=["column", "row", "pairwise", "all-to-all", "all-to-some", "kernel", "quantiles"],
)
def test_shapes_that_are_meant(model, loss):
    quiet(watched(model, batches(*numbers()), loss))


def test_softmax_over_one_unit():
    x, y = classes(kinds=2)
    report = watched(net(nn.Softmax(dim=1), out=1), batches(x, y.float()[:, None]), through(F.binary_cross_entropy))
    finding = first(report)
    assert (finding.id, finding.severity, finding.where) == ("softmax-axis", "critical", ("2",))
    assert "single unit" in finding.message
    quiet(watched(net(nn.Sigmoid(), out=1), batches(x, y.float()[:, None]), through(F.binary_cross_entropy)))


def test_cross_entropy_over_one_class():
    x, y = classes(kinds=1)
    assert first(watched(net(out=1), batches(x, y), through(F.cross_entropy))).id == "softmax-axis"


def written_out(out, y, axis):
    return -(F.one_hot(y, 4) * out.log_softmax(axis)).sum(1).mean()


@pytest.mark.parametrize(
    "loss",
    [
        lambda out, y: F.nll_loss(out.log_softmax(0), y),
        lambda out, y: F.nll_loss(out.softmax(0).log(), y),
        lambda out, y: F.mse_loss(out.softmax(0), F.one_hot(y, 4).float()),
        lambda out, y: written_out(out, y, 0),
    ],
)
def test_softmax_over_the_batch(loss):
    finding = first(watched(net(), batches(*classes()), through(loss)))
    assert (finding.id, finding.where) == ("softmax-axis", ("2",))
    assert "over the batch" in finding.message


@pytest.mark.parametrize(
    "loss",
    [
        lambda out, y: -out.T.log_softmax(0)[y, torch.arange(len(y))].mean(),
        lambda out, y: -out.T.log_softmax(0).gather(0, y[None]).mean(),
        lambda out, y: -(out.T.log_softmax(0) * F.one_hot(y, 4).T).sum(0).mean(),
        lambda out, y: F.mse_loss(out.T.softmax(0), F.one_hot(y, 4).float().T),
        lambda out, y: F.binary_cross_entropy(out.T.softmax(0), F.one_hot(y, 4).float().T),
    ],
    ids=["picked", "gathered", "written-out", "squared", "binary"],
)
def test_softmax_over_the_classes_of_a_transposed_answer(loss):
    quiet(watched(net(), batches(*classes()), through(loss)))


def test_softmax_over_the_examples_of_a_transposed_answer():
    loss = through(lambda out, y: F.nll_loss(out.T.log_softmax(1).T, y))
    assert first(watched(net(), batches(*classes()), loss)).id == "softmax-axis"


def test_softmax_over_positions():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(256, 5, 6, generator=generator)
    data = list(zip(x.split(32), x[..., :4].argmax(-1).split(32), strict=True))
    sick = watched(net(), data, lambda model, x, y: F.nll_loss(model(x).log_softmax(1).reshape(-1, 4), y.reshape(-1)))
    assert first(sick).id == "softmax-axis"
    assert "axis 1" in first(sick).message
    quiet(watched(net(), data, lambda model, x, y: F.nll_loss(model(x).log_softmax(2).reshape(-1, 4), y.reshape(-1))))
    quiet(watched(net(), data, lambda model, x, y: F.nll_loss(model(x).transpose(1, 2).log_softmax(1), y)))


def contrastive(model, x, _):
    first, second = F.normalize(model(x)), F.normalize(model(x + 0.05))
    logits = 5 * first @ second.t()
    own = torch.arange(len(x))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.t(), own)) / 2


def attention_over_a_set(model, x, y):
    out = model(x)
    pooled = (out[:, :1].softmax(0) * out).sum(0)  # a bag of instances: the batch is the set
    return F.cross_entropy(pooled[None], y[:1])


def weights_over_examples(model, x, y):
    out = model(x)
    weights = out[:, :1].detach().softmax(0).squeeze(1)  # advantage-weighted regression
    return (F.cross_entropy(out, y, reduction="none") * weights).sum()


def distillation(model, x, _):
    teacher = (3 * x[:, :4]).softmax(1)
    return F.kl_div(model(x).log_softmax(1), teacher, reduction="batchmean")


def focal(model, x, y):
    logs = model(x).log_softmax(1).gather(1, y[:, None]).squeeze(1)
    return -((1 - logs.exp()) ** 2 * logs).mean()


def policy(model, x, y):
    chosen = torch.distributions.Categorical(logits=model(x))
    actions = chosen.sample()
    return -(chosen.log_prob(actions) * (actions == y)).mean()


@pytest.mark.parametrize(
    "loss",
    [
        through(F.cross_entropy),
        through(lambda out, y: F.nll_loss(out.log_softmax(1), y)),
        through(lambda out, y: F.nll_loss(out.softmax(1).log(), y)),
        through(lambda out, y: F.cross_entropy(out, y, label_smoothing=0.1)),
        through(lambda out, y: F.cross_entropy(out, 0.9 * F.one_hot(y, 4) + 0.025)),
        through(lambda out, y: F.cross_entropy(out.log_softmax(1), y)),  # twice log-softmax is once
        through(lambda out, y: F.cross_entropy(10 * out.tanh(), y)),  # clipped exploration
        through(lambda out, y: F.mse_loss(out.softmax(1), F.one_hot(y, 4).float())),  # Brier score
        through(lambda out, y: F.binary_cross_entropy(out.softmax(1), F.one_hot(y, 4).float())),
        through(lambda out, y: written_out(out, y, 1)),
        contrastive,
        attention_over_a_set,
        weights_over_examples,
        distillation,
        focal,
        policy,
    ],
    ids=[
        "plain", "nll", "log-of-softmax", "smoothed", "soft-rows", "log-softmax-twice", "clipped", "brier", "keras", "one-hot",
        "contrastive", "bag", "weights", "distillation", "focal", "policy",
    ],
)  # fmt: skip
def test_heads_that_are_meant(loss):
    quiet(watched(net(), batches(*classes()), loss))


@pytest.mark.parametrize(
    ("tail", "loss", "words"),
    [
        ([nn.Softmax(1)], F.cross_entropy, "a softmax has been applied already"),
        ([nn.Sigmoid()], F.cross_entropy, "a sigmoid has been applied already"),
        ([nn.Tanh()], F.cross_entropy, "tanh"),
        ([nn.Sigmoid(), nn.Softmax(1)], lambda out, y: F.nll_loss(out.log(), y), "the softmax is taken of a sigmoid"),
        ([nn.Softmax(1), nn.LogSoftmax(1)], F.nll_loss, "the log-softmax is taken of a softmax"),
        ([nn.Softmax(1)], F.nll_loss, "gets probabilities"),
        ([], F.nll_loss, "gets raw outputs"),
        ([nn.Softmax(1)], lambda out, y: F.kl_div(out, F.one_hot(y, 4).float(), reduction="batchmean"), "gets probabilities"),
        ([nn.Sigmoid()], lambda out, y: F.binary_cross_entropy_with_logits(out, F.one_hot(y, 4).float()), "a sigmoid"),
    ],
)
def test_probabilities_as_logits(tail, loss, words):
    finding = first(watched(net(*tail), batches(*classes()), through(loss)))
    assert (finding.id, finding.severity, finding.where[0]) == ("probabilities-as-logits", "critical", "2")
    assert words in finding.message


def test_relu_logits():
    x, y = classes(kinds=2)
    data = batches(x, y.float()[:, None])
    binary = first(watched(net(nn.ReLU(), out=1), data, through(F.binary_cross_entropy_with_logits)))
    assert (binary.id, binary.severity) == ("relu-logits", "critical")
    before = first(watched(net(nn.ReLU(), nn.Sigmoid(), out=1), data, through(F.binary_cross_entropy)))
    assert (before.id, before.severity) == ("relu-logits", "critical")
    several = first(watched(net(nn.ReLU()), batches(*classes()), through(F.cross_entropy)))
    assert (several.id, several.severity, several.where) == ("relu-logits", "warning", ("2",))
    assert "after 2" in several.remedy


def test_relu_that_is_meant():
    x, y = numbers()
    quiet(watched(net(nn.ReLU(), out=1), batches(x, y.abs()[:, None]), through(F.mse_loss)))  # counts and prices are not below 0
    quiet(watched(net(nn.Softplus(), out=1), batches(x, y.exp()[:, None]), through(F.mse_loss)))


def test_a_loss_inside_the_model():
    class WithLoss(nn.Module):
        def __init__(self, *tail):
            super().__init__()
            self.body = net(*tail)

        def forward(self, x, y):
            out = self.body(x)
            return F.cross_entropy(out, y), out

    def loss(model, x, y):
        return model(x, y)[0]

    finding = first(watched(WithLoss(nn.Softmax(1)), batches(*classes()), loss))
    assert (finding.id, finding.where) == ("probabilities-as-logits", ("body.2", "body.3"))
    assert alarms(watched(WithLoss(), batches(*classes()), loss)) == []


class Attending(nn.Module):
    """One head of attention, pooled. axis: of its softmax. how: what else is done."""

    def __init__(self, axis=-1, how=""):
        super().__init__()
        torch.manual_seed(0)
        self.query, self.key, self.value, self.head = nn.Linear(6, 8), nn.Linear(6, 8), nn.Linear(6, 8), nn.Linear(8, 4)
        self.axis, self.how = axis, how
        self.slots = nn.Parameter(torch.randn(3, 8))

    def forward(self, x):
        query, key, value = self.query(x), self.key(x), self.value(x)
        if self.how == "slots":
            shares = (self.slots @ key.transpose(1, 2) / 8**0.5).softmax(1)
            return self.head((shares / shares.sum(2, keepdim=True) @ value).mean(1))
        if self.how == "pooling":  # soft assignment of places to three clusters
            return self.head((key[..., :3].softmax(-1).transpose(1, 2) @ value).mean(1))
        scores = query @ key.transpose(1, 2) / 8**0.5
        if self.how == "causal":
            scores = scores.masked_fill(torch.ones(5, 5, dtype=torch.bool).triu(1), float("-inf"))
        shares = scores.softmax(self.axis)
        if self.how == "dropout":
            shares = F.dropout(shares, 0.3)
        if self.how == "transposed":
            return self.head((value.transpose(1, 2) @ shares).mean(2))
        return self.head((shares @ value).mean(1))


def attended(model):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(256, 5, 6, generator=generator)
    data = list(zip(x.split(32), x[:, 0, :4].argmax(1).split(32), strict=True))
    return watched(model, data, through(F.cross_entropy), steps=40)


@pytest.mark.parametrize(
    ("axis", "how", "words"),
    [
        (0, "", "over the batch"),
        (1, "", "over the queries"),
        (1, "dropout", "over the queries"),
        (-1, "transposed", "axis 2 of 3"),
    ],
)
def test_attention_along_the_wrong_axis(axis, how, words):
    finding = next(each for each in attended(Attending(axis, how)).findings if each.id == "softmax-axis")
    assert finding.where == ("Attending",)
    assert words in finding.message


@pytest.mark.parametrize(
    ("axis", "how"), [(-1, ""), (-1, "causal"), (-1, "dropout"), (1, "transposed"), (0, "slots"), (0, "pooling")]
)
def test_attention_that_is_meant(axis, how):
    quiet(attended(Attending(axis, how)))


def test_attention_of_torch():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(6, 2, 16, batch_first=True)
    quiet(attended(nn.Sequential(layer, nn.Flatten(), nn.Linear(30, 4))))


class Joined(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.image, self.text, self.head = nn.Linear(6, 24), nn.Linear(6, 24), nn.Linear(24, 1)

    def forward(self, image, text):
        return self.head(torch.tanh(self.image(image) + self.text(text)))


@pytest.mark.parametrize(("rows", "sick"), [("one", True), ("each", False), ("table", False)])
def test_one_row_for_a_batch(rows, sick):
    generator = torch.Generator().manual_seed(4)
    text = torch.randn(512, 6, generator=generator)
    x, _ = numbers()
    data = batches(torch.cat([x, text], 1), x[:, 0] + 2 * text[:, 0])
    picked = {"one": lambda part: part[:1, 6:], "each": lambda part: part[:, 6:], "table": lambda _: torch.ones(1, 6)}[rows]
    report = watched(Joined(), data, lambda model, x, y: F.mse_loss(model(x[:, :6], picked(x)).squeeze(1), y), steps=150)
    assert ("broadcast" in alarms(report)) is sick


class Matching(nn.Module):
    """Questions are answered by the classes of the examples they are like: four classes, in turn."""

    def __init__(self, how):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.how = nn.Linear(6, 16), how

    def forward(self, x):
        known, asked = self.embed(x[:8]), self.embed(x[8:])
        shares = (asked @ known.T).softmax(1)
        if self.how == "one-hot":
            return shares @ F.one_hot(torch.arange(8) % 4).float()
        if self.how == "again":
            shares = shares.softmax(1)
        return shares.view(-1, 2, 4).sum(1)


def matched(how, loss):
    x, y = classes()
    order = torch.stack([torch.nonzero(y == kind)[:40, 0] for kind in range(4)], 1).reshape(-1)  # the classes in turn
    data = batches(x[order].view(-1, 32, 6), y[order].view(-1, 32), 1)
    rows = ((given[0], asked[0]) for given, asked in data)
    return watched(Matching(how), rows, lambda model, x, y: loss(model(x), y[8:]), steps=80)


@pytest.mark.parametrize("how", ["sum", "one-hot"])
def test_shares_of_examples_taken_for_logits(how):
    finding = next(each for each in matched(how, F.cross_entropy).findings if each.id == "probabilities-as-logits")
    assert finding.severity == "critical"
    assert finding.where == ("Matching",)
    assert "nll_loss" in finding.remedy
    quiet(matched(how, lambda shares, y: F.nll_loss((shares + 1e-6).log(), y)))
    quiet(matched(how, lambda shares, y: F.cross_entropy(20 * shares, y)))  # scaled, on purpose


def test_attention_of_attention():
    report = matched("again", lambda shares, y: F.nll_loss((shares + 1e-6).log(), y))
    found = next(each for each in report.findings if each.id == "probabilities-as-logits")
    assert "another softmax in Matching" in found.message


def test_the_softmax_that_is_too_many_is_named():
    found = watched(net(nn.Softmax(1)), batches(*classes()), through(F.cross_entropy))
    finding = first(found)
    assert finding.where == ("2", "3")
    assert "Remove the softmax (3) after 2" in finding.remedy
    bare = watched(net(), batches(*classes()), lambda model, x, y: F.cross_entropy(model(x).softmax(1), y))
    assert first(bare).where == ("2",)
