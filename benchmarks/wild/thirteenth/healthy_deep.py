"""Healthy programs of odd shapes: a turned glass, things in no order, a sentence twice, windows brought to nought, next films."""

from __future__ import annotations

import itertools

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="kevinzakka/spatial-transformer-network", source="github.com/kevinzakka/spatial-transformer-network")
def digits_looked_at_through_a_turned_glass(doctor: Doctor, seed: int) -> Score:
    """A small net says how to turn and shift the picture; its last layer begins at 0 with a bias that leaves all as it is."""
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)

    def turned(x: Tensor) -> Tensor:
        angle, shift = (
            1.2 * torch.rand(len(x), generator=generator) - 0.6,
            0.5 * torch.rand(len(x), 2, 1, generator=generator) - 0.25,
        )
        turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(-1, 2, 2)
        grid = F.affine_grid(torch.cat([turn, shift], 2), [len(x), 1, 12, 12], align_corners=False)
        return F.grid_sample(F.pad(x, (2, 2, 2, 2)), grid, align_corners=False)

    rows = rows._replace(x=turned(rows.x), held_x=turned(rows.held_x))

    class Glass(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.where = nn.Sequential(
                nn.Conv2d(1, 8, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 32), nn.ReLU()
            )
            self.turn = nn.Linear(32, 6)
            nn.init.zeros_(self.turn.weight)
            self.turn.bias.data = torch.tensor([1.0, 0, 0, 0, 1, 0])
            conv = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU()]
            self.what = nn.Sequential(*conv, nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.3), nn.Linear(288, 10))

        def forward(self, x: Tensor) -> Tensor:
            grid = F.affine_grid(self.turn(self.where(x)).view(-1, 2, 3), list(x.shape), align_corners=False)
            return self.what(F.grid_sample(x, grid, align_corners=False))

    model = Glass()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, rows.y, 48, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 48, 450, seed), rows)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)


