"""What a loss is understood to be, from real trainings of a few steps; and what is said of it."""

from __future__ import annotations

from contextlib import nullcontext
from itertools import cycle, pairwise
from math import log, sqrt

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lettrine import health

B, K = 64, 3  # examples, classes


@pytest.fixture
def drawn():
    """Inputs, classes, values of variance about 9 and mean 1, and four labels, one of five true."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(B, 5, generator=generator)
    classes = torch.randint(K, (B,), generator=generator)
    values = 3 * torch.randn(B, 1, generator=generator) + 1
    labels = (torch.rand(B, 4, generator=generator) < 0.2).float()
    return inputs, classes, values, labels


def trained(loss, inputs, outputs=K, steps=8, handed=lambda loss: loss):
    """The trace of a small network that was trained on a loss of its outputs, and `handed` over."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(inputs.shape[1], 16), nn.Tanh(), nn.Linear(16, outputs))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    with health.watch(model, optimiser) as watch:
        for _ in range(steps):
            value = loss(model(inputs))
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
            watch.loss(handed(value))
    trace = watch.trace()
    assert not trace.facts.errors
    return trace


def seen(trace):
    (evidence,) = trace.seen("loss")
    return evidence


def entropy(shares: Tensor) -> float:
    return -float((shares * shares.log()).sum())


ROWS = torch.arange(B)
CROSS_ENTROPY = {
    "function": functional.cross_entropy,
    "log-softmax and nll": lambda o, y: functional.nll_loss(o.log_softmax(1), y),
    "soft targets": lambda o, y: functional.cross_entropy(o, functional.one_hot(y, K).float()),
    "picked by index": lambda o, y: -o.log_softmax(1)[ROWS, y].mean(),
    "picked by gather": lambda o, y: -o.log_softmax(1).gather(1, y[:, None]).mean(),
    "one-hot times logarithm": lambda o, y: -(functional.one_hot(y, K) * o.log_softmax(1)).sum(1).mean(),
    "makemore, by hand": lambda o, y: -(o.exp() / o.exp().sum(1, keepdim=True))[ROWS, y].log().mean(),
}


@pytest.mark.parametrize("form", CROSS_ENTROPY)
def test_cross_entropy_however_it_is_written(form, drawn):
    inputs, classes, *_ = drawn
    found = seen(trained(lambda o: CROSS_ENTROPY[form](o, classes), inputs))
    assert (found.words["kind"], found.words["nature"]) == ("cross-entropy", "")
    assert found.figure("classes") == K
    assert found.figure("even") == pytest.approx(log(K), rel=1e-4)
    shares = torch.bincount(classes).double() / B
    assert found.figure("reference") == pytest.approx(entropy(shares), abs=5e-3)


@pytest.mark.parametrize(
    ("loss", "scale"),
    [
        (lambda o, y: functional.cross_entropy(o, y, reduction="sum"), B),
        (lambda o, y: functional.cross_entropy(o, y, reduction="sum") / 8, B / 8),
        (lambda o, y: functional.cross_entropy(o, y) / 4, 0.25),
        (lambda o, y: functional.cross_entropy(o, y, reduction="none").mean(), 1),
        (lambda o, y: (functional.cross_entropy(o, y, reduction="none") * (y > 0)).sum() / (y > 0).sum(), 1),
    ],
)
def test_the_reference_has_the_unit_of_the_loss(loss, scale, drawn):
    inputs, classes, *_ = drawn
    found = seen(trained(lambda o: loss(o, classes), inputs))
    assert found.figure("even") == pytest.approx(scale * log(K), rel=0.05)


def test_values_are_held_against_their_spread(drawn):
    inputs, _, values, labels = drawn
    variance, share = float(values.var()), labels.mean(0).double()
    cases = [
        (lambda o: functional.mse_loss(o, values), 1, "squared error", variance),
        (lambda o: ((o - values) ** 2).mean(), 1, "squared error", variance),
        (lambda o: ((values - o) * (values - o)).sum() / B, 1, "squared error", variance),
        (lambda o: functional.mse_loss(o, values).sqrt(), 1, "squared error", sqrt(variance)),
        (lambda o: (o - values).abs().mean(), 1, "absolute error", float((values - values.median()).abs().mean())),
        (
            lambda o: functional.binary_cross_entropy_with_logits(o, labels),
            4,
            "binary cross-entropy",
            float(-(share * share.log() + (1 - share) * (1 - share).log()).mean()),
        ),
    ]
    for loss, outputs, kind, reference in cases:
        found = seen(trained(loss, inputs, outputs))
        assert (found.words["kind"], found.words["nature"]) == (kind, "")
        assert found.figure("reference") == pytest.approx(reference, rel=0.02), kind


