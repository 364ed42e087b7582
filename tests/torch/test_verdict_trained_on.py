"""Held-out examples that are trained on, and data that only look like that."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from lettrine import health  # noqa: E402

Pair = tuple[Tensor, ...]
Loss = Callable[[nn.Module, Pair], Tensor]
Evaluate = Callable[[nn.Module], float]


def rows_of(x: Tensor, y: Tensor, places: Tensor) -> Iterator[Pair]:
    """Batches of these rows, in an order of their own each time."""
    for batch in places[torch.randperm(len(places))].split(32):
        yield x[batch], y[batch]


def by_class(model: nn.Module, batch: Pair) -> Tensor:
    return functional.cross_entropy(model(*batch[:-1]), batch[-1])


def by_number(model: nn.Module, batch: Pair) -> Tensor:
    return functional.mse_loss(model(*batch[:-1]), batch[-1])


def trained(
    model: nn.Module, epoch: Callable[[], Iterator[Pair]], evaluate: Evaluate, loss: Loss = by_class, epochs: int = 6
) -> health.Report:
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    with health.watch(model, optimiser) as watch:
        for _ in range(epochs):
            for batch in epoch():
                optimiser.zero_grad()
                value = loss(model, batch)
                value.backward()
                optimiser.step()
                watch.loss(value)
            with torch.no_grad():
                watch.dev_loss(evaluate(model))
    report = watch.report()
    assert report.trace.facts.errors == ()
    return report


def told(report: health.Report) -> list[str]:
    return [each.severity for each in report.findings if each.id == "leak" and "training examples looked at" in each.message]


def mean_over(batches: Callable[[], Iterator[Pair]], loss: Loss = by_class) -> Evaluate:
    def evaluate(model: nn.Module) -> float:
        pairs = list(batches())
        return sum(float(loss(model, each)) * len(each[0]) for each in pairs) / sum(len(each[0]) for each in pairs)

    return evaluate


def net(wide: int = 12, out: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(wide, 48), nn.ReLU(), nn.Linear(48, out))


def table(count: int = 900) -> tuple[Tensor, Tensor]:
    x = torch.randn(count, 12, generator=torch.Generator().manual_seed(3))
    return x, x[:, :3].argmax(1)


def test_two_splits_of_the_same_data() -> None:
    x, y = table()
    train, held = torch.randperm(900)[:720], torch.randperm(900)[:180]
    report = trained(net(), lambda: rows_of(x, y, train), mean_over(lambda: rows_of(x, y, held)))
    assert told(report) == ["warning"]
    finding = next(each for each in report.findings if each.id == "leak")
    assert "Split the data once" in finding.remedy
    assert finding.value >= 0.05


def test_the_held_out_rows_stay_among_those_of_training() -> None:
    x, _ = table()
    y = x[:, :1] * 0.7 + x[:, 1:2].sin()
    held = torch.arange(700, 900)
    epoch = lambda: rows_of(x, y, torch.arange(900))  # noqa: E731
    assert told(trained(net(out=1), epoch, mean_over(lambda: rows_of(x, y, held), by_number), by_number)) == ["warning"]
    epoch = lambda: rows_of(x, y, torch.arange(700))  # noqa: E731
    assert told(trained(net(out=1), epoch, mean_over(lambda: rows_of(x, y, held), by_number), by_number)) == []


def test_one_loader_for_both() -> None:
    x, y = table(600)
    both = lambda: rows_of(x, y, torch.arange(600))  # noqa: E731
    assert told(trained(net(), both, mean_over(both))) == ["warning"]
    # The mean of the means of batches is what many programs hand over.
    plain = lambda model: sum(float(by_class(model, each)) for each in both()) / 19  # noqa: E731
    assert told(trained(net(), both, plain)) == ["warning"]


def test_the_training_loss_is_computed_too() -> None:
    x, y = table()
    train, held = torch.arange(700), torch.arange(700, 900)
    on_train, on_held = mean_over(lambda: rows_of(x, y, train)), mean_over(lambda: rows_of(x, y, held))
    for evaluate in (lambda model: (on_train(model), on_held(model))[1], lambda model: (on_held(model), on_train(model))[0]):
        assert told(trained(net(), lambda: rows_of(x, y, train), evaluate)) == []


def test_each_batch_is_judged_before_it_is_trained_on() -> None:
    """A stream of data: the next examples are held out until they have been judged."""
    x, y = table(3_000)
    stream = iter(torch.arange(3_000).split(200))
    now = next(stream)

    def judge_the_next(model: nn.Module) -> float:
        nonlocal now
        now = next(stream)
        return mean_over(lambda: iter([(x[now], y[now])]))(model)

    assert told(trained(net(), lambda: rows_of(x, y, now), judge_the_next, epochs=10)) == []


def test_words_whose_contexts_come_again() -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randint(3, (1_200, 6), generator=generator)  # 729 contexts
    y = (x.sum(1) % 3).long()
    model = nn.Sequential(nn.Embedding(3, 8), nn.Flatten(), net(48))
    train, held = torch.arange(900), torch.arange(900, 1_200)
    assert told(trained(model, lambda: rows_of(x, y, train), mean_over(lambda: rows_of(x, y, held)))) == []


def test_a_whole_table_and_points_of_a_plane() -> None:
    x = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 4)
    y = (x.prod(1) > 0).long()
    every = lambda: iter([(x, y)])  # noqa: E731
    assert told(trained(net(4, 2), every, mean_over(every), epochs=40)) in ([], ["info"])
    points = torch.rand(900, 2)
    height = (points[:, :1] * 4).sin()
    both = lambda: rows_of(points, height, torch.arange(900))  # noqa: E731
    assert told(trained(net(2, 1), both, mean_over(both, by_number), by_number)) == []


class Pairs(nn.Module):
    """Whether a user likes a thing, from both."""

    def __init__(self) -> None:
        super().__init__()
        self.users, self.things = nn.Linear(8, 16), nn.Linear(8, 16)

    def forward(self, user: Tensor, thing: Tensor) -> Tensor:
        return torch.stack([(self.users(user) * self.things(thing)).sum(1), torch.zeros(len(user))], 1)


def test_users_that_come_again_with_other_things() -> None:
    users, things = torch.randn(300, 8), torch.randn(4_000, 8)
    who = torch.cat([torch.randint(300, (3_700,)), torch.arange(300)])
    y = ((users[who] * things).sum(1) > 0).long()

    def some(places: Tensor) -> Iterator[Pair]:
        for batch in places[torch.randperm(len(places))].split(32):
            yield users[who[batch]], things[batch], y[batch]

    report = trained(Pairs(), lambda: some(torch.arange(3_700)), mean_over(lambda: some(torch.arange(3_700, 4_000))))
    assert told(report) == []
    both = lambda: some(torch.arange(600))  # noqa: E731
    assert told(trained(Pairs(), both, mean_over(both))) == ["warning"]


def test_the_nodes_of_one_graph() -> None:
    """All nodes go in each time; which of them are judged is another question."""
    x, y = table(400)
    links = (torch.rand(400, 400) < 0.02).float() + torch.eye(400)

    class Graph(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net()

        def forward(self, nodes: Tensor) -> Tensor:
            return self.net(links @ nodes / links.sum(1, keepdim=True))

    hidden = [torch.where(torch.arange(400) < 300, y, -100), torch.where(torch.arange(400) >= 300, y, -100)]
    evaluate = mean_over(lambda: iter([(x, hidden[1])]))
    assert told(trained(Graph(), lambda: iter([(x, hidden[0])]), evaluate, epochs=40)) == []


def test_one_batch_to_see_whether_it_can_be_learned() -> None:
    x, y = table(64)
    one = lambda: iter([(x, y)])  # noqa: E731
    assert told(trained(net(), one, mean_over(one), epochs=60)) == ["info"]


def test_sequences_whose_targets_are_laid_out_in_one_row() -> None:
    torch.manual_seed(0)
    text = torch.randint(20, (260, 13))
    model = nn.Sequential(nn.Embedding(20, 16), nn.Linear(16, 20))

    def some(places: Tensor) -> Iterator[Pair]:
        for batch in places[torch.randperm(len(places))].split(16):
            yield text[batch, :-1], text[batch, 1:].flatten()

    def told_by_place(model: nn.Module, batch: Pair) -> Tensor:
        return functional.cross_entropy(model(batch[0]).flatten(0, 1), batch[1])

    train, held = torch.arange(200), torch.arange(200, 260)
    for places, said in ((torch.arange(260), ["warning"]), (train, [])):
        epoch = lambda places=places: some(places)  # noqa: E731
        report = trained(model, epoch, mean_over(lambda: some(held), told_by_place), told_by_place, epochs=4)
        assert told(report) == said
