"""Healthy programs on words and rows of things: turned round, tagged, told on by memory that fades, things left out."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="IBM/pytorch-seq2seq", source="github.com/IBM/pytorch-seq2seq")
def words_said_backwards(doctor: Doctor, seed: int) -> Score:
    """Rows of signs of many lengths said from the last to the first: a reader, a speaker that looks back, now and then told."""
    generator = torch.Generator().manual_seed(seed)
    start, end = 11, 12

    def talks(count: int) -> tuple[Tensor, Tensor]:
        """Signs (N, 7), 0 for none, and the same from the last on, with an end and nothing behind it (N, 8)."""
        length = torch.randint(3, 8, (count, 1), generator=generator)
        there = torch.arange(7) < length
        x = torch.randint(1, 11, (count, 7), generator=generator) * there
        back = (length - 1 - torch.arange(7)).clamp(min=0)
        y = x.gather(1, back) * there
        y = torch.cat([y, torch.zeros(count, 1, dtype=torch.long)], 1)
        return x, y.scatter(1, length, end)

    class Seq2seq(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(13, 24, padding_idx=0)
            self.reader, self.speaker = nn.GRU(24, 32, batch_first=True, bidirectional=True), nn.GRUCell(88, 64)
            self.look, self.out = nn.Linear(64, 64, bias=False), nn.Linear(128, 13)

        def forward(self, x: Tensor, told: Tensor | None) -> Tensor:
            """Scores of each sign said (N, 8, 13); what was said before is told, or else heard from itself."""
            read, last = self.reader(self.words(x))
            state, seen = torch.cat([last[0], last[1]], 1), torch.zeros(len(x), 64)
            word, scores = torch.full((len(x),), start), []
            for step in range(8):
                state = self.speaker(torch.cat([self.words(word), seen], 1), state)
                match = (read @ self.look(state)[..., None])[..., 0].masked_fill(x == 0, -1e9)
                seen = (match.softmax(1)[..., None] * read).sum(1)
                scores.append(self.out(torch.cat([state, seen], 1)))
                word = scores[-1].argmax(1) if told is None else told[:, step]
            return torch.stack(scores, 1)

    model = Seq2seq()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(350):
            x, y = talks(48)
            tells = torch.rand((), generator=generator) < 0.7
            loss = F.cross_entropy(model(x, y if tells else None).transpose(1, 2), y, ignore_index=0)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            watch.loss(loss)
    x, y = talks(300)
    with torch.no_grad():
        said = model(x, None).argmax(2)
    return above((said == y)[y > 0].float().mean(), 0.8)


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.read = nn.Embedding(45, 24), nn.LSTM(24, 24, batch_first=True, bidirectional=True)
        self.out, self.follow = nn.Linear(48, 3), nn.Parameter(0.1 * torch.randn(3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.read(self.words(x))[0])

    def surprise(self, x: Tensor, tags: Tensor) -> Tensor:
        said = self(x)
        path = said.gather(2, tags[..., None]).sum((1, 2)) + self.follow[tags[:, :-1], tags[:, 1:]].sum(1)
        total = said[:, 0]
        for at in range(1, 10):
            total = (total[:, :, None] + self.follow + said[:, at, None]).logsumexp(1)
        return (total.logsumexp(1) - path).mean()

    def best(self, x: Tensor) -> Tensor:
        said, kept = self(x), []
        total = said[:, 0]
        for at in range(1, 10):
            total, came = (total[:, :, None] + self.follow + said[:, at, None]).max(1)
            kept.append(came)
        way = [total.argmax(1)]
        for came in reversed(kept):
            way.append(came.gather(1, way[-1][:, None])[:, 0])
        return torch.stack(way[::-1], 1)


@healthy(project="jidasheng/bi-lstm-crf", source="github.com/jidasheng/bi-lstm-crf")
def names_tagged_by_what_may_follow(doctor: Doctor, seed: int) -> Score:
    """Which words begin or go on a name: a reader of both ways, and how likely one tag follows another, over all ways to tag."""
    generator = torch.Generator().manual_seed(seed)

    def lines(count: int) -> tuple[Tensor, Tensor]:
        """Words (N, 10) and their tags, 0 outside a name, 1 where one begins, 2 where it goes on (N, 10)."""
        tags = torch.zeros(count, 10, dtype=torch.long)
        luck = torch.rand(count, 10, generator=generator)
        for at in range(10):
            before = tags[:, at - 1] if at else torch.zeros(count, dtype=torch.long)
            goes_on = (before == 1) | ((before == 2) & (luck[:, at] < 0.4))
            tags[:, at] = torch.where(goes_on, 2, (luck[:, at] < 0.25).long())
        clear = torch.rand(count, 10, generator=generator) < 0.6
        own = torch.randint(15, (count, 10), generator=generator) + 15 * tags
        return torch.where(clear, own, torch.randint(45, (count, 10), generator=generator)), tags

    model = Tagger()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3, weight_decay=1e-4)
    x, y = lines(1000)
    held_x, held_y = lines(200)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(x, y, 32, 260, seed)):
            loss = model.surprise(a, b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 40 == 39:
                with torch.no_grad():
                    watch.dev_loss(model.surprise(held_x, held_y))
    with torch.no_grad():
        return above((model.best(held_x) == held_y).float().mean(), 0.68)


@healthy(project="BlinkDL/RWKV-LM", source="github.com/BlinkDL/RWKV-LM")
def letters_remembered_less_and_less(doctor: Doctor, seed: int) -> Score:
    """Text letter by letter: each step mixes with the one before, and what was read fades at a rate that each channel learns."""
    stream, kinds = data.characters(1500, seed)
    cut = int(0.8 * len(stream))

    def moved(x: Tensor) -> Tensor:
        return F.pad(x, (0, 0, 1, -1))

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Parameter(torch.rand(4, 48))
            self.fade, self.first = nn.Parameter(torch.linspace(-3, 1, 48)), nn.Parameter(torch.zeros(48))
            self.k, self.v, self.r, self.o = (nn.Linear(48, 48, bias=False) for _ in range(4))
            self.norms = nn.ModuleList(nn.LayerNorm(48) for _ in range(2))
            self.wide, self.narrow = nn.Linear(48, 128, bias=False), nn.Linear(128, 48, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            h = self.norms[0](x)
            k, v, r = (each(h * m + moved(h) * (1 - m)) for each, m in zip((self.k, self.v, self.r), self.mix[:3], strict=True))
            gap = torch.arange(h.shape[1])[:, None] - torch.arange(h.shape[1]) - 1
            weight = (-self.fade.exp() * gap.clamp(min=0)[..., None]).masked_fill(gap[..., None] < 0, float("-inf"))
            weight = torch.where(gap[..., None] == -1, self.first, weight)
            share = (weight + k[:, None].clamp(max=30)).softmax(2)
            x = x + self.o(r.sigmoid() * (share * v[:, None]).sum(2))
            h = self.norms[1](x)
            return x + self.narrow(self.wide(h * self.mix[3] + moved(h) * (1 - self.mix[3])).relu() ** 2)

    model = nn.Sequential(nn.Embedding(kinds, 48), nn.LayerNorm(48), Block(), nn.LayerNorm(48), nn.Linear(48, kinds, bias=False))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3, betas=(0.9, 0.99))

    def loss_fn(said: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(said.flatten(0, 1), y.flatten())

    held = data.Split(stream[:1], stream[:1], *next(data.windows(stream[cut:], 24, 64, 1, seed)))
    batches = list(data.windows(stream[:cut], 24, 16, 260, seed))
    doctor.task(model, batches[:8], loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, batches, held, every=50)
    with torch.no_grad():
        return below(loss_fn(model(held.held_x), held.held_y), 1.3)


@healthy(project="FeiSun/BERT4Rec", source="github.com/FeiSun/BERT4Rec")
def things_left_out_of_a_row(doctor: Doctor, seed: int) -> Score:
    """Rows of things people took one after another: some are hidden and told from both sides; asked at last for the next one."""
    generator = torch.Generator().manual_seed(seed)
    things, hidden, length = 40, 40, 12
    follow = torch.distributions.Dirichlet(torch.full((things,), 0.06)).sample((things,))
    rows = [torch.randint(things, (900,), generator=generator)]
    for _ in range(length - 1):
        rows.append(torch.multinomial(follow[rows[-1]], 1, generator=generator)[:, 0])
    taken = torch.stack(rows, 1)

    class Bert(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.things, self.place = nn.Embedding(things + 1, 32), nn.Embedding(length, 32)
            layer = nn.TransformerEncoderLayer(32, 2, 64, dropout=0.1, activation="gelu", batch_first=True)
            self.body = nn.TransformerEncoder(layer, 2)
            self.norm, self.bias = nn.LayerNorm(32), nn.Parameter(torch.zeros(things))
            for each in (self.things, self.place):
                nn.init.trunc_normal_(each.weight, std=0.1)

        def forward(self, x: Tensor) -> Tensor:
            h = self.norm(self.body(self.things(x) + self.place.weight))
            return h @ self.things.weight[:things].T + self.bias

    model = Bert()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=450, pct_start=0.1)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(450):
            x = taken[torch.randint(700, (32,), generator=generator)]
            covered = torch.rand(x.shape, generator=generator) < 0.25
            covered[:8, -1] = True
            said = model(x.masked_fill(covered, hidden))
            loss = F.cross_entropy(said[covered], x[covered])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            watch.loss(loss)
    model.eval()
    asked = taken[700:].clone()
    asked[:, -1] = hidden
    with torch.no_grad():
        best = model(asked)[:, -1].topk(3).indices
    return above((best == taken[700:, -1:]).any(1).float().mean(), 0.5)
