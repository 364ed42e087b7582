"""What answers to held-out data show, in real trainings: sick, and cured."""

from __future__ import annotations

from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from verdicts import alarms, classes, numbers  # noqa: E402

from lettrine import health  # noqa: E402
from lettrine.health.findings import Finding  # noqa: E402

Loss = Callable[[Tensor, Tensor], Tensor]


def trained(data: tuple[Tensor, Tensor], held: tuple[Tensor, Tensor], loss_fn: Loss, out: int = 1, steps: int = 160):
    """A report of a training with eight evaluations, each in passes of 64 examples."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(data[0].shape[1], 48), nn.Tanh(), nn.Linear(48, out))
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    x, y = data
    with health.watch(model, optimiser) as watch:
        for step in range(steps):
            rows = torch.randint(len(x), (32,))
            optimiser.zero_grad()
            loss = loss_fn(model(x[rows]), y[rows])
            loss.backward()
            optimiser.step()
            watch.loss(loss)
            if step % 20 == 19:
                with torch.no_grad():
                    parts = [loss_fn(model(a), b).item() for a, b in zip(held[0].split(64), held[1].split(64), strict=True)]
                watch.dev_loss(sum(parts) / len(parts))
    report = watch.report()
    assert report.trace.facts.errors == ()
    return report


def parted(x: Tensor, y: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    return (x[:768], y[:768]), (x[768:], y[768:])


def test_held_out_classes_numbered_otherwise():
    train, (held_x, held_y) = parted(*classes(1024))
    report = trained(train, (held_x, (held_y + 1) % 4), functional.cross_entropy, out=4)
    (finding,) = (each for each in report.findings if each.id == "held-out-labels")
    assert "fixed exchange of class numbers" in finding.message
    assert alarms(report) == ["held-out-labels"]
    assert alarms(trained(train, (held_x, held_y), functional.cross_entropy, out=4)) == []


class Reads(nn.Module):
    """Answers the token after each of some tokens, or after the last one."""

    def __init__(self, each: bool) -> None:
        super().__init__()
        self.each, self.table, self.head = each, nn.Embedding(6, 16), nn.Linear(16, 6)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.table(tokens if self.each else tokens[:, -1])).flatten(0, -2)


@pytest.mark.parametrize("each", [True, False])
@pytest.mark.parametrize("shifted", [True, False])
def test_held_out_targets_that_are_the_inputs(each: bool, shifted: bool):
    """Each token is the one before it plus 1, in most cases; held-out targets are not moved on."""
    torch.manual_seed(0)
    steps = (torch.rand(400, 9) < 0.8).long() + 2 * (torch.rand(400, 9) < 0.1).long()
    text = steps.cumsum(1) % 6
    x, y = text[:, :-1], text[:, 1:] if each else text[:, -1]
    held = (x[300:], (y if shifted else x if each else x[:, -1])[300:])
    model = Reads(each)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    with health.watch(model, optimiser) as watch:
        for step in range(160):
            rows = torch.randint(300, (32,))
            optimiser.zero_grad()
            loss = functional.cross_entropy(model(x[rows]), y[rows].flatten())
            loss.backward()
            optimiser.step()
            watch.loss(loss)
            if step % 20 == 19:
                with torch.no_grad():
                    watch.dev_loss(functional.cross_entropy(model(held[0]), held[1].flatten()))
    report = watch.report()
    assert alarms(report) == ([] if shifted else ["held-out-labels"])
    if not shifted:
        place = "the input at their own place" if each else "the value in column 7 of their inputs"
        assert f"100 % of the held-out targets looked at are {place}" in report.findings[0].message


def test_padding_that_the_loss_leaves_out_is_no_class():
    x, y = classes(1024)
    y = (y + 1).where(torch.rand(len(y), generator=torch.Generator().manual_seed(1)) > 0.25, 0)

    def loss_fn(answers: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(answers, targets, ignore_index=0)

    report = trained(*parted(x, y), loss_fn, out=5)
    assert alarms(report) == []
    seen = report.trace.seen("held-out answers")[-1]
    assert "asked 0" not in seen.figures
    assert seen.figure("right") > 0.9


def test_yes_and_no_exchanged():
    x, y = numbers(1024)
    train, (held_x, held_y) = parted(x, (y > 0).float()[:, None])
    loss_fn = functional.binary_cross_entropy_with_logits
    assert alarms(trained(train, (held_x, 1 - held_y), loss_fn)) == ["held-out-labels"]
    assert alarms(trained(train, (held_x, held_y), loss_fn)) == []


@pytest.mark.parametrize("of", ["targets", "inputs"])
def test_held_out_numbers_of_another_scale(of):
    x, y = numbers(1024)
    train, (held_x, held_y) = parted(x, y[:, None])
    held = (held_x, 40 + 12 * held_y) if of == "targets" else (0.2 * held_x + 3, held_y)
    report = trained(train, held, functional.mse_loss)
    (finding,) = (each for each in report.findings if each.severity != "info")
    assert finding.id == "dev-scale"
    assert ("is added" if of == "targets" else "Held-out inputs have a mean of 3") in finding.message
    assert alarms(trained(train, (held_x, held_y), functional.mse_loss)) == []


@pytest.mark.parametrize(("part", "named"), [("training", "shuffled-targets"), ("held out", "held-out-labels")])
def test_pairs_torn_apart(part, named):
    """Few examples with many numbers, which are learned by heart whatever their targets are."""
    generator = torch.Generator().manual_seed(1)
    kinds = torch.arange(352) % 4
    x = torch.randn(4, 40, generator=generator)[kinds] + 0.8 * torch.randn(352, 40, generator=generator)
    (x, y), (held_x, held_y) = (x[:160], kinds[:160]), (x[160:], kinds[160:])
    apart = torch.randperm(160, generator=generator)
    train = (x, y[apart] if part == "training" else y)
    held = (held_x, held_y if part == "training" else held_y[torch.randperm(192, generator=generator)])
    assert alarms(trained(train, held, functional.cross_entropy, out=4)) == [named]
    assert alarms(trained((x, y), (held_x, held_y), functional.cross_entropy, out=4)) == []


def test_masks_in_another_order():
    generator = torch.Generator().manual_seed(2)
    places = torch.randint(2, 6, (256, 2), generator=generator)
    grid = torch.arange(8)
    inside = ((grid - places[:, :1]).abs() < 2)[:, :, None] & ((grid - places[:, 1:]).abs() < 2)[:, None, :]
    masks = inside.float().reshape(256, 64)
    x = masks + 0.4 * torch.randn(256, 64, generator=generator)
    train, held = (x[:128], masks[:128]), (x[128:], masks[128:])
    apart = train[0], train[1][torch.randperm(128, generator=generator)]
    loss_fn = functional.binary_cross_entropy_with_logits
    assert alarms(trained(apart, held, loss_fn, out=64)) == ["shuffled-targets"]
    assert alarms(trained(train, held, loss_fn, out=64)) == []


def test_held_out_labels_of_one_class():
    train, (held_x, held_y) = parted(*classes(1024))
    assert alarms(trained(train, (held_x, 0 * held_y), functional.cross_entropy, out=4)) == ["held-out-labels"]


def test_numbers_learned_by_heart():
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(1024, 20, generator=generator)
    y = x[:, :3].sum(1, keepdim=True) + 1.5 * torch.randn(1024, 1, generator=generator)
    held = x[768:], y[768:]
    assert alarms(trained((x[:40], y[:40]), held, functional.mse_loss, steps=300)) == ["overfitting"]
    assert alarms(trained((x[:768], y[:768]), held, functional.mse_loss, steps=300)) == []


class Tagger(nn.Module):
    """Scores of five tags for each of eight tokens, (B, 5, 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(20, 16), nn.Linear(16, 5)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.embed(tokens)).transpose(1, 2)


