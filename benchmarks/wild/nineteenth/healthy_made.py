"""Healthy programs that make things: clouds bent one number after another, codes from a book, pairs of nets, grains that fall."""

from __future__ import annotations

import math

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Masked(nn.Linear):
    """A layer some of whose weights are held at 0, so that no number hears of later ones."""

    mask: Tensor

    def __init__(self, before: Tensor, after: Tensor, *, strict: bool) -> None:
        super().__init__(len(before), len(after))
        seen = after[:, None] > before if strict else after[:, None] >= before
        self.register_buffer("mask", seen.float())

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.mask, self.bias)


@healthy(project="ikostrikov/pytorch-flows", source="github.com/ikostrikov/pytorch-flows")
def wines_bent_into_one_cloud(doctor: Doctor, seed: int) -> Score:
    """Four measures of wines as one bent cloud, each told by those before it, four times over; the best round is kept."""
    rows = data.table("wine", seed)
    x, held = rows.x[:, [0, 6, 9, 12]], rows.held_x[:, [0, 6, 9, 12]]
    degree = torch.arange(1, 5)
    hidden = torch.arange(24) % 3 + 1

    class Flow(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.nets = nn.ModuleList(
                nn.Sequential(
                    Masked(degree, hidden, strict=False), nn.Tanh(), Masked(hidden, torch.cat([degree, degree]), strict=True)
                )
                for _ in range(4)
            )

        def forward(self, x: Tensor) -> Tensor:
            """Minus the logarithm of how likely each row is (N,)."""
            grown = torch.zeros(len(x))
            for net in self.nets:
                shift, scale = net(x).chunk(2, 1)
                x = ((x - shift) * (-scale).exp()).flip(1)
                grown = grown - scale.sum(1)
            return 0.5 * (x.pow(2) + math.log(2 * math.pi)).sum(1) - grown

    model = Flow()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, weight_decay=1e-4)
    best, kept = math.inf, {name: each.clone() for name, each in model.state_dict().items()}
    generator = torch.Generator().manual_seed(seed)
    with doctor.watch(model, optimizer) as watch:
        for epoch in range(60):
            for pick in torch.randperm(len(x), generator=generator).split(32):
                loss = model(x[pick] + 0.05 * torch.randn(len(pick), 4, generator=generator)).mean()
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 5.0)
                optimizer.step()
                watch.loss(loss)
            with torch.no_grad():
                now = model(held).mean()
            if epoch % 5 == 4:
                watch.dev_loss(now)
            if now < best:
                best, kept = float(now), {name: each.clone() for name, each in model.state_dict().items()}
    model.load_state_dict(kept)
    with torch.no_grad():
        return below(model(held).mean(), 5.3)


@healthy(project="rosinality/vq-vae-2-pytorch", source="github.com/rosinality/vq-vae-2-pytorch")
def digits_spelled_from_a_book(doctor: Doctor, seed: int) -> Score:
    """Digits as sixteen entries each of a book of 64; the book follows the mean of what chose it, and no gradient goes there."""
    rows = data.digits(seed)

    class Book(nn.Module):
        entries: Tensor
        size: Tensor
        total: Tensor

        def __init__(self) -> None:
            super().__init__()
            first = torch.randn(64, 8) * 0.3
            self.register_buffer("entries", first)
            self.register_buffer("size", torch.ones(64))
            self.register_buffer("total", first.clone())

        def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
            flat = h.reshape(-1, 8)
            chosen = torch.cdist(flat, self.entries).argmin(1)
            if self.training:
                with torch.no_grad():
                    hot = F.one_hot(chosen, 64).float()
                    self.size.mul_(0.95).add_(0.05 * hot.sum(0))
                    self.total.mul_(0.95).add_(0.05 * hot.T @ flat)
                    self.entries.copy_(self.total / (self.size[:, None] + 1e-3))
            told = self.entries[chosen].view_as(h)
            return h + (told - h).detach(), F.mse_loss(h, told.detach())

    class Vqvae(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Sequential(
                nn.Conv2d(1, 24, 4, stride=2, padding=1), nn.ReLU(), nn.Conv2d(24, 24, 3, padding=1), nn.ReLU(),
                nn.Conv2d(24, 8, 1),
            )  # fmt: skip
            self.book = Book()
            self.decoder = nn.Sequential(
                nn.Conv2d(8, 24, 3, padding=1), nn.ReLU(), nn.ConvTranspose2d(24, 24, 4, stride=2, padding=1), nn.ReLU(),
                nn.Conv2d(24, 1, 3, padding=1),
            )  # fmt: skip

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            h, off = self.book(self.encoder(x).permute(0, 2, 3, 1))
            return self.decoder(h.permute(0, 3, 1, 2)), off

    model = Vqvae()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, _) in enumerate(data.batches(rows.x, rows.y, 24, 260, seed)):
            model.train()
            again, off = model(a)
            loss = F.mse_loss(again, a) + 0.25 * off
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 84 == 83:
                model.eval()
                with torch.no_grad():
                    again, off = model(rows.held_x)
                    watch.dev_loss(F.mse_loss(again, rows.held_x) + 0.25 * off)
    model.eval()
    with torch.no_grad():
        return above(data.r2(model(rows.held_x)[0], rows.held_x), 0.6)


