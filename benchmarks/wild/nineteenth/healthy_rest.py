"""Healthy programs over words, series, graphs and rows: told on, matched, ranked, tuned."""

from __future__ import annotations

import math

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Rms(nn.Module):
    """Brought to a mean square of 1, times a weight."""

    def __init__(self, wide: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(wide))

    def forward(self, h: Tensor) -> Tensor:
        return h * (h.pow(2).mean(-1, keepdim=True) + 1e-5).rsqrt() * self.weight


class Block(nn.Module):
    """Attention over places turned by angles, and a gated layer."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(64, 192, bias=False), nn.Linear(64, 64, bias=False)
        self.gate, self.up, self.down = (nn.Linear(a, b, bias=False) for a, b in ((64, 128), (64, 128), (128, 64)))
        self.first, self.second = Rms(64), Rms(64)

    def forward(self, h: Tensor, turn: Tensor) -> Tensor:
        q, k, v = self.qkv(self.first(h)).unflatten(2, (3, 4, 16)).permute(2, 0, 3, 1, 4)
        q, k = (torch.view_as_real(torch.view_as_complex(each.unflatten(3, (8, 2))) * turn).flatten(3) for each in (q, k))
        h = h + self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        n = self.second(h)
        return h + self.down(F.silu(self.gate(n)) * self.up(n))


@healthy(project="karpathy/llama2.c", source="github.com/karpathy/llama2.c")
def small_tales_told_on(doctor: Doctor, seed: int) -> Score:
    """Letters of small tales: two blocks with turned places, tables shared, four batches a step, warm-up and a cosine."""
    stream, letters = data.characters(500, seed)
    train, held = stream[:-1000], stream[-1000:]

    class Llama(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.blocks, self.norm = nn.Embedding(letters, 64), nn.ModuleList([Block(), Block()]), Rms(64)
            self.head = nn.Linear(64, letters, bias=False)
            self.head.weight = self.tokens.weight
            for each in self.parameters():
                if each.ndim > 1:
                    nn.init.normal_(each, std=0.05)

        def forward(self, read: Tensor) -> Tensor:
            angle = torch.arange(read.shape[1])[:, None] * 100.0 ** (-torch.arange(8) / 8)
            h, turn = self.tokens(read), torch.polar(torch.ones_like(angle), angle)
            for block in self.blocks:
                h = block(h, turn)
            return self.head(self.norm(h))

    model = Llama()
    heavy = [each for each in model.parameters() if each.ndim > 1]
    light = [each for each in model.parameters() if each.ndim == 1]
    optimizer = torch.optim.AdamW([{"params": heavy, "weight_decay": 0.1}, {"params": light, "weight_decay": 0.0}], lr=4e-3)
    rate = lambda step: min((step + 1) / 15, 0.1 + 0.45 * (1 + math.cos(math.pi * step / 130)))  # noqa: E731
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    read = held[: len(held) // 33 * 33].view(-1, 33)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.windows(train, 32, 6, 520, seed)):
            loss = F.cross_entropy(model(a).flatten(0, 1), b.flatten())
            (loss / 4).backward()
            watch.loss(loss)
            if step % 4 == 3:
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                schedule.step()
            if step % 100 == 99:
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(read[:, :-1]).flatten(0, 1), read[:, 1:].flatten()))
    with torch.no_grad():
        return below(F.cross_entropy(model(read[:, :-1]).flatten(0, 1), read[:, 1:].flatten()), 1.2)


@healthy(project="zhihanyue/ts2vec", source="github.com/zhihanyue/ts2vec")
def series_alike_where_they_overlap(doctor: Doctor, seed: int) -> Score:
    """Waves cut twice with an overlap: what a net tells of a moment should be alike in both; a line reads the kind from it."""
    generator = torch.Generator().manual_seed(seed)
    kind = torch.randint(4, (600,), generator=generator)
    time, phase = torch.arange(60.0), 6.28 * torch.rand(600, 1, generator=generator)
    beat = torch.tensor([0.3, 0.5, 0.8, 1.2])[kind][:, None]
    series = torch.sin(beat * time + phase) + 0.4 * torch.randn(600, 60, generator=generator)
    net = nn.Sequential(
        nn.Conv1d(1, 24, 3, padding=1), nn.GELU(), nn.Conv1d(24, 24, 3, padding=2, dilation=2), nn.GELU(),
        nn.Conv1d(24, 24, 3, padding=4, dilation=4), nn.GELU(), nn.Conv1d(24, 16, 1),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)

    def contrast(a: Tensor, b: Tensor) -> Tensor:
        """Rows (M, K, C) of both: each one's fellow among all of the second axis."""
        return F.cross_entropy((a @ b.transpose(1, 2)).flatten(0, 1), torch.arange(a.shape[1]).repeat(len(a)))

    with doctor.watch(net, optimizer) as watch:
        for _ in range(220):
            pick = torch.randint(450, (16,), generator=generator)
            left, right = (int(torch.randint(12, (1,), generator=generator)) for _ in range(2))
            x = series[pick, None] * (torch.rand(16, 1, 60, generator=generator) > 0.1)
            a = net(x[:, :, left:45])[:, :, 12 - left :].transpose(1, 2)
            b = net(series[pick, None, 12 : 60 - right])[:, :, :33].transpose(1, 2)
            loss = torch.zeros(())
            for wide in (1, 3, 11):
                p, q = (F.max_pool1d(each.transpose(1, 2), wide).transpose(1, 2) for each in (a, b))
                loss = loss + (contrast(p.transpose(0, 1), q.transpose(0, 1)) + contrast(p, q)) / 6
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        h = net(series[:, None]).amax(2)
    h = (h - h[:450].mean(0)) / h[:450].std(0)
    told = torch.linalg.lstsq(F.pad(h[:450], (0, 1), value=1.0), F.one_hot(kind[:450], 4).float()).solution
    return above(data.accuracy(F.pad(h[450:], (0, 1), value=1.0) @ told, kind[450:]), 0.75)


