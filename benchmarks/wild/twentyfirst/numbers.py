"""Faults of numbers: the logarithm of silence, of a share that is all, and a rate that undoes what was read before."""

from __future__ import annotations

import math

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="non-finite",
    project="discuss.pytorch.org/torch-log-nan",
    source="discuss.pytorch.org: How to solve the loss becoming NaN due to using torch.log()",
)
def the_logarithm_of_what_may_be_silent(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Four sounds by how loud learned bands of them are: some bands are below nought, and a logarithm is taken of each."""
    generator = torch.Generator().manual_seed(seed)
    kinds = torch.randint(4, (1200,), generator=generator)
    pitch = torch.tensor([2.0, 5.0, 9.0, 14.0])[kinds] + torch.randn(1200, generator=generator)
    loud = torch.rand(1200, 1, generator=generator) + 0.2
    x = loud * torch.exp(-((torch.arange(20.0) - pitch[:, None]) ** 2) / 6) + 0.3 * torch.rand(1200, 20, generator=generator)
    rows = data.split(x, kinds, seed)

    class Bands(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bands, self.hidden, self.out = nn.Linear(20, 24), nn.Linear(24, 32), nn.Linear(32, 4)

        def forward(self, x: Tensor) -> Tensor:
            t = self.bands(x)
            t = torch.log(F.relu(t) + 1e-2) if cured else torch.log(t)
            return self.out(F.relu(self.hidden(t)))

    model = Bands()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    criterion = nn.CrossEntropyLoss()
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), criterion, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for inputs, labels in data.batches(rows.x, rows.y, 32, 600, seed):
            optimizer.zero_grad()
            loss = criterion(model(inputs), labels)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.7)


@fault(
    kind="non-finite",
    also=("activation-scale", "initial-loss", "saturation"),
    project="datascience.stackexchange.com/relu-cost-infinity",
    source="datascience.stackexchange.com: Cost tends to infinity when ReLU activation is used",
)
def the_logarithm_of_one_less_one(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits, all at once: since a sigmoid gave way to a ReLU some shares are 1, and the cost has a logarithm of the rest."""
    rows = data.digits(seed)
    x, y, held = rows.x.flatten(1), F.one_hot(rows.y, 10).float(), rows.held_x.flatten(1)
    generator = torch.Generator().manual_seed(seed)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.theta1 = nn.Parameter(torch.randn(65, 40, generator=generator))
            self.theta2 = nn.Parameter(torch.randn(41, 10, generator=generator))

        def forward(self, x: Tensor) -> Tensor:
            one = torch.ones(len(x), 1)
            a2 = F.relu(torch.cat([one, x], 1) @ self.theta1)
            z3 = torch.cat([one, a2], 1) @ self.theta2
            return torch.softmax(z3 - z3.amax(1, keepdim=True), 1)

    def cost(a3: Tensor, y: Tensor) -> Tensor:
        if cured:
            a3 = a3.clamp(1e-6, 1 - 1e-6)
        return -(y * a3.log() + (1 - y) * (1 - a3).log()).sum(1).mean()

    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    doctor.task(model, data.few(x, y, 200, seed), cost, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(600):
            optimizer.zero_grad()
            loss = cost(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        said = model(held)
    return above(data.accuracy(said, rows.held_y) if math.isfinite(said.sum()) else 0.0, 0.7)


@fault(
    kind="learning-rate-too-high",
    also=("no-warmup", "dead-units", "saturation"),
    project="ai.stackexchange.com/18234",
    source="ai.stackexchange.com/questions/18234/why-is-my-loss-binary-cross-entropy-converging-on-0-6-task-natural-languag",
)
def a_reader_tuned_with_a_rate_of_its_own(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Does a second line say what the first does: a net that has read much is tuned with many times the rate it bears."""
    generator = torch.Generator().manual_seed(seed)
    mask, start, stop = 24, 25, 26

    def pairs(count: int) -> tuple[Tensor, Tensor]:
        """Two lines of five words with a mark between, and whether the second is the first again in the other tongue."""
        said = torch.randint(12, (count, 5), generator=generator)
        other = said.clone()
        wrong = torch.rand(count, generator=generator) < 0.5
        at = torch.randint(5, (count,), generator=generator)
        shift = torch.randint(1, 12, (count,), generator=generator)
        other[torch.arange(count), at] = torch.where(
            wrong, (other[torch.arange(count), at] + shift) % 12, other[torch.arange(count), at]
        )
        marks = torch.tensor([start, stop]).expand(count, 2)
        return torch.cat([marks[:, :1], said, marks[:, 1:], other + 12], 1), (~wrong).float()

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.places = nn.Embedding(27, 48), nn.Parameter(0.1 * torch.randn(12, 48))
            layer = nn.TransformerEncoderLayer(48, 4, 96, dropout=0.1, batch_first=True, activation="gelu")
            self.body = nn.TransformerEncoder(layer, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.body(self.words(x) + self.places)

    class Inference(nn.Module):
        def __init__(self, reader: Reader) -> None:
            super().__init__()
            self.reader, self.out = reader, nn.Linear(48, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.reader(x)[:, 0])[:, 0]

    reader, guess = Reader(), nn.Linear(48, 24)
    first = torch.optim.AdamW([*reader.parameters(), *guess.parameters()], lr=2e-3)
    for _ in range(250):
        x, same = pairs(48)
        x = x[same > 0.5]
        hidden = (torch.rand(x.shape, generator=generator) < 0.25) & (x < 24)
        first.zero_grad()
        F.cross_entropy(guess(reader(torch.where(hidden, mask, x)))[hidden], x[hidden]).backward()
        first.step()

    model = Inference(reader)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3 if cured else 3e-2)
    x, y = pairs(3200)
    x_val, y_val = pairs(400)
    loss_fn = F.binary_cross_entropy_with_logits
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(x, y, 32, 300, seed)):
            model.train()
            loss = loss_fn(model(a), b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 50 == 49:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(loss_fn(model(x_val), y_val))
    model.eval()
    with torch.no_grad():
        return above(((model(x_val) > 0) == (y_val > 0.5)).float().mean(), 0.75)
