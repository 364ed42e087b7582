"""What the network is fed, in real trainings: sick, cured, and healthy ones that look alike."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812
from verdicts import alarms, batches, classes, first, net, numbers, watched  # noqa: E402

from lettrine import health  # noqa: E402

IDS = {"input-scale", "repeated-batch", "sorted-data", "shuffled-targets"}


def quiet(report):
    assert not IDS & set(alarms(report)), report.findings


def crossed(model, x, y):
    return F.cross_entropy(model(x), y)


def squared(model, x, y):
    return F.mse_loss(model(x).squeeze(1), y)


def relus(width=6, out=4):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(width, 24), nn.ReLU(), nn.Linear(24, out))


def test_raw_pixels():
    x, y = classes()
    pixels = (255 * x.sigmoid()).round()
    finding = first(watched(relus(), batches(pixels, y), crossed, steps=200, rate=1.0))
    assert (finding.id, finding.severity) == ("input-scale", "warning")
    assert "by 255" in finding.remedy
    quiet(watched(relus(), batches(pixels / 255, y), crossed, steps=200))


def test_thousands_that_diverge():
    x, y = numbers()
    model = relus(out=1)
    sick = watched(model, batches(1000 + 3000 * x, y), squared, steps=150, rate=0.3)
    assert "input-scale" in [each.id for each in sick.findings]
    assert "features" not in next(each for each in sick.findings if each.id == "input-scale").message


class Divides(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = net()

    def forward(self, x):
        return self.body(x / 255)


@pytest.mark.parametrize(
    ("model", "change"),
    [
        (lambda: nn.Sequential(nn.BatchNorm1d(6), *net()), lambda x: 255 * x.sigmoid()),
        (lambda: nn.Sequential(nn.LayerNorm(6), *net()), lambda x: 255 * x.sigmoid()),
        (Divides, lambda x: 255 * x.sigmoid()),
        (relus, lambda x: 8 * x),  # the scale of the flowers of iris
        (net, lambda x: (x > 0).float()),
        (net, lambda x: x / 100),
    ],
    ids=["batch-norm", "layer-norm", "divides", "flowers", "flags", "small"],
)
def test_scales_that_are_taken_care_of(model, change):
    x, y = classes()
    report = watched(model(), batches(change(x), y), crossed, steps=150)
    quiet(report)


def test_unscaled_inputs_that_are_learned_are_a_remark():
    x, y = classes()
    report = watched(relus(), batches(40 * x, y), crossed, steps=400)
    quiet(report)
    assert report.findings[0].id == "input-scale"
    assert report.healthy


def in_order(x, y):
    order = y.argsort(stable=True)
    return list(zip(x[order].split(16), y[order].split(16), strict=True))


def test_sorted_data():
    data = in_order(*classes(1024))
    finding = first(watched(net(), data, crossed, steps=300))
    assert finding.id == "sorted-data"
    assert "shuffle=True" in finding.remedy


@pytest.mark.parametrize("how", ["in blocks", "shuffled"])
def test_numbers_that_come_in_blocks(how):
    generator = torch.Generator().manual_seed(1)
    task = torch.arange(4).repeat_interleave(160)
    x = torch.randn(4, 6, generator=generator)[task] + 0.7 * torch.randn(640, 6, generator=generator)
    y = torch.tanh((x * torch.randn(4, 6, generator=generator)[task]).sum(1, keepdim=True))
    order = torch.arange(640) if how == "in blocks" else torch.randperm(640, generator=generator)
    data = list(zip(x[order].split(16), y[order].split(16), strict=True))
    report = watched(net(out=1), data, lambda model, x, y: F.mse_loss(model(x), y), steps=220)
    if how == "in blocks":
        finding = first(report)
        assert (finding.id, finding.severity) == ("sorted-data", "warning")
        assert "every 40 steps" in finding.message
        assert "oscillation" not in alarms(report)
    else:
        assert not {"sorted-data", "oscillation"} & set(alarms(report))


def sequences(x, y):
    """Each example of its own class at all of its places."""
    return x[:, None].expand(-1, 5, -1), y[:, None].expand(-1, 5)


@pytest.mark.parametrize(
    "data",
    [
        lambda: batches(*classes()),
        lambda: list(zip(numbers(1024)[0].split(16), (numbers(1024)[0][:, 0] > 2.2).long().split(16), strict=True)),  # rare
        lambda: batches(*sequences(*classes()), size=8),
    ],
    ids=["shuffled", "rare", "sequences"],
)
def test_classes_that_lie_unevenly(data):
    quiet(watched(net(), data(), lambda model, x, y: F.cross_entropy(model(x).reshape(-1, 4), y.reshape(-1)), steps=100))


def test_batches_again_and_again():
    x, y = classes(2048)
    data = [batch for batch in zip(x.split(32), y.split(32), strict=True) for _ in range(4)]
    loaded = [(x.clone(), y) for x, y in data]  # as by four workers that share a seed
    finding = first(watched(net(), loaded, crossed, steps=120))
    assert (finding.id, finding.severity) == ("repeated-batch", "warning")
    assert "75 %" in finding.message
    quiet(watched(net(), data, crossed, steps=120))  # the very tensor is held for four steps on purpose
    cut = ((x[at : at + 32], y[at : at + 32]) for at in (step // 4 * 32 for step in range(120)))  # anew at each step
    assert first(watched(net(), cut, crossed, steps=120)).id == "repeated-batch"


@pytest.mark.parametrize("back", [True, False])
def test_tasks_after_each_of_which_the_weights_are_taken_back_half_the_way(back):
    """Reptile: some steps on one task, then the weights move a part of the way to where these led."""
    x, y = classes(2048)
    model, kept = net(), {}
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05)
    with health.watch(model, optimiser) as watch:
        for task, label in zip(x.split(32)[:40], y.split(32), strict=False):
            kept = {name: value.clone() for name, value in model.state_dict().items()}
            for _ in range(4):
                loss = F.cross_entropy(model(task.clone()), label)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                watch.loss(loss)
            if back:
                model.load_state_dict({name: (kept[name] + value) / 2 for name, value in model.state_dict().items()})
    report = watch.report()
    assert report.trace.facts.errors == ()
    assert ("repeated-batch" in alarms(report)) is not back
    assert report.trace.seen("inputs")[0].figure("written") == pytest.approx(0.25 if back else 0.0, abs=0.02)


class Compares(nn.Module):
    """Whether two rows are of one class."""

    def __init__(self):
        super().__init__()
        self.body = net(nn.Tanh(), out=8)
        self.head = nn.Linear(8, 2)

    def forward(self, x, other, weight=None):
        difference = self.body(x) - self.body(other)
        return self.head(difference.abs() if weight is None else self.body(x * weight))


@pytest.mark.parametrize("second", ["data", "mask"])
def test_two_rows_of_which_neither_tells_whether_they_are_alike(second):
    x, y = classes(1024)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(1))
    kept = torch.ones_like(x)
    kept[:, -1] = 0

    def alike(model, rows, target):
        other = torch.randperm(len(rows))
        same = (target == target[other]).long()
        return F.cross_entropy(model(rows, rows[other]) if second == "data" else model(rows, kept[: len(rows)], 1.0), same)

    report = watched(Compares(), batches(x, y[order]), alike, steps=260, rate=3e-4)
    assert report.trace.seen("inputs")[0].figure("beside") == float(second == "data")
    assert ("shuffled-targets" in alarms(report)) is (second == "mask")


class Task(nn.Module):
    """Told the number of a task beside its table."""

    def __init__(self):
        super().__init__()
        self.number, self.body = nn.Embedding(64, 6), net(out=2)

    def forward(self, x, number):
        return self.body(x + self.number(number))


@pytest.mark.parametrize("apart", [False, True])
def test_rows_that_tell_only_with_the_number_of_their_task(apart):
    """Many tasks, of which each wants the opposite of the one before; or all of them called one."""
    torch.manual_seed(0)
    x, order = torch.randn(9_600, 6), torch.arange(9_600)
    number = torch.zeros_like(order) if apart else order % 64
    y = ((x[:, 0] > 0) ^ (order % 2 == 1)).long()
    data = [(list(each), want) for *each, want in zip(x.split(32), number.split(32), y.split(32), strict=True)]
    report = watched(Task(), data, lambda model, given, want: F.cross_entropy(model(*given), want), steps=300, rate=2e-3)
    assert ("shuffled-targets" in alarms(report)) is apart


def test_one_row_again_and_again():
    x, y = classes()
    finding = first(watched(net(), batches(x[:1].expand(512, -1), y), crossed, steps=60))
    assert (finding.id, finding.severity) == ("repeated-batch", "critical")


def rollouts(model, x, y):
    """The loss of a policy and that of its values, on the same batch several times: as PPO is meant to be."""
    out = model(x)
    return F.mse_loss(out[:, 0], y.float()) - 0.1 * (out[:, 1:].log_softmax(1)[:, 0] * y).mean()


@pytest.mark.parametrize(
    ("data", "loss"),
    [
        (lambda x, y: [(x[:32], y[:32])], crossed),  # one batch, to see that it can be learned by heart
        (lambda x, y: [(x, y)], crossed),  # the whole of the data at once
        (lambda x, y: list(zip(x[:64].split(32), y[:64].split(32), strict=True)), crossed),  # two batches an epoch
        (lambda x, y: [batch for batch in zip(x.split(32), y.split(32), strict=True) for _ in range(4)], rollouts),
        (lambda x, y: [(torch.cat([a, a]), torch.cat([b, b])) for a, b in zip(x.split(16), y.split(16), strict=True)], crossed),
    ],
    ids=["one", "whole", "two", "rollouts", "twins"],
)  # fmt: skip
def test_repetition_that_is_meant(data, loss):
    quiet(watched(net(), data(*classes()), loss, steps=80))


def test_targets_shuffled_apart():
    x, y = classes(2048)
    torch.manual_seed(1)
    report = watched(net(), batches(x, y[torch.randperm(len(y))], size=64), crossed, steps=300, rate=3e-3)
    finding = first(report)
    assert (finding.id, finding.severity) == ("shuffled-targets", "critical")
    assert any("guessing" in each for each in finding.explains)
    quiet(watched(net(), batches(x, y, size=64), crossed, steps=300, rate=3e-3))


def test_a_loss_that_falls_only_once_the_examples_come_again():
    """Shuffled labels are learned by heart, which begins in the second epoch; a network that is slow learns in the first too."""
    torch.manual_seed(4)
    x, y = classes(1024)
    for own, rate in ((y[torch.randperm(len(y))], 1e-3), (y, 1e-5)):
        wide = nn.Sequential(nn.Linear(6, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 4))
        report = watched(wide, batches(x, own, size=64), crossed, steps=200, rate=rate)
        assert 0.9 * math.log(4) < report.trace.loss.mean[-1]
        if own is y:
            quiet(report)
            continue
        finding = first(report)
        assert (finding.id, finding.severity) == ("shuffled-targets", "warning")
        assert "only once the same examples came again" in finding.message


def test_neighbours_tell_numbers_too():
    x, y = numbers(2048)
    torch.manual_seed(1)
    for targets, told in ((y, True), (y[torch.randperm(len(y))], False)):
        report = watched(net(out=1), batches(x, targets, size=64), squared, steps=100)
        assert (report.trace.seen("inputs")[0].figure("told") > 3) is told


@pytest.mark.parametrize("kept", [lambda y: y.flatten(), lambda y: y.long(), lambda y: y.to("cpu").contiguous()])
def test_a_target_that_has_its_shape_already_is_data(kept):
    x, y = classes(2048)
    report = watched(net(), batches(x, y, size=64), lambda model, x, y: F.cross_entropy(model(x), kept(y)), steps=20)
    (compared,) = report.trace.seen("comparison")
    assert compared.figure("given") == 1
    assert report.trace.seen("inputs")[0].figure("told") > 4


def apart(x, y, steps=400, size=32):
    """Batches in which targets were shuffled among the examples."""
    torch.manual_seed(2)
    for a, b in (each for each, _ in zip(batches(x, y, size=size), range(steps), strict=False)):
        yield a, b[torch.randperm(len(b))]


def test_a_few_targets_that_tell_little_of_their_spread():
    """Some hundred numbers give their variance to a tenth only; beside one answer to all, the answers show that they know
    nothing.
    """
    x, y = numbers(2048)
    finding = first(watched(net(out=1), apart(x, y), squared, steps=250, rate=1e-3))
    assert (finding.id, finding.severity) == ("shuffled-targets", "critical")
    report = watched(net(out=1), batches(x, y), squared, steps=250, rate=1e-3)
    quiet(report)
    (compared,) = report.trace.seen("comparison")
    assert compared.figure("gain") - 2 * compared.figure("gain_error") > 0.1


def test_classes_of_which_only_the_frequencies_are_learned():
    generator = torch.Generator().manual_seed(6)
    x = torch.randn(4_000, 6, generator=generator)
    scores = 2 * x @ torch.randn(6, 200, generator=generator) - 2 * torch.arange(1, 201).log()
    y = torch.multinomial(scores.softmax(1), 1, generator=generator)[:, 0]
    report = watched(net(out=200), apart(x, y), crossed, steps=250, rate=1e-2)
    assert first(report).id == "shuffled-targets"
    assert "no lower than with one answer to all of them" in first(report).message
    quiet(watched(net(out=200), batches(x, y), crossed, steps=250, rate=1e-2))


def test_a_network_that_cannot_learn_is_not_blamed_on_its_data():
    x, y = classes(2048)
    report = watched(net(nn.Tanh(), nn.Linear(4, 4)), batches(x, y, size=64), crossed, steps=250, rate=1e-9)
    assert "shuffled-targets" not in [each.id for each in report.findings]


def test_batches_that_never_arrived():
    x, y = classes()
    data = [(a * 0.0 if step in (1, 4) else a, b) for step, (a, b) in enumerate(zip(x.split(16), y.split(16), strict=True))]
    finding = first(watched(net(), data, crossed))
    assert (finding.id, finding.severity) == ("repeated-batch", "warning")
    assert "are 0 in all rows, the first one at step 1" in finding.message
    twice = watched(net(), data, lambda model, x, y: crossed(model, x, y) + crossed(model, x + 1.0, y))
    quiet(twice)  # of several calls in a step some may well be empty


def test_a_table_of_truth_has_no_likeness():
    """All 64 rows of six bits are seen, with answers drawn at random: what holds for one row says nothing of the next."""
    x = ((torch.arange(64)[:, None] >> torch.arange(6)) & 1).float()
    y = torch.randint(2, (64,), generator=torch.Generator().manual_seed(1))
    data = [(x[rows], y[rows]) for rows in torch.randperm(64, generator=torch.Generator().manual_seed(2)).split(16)]
    model = nn.Sequential(nn.Linear(6, 4), nn.Sigmoid(), nn.Linear(4, 2))
    report = watched(model, data, crossed, steps=250, rate=1e-3)
    assert np.isnan(report.trace.seen("inputs")[0].figure("told"))
    assert "shuffled-targets" not in [each.id for each in report.findings]


def _parity():
    x = torch.randint(0, 2, (3_000, 12), generator=torch.Generator().manual_seed(1)).float()
    return x, (x.sum(1) % 2).long(), nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 2))


def _sums():
    """All sums of two numbers below 31, modulo 31, in an order without meaning; each number as 31 zeros and ones."""
    order = torch.randperm(961, generator=torch.Generator().manual_seed(1))
    pairs = torch.cartesian_prod(torch.arange(31), torch.arange(31))[order]
    model = nn.Sequential(nn.Linear(62, 64), nn.ReLU(), nn.Linear(64, 31))
    return F.one_hot(pairs, 31).flatten(1).float(), pairs.sum(1) % 31, model


@pytest.mark.parametrize("task", [_parity, _sums])
def test_columns_that_tell_only_together(task):
    """Inputs that differ in one place always have other targets: that is no sign of pairs that were shuffled apart."""
    torch.manual_seed(0)
    x, y, model = task()
    report = watched(model, batches(x, y), crossed, steps=150, rate=1e-4)
    seen = report.trace.seen("inputs")[0]
    assert seen.figure("closest") < -5 < 5 < seen.figure("told")
    quiet(report)
    report = watched(task()[2], apart(x, y), crossed, steps=150, rate=1e-3)
    assert abs(report.trace.seen("inputs")[0].figure("closest")) < 3
    assert first(report).id == "shuffled-targets"


@pytest.mark.parametrize("how", ["one number each", "one-hot", "shuffled"])
def test_columns_too_many_for_any_two_inputs_to_be_close(how):
    """Of ten numbers from 0 to 3 the sum modulo 4 looks as if it had been shuffled: nothing proves that it was."""
    generator = torch.Generator().manual_seed(1)
    numbers = torch.randint(0, 4, (3_000, 10), generator=generator)
    x = F.one_hot(numbers, 4).flatten(1).float() if how == "one-hot" else (numbers.float() - 1.5) / 1.1
    if how == "shuffled":  # numbers that vary together, as measured ones do
        x = x + 2 * torch.randn(3_000, 1, generator=generator)
    model = nn.Sequential(nn.Linear(x.shape[1], 32), nn.ReLU(), nn.Linear(32, 4))
    report = watched(model, batches(x, numbers.sum(1) % 4), crossed, steps=150, rate=1e-3)
    assert report.trace.seen("inputs")[0].figure("drawn") == float(how != "shuffled")
    found = next(each for each in report.findings if each.id == "shuffled-targets")
    assert found.severity == ("critical" if how == "shuffled" else "info")
    assert ("may be otherwise" in found.message) is (how != "shuffled")


@pytest.mark.parametrize("scaled", [False, True])
def test_columns_of_few_values_in_any_scale(scaled):
    torch.manual_seed(0)
    x, y, model = _parity()
    report = watched(model, batches((x - 0.5) * 2 if scaled else x, y), crossed, steps=150, rate=1e-4)
    assert report.trace.seen("inputs")[0].figure("closest") < -5
    quiet(report)


def test_what_memorising_sums_does_to_the_rest():
    """Of sums modulo a number most are memorised before the rule is found: the held-out loss rises at once, with true labels."""
    torch.manual_seed(0)
    x, y, model = _sums()
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    with health.watch(model, optimiser) as watch:
        for step, (a, b) in zip(range(400), batches(x[:384], y[:384]), strict=False):
            optimiser.zero_grad()
            loss = crossed(model, a, b)
            loss.backward()
            optimiser.step()
            watch.loss(loss)
            if step % 40 == 39:
                with torch.no_grad():
                    watch.dev_loss(crossed(model, x[384:], y[384:]))
    assert alarms(watch.report()) == ["overfitting"]


class Reads(nn.Module):
    def __init__(self, padding):
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(8, 12, padding_idx=padding)
        self.head = nn.Linear(12, 8)

    def forward(self, x):
        return self.head(self.table(x).mean(1))


def texts(kind):
    """Rows of eight tokens, and one of them as the target."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randint(1, 8, (512, 8), generator=generator)
    places, lengths = torch.arange(8), torch.randint(3, 9, (512, 1), generator=generator)
    if kind == "token":
        x = x - 1
    elif kind == "after":
        x = torch.where(places < lengths, x, 0)
    elif kind == "before":
        x = torch.where(places >= 8 - lengths, x, 0)
    elif kind == "segments":  # two padded parts one after the other
        x = torch.where((places % 4) < (1 + lengths % 3), x, 0)
    return x, x[:, 0]


