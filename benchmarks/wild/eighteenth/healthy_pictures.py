"""Healthy programs over pictures, clouds of points and curves, and programs that make them."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="weiaicunzai/pytorch-cifar100", source="github.com/weiaicunzai/pytorch-cifar100")
def digits_with_steps_that_fall_by_five(doctor: Doctor, seed: int) -> Score:
    """Digits by layers, norms and two dropped layers at the end; the rate warms up for a round and falls by five twice."""
    rows = data.digits(seed)
    blocks: list[nn.Module] = []
    for before, after in ((1, 12), (12, 24)):
        blocks += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
    head = [nn.Linear(96, 128), nn.ReLU(), nn.Dropout(), nn.Linear(128, 128), nn.ReLU(), nn.Dropout(), nn.Linear(128, 10)]
    model = nn.Sequential(*blocks, nn.Flatten(), *head)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    warm = torch.optim.lr_scheduler.LinearLR(optimizer, 1e-3, total_iters=42)
    steps = torch.optim.lr_scheduler.MultiStepLR(optimizer, [120, 200], gamma=0.2)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 32, 260, seed)):
            model.train()
            optimizer.zero_grad()
            loss = F.cross_entropy(model(a), b)
            loss.backward()
            optimizer.step()
            (warm if step < 42 else steps).step()
            watch.loss(loss)
            if step % 42 == 41:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    model.eval()
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)


@healthy(project="mattmacy/vnet.pytorch", source="github.com/mattmacy/vnet.pytorch")
def shapes_cut_out_by_their_overlap(doctor: Doctor, seed: int) -> Score:
    """Where a shape is: down and up again with what was seen before laid beside it, and one minus the overlap as the loss."""
    x, _, masks = data.shapes(700, seed)
    rows = data.split(x, masks[:, None].float(), seed)

    class Vnet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Sequential(nn.Conv2d(1, 8, 5, padding=2), nn.BatchNorm2d(8), nn.ELU())
            self.down = nn.Sequential(nn.Conv2d(8, 16, 2, stride=2), nn.BatchNorm2d(16), nn.ELU())
            self.inner = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ELU())
            self.up = nn.Sequential(nn.ConvTranspose2d(16, 8, 2, stride=2), nn.BatchNorm2d(8), nn.ELU())
            self.out = nn.Sequential(nn.Conv2d(16, 8, 3, padding=1), nn.ELU(), nn.Conv2d(8, 2, 1))

        def forward(self, seen: Tensor) -> Tensor:
            h = self.first(seen)
            low = self.down(h)
            return self.out(torch.cat([h, self.up(low + self.inner(low))], 1)).softmax(1)[:, 1:]

    def overlap(said: Tensor, y: Tensor) -> Tensor:
        return 1 - 2 * (said * y).sum() / (said.pow(2).sum() + y.pow(2).sum() + 1e-6)

    model = Vnet()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, weight_decay=1e-8)
    doctor.task(model, data.few(rows.x, rows.y, 16, seed), overlap, optimizer)
    fit(doctor, model, optimizer, overlap, data.batches(rows.x, rows.y, 16, 120, seed), rows, every=32)
    with torch.no_grad():
        return above(1 - overlap(model(rows.held_x), rows.held_y), 0.75)


@healthy(project="WangYueFt/dgcnn", source="github.com/WangYueFt/dgcnn")
def clouds_whose_points_know_their_neighbours(doctor: Doctor, seed: int) -> Score:
    """Balls, boxes, rings and crosses as 32 points: each point is joined with its four nearest, in space and then in features."""
    generator = torch.Generator().manual_seed(seed)
    point = torch.randn(4, 200, 32, 3, generator=generator)
    ball = F.normalize(point[0], dim=2)
    box = point[1].clamp(-1, 1) / point[1].abs().amax(2, keepdim=True).clamp(max=1)
    ring = torch.cat([F.normalize(point[2][..., :2], dim=2), 0.1 * point[2][..., 2:]], 2)
    cross = point[3] * F.one_hot(torch.randint(3, (200, 32), generator=generator), 3)
    clouds = torch.cat([ball, box, ring, cross]) + 0.05 * torch.randn(800, 32, 3, generator=generator)
    rows = data.split(clouds, torch.arange(4).repeat_interleave(200), seed)

    def joined(h: Tensor) -> Tensor:
        """Points (N, P, C) to pairs of a point and the way to one of its nearest (N, P, 4, 2C)."""
        near = torch.cdist(h, h).topk(5, largest=False)[1][..., 1:]
        other = h[torch.arange(len(h))[:, None, None], near]
        own = h[:, :, None].expand_as(other)
        return torch.cat([own, other - own], 3)

    class Dgcnn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = (
                nn.Sequential(nn.Linear(6, 24), nn.LeakyReLU(0.2)),
                nn.Sequential(nn.Linear(48, 48), nn.LeakyReLU(0.2)),
            )
            self.norm = nn.BatchNorm1d(96)
            self.head = nn.Sequential(nn.Linear(96, 32), nn.LeakyReLU(0.2), nn.Dropout(0.3), nn.Linear(32, 4))

        def forward(self, seen: Tensor) -> Tensor:
            h = self.two(joined(self.one(joined(seen)).amax(2))).amax(2)
            return self.head(self.norm(torch.cat([h.amax(1), h.mean(1)], 1)))

    model = Dgcnn()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)

    def loss_fn(said: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(said, y, label_smoothing=0.2)

    doctor.task(model, data.few(rows.x, rows.y, 16, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 16, 130, seed), rows, every=37)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)


@healthy(project="timeseriesAI/tsai", source="github.com/timeseriesAI/tsai")
def curves_seen_through_three_widths(doctor: Doctor, seed: int) -> Score:
    """Bell, funnel and cylinder, three curves under noise: filters of three widths side by side, and one cycle of the rate."""
    generator = torch.Generator().manual_seed(seed)
    kind = torch.randint(3, (800,), generator=generator)
    begin, long = torch.randint(4, 16, (800, 1), generator=generator), torch.randint(12, 28, (800, 1), generator=generator)
    time = torch.arange(48)
    rise = (time - begin) / long
    form = torch.where(kind[:, None] == 0, torch.ones(800, 48), torch.where(kind[:, None] == 1, rise, 1 - rise))
    height = 3 + 0.5 * torch.randn(800, 1, generator=generator)
    curve = height * form * ((rise >= 0) & (rise <= 1)) + 0.6 * torch.randn(800, 48, generator=generator)
    curve = (curve - curve.mean(1, keepdim=True)) / curve.std(1, keepdim=True)
    rows = data.split(curve[:, None], kind, seed)

    class Inception(nn.Module):
        def __init__(self, before: int) -> None:
            super().__init__()
            self.widths = nn.ModuleList(nn.Conv1d(before, 8, k, padding=k // 2, bias=False) for k in (15, 7, 3))
            self.pool, self.norm = nn.Conv1d(before, 8, 1, bias=False), nn.BatchNorm1d(32)

        def forward(self, h: Tensor) -> Tensor:
            parts = [each(h) for each in self.widths]
            return self.norm(torch.cat([*parts, self.pool(F.max_pool1d(h, 3, 1, 1))], 1)).relu()

    model = nn.Sequential(Inception(1), Inception(32), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(32, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=150)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 32, 150, seed)):
            model.train()
            loss = F.cross_entropy(model(a), b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            watch.loss(loss)
            if step % 36 == 35:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    model.eval()
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.88)


@healthy(project="caogang/wgan-gp", source="github.com/caogang/wgan-gp")
def eight_heaps_on_a_circle(doctor: Doctor, seed: int) -> Score:
    """Points in eight heaps: a critic whose slope is held near 1, five of its steps for each one of the maker."""
    generator = torch.Generator().manual_seed(seed)
    turn = torch.arange(8) * 6.2832 / 8
    heaps = torch.stack([turn.cos(), turn.sin()], 1) * 1.4

    def real(count: int) -> Tensor:
        pick = torch.randint(8, (count,), generator=generator)
        return heaps[pick] + 0.05 * torch.randn(count, 2, generator=generator)

    maker = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    critic = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    first, second = (torch.optim.Adam(each.parameters(), lr=2e-3, betas=(0.5, 0.9)) for each in (maker, critic))
    with doctor.watch(nn.ModuleDict({"maker": maker, "critic": critic}), [first, second]) as watch:
        for _ in range(180):
            for _ in range(4):
                a = real(64)
                with torch.no_grad():
                    b = maker(torch.randn(64, 2, generator=generator))
                share = torch.rand(64, 1, generator=generator)
                between = (share * a + (1 - share) * b).requires_grad_()
                (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
                loss = critic(b).mean() - critic(a).mean() + 1.0 * (slope.norm(dim=1) - 1).pow(2).mean()
                second.zero_grad()
                loss.backward()
                second.step()
                watch.loss(loss)
            fooled = -critic(maker(torch.randn(64, 2, generator=generator))).mean()
            first.zero_grad()
            fooled.backward()
            first.step()
    with torch.no_grad():
        made = maker(torch.randn(800, 2, generator=generator))
    share = F.one_hot(torch.cdist(made, heaps).argmin(1), 8).float().mean(0)
    return below(torch.cdist(made, heaps).amin(1).mean() + (share - 1 / 8).abs().sum(), 0.75)


@healthy(project="lucidrains/denoising-diffusion-pytorch", source="github.com/lucidrains/denoising-diffusion-pytorch")
def digits_out_of_noise(doctor: Doctor, seed: int) -> Score:
    """Digits under noise of forty strengths: a net told the strength says which way noise lies; its average draws new ones."""
    rows = data.digits(seed)
    x = (rows.x * 2 - 1).flatten(1)
    generator = torch.Generator().manual_seed(seed)
    beta = torch.linspace(1e-3, 0.2, 40)
    kept = (1 - beta).cumprod(0)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.time = nn.Embedding(40, 192)
            self.enter, self.inner, self.out = nn.Linear(64, 192), nn.Linear(192, 192), nn.Linear(192, 64)

        def forward(self, seen: Tensor, t: Tensor) -> Tensor:
            h = F.silu(self.enter(seen) + self.time(t))
            return self.out(h + F.silu(self.inner(h)))

    model = Net()
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.98))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, betas=(0.9, 0.99))
    with doctor.watch(model, optimizer) as watch:
        for a, _ in data.batches(x, rows.y, 64, 700, seed):
            t = torch.randint(40, (64,), generator=generator)
            noise = torch.randn(64, 64, generator=generator)
            much, little = kept[t, None].sqrt(), (1 - kept[t, None]).sqrt()
            loss = F.mse_loss(model(much * a + little * noise, t), much * noise - little * a)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            average.update_parameters(model)
            watch.loss(loss)
    made = torch.randn(400, 64, generator=generator)
    with torch.no_grad():
        for at in reversed(range(40)):
            way = average(made, torch.full((400,), at))
            clean = (kept[at].sqrt() * made - (1 - kept[at]).sqrt() * way).clamp(-1, 1)
            noise = (made - kept[at].sqrt() * clean) / (1 - kept[at]).sqrt()
            before = kept[at - 1] if at else torch.tensor(1.0)
            made = before.sqrt() * clean + (1 - before).sqrt() * noise
    off = (made.mean(0) - x.mean(0)).abs().mean() + (made.std(0) - x.std(0)).abs().mean()
    return below(off, 0.35)


@healthy(project="bayesiains/nflows", source="github.com/bayesiains/nflows")
def two_moons_from_one_cloud(doctor: Doctor, seed: int) -> Score:
    """Two moons as a bent cloud: one half of the numbers scales and shifts the other, six times, by maximum likelihood."""
    generator = torch.Generator().manual_seed(seed)

    def moons(count: int) -> Tensor:
        turn = 3.1416 * torch.rand(count, generator=generator)
        upper = torch.rand(count, generator=generator) < 0.5
        x = torch.where(upper, turn.cos(), 1 - turn.cos())
        y = torch.where(upper, turn.sin(), 0.5 - turn.sin())
        return torch.stack([x - 0.5, y - 0.25], 1) * 1.4 + 0.07 * torch.randn(count, 2, generator=generator)

    class Flow(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.nets = nn.ModuleList(
                nn.Sequential(nn.Linear(1, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 2)) for _ in range(6)
            )

        def forward(self, x: Tensor) -> Tensor:
            """Logarithm of the likelihood (N,)."""
            grown = torch.zeros(len(x))
            a, b = x.split(1, 1)
            for net in self.nets:
                scale, shift = net(a).split(1, 1)
                scale = 2 * (scale / 2).tanh()
                a, b = b * scale.exp() + shift, a
                grown = grown + scale[:, 0]
            return grown - 0.5 * (a.pow(2) + b.pow(2)).sum(1) - 1.8379

    model = Flow()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    held = moons(500)
    with doctor.watch(model, optimizer) as watch:
        for step in range(300):
            loss = -model(moons(128)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 60 == 59:
                with torch.no_grad():
                    watch.dev_loss(-model(held).mean())
    with torch.no_grad():
        return below(-model(held).mean(), 1.75)