@healthy(project="moein-shariatnia/OpenAI-CLIP", source="github.com/moein-shariatnia/OpenAI-CLIP")
def captions_that_go_with_digits(doctor: Doctor, seed: int) -> Score:
    """Two digits side by side and the words for them: a net for pictures and one for words meet, two rates, soft targets."""
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)

    def pairs(x: Tensor, y: Tensor, count: int) -> tuple[Tensor, Tensor]:
        pick = torch.randint(len(x), (count, 2), generator=generator)
        return torch.cat([x[pick[:, 0]], x[pick[:, 1]]], 3), y[pick]

    class Clip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.picture = nn.Sequential(
                nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 24, 3, padding=1), nn.ReLU(),
                nn.Flatten(), nn.Linear(768, 64),
            )  # fmt: skip
            self.words, self.order = nn.Embedding(10, 32), nn.Sequential(nn.Linear(64, 64), nn.GELU())
            self.heads = nn.ModuleList(nn.Sequential(nn.Linear(64, 32), nn.LayerNorm(32)) for _ in range(2))

        def forward(self, pictures: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
            return self.heads[0](self.picture(pictures)), self.heads[1](self.order(self.words(words).flatten(1)))

    model = Clip()
    groups = [
        {"params": model.picture.parameters(), "lr": 1e-3},
        {"params": [*model.words.parameters(), *model.order.parameters()], "lr": 3e-3},
        {"params": model.heads.parameters(), "lr": 2e-3, "weight_decay": 1e-3},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.0)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(350):
            a, b = model(*pairs(rows.x, rows.y, 32))
            said = a @ b.T / 6
            with torch.no_grad():
                soft = ((a @ a.T + b @ b.T) / 12).softmax(1)
            loss = (F.cross_entropy(said, soft) + F.cross_entropy(said.T, soft.T)) / 2
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    pictures, words = pairs(rows.held_x, rows.held_y, 300)
    every = torch.cartesian_prod(torch.arange(10), torch.arange(10))
    model.eval()
    with torch.no_grad():
        a, b = model(pictures, words)[0], model(pictures[:1], every)[1]
    return above(data.accuracy(a @ b.T, words[:, 0] * 10 + words[:, 1]), 0.6)


@healthy(project="jaredleekatzman/DeepSurv", source="github.com/jaredleekatzman/DeepSurv")
def who_leaves_before_whom(doctor: Doctor, seed: int) -> Score:
    """How soon people leave a study: a risk for each so that those who left stand out among those who were still there."""
    x, y = data.teacher(900, 8, 1, seed)
    generator = torch.Generator().manual_seed(seed)
    leave = -(torch.rand(900, generator=generator)).log() * (-1.5 * y[:, 0]).exp()
    watched = 2 * torch.rand(900, generator=generator)
    parts = data.split(x, torch.stack([torch.minimum(leave, watched), (leave <= watched).float()], 1), seed)
    model = nn.Sequential(
        nn.Linear(8, 32), nn.SELU(), nn.BatchNorm1d(32), nn.Dropout(0.2), nn.Linear(32, 32), nn.SELU(), nn.Linear(32, 1)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3)

    def cox(said: Tensor, seen: Tensor) -> Tensor:
        order = seen[:, 0].argsort(descending=True)
        risk, left = said[order, 0], seen[order, 1]
        return -((risk - risk.logcumsumexp(0)) * left).sum() / left.sum()

    doctor.task(model, data.few(parts.x, parts.y, 128, seed), cox, optimizer)
    fit(doctor, model, optimizer, cox, data.batches(parts.x, parts.y, 128, 250, seed), parts, every=25)
    with torch.no_grad():
        risk, (when, left) = model(parts.held_x)[:, 0], parts.held_y.T
    known = (when[:, None] < when) & (left[:, None] == 1)
    return above((risk[:, None] > risk)[known].float().mean(), 0.68)