def test_a_token_kept_for_padding():
    report = watched(Reads(0), batches(*texts("token")), crossed)
    finding = next(each for each in report.findings if each.id == "padding-index")
    assert (finding.severity, finding.where) == ("warning", ("table",))
    assert "target class" in finding.message
    assert "padding-index" not in alarms(watched(Reads(None), batches(*texts("token")), crossed))


@pytest.mark.parametrize("kind", ["after", "before", "segments"])
def test_padding_that_is_padding(kind):
    assert "padding-index" not in alarms(watched(Reads(0), batches(*texts(kind)), crossed))


def test_a_state_of_zeros_is_no_batch():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.cell, self.head = nn.GRUCell(6, 12), nn.Linear(12, 4)

        def forward(self, state, x):
            return self.head(self.cell(x, state))

    def loss(model, x, y):
        return F.cross_entropy(model(torch.zeros(len(x), 12), x), y)

    quiet(watched(Recurrent(), batches(*classes()), loss, steps=60))


def pictures():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(512, 1, 6, 6, generator=generator)
    return x, (x + 0.5 * torch.randn(x.shape, generator=generator) > 0).float()


def filter_net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1))


def test_pictures_and_masks_apart():
    x, masks = pictures()
    apart = masks[torch.randperm(len(masks), generator=torch.Generator().manual_seed(2))]

    def loss(model, x, y):
        return F.binary_cross_entropy_with_logits(model(x), y)

    finding = first(watched(filter_net(), batches(x, apart), loss, steps=160))
    assert (finding.id, finding.severity) == ("shuffled-targets", "critical")
    quiet(watched(filter_net(), batches(x, masks), loss, steps=160))