def tagged(tags: Tensor, held: Tensor, tokens: Tensor) -> dict[str, Finding]:
    """What was found where one list of tags is trained on, and judged by another."""
    torch.manual_seed(0)
    model = Tagger()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.03)
    with health.watch(model, optimiser) as watch:
        for step in range(100):
            rows = torch.randint(400, (32,))
            loss = functional.cross_entropy(model(tokens[rows]), tags[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
            if step % 20 == 19:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(functional.cross_entropy(model(tokens[400:]), held[400:]))
                model.train()
    report = watch.report()
    assert report.trace.facts.errors == ()
    return {each.id: each for each in report.findings if each.severity != "info"}


def test_tags_that_training_never_shows() -> None:
    """Of the tags for each token, two stand for others in the training data."""
    tokens = torch.randint(20, (500, 8))
    tags = torch.where(tokens < 12, 0, tokens % 4 + 1)
    other = torch.where(tags > 2, tags - 2, tags)
    assert "never showed: 3 and 4" in tagged(other, tags, tokens)["held-out-labels"].message
    assert "held-out-labels" not in tagged(tags, tags, tokens)


def test_places_that_begin_alike() -> None:
    """The first tokens of each row, and whole rows at first, have one tag; it is not the only one."""
    tokens = torch.randint(20, (500, 8))
    tokens[:, :4] = 0
    tokens[400:480] = 0
    tags = torch.where(tokens < 12, 0, tokens % 4 + 1)
    assert "held-out-labels" not in tagged(tags, tags, tokens)
