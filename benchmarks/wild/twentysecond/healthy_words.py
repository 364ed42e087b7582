"""Healthy programs on rows in time and bags: demand with its doubt, sums, pitches, words of a review, letters."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="zalandoresearch/pytorch-ts", source="github.com/zalandoresearch/pytorch-ts")
def demand_with_its_doubt(doctor: Doctor, seed: int) -> Score:
    """Sales of sixty shops, each of its own size, a day ahead: divided by their mean, and told as a middle and a width."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    size = 10 ** (3 * torch.rand(60, 1, generator=generator))
    day = torch.arange(100.0)
    week = 1 + 0.5 * (6.2832 * (day + torch.randint(7, (60, 1), generator=generator)) / 7).sin()
    sales = size * week * (1 + 0.1 * torch.randn(60, 100, generator=generator))
    pieces = sales.unfold(1, 22, 3).flatten(0, 1)
    scale = pieces[:, :21].mean(1, keepdim=True)
    rows = data.split((pieces[:, :21] / scale)[:, :, None], pieces[:, 21:] / scale, seed)

    class DeepAr(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.middle, self.width = nn.GRU(1, 24, batch_first=True), nn.Linear(24, 1), nn.Linear(24, 1)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            h = self.rnn(x)[0][:, -1]
            return self.middle(h), F.softplus(self.width(h)) + 1e-3

    def doubt(said: tuple[Tensor, Tensor], y: Tensor) -> Tensor:
        return -torch.distributions.Normal(*said).log_prob(y).mean()

    model = DeepAr()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 64, 350, seed):
            optimizer.zero_grad()
            loss = doubt(model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x)[0], rows.held_y), 0.7)


@healthy(project="yanx27/Pointnet_Pointnet2_pytorch", source="github.com/yanx27/Pointnet_Pointnet2_pytorch")
def three_forms_by_their_points(doctor: Doctor, seed: int) -> Score:
    """A ring, a square's edge or a cross by 40 points in no order: each is read alone, and the most of all is kept."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    kind = torch.randint(3, (1200,), generator=generator)
    turn = 6.2832 * torch.rand(1200, 40, generator=generator)
    ring = torch.stack([turn.cos(), turn.sin()], 2)
    square = ring / ring.abs().amax(2, keepdim=True)
    along, flat = 2 * torch.rand(1200, 40, generator=generator) - 1, torch.rand(1200, 40, generator=generator) < 0.5
    cross = torch.stack([torch.where(flat, along, 0.0), torch.where(flat, 0.0, along)], 2)
    points = torch.stack([ring, square, cross])[kind, torch.arange(1200)]
    points = points * (0.7 + 0.6 * torch.rand(1200, 1, 1, generator=generator))
    points = points + 0.06 * torch.randn(1200, 40, 2, generator=generator)
    rows = data.split(points.transpose(1, 2).contiguous(), kind, seed)
    model = nn.Sequential(
        nn.Conv1d(2, 24, 1), nn.BatchNorm1d(24), nn.ReLU(), nn.Conv1d(24, 64, 1), nn.BatchNorm1d(64), nn.ReLU(),
        nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3),
        nn.Linear(32, 3), nn.LogSoftmax(1),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, weight_decay=1e-4)
    doctor.task(model, data.few(rows.x, rows.y, 24, seed), F.nll_loss, optimizer)
    fit(doctor, model, optimizer, F.nll_loss, data.batches(rows.x, rows.y, 24, 300, seed), held=rows)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)


@healthy(project="mravanelli/SincNet", source="github.com/mravanelli/SincNet")
def pitches_by_bands_that_move(doctor: Doctor, seed: int) -> Score:
    """Six pitches in noise by bands of which two numbers each are learned: where they begin, and how wide they are."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    pitch = torch.randint(6, (1500,), generator=generator)
    speed = torch.tensor([0.3, 0.55, 0.8, 1.1, 1.5, 2.0])[pitch, None]
    x = (speed * torch.arange(96.0) + 6.28 * torch.rand(1500, 1, generator=generator)).sin()
    rows = data.split((x + 0.7 * torch.randn(1500, 96, generator=generator))[:, None], pitch, seed)

    class Sinc(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.low = nn.Parameter(torch.linspace(0.2, 2.0, 10)[:, None])
            self.band = nn.Parameter(torch.full((10, 1), 0.25))
            self.register_buffer("time", torch.arange(-12.0, 13.0))
            self.register_buffer("window", torch.hamming_window(25, periodic=False))

        def forward(self, x: Tensor) -> Tensor:
            low, high = self.low.abs(), self.low.abs() + self.band.abs() + 0.05
            both = [edge / torch.pi * torch.sinc(edge * self.time / torch.pi) for edge in (high, low)]
            return F.conv1d(x, ((both[0] - both[1]) * self.window)[:, None])

    model = nn.Sequential(
        Sinc(), nn.BatchNorm1d(10), nn.LeakyReLU(0.2), nn.MaxPool1d(3), nn.Conv1d(10, 24, 3), nn.BatchNorm1d(24), nn.ReLU(),
        nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(24, 6),
    )  # fmt: skip
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3, alpha=0.95, eps=1e-7)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 32, 200, seed), held=rows)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)