def test_a_sum_is_held_against_the_sum_or_nothing(drawn):
    inputs, classes, values, labels = drawn

    def two(o):
        return functional.cross_entropy(o[:, :3], classes) + 0.5 * functional.mse_loss(o[:, 3:], values)

    def variational(o):
        rebuilt = functional.binary_cross_entropy_with_logits(o, labels, reduction="sum") / B
        return rebuilt - 0.5 * (1 + o - o.exp()).sum() / B

    both = seen(trained(two, inputs, 4))
    assert both.words["kind"] == "cross-entropy + squared error"
    assert both.figure("reference") == pytest.approx(1.0976 + 0.5 * float(values.var()), rel=0.02)
    assert both.figure("classes") == 0
    penalised = seen(trained(lambda o: functional.cross_entropy(o, classes) + 0.1 * o.square().mean(), inputs))
    assert penalised.figure("terms") == 2
    assert penalised.figure("reference") != penalised.figure("reference")
    vae = seen(trained(variational, inputs, 4))
    assert vae.words["nature"] == "other"
    assert vae.figure("reference") != vae.figure("reference")


@pytest.mark.parametrize(
    ("nature", "loss"),
    [
        ("policy", lambda o, y, v: -(v[:, 0] * o.log_softmax(1)[ROWS, y]).mean()),
        ("policy", lambda o, y, v: -(torch.stack(2 * [o.log_softmax(1)[ROWS, y]]) * v[:, 0] * (ROWS < 40)).sum()),
        ("contrastive", lambda o, _, __: functional.cross_entropy(o[:32] @ o[32:].T, torch.arange(32))),
        ("contrastive", lambda o, _, __: functional.nll_loss((o[:32] @ o[32:].T).log_softmax(1), torch.arange(32))),
        ("contrastive", lambda o, _, __: functional.cross_entropy(o[:32] @ o[32:].detach().T, torch.arange(32))),
        ("margin", lambda o, y, _: functional.cross_entropy(o - 0.5 * functional.one_hot(y, K), y)),
        ("margin", lambda o, y, _: functional.cross_entropy(9 * torch.where(functional.one_hot(y, K).bool(), o - 0.5, o), y)),
        ("margin", lambda o, y, _: functional.cross_entropy(o.index_put((ROWS, y), o[ROWS, y] - 0.5), y)),
        ("margin", lambda o, y, _: functional.cross_entropy(o * (2 - functional.one_hot(y, K)), y)),
        ("other", lambda o, _, __: (o[:32] - o[32:]).square().mean()),
        ("", lambda o, _, __: functional.triplet_margin_loss(o[:20], o[20:40], o[40:60])),
        ("", lambda o, _, v: functional.kl_div(o.log_softmax(1), v.expand(-1, K).softmax(1), reduction="batchmean")),
    ],
)
def test_losses_without_a_reference(nature, loss, drawn):
    inputs, classes, values, _ = drawn
    found = seen(trained(lambda o: loss(o, classes, values), inputs))
    assert found.words["nature"] == nature
    assert found.figure("reference") != found.figure("reference")


PAIR = torch.arange(2)
HEAD = nn.Parameter(torch.randn(2, 2, generator=torch.Generator().manual_seed(2)))
TWO_OF_TWO = {
    "layer": lambda o: functional.cross_entropy(o[:2], PAIR),
    "log-softmax of a layer": lambda o: functional.nll_loss(o[:2].log_softmax(1), PAIR),
    "layer without bias": lambda o: functional.cross_entropy(o[:2] @ HEAD.T, PAIR),
}


@pytest.mark.parametrize("form", TWO_OF_TWO)
def test_two_examples_of_two_classes_are_not_contrasted(form, drawn):
    assert seen(trained(TWO_OF_TWO[form], drawn[0], 2)).words["nature"] == ""


def test_a_loss_is_contrastive_only_if_all_batches_are_so(drawn):
    def squashed(sometimes):
        targets = cycle([PAIR, torch.tensor([1, sometimes])])
        return trained(lambda o: functional.cross_entropy(o[:2].tanh(), next(targets)), drawn[0], 2)

    assert seen(squashed(1)).words["nature"] == ""
    assert seen(squashed(0)).words["nature"] == "contrastive"


def test_what_is_hidden_for_all_targets_is_no_margin(drawn):
    inputs, classes, _, _ = drawn
    possible = torch.zeros(B, K, dtype=torch.bool)
    possible[:, : K - 1], possible[ROWS, classes] = True, True  # the last class is possible only where it is right
    found = seen(trained(lambda o: functional.cross_entropy(torch.where(possible, o, -9.0), classes), inputs))
    assert found.words["nature"] == ""
    assert found.figure("reference") > 0