def test_sentences_and_labels_apart():
    generator = torch.Generator().manual_seed(1)
    x = torch.randint(20, (512, 6), generator=generator)
    y = (x[:, 2] > 9).long()
    apart = y[torch.randperm(len(y), generator=generator)]

    def words():
        torch.manual_seed(0)
        return nn.Sequential(nn.Embedding(20, 4), nn.Flatten(), nn.Linear(24, 2))

    finding = first(watched(words(), batches(x, apart), crossed, steps=160, rate=1e-3))
    assert (finding.id, finding.severity) == ("shuffled-targets", "critical")
    told = watched(words(), batches(x, y), crossed, steps=160, rate=1e-3).trace.seen("inputs")[0]
    assert told.figure("told") > 10


def laid_over(how):
    """Batches of 32 examples with noise on them, which is drawn anew or comes again in the next batches."""
    torch.manual_seed(4)
    x, own = torch.randn(20, 32, 24), torch.randn(32, 24)
    y = torch.randint(4, (20, 32)) if how != "streams" else torch.arange(32).remainder(4).expand(20, 32)
    x = x + torch.eye(24)[y] * 3
    noise = {
        "two workers": torch.randn(10, 1, 32, 24).expand(10, 2, 32, 24).reshape(20, 32, 24),
        "four workers": torch.randn(5, 1, 32, 24).expand(5, 4, 32, 24).reshape(20, 32, 24),
        "drawn anew": torch.randn(20, 32, 24),
        "a subject at each place": own.expand(20, 32, 24),
        "streams": torch.randn(10, 1, 32, 24).expand(10, 2, 32, 24).reshape(20, 32, 24),
        "twice": torch.zeros(20, 32, 24),
    }[how]
    x = x + 2 * noise
    if how == "twice":  # the same inputs with other targets
        x[1::2] = x[::2]
    return list(zip(x, y, strict=True))


@pytest.mark.parametrize("how", ["two workers", "four workers"])
def test_the_same_random_numbers_in_each_worker(how):
    finding = first(watched(net(width=24), laid_over(how), crossed, steps=20))
    assert (finding.id, finding.severity) == ("repeated-batch", "warning")
    assert "the same random numbers were laid over different examples" in finding.message


@pytest.mark.parametrize("how", ["drawn anew", "a subject at each place", "streams", "twice"])
def test_rows_that_resemble_each_other_by_right(how):
    report = watched(net(width=24), laid_over(how), crossed, steps=20)
    assert report.trace.seen("inputs")
    assert not report.trace.seen("alike rows")