@healthy(project="facebookresearch/detr", source="github.com/facebookresearch/detr")
def things_told_in_no_order(doctor: Doctor, seed: int) -> Score:
    """Three learnt questions find up to three blobs; the best pairing counts, and "nothing there" weighs a tenth."""
    generator = torch.Generator().manual_seed(seed)
    axis = torch.arange(12.0)

    def scenes(count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures (N, 12, 12), places (N, 3, 2) in 0..1, which of the three are there (N, 3)."""
        place, there = torch.rand(count, 3, 2, generator=generator), torch.rand(count, 3, generator=generator) < 0.7
        row, column = ((place[..., k, None] * 11 - axis).pow(2).neg().div(2).exp() for k in (0, 1))
        seen = (there[..., None, None] * row[..., None] * column[..., None, :]).sum(1)
        return seen + 0.05 * torch.randn(seen.shape, generator=generator), place, there

    class Ask(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.into, self.place = nn.Linear(9, 32), nn.Parameter(0.3 * torch.randn(16, 32))
            self.ask = nn.Parameter(torch.randn(3, 32))
            shape = {"dim_feedforward": 64, "dropout": 0.0, "batch_first": True}
            self.read = nn.TransformerEncoderLayer(32, 4, **shape)  # type: ignore[arg-type]
            self.tell = nn.TransformerDecoderLayer(32, 4, **shape)  # type: ignore[arg-type]
            self.there, self.where = nn.Linear(32, 2), nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            patch = F.unfold(x[:, None], 3, stride=3).transpose(1, 2)
            h = self.tell(self.ask.expand(len(x), 3, 32), self.read(self.into(patch) + self.place))
            return self.there(h), self.where(h).sigmoid()

    orders = torch.tensor(list(itertools.permutations(range(3))))
    model = Ask()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4)

    def paired(said: Tensor, place: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        """Places and presence in the order that suits what is said best."""
        far = (said[:, :, None] - place[:, None]).abs().sum(3) * there[:, None]
        cost = far[:, torch.arange(3), orders].sum(2)
        best = orders[cost.argmin(1)]
        return place.gather(1, best[..., None].expand(-1, -1, 2)), there.gather(1, best)

    with doctor.watch(model, optimizer) as watch:
        for _ in range(500):
            x, place, there = scenes(48)
            sure, said = model(x)
            place, there = paired(said.detach(), place, there)
            loss = F.cross_entropy(sure.flatten(0, 1), there.long().flatten(), weight=torch.tensor([0.1, 1.0]))
            loss = loss + 5 * ((said - place).abs().sum(2) * there).sum() / there.sum()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            watch.loss(loss)
    x, place, there = scenes(300)
    with torch.no_grad():
        said = model(x)[1]
        place, there = paired(said, place, there)
        return below((said - place)[there].abs().mean(), 0.16)


@healthy(project="princeton-nlp/SimCSE", source="github.com/princeton-nlp/SimCSE")
def the_same_sentence_twice_under_dropout(doctor: Doctor, seed: int) -> Score:
    """Each sentence goes in twice, with other units dropped; the two must find each other among all, and there is no label."""
    generator = torch.Generator().manual_seed(seed)
    topics = torch.rand(6, 80, generator=generator) ** 6

    def sentences(count: int) -> Tensor:
        kind = torch.randint(6, (count,), generator=generator)
        return torch.multinomial(topics[kind], 12, replacement=True, generator=generator)

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(80, 32)
            self.body = nn.Sequential(nn.Linear(32, 64), nn.Tanh(), nn.Dropout(0.2), nn.Linear(64, 32))
            self.drop = nn.Dropout(0.2)

        def forward(self, x: Tensor) -> Tensor:
            return self.body(self.drop(self.embed(x)).mean(1))

    model = Encoder()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(300):
            x = sentences(64)
            alike = F.cosine_similarity(model(x)[:, None], model(x)[None], dim=2) / 0.1
            loss = F.cross_entropy(alike, torch.arange(64))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    x = sentences(400)
    with torch.no_grad():
        alike = F.cosine_similarity(model(x)[:, None], model(x)[None], dim=2) / 0.1
        return below(F.cross_entropy(alike, torch.arange(400)), 1.6)


@healthy(project="ts-kim/RevIN", source="github.com/ts-kim/RevIN")
def windows_brought_to_nought_and_back(doctor: Doctor, seed: int) -> Score:
    """Raw series at any height: each window is standardised by itself, forecast, and put back by the same numbers."""
    generator = torch.Generator().manual_seed(seed)
    level = 10 ** (3 * torch.rand(1600, 1, generator=generator))
    time = torch.arange(48) + torch.randint(12, (1600, 1), generator=generator)
    trend = 0.02 * torch.randn(1600, 1, generator=generator) * torch.arange(48)
    series = level * (5 + torch.sin(time * torch.pi / 6) + trend + 0.1 * torch.randn(1600, 48, generator=generator))
    rows = data.split(series[:, :36], series[:, 36:], seed)

    class Forecast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain, self.shift = nn.Parameter(torch.ones(1)), nn.Parameter(torch.zeros(1))
            self.net = nn.Sequential(nn.Linear(36, 64), nn.GELU(), nn.Linear(64, 12))

        def forward(self, x: Tensor) -> Tensor:
            mean, spread = x.mean(1, keepdim=True).detach(), (x.var(1, keepdim=True, unbiased=False) + 1e-5).sqrt().detach()
            h = self.net((x - mean) / spread * self.gain + self.shift)
            return (h - self.shift) / (self.gain + 1e-10) * spread + mean

    def loss_fn(said: Tensor, y: Tensor) -> Tensor:
        return ((said - y).abs() / y.abs().mean(1, keepdim=True)).mean()

    model = Forecast()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 32, 500, seed), rows)
    with torch.no_grad():
        return below(loss_fn(model(rows.held_x), rows.held_y), 0.05)


@healthy(project="pmixer/SASRec.pytorch", source="github.com/pmixer/SASRec.pytorch")
def next_film_against_one_other(doctor: Doctor, seed: int) -> Score:
    """Films seen so far, padded in front with 0: at each place the next one should score above one drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    follow = torch.rand(41, 41, generator=generator).argsort(1)[:, :3]

    def histories(count: int) -> Tensor:
        """Films 1 to 40 (N, 13), 0 before the first."""
        seen = [torch.randint(1, 41, (count,), generator=generator)]
        for _ in range(12):
            liked = follow[seen[-1], torch.randint(3, (count,), generator=generator)]
            seen.append(torch.where(liked == 0, 1, liked))
        length = torch.randint(5, 14, (count, 1), generator=generator)
        return torch.stack(seen, 1) * (torch.arange(13) >= 13 - length)

    class Attend(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.films, self.place = nn.Embedding(41, 32, padding_idx=0), nn.Embedding(13, 32, padding_idx=0)
            self.drop, self.norm, self.last = nn.Dropout(0.1), nn.LayerNorm(32), nn.LayerNorm(32)
            self.look, self.wide = nn.MultiheadAttention(32, 1, 0.1, batch_first=True), nn.Conv1d(32, 32, 1)

        def forward(self, seen: Tensor) -> Tensor:
            there = (seen != 0)[..., None]
            h = (
                self.drop(self.films(seen) * 32**0.5 + self.place(torch.arange(1, 13).expand(len(seen), 12) * (seen != 0)))
                * there
            )
            later = torch.ones(12, 12, dtype=torch.bool).triu(1)
            h = (h + self.look(self.norm(h), h, h, attn_mask=later)[0]) * there
            return self.last(h + F.relu(self.wide(h.transpose(1, 2))).transpose(1, 2)) * there

    model = Attend()
    for w in model.parameters():
        if w.dim() > 1:
            nn.init.xavier_normal_(w)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, betas=(0.9, 0.98))
    with doctor.watch(model, optimizer) as watch:
        for _ in range(600):
            seen = histories(48)
            h, right = model(seen[:, :-1]), seen[:, 1:]
            other = torch.randint(1, 41, right.shape, generator=generator)
            yes, no = ((h * model.films(each)).sum(2)[seen[:, :-1] != 0] for each in (right, other))
            loss = F.binary_cross_entropy_with_logits(yes, torch.ones_like(yes))
            loss = loss + F.binary_cross_entropy_with_logits(no, torch.zeros_like(no))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    seen = histories(400)
    with torch.no_grad():
        score = model(seen[:, :-1])[:, -1] @ model.films.weight.T
    return above((score.topk(5, 1).indices == seen[:, -1:]).any(1).float().mean(), 0.6)