def test_two_networks_against_each_other():
    torch.manual_seed(0)
    generator, judge = nn.Linear(2, 2), nn.Linear(2, 1)
    optimisers = [torch.optim.SGD(net.parameters(), lr=0.01) for net in (generator, judge)]
    true, false = torch.ones(8, 1), torch.zeros(8, 1)
    bce = functional.binary_cross_entropy_with_logits
    with health.watch(generator, optimisers[0]) as first, health.watch(judge, optimisers[1]) as second:
        for _ in range(6):
            real = bce(judge(torch.randn(8, 2)), true)
            real.backward()
            fake = bce(judge(generator(torch.randn(8, 2)).detach()), false)
            fake.backward()
            optimisers[1].step()
            optimisers[1].zero_grad()
            second.loss(real + fake)
            fooled = bce(judge(generator(torch.randn(8, 2))), true)
            fooled.backward()
            optimisers[0].step()
            optimisers[0].zero_grad()
            first.loss(fooled)
    assert seen(first.trace()).words["nature"] == "adversarial"
    assert seen(second.trace()).words["nature"] == "adversarial"


def test_targets_that_a_network_made():
    torch.manual_seed(0)
    model, teacher = nn.Linear(4, 2), nn.Linear(4, 2)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    with health.watch(model, optimiser) as watch:
        for _ in range(4):
            states = torch.randn(16, 4)
            value = model(states)[:, 0]
            with torch.no_grad():
                target = states[:, 0] + 0.9 * teacher(states).max(1).values
            loss = functional.smooth_l1_loss(value, target)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    assert seen(watch.trace()).words["nature"] == "bootstrapped"


def test_a_column_that_tells_the_class(drawn):
    _, classes, *_ = drawn
    told = torch.cat([torch.randn(B, 4), (classes == 1).float()[:, None]], 1)
    (leak,) = trained(lambda o: functional.cross_entropy(o, classes), told).seen("leak")
    assert (leak.words["what"], leak.figure("place"), leak.figure("places")) == ("column", 4, 1)
    nearly = told.clone()
    nearly[0, 4] = 1 - nearly[0, 4]
    assert trained(lambda o: functional.cross_entropy(o, classes), nearly).seen("leak") == ()


def test_another_loss_is_handed_over(drawn):
    inputs, classes, *_ = drawn

    def said(handed):
        trace = trained(lambda o: functional.cross_entropy(o, classes), inputs, handed=handed)
        return [each.id for each in health.examine(trace, only=["other-loss"]).findings]

    factors = iter((1.0, 1.4, 0.7, 1.9, 1.2, 0.8, 1.6, 1.1))
    assert said(lambda loss: loss * next(factors)) == ["other-loss"]
    assert said(lambda loss: loss) == []
    assert said(lambda loss: 4 * loss) == []  # gradient accumulation


def test_what_was_trained_before_is_not_fresh(drawn):
    inputs, classes, *_ = drawn
    model = nn.Linear(5, K)
    optimiser = torch.optim.Adam(model.parameters())
    for _ in range(2):
        loss = functional.cross_entropy(50 * model(inputs), classes)
        loss.backward()
        optimiser.step()
        with health.watch(model, optimiser) as watch:
            functional.cross_entropy(50 * model(inputs), classes).backward()
            optimiser.step()
            watch.loss(loss)
        assert watch.trace().seen("resumed")


class Own(torch.autograd.Function):
    """A loss nobody can look into."""

    @staticmethod
    def forward(_, outputs):
        return outputs.sum()

    @staticmethod
    def backward(_, slope):
        return slope.expand(B, K)


def test_a_loss_made_inside_the_model_and_one_that_cannot_be_read(drawn):
    inputs, classes, *_ = drawn

    class WithLoss(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(5, K)

        def forward(self, inputs, classes):
            logits = self.head(inputs)
            return {
                "loss": functional.cross_entropy(logits, classes) + functional.cross_entropy(2 * logits, classes),
                "logits": logits,
            }

    def evidence(loss):
        model = WithLoss()
        optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
        with health.watch(model, optimiser) as watch:
            for _ in range(3):
                value = loss(model(inputs, classes))
                optimiser.zero_grad()
                value.backward()
                optimiser.step()
                watch.loss(value)
        return watch.trace().seen("loss")

    (inside,) = evidence(lambda output: output["loss"] / 4)
    assert (inside.words["kind"], inside.figure("terms")) == ("cross-entropy", 2)
    assert inside.figure("even") == pytest.approx(2 * log(K) / 4, rel=1e-3)
    assert evidence(lambda output: Own.apply(output["logits"])) == ()


def evaluated(made, *, loss_fn=functional.mse_loss, tail=(), sizes=32, steps=160, watching=True):
    """Train, and hand over what `made` makes of the losses and sizes of held-out batches. The report, and the weights."""
    torch.manual_seed(0)
    x = torch.randn(416, 6)
    y = x[:, :2] * torch.tensor([0.7, -0.4]) + torch.sin(2 * x[:, 2:4]) * 0.5
    model = nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, 2), *tail)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    with health.watch(model, optimiser) if watching else nullcontext() as watch:
        for step in range(steps):
            rows = torch.randint(256, (32,))
            optimiser.zero_grad()
            loss = loss_fn(model(x[rows]), y[rows])
            loss.backward()
            optimiser.step()
            if watching:
                watch.loss(loss)
            if step % 20 == 19:
                with torch.no_grad():
                    parts = list(zip(x[256:].split(sizes), y[256:].split(sizes), strict=True))
                    losses = [(loss_fn(model(a), b).item(), len(a)) for a, b in parts]
                if watching:
                    watch.dev_loss(made(losses))
    weights = [each.detach().clone() for each in model.parameters()]
    return (watch.report() if watching else None), weights