@healthy(project="facebookresearch/StarSpace", source="github.com/facebookresearch/StarSpace")
def notes_and_their_tags_in_one_space(doctor: Doctor, seed: int) -> Score:
    """Notes of words that may belong to one of six tags or none: a note shall lie nearer to its tag than to another."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    tag = torch.randint(6, (1600,), generator=generator)
    own = 1 + 10 * tag[:, None] + torch.randint(10, (1600, 14), generator=generator)
    words = torch.where(
        torch.rand(1600, 14, generator=generator) < 0.25, own, torch.randint(1, 160, (1600, 14), generator=generator)
    )
    words = words * (torch.arange(14) < torch.randint(7, 15, (1600, 1), generator=generator))
    rows = data.split(words, tag, seed)

    class Space(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.EmbeddingBag(160, 20, mode="mean", padding_idx=0)
            self.tags = nn.Embedding(6, 20)

        def forward(self, words: Tensor) -> Tensor:
            return F.normalize(self.words(words), dim=1) @ F.normalize(self.tags.weight, dim=1).T

    model = Space()
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.1)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 32, 400, seed):
            near = model(x)
            other = (y + torch.randint(1, 6, y.shape, generator=generator)) % 6
            loss = F.relu(0.5 - near.gather(1, y[:, None]) + near.gather(1, other[:, None])).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.6)


@healthy(project="karpathy/makemore", source="github.com/karpathy/makemore")
def letters_by_the_eight_before(doctor: Doctor, seed: int) -> Score:
    """The next letter from the eight before it, laid side by side, with a norm before the tanh and a timid last layer."""
    torch.manual_seed(seed)
    stream, kinds = data.characters(170, seed)
    pieces = stream.unfold(0, 9, 1)
    rows = data.Split(pieces[1200:, :8], pieces[1200:, 8], pieces[:1190, :8], pieces[:1190, 8])
    model = nn.Sequential(
        nn.Embedding(kinds, 10),
        nn.Flatten(),
        nn.Linear(80, 128, bias=False),
        nn.BatchNorm1d(128),
        nn.Tanh(),
        nn.Linear(128, kinds),
    )
    with torch.no_grad():
        model[5].weight *= 0.1
        model[5].bias *= 0.0
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 32, 1400, seed)):
            for group in optimizer.param_groups:
                group["lr"] = 0.3 if step < 1100 else 0.03
            model.train()
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 250 == 249:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    model.eval()
    with torch.no_grad():
        return below(F.cross_entropy(model(rows.held_x), rows.held_y), 1.0)
