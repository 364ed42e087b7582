"""Healthy programs on words: sentences within texts, attention in few places, a net read before and tuned, a pupil's thirst."""

from __future__ import annotations

import copy

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="castorini/hedwig", source="github.com/castorini/hedwig")
def texts_by_words_and_sentences(doctor: Doctor, seed: int) -> Score:
    """Six kinds of texts, uneven, of up to four lines: attention over words makes lines, over lines texts; the best is kept."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.multinomial(torch.tensor([0.3, 0.22, 0.18, 0.12, 0.1, 0.08]), 1000, replacement=True, generator=generator)
    own = 1 + 8 * y[:, None, None] + torch.randint(8, (1000, 4, 6), generator=generator)
    x = torch.where(
        torch.rand(1000, 4, 6, generator=generator) < 0.25, own, torch.randint(1, 80, (1000, 4, 6), generator=generator)
    )
    lengths = torch.randint(2, 5, (1000,), generator=generator)
    x = x * (torch.arange(4) < lengths[:, None])[:, :, None]
    rows = data.split(x, y, seed)

    class Pool(nn.Module):
        def __init__(self, before: int, width: int) -> None:
            super().__init__()
            self.read = nn.GRU(before, width, batch_first=True, bidirectional=True)
            self.ask, self.what = nn.Linear(2 * width, 2 * width), nn.Parameter(0.1 * torch.randn(2 * width))

        def forward(self, x: Tensor, there: Tensor) -> Tensor:
            h = self.read(x)[0]
            share = (self.ask(h).tanh() @ self.what).masked_fill(~there, -1e4).softmax(1)
            return (share[:, :, None] * h).sum(1)

    class Han(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(80, 24, padding_idx=0)
            self.lines, self.texts = Pool(24, 16), Pool(32, 16)
            self.dropout, self.out = nn.Dropout(0.2), nn.Linear(32, 6)

        def forward(self, x: Tensor) -> Tensor:
            there = x > 0
            lines = self.lines(self.words(x).flatten(0, 1), there.flatten(0, 1)).view(len(x), 4, -1)
            return self.out(self.dropout(self.texts(lines, there.any(2))))

    model = Han()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3, weight_decay=1e-5)
    best, best_loss = copy.deepcopy(model.state_dict()), 9.0
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 32, 200, seed)):
            model.train()
            optimizer.zero_grad()
            loss = F.cross_entropy(model(a), b)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 20 == 19:
                model.eval()
                with torch.no_grad():
                    held = F.cross_entropy(model(rows.held_x), rows.held_y)
                watch.dev_loss(held)
                if held < best_loss:
                    best, best_loss = copy.deepcopy(model.state_dict()), float(held)
                elif held > best_loss + 0.1:
                    break
    model.load_state_dict(best)
    model.eval()
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.7)


@healthy(project="tatp22/linformer-pytorch", source="github.com/tatp22/linformer-pytorch")
def words_seen_in_a_few_sums(doctor: Doctor, seed: int) -> Score:
    """Hidden letters of sentences told again: keys and values of 32 places are summed up in eight; slow start, long fall."""
    stream, kinds = data.characters(900, seed)
    held, stream = stream[:3000], stream[3000:]
    generator = torch.Generator().manual_seed(seed)

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.asked, self.out = nn.Linear(48, 144), nn.Linear(48, 48)
            self.sums = nn.Parameter(torch.randn(8, 32) / 32**0.5)

        def forward(self, x: Tensor) -> Tensor:
            q, k, v = self.asked(x).chunk(3, 2)
            k, v = self.sums @ k, self.sums @ v
            q, k, v = (each.view(len(x), -1, 4, 12).transpose(1, 2) for each in (q, k, v))
            return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))

    class Linformer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.letters, self.places = nn.Embedding(kinds + 1, 48), nn.Parameter(0.1 * torch.randn(32, 48))
            self.near = nn.Conv1d(48, 48, 5, padding=2)
            self.norms = nn.ModuleList(nn.LayerNorm(48) for _ in range(3))
            self.look = Attention()
            self.more = nn.Sequential(nn.Linear(48, 96), nn.GELU(), nn.Dropout(0.05), nn.Linear(96, 48))
            self.out = nn.Linear(48, kinds)

        def forward(self, x: Tensor) -> Tensor:
            h = self.letters(x) + self.places
            h = h + F.gelu(self.near(h.transpose(1, 2))).transpose(1, 2)
            h = h + self.look(self.norms[0](h))
            h = h + self.more(self.norms[1](h))
            return self.out(self.norms[2](h))

    def asked(x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.rand(x.shape, generator=generator) < 0.15
        return torch.where(hidden, kinds, x), hidden

    model = Linformer()
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.01)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=350, pct_start=0.1)
    with doctor.watch(model, optimizer) as watch:
        for x, _ in data.windows(stream, 32, 32, 350, seed):
            model.train()
            seen, hidden = asked(x)
            loss = F.cross_entropy(model(seen)[hidden], x[hidden])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            watch.loss(loss)
    model.eval()
    x, _ = next(data.windows(held, 32, 200, 1, seed + 5))
    seen, hidden = asked(x)
    with torch.no_grad():
        return above(data.accuracy(model(seen)[hidden], x[hidden]), 0.6)


@healthy(project="pytorch/ignite", source="github.com/pytorch/ignite")
def a_net_of_five_kinds_tuned_for_ten(doctor: Doctor, seed: int) -> Score:
    """Digits after a net that knew five of them: the last layer first, alone, then all of it at two rates that fall to nought."""
    rows = data.digits(seed)
    few = rows.y < 5
    body = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
    )  # fmt: skip
    before = nn.Sequential(body, nn.Linear(128, 5))
    first = torch.optim.Adam(before.parameters(), lr=2e-3)
    for x, y in data.batches(rows.x[few], rows.y[few], 32, 120, seed):
        first.zero_grad()
        F.cross_entropy(before(x), y).backward()
        first.step()

    model = nn.Sequential(body, nn.Linear(128, 10))
    body.requires_grad_(requires_grad=False)
    optimizer = torch.optim.SGD(
        [{"params": body.parameters(), "lr": 0.005}, {"params": model[1].parameters(), "lr": 0.05}], momentum=0.9
    )
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 32, 300, seed)):
            if step == 60:
                body.requires_grad_(requires_grad=True)
            for group, rate in zip(optimizer.param_groups, (0.005, 0.05), strict=True):
                group["lr"] = rate * (1 - step / 300)
            model.train()
            if step < 60:
                body.eval()
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 30 == 29:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    model.eval()
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


@healthy(project="yoshitomo-matsubara/torchdistill", source="github.com/yoshitomo-matsubara/torchdistill")
def a_small_reader_taught_by_a_large_one(doctor: Doctor, seed: int) -> Score:
    """The next letter by a small memory that hears what a large one finds likely, softened, beside what is so."""
    stream, kinds = data.characters(500, seed)
    held, stream = stream[:3000], stream[3000:]

    class Reader(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.letters, self.read, self.out = (
                nn.Embedding(kinds, 24),
                nn.GRU(24, width, batch_first=True),
                nn.Linear(width, kinds),
            )

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.read(self.letters(x))[0]).flatten(0, 1)

    teacher, student = Reader(96), Reader(32)
    first = torch.optim.Adam(teacher.parameters(), lr=5e-3)
    for x, y in data.windows(stream, 24, 32, 250, seed):
        first.zero_grad()
        F.cross_entropy(teacher(x), y.flatten()).backward()
        first.step()
    teacher.eval().requires_grad_(requires_grad=False)
    optimizer = torch.optim.Adam(student.parameters(), lr=8e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 350)
    x_held, y_held = next(data.windows(held, 24, 100, 1, seed + 3))
    with doctor.watch(student, optimizer) as watch:
        for step, (x, y) in enumerate(data.windows(stream, 24, 32, 350, seed + 1)):
            said = student(x)
            soft = F.kl_div((said / 2).log_softmax(1), (teacher(x) / 2).softmax(1), reduction="batchmean")
            loss = 0.5 * F.cross_entropy(said, y.flatten()) + 0.5 * 4 * soft
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            watch.loss(loss)
            if step % 50 == 49:
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(student(x_held), y_held.flatten()))
    with torch.no_grad():
        return below(F.cross_entropy(student(x_held), y_held.flatten()), 1.1)