@healthy(project="ajbrock/BigGAN-PyTorch", source="github.com/ajbrock/BigGAN-PyTorch")
def digits_made_on_demand(doctor: Doctor, seed: int) -> Score:
    """Digits made for a class told: hinges, spectral norms, a judge that looks at the class too, and an average of the maker."""
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)
    normed = nn.utils.parametrizations.spectral_norm

    class Maker(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kind = nn.Embedding(10, 16)
            self.body = nn.Sequential(
                nn.Linear(32, 96), nn.ReLU(), nn.Linear(96, 96), nn.BatchNorm1d(96), nn.ReLU(), nn.Linear(96, 64), nn.Sigmoid()
            )

        def forward(self, z: Tensor, y: Tensor) -> Tensor:
            return self.body(torch.cat([z, self.kind(y)], 1))

    class Judge(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(normed(nn.Linear(64, 96)), nn.LeakyReLU(0.2), normed(nn.Linear(96, 96)), nn.LeakyReLU(0.2))
            self.out, self.kind = normed(nn.Linear(96, 1)), normed(nn.Embedding(10, 96))

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            h = self.body(x)
            return self.out(h)[:, 0] + (h * self.kind(y)).sum(1)

    maker, judge = Maker(), Judge()
    average = torch.optim.swa_utils.AveragedModel(
        maker, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.98), use_buffers=True
    )
    first = torch.optim.Adam(maker.parameters(), lr=1e-3, betas=(0.0, 0.99))
    second = torch.optim.Adam(judge.parameters(), lr=3e-3, betas=(0.0, 0.99))
    with doctor.watch(nn.ModuleDict({"maker": maker, "judge": judge}), [first, second]) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x.flatten(1), rows.y, 48, 500, seed)):
            made = maker(torch.randn(48, 16, generator=generator), b)
            loss = (1 - judge(a, b)).relu().mean() + (1 + judge(made.detach(), b)).relu().mean()
            second.zero_grad()
            loss.backward()
            second.step()
            watch.loss(loss)
            if step % 2:
                y = torch.randint(10, (48,), generator=generator)
                fooled = -judge(maker(torch.randn(48, 16, generator=generator), y), y).mean()
                first.zero_grad()
                fooled.backward()
                first.step()
                average.update_parameters(maker)
    average.eval()
    y = torch.arange(10).repeat_interleave(40)
    with torch.no_grad():
        made = average(torch.randn(400, 16, generator=generator), y)
    middles = torch.stack([rows.x.flatten(1)[rows.y == k].mean(0) for k in range(10)])
    return above((torch.cdist(made, middles).argmin(1) == y).float().mean(), 0.7)


@healthy(project="geoelements/gns", source="github.com/geoelements/gns")
def grains_that_push_each_other(doctor: Doctor, seed: int) -> Score:
    """Eight grains in a box, joined by messages: how each is sped up by the others, from places with a little noise on them."""
    generator = torch.Generator().manual_seed(seed)
    pairs = torch.tensor([(i, j) for i in range(8) for j in range(8) if i != j])

    def pushes(place: Tensor) -> Tensor:
        gap = place[:, :, None] - place[:, None]
        far = gap.norm(dim=3, keepdim=True)
        wall = 8 * (0.2 - place).relu() - 8 * (place - 0.8).relu()
        return (12 * (-((far / 0.3) ** 2)).exp() * gap).sum(2) + wall - torch.tensor([0.0, 1.0])

    def scenes(count: int) -> tuple[Tensor, Tensor]:
        """Places and speeds (N, 8, 4) and what each grain is sped up by (N, 8, 2)."""
        place, speed = torch.rand(count, 8, 2, generator=generator), 0.3 * torch.randn(count, 8, 2, generator=generator)
        return torch.cat([place, speed], 2), pushes(place) - 0.5 * speed

    class Gns(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.message = nn.Sequential(nn.Linear(3, 48), nn.SiLU(), nn.Linear(48, 32))
            self.change = nn.Sequential(nn.Linear(36, 48), nn.SiLU(), nn.LayerNorm(48), nn.Linear(48, 2))

        def forward(self, scene: Tensor) -> Tensor:
            gap = scene[:, pairs[:, 0], :2] - scene[:, pairs[:, 1], :2]
            sent = self.message(torch.cat([gap, gap.norm(dim=2, keepdim=True)], 2))
            heard = torch.zeros(len(scene), 8, 32).index_add(1, pairs[:, 0], sent)
            return self.change(torch.cat([scene, heard], 2))

    x, y = scenes(1600)
    rows = data.split(x + 0.005 * torch.randn(x.shape, generator=generator), y / y.std(), seed)
    model = Gns()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    doctor.task(model, data.few(rows.x, rows.y, 24, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 24, 400, seed), rows, every=50)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y), 0.5)