def of_all(losses):
    return sum(loss * count for loss, count in losses) / sum(count for _, count in losses)


@pytest.mark.parametrize(
    ("made", "what"),
    [
        (lambda losses: sum(loss for loss, _ in losses), "the number of its batches, 5"),
        (lambda losses: sum(loss for loss, _ in losses) / 160, "1 by the 32 examples in a batch"),
        (lambda losses: sum(loss for loss, _ in losses) / sum(range(5)), "0.5 times the mean of the 5 losses"),
        (lambda losses: sum(loss * count for loss, count in losses), "its 160 examples"),
    ],
    ids=["sum", "by examples", "by numbers", "total"],
)
def test_a_held_out_loss_counted_otherwise(made, what):
    report, _ = evaluated(made)
    finding = next(each for each in report.findings if each.id == "dev-scale")
    assert finding.severity == "warning"
    assert what in finding.message


@pytest.mark.parametrize(
    "made",
    [of_all, lambda losses: sum(loss for loss, _ in losses) / len(losses), lambda losses: of_all(losses) ** 0.5],
    ids=["weighted", "mean", "root"],
)
@pytest.mark.parametrize("sizes", [32, 48], ids=["even", "last one shorter"])
def test_a_held_out_loss_counted_well(made, sizes):
    report, weights = evaluated(made, sizes=sizes)
    assert "dev-scale" not in {each.id for each in report.findings}
    seen = report.trace.seen("evaluated")[0]
    assert (seen.figure("looks"), seen.figure("passes")) == (3, -(-160 // sizes))
    _, unwatched = evaluated(made, sizes=sizes, watching=False)
    assert all(torch.equal(a, b) for a, b in zip(weights, unwatched, strict=True))


def test_outputs_summed_in_training_and_on_held_out_data():
    def summed(out, y):
        return functional.mse_loss(out.repeat(1, 2), y.repeat(1, 2), reduction="sum") / len(y)

    report, _ = evaluated(of_all, loss_fn=summed)
    assert "dev-scale" not in {each.id for each in report.findings}
    report, _ = evaluated(lambda losses: of_all(losses) / 4, loss_fn=summed)
    assert "dev-scale" in {each.id for each in report.findings}


def test_several_losses_for_one_pass_are_not_held_against_one():
    torch.manual_seed(0)
    model, x, y = nn.Linear(6, 1), torch.randn(64, 6), torch.randn(64, 1)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    with health.watch(model, optimiser) as watch:
        for step in range(60):
            optimiser.zero_grad()
            loss = functional.mse_loss(model(x), y)
            loss.backward()
            optimiser.step()
            watch.loss(loss)
            if step % 10 == 9:
                with torch.no_grad():
                    out = model(x)
                    watch.dev_loss(functional.mse_loss(out, y) + functional.l1_loss(out, y) + functional.mse_loss(out, y))
    assert watch.report().trace.seen("evaluated") == ()
    assert not model._forward_hooks


@pytest.mark.parametrize("kept", ["last", "all", "one by one"])
def test_errors_that_are_computed_and_lost(kept):
    """A loop that does nothing leaves the last error in the variable; all added up, or each with a pass of its own, are sound."""
    letters = torch.randint(K, (40, 9), generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(K, 8), nn.Linear(8, K))
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    with health.watch(model, optimiser) as watch:
        for word in letters.repeat(2, 1):
            errors = [functional.cross_entropy(model(a[None]), b[None]) for a, b in pairwise(word)]
            optimiser.zero_grad()
            for error in errors if kept == "one by one" else ():
                error.backward()
            loss = sum(errors) if kept == "all" else errors[-1]
            if kept != "one by one":
                loss.backward()
            optimiser.step()
            watch.loss(loss)
    found = [each for each in watch.report().findings if "the loss holds the last one alone" in each.message]
    assert [(each.id, each.severity, each.value) for each in found] == ([("other-loss", "warning", 8)] if kept == "last" else [])
