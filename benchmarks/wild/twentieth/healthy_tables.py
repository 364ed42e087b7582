"""Healthy programs on tables and series: trees that bend, odd pumps, a season and a trend."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="Qwicen/node", source="github.com/Qwicen/node")
def cells_by_trees_that_bend(doctor: Doctor, seed: int) -> Score:
    """Harmless or not, by trees that ask the same on each floor: features chosen softly, bounds set by the first rows."""
    rows = data.table("breast_cancer", seed)
    depth, trees = 4, 24
    codes = torch.tensor([[(leaf >> floor) & 1 for floor in range(depth)] for leaf in range(2**depth)]).float()

    class Trees(nn.Module):
        known: Tensor

        def __init__(self, features: int) -> None:
            super().__init__()
            self.choose = nn.Parameter(torch.rand(features, trees, depth))
            self.bound, self.log_heat = nn.Parameter(torch.zeros(trees, depth)), nn.Parameter(torch.zeros(trees, depth))
            self.answer = nn.Parameter(torch.randn(trees, 2**depth))
            self.register_buffer("known", torch.tensor(0))

        def forward(self, x: Tensor) -> Tensor:
            seen = torch.einsum("nf,ftd->ntd", x, (8 * self.choose).softmax(0))
            if not self.known:
                with torch.no_grad():
                    pick = torch.randint(len(x), (trees, depth))
                    self.bound.copy_(seen.gather(0, pick[None])[0])
                    self.log_heat.copy_((seen - self.bound).abs().median(0).values.clamp(min=1e-3).log())
                    self.known.fill_(1)
            right = (0.5 * (seen - self.bound) * (-self.log_heat).exp() + 0.5).clamp(0, 1)
            right = right[:, :, None]
            share = (right * codes + (1 - right) * (1 - codes)).prod(3)
            return (share * self.answer).sum(2)

    class Node(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = Trees(30), Trees(30 + trees)

        def forward(self, x: Tensor) -> Tensor:
            h = self.first(x)
            return torch.cat([h, self.second(torch.cat([x, h], 1))], 1).mean(1)

    model = Node()
    with torch.no_grad():
        model(rows.x)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, betas=(0.95, 0.998), weight_decay=0.0)
    y, held_y = rows.y.float(), rows.held_y.float()
    loss_fn = F.binary_cross_entropy_with_logits
    doctor.task(model, data.few(rows.x, y, 32, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, y, 32, 300, seed), rows._replace(y=y, held_y=held_y), every=50)
    with torch.no_grad():
        return above(((model(rows.held_x) > 0) == (held_y > 0.5)).float().mean(), 0.9)


@healthy(
    project="chickenbestlover/RNN-Time-series-Anomaly-Detection",
    source="github.com/chickenbestlover/RNN-Time-series-Anomaly-Detection",
)
def pumps_that_run_oddly(doctor: Doctor, seed: int) -> Score:
    """Five gauges over time: a memory tells the next step, from the true one or its own, and what it tells badly is odd."""
    generator = torch.Generator().manual_seed(seed)

    def gauges(count: int) -> Tensor:
        """Sixteen steps of five gauges (N, 16, 5)."""
        phase = 6.28 * torch.rand(count, 1, 1, generator=generator)
        wave = (torch.arange(16.0)[:, None] * torch.tensor([0.3, 0.6, 0.3, 0.9, 0.6]) + phase).sin()
        return wave + 0.1 * torch.randn(count, 16, 5, generator=generator)

    class Memory(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.read, self.luck = nn.Linear(5, 24), nn.Dropout(0.1)
            self.cell, self.out = nn.GRU(24, 32, batch_first=True), nn.Linear(32, 5)

        def forward(self, x: Tensor) -> Tensor:
            """What is told of steps 1 to 15 (N, 15, 5)."""
            return self.out(self.luck(self.cell(self.luck(self.read(x[:, :-1])).tanh())[0]))

    model = Memory()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3, weight_decay=1e-4)
    x, held = gauges(1000), gauges(200)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, _) in enumerate(data.batches(x, x, 32, 300, seed)):
            model.train()
            told = model(a)
            own = model(torch.cat([a[:, :1], told.detach()], 1))
            loss = F.mse_loss(told, a[:, 1:]) + F.mse_loss(own[:, 1:], a[:, 2:])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimizer.step()
            watch.loss(loss)
            if step % 50 == 49:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.mse_loss(model(held), held[:, 1:]))
    odd = gauges(200)
    odd[:, 8:11, 1] = -odd[:, 8:11, 1]
    model.eval()
    with torch.no_grad():
        strange = [(model(each) - each[:, 1:]).pow(2).mean(2).amax(1) for each in (gauges(200), odd)]
    return above((strange[1][:, None] > strange[0]).float().mean(), 0.75)


@healthy(project="thuml/Autoformer", source="github.com/thuml/Autoformer")
def a_season_and_a_trend_apart(doctor: Doctor, seed: int) -> Score:
    """The next twelve steps of a series with a season and a trend: split by a moving mean, matched with itself at delays."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(36.0)
    own = torch.randn(1200, 4, 1, generator=generator)
    season = (1 + 0.3 * own[:, 0]) * (6.28 * (time / 12 + own[:, 1])).sin() + 0.5 * (6.28 * (time / 6 + own[:, 2])).sin()
    series = season + 0.04 * own[:, 3] * time + 0.1 * torch.randn(1200, 36, generator=generator)
    rows = data.split(series[:, :24], series[:, 24:], seed)

    def parted(x: Tensor) -> tuple[Tensor, Tensor]:
        """A series (N, 24, C) as what is left and its moving mean."""
        trend = F.avg_pool1d(F.pad(x.transpose(1, 2), (6, 6), mode="replicate"), 13, 1).transpose(1, 2)
        return x - trend, trend

    class Match(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.k, self.v, self.o = (nn.Linear(24, 24) for _ in range(4))

        def forward(self, x: Tensor) -> Tensor:
            q, k, v = self.q(x), self.k(x), self.v(x)
            match = torch.fft.irfft(torch.fft.rfft(q, dim=1) * torch.fft.rfft(k, dim=1).conj(), 24, dim=1).mean(2)
            best, delay = match.topk(4)
            at = (torch.arange(24)[None, None] + delay[..., None]) % 24
            rolled = v[torch.arange(len(x))[:, None, None], at]
            return self.o((rolled * best.softmax(1)[..., None, None]).sum(1))

    class Former(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lift, self.match = nn.Conv1d(1, 24, 3, padding=1, padding_mode="circular"), Match()
            self.more = nn.Sequential(nn.Linear(24, 48), nn.GELU(), nn.Dropout(0.05), nn.Linear(48, 24))
            self.out, self.trend = nn.Linear(24 * 24, 12), nn.Linear(24, 12)

        def forward(self, x: Tensor) -> Tensor:
            season, trend = parted(x[..., None])
            h = self.lift(season.transpose(1, 2)).transpose(1, 2)
            h, _ = parted(h + self.match(h))
            h, _ = parted(h + self.more(h))
            return self.out(h.flatten(1)) + self.trend(trend[..., 0])

    model = Former()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 32, 320, seed), rows, every=40)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y), 0.75)
