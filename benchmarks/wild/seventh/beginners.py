"""Faults of first programs: small classifiers and regressors as they are asked about in forums."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="relu-logits",
    also=("dead-units", "underfitting", "learning-rate-too-low"),
    project="cross validated",
    source="stats.stackexchange.com/questions/433365",
)
def exclusive_or_with_a_relu_at_the_end(doctor: Doctor, seed: int, cured: bool) -> Score:
    """XOR as in the book: two linear units, two ReLU units and one more ReLU as the answer, plain SGD, squared error."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(2, (4000, 2), generator=generator).float()
    y = (x[:, :1] != x[:, 1:]).float()
    bookish = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1), nn.ReLU())
    model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1), nn.Sigmoid()) if cured else bookish
    loss_fn = nn.BCELoss() if cured else nn.MSELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2 if cured else 0.01, momentum=0.9 if cured else 0.0)
    doctor.task(model, data.few(x, y, 32, seed), loss_fn, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(x, y, 32, 600, seed):
            optimizer.zero_grad()
            loss = loss_fn(model(a), b)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(((model(x) > 0.5) == (y > 0.5)).float().mean(), 0.95)


@fault(
    kind="target-range",
    also=("other-loss",),
    project="data science stack exchange",
    source="datascience.stackexchange.com/questions/38604",
)
def ten_digits_by_one_sigmoid(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits from 0 to 9 as targets of a binary cross-entropy with one output: the loss goes far below 0."""
    rows = data.digits(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10 if cured else 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    def loss_fn(output: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(output, y) if cured else F.binary_cross_entropy_with_logits(output[:, 0], y.float())

    doctor.task(model, data.few(rows.x, rows.y, 40, seed), loss_fn, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 40, 300, seed):
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    output = model(rows.held_x)
    said = output.argmax(1) if cured else torch.sigmoid(output[:, 0]).round().long()
    return above((said == rows.held_y).float().mean(), 0.9)


@fault(
    kind="saturation",
    also=("activation-scale", "initial-loss", "gradient-scale"),
    project="cross validated",
    source="stats.stackexchange.com/questions/286424",
)
def weights_between_nought_and_one(doctor: Doctor, seed: int, cured: bool) -> Score:
    """All weights and biases are drawn from 0 to 1: every sum is large and positive, every sigmoid says 1."""
    rows = data.digits(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.Sigmoid(), nn.Linear(24, 10), nn.Sigmoid())
    for parameter in model.parameters():
        nn.init.uniform_(parameter, -0.5 if cured else 0.0, 0.5 if cured else 1.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=5.0)

    def loss_fn(output: Tensor, y: Tensor) -> Tensor:
        return 0.5 * (output - F.one_hot(y, 10)).pow(2).sum(1).mean()

    doctor.task(model, data.few(rows.x, rows.y, 10, seed), loss_fn, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 10, 800, seed)):
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 134 == 133:
                with torch.no_grad():
                    watch.dev_loss(loss_fn(model(rows.held_x), rows.held_y))
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)


@fault(kind="weight-decay", also=("underfitting",), project="stack overflow", source="stackoom.com/question/4HpqD")
def penalty_that_holds_all_down(doctor: Doctor, seed: int, cured: bool) -> Score:
    """An L2 penalty of 0.1 is added to the loss of a net with sigmoids and dropout: the accuracy stays at chance."""
    rows = data.digits(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Sigmoid(), nn.Dropout(0.3), nn.Linear(64, 10))
    optimizer = torch.optim.RMSprop(model.parameters(), lr=3e-3)
    matrices = [each for each in model.parameters() if each.ndim > 1]
    strength = 1e-5 if cured else 0.1

    def loss_fn(output: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(output, y) + strength * sum((each.pow(2).sum() for each in matrices), torch.zeros(()))

    doctor.task(model, data.few(rows.x, rows.y, 40, seed), loss_fn, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 40, 330, seed)):
            model.train()
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 33 == 32:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(loss_fn(model(rows.held_x), rows.held_y))
    model.eval()
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)


@fault(
    kind="learning-rate-too-low",
    also=("slow-learning",),
    project="stack overflow",
    source="geek-tips.imtqy.com/articles/631334",
)
def table_of_truth_at_the_default_rate(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Parity of four bits by a tanh net, all 16 rows in each step, SGD at 0.01: thousands of epochs would be needed."""
    x = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 4)
    x = x[torch.randperm(16, generator=torch.Generator().manual_seed(seed))]
    y = (x.prod(1, keepdim=True) > 0).float()
    model = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3 if cured else 0.01, momentum=0.9 if cured else 0.0)
    loss_fn = nn.BCEWithLogitsLoss()
    doctor.task(model, [(x, y)] * 6, loss_fn, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(500):
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(((model(x) > 0) == (y > 0.5)).float().mean(), 0.99)


@fault(
    kind="learning-rate-too-high",
    also=("non-finite",),
    project="data science stack exchange",
    source="datascience.stackexchange.com/questions/15962",
)
def loss_that_grows_a_trillionfold(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A regression whose loss goes from tens to billions within an epoch, and on to nan; a smaller rate is all it needs."""
    x, y = data.teacher(1600, 20, 1, seed)
    rows = data.split(2 * x, 5 * y, seed)
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=5e-3 if cured else 0.5)
    doctor.task(model, data.few(rows.x, rows.y, 40, seed), F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(rows.x, rows.y, 40, 600, seed):
            optimizer.zero_grad()
            loss = F.mse_loss(model(a), b)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.r2(model(rows.held_x), rows.held_y), 0.6)
