"""Healthy programs: pictures, adversaries, flows, boxes, play."""

from __future__ import annotations

import copy

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Masked(nn.Module):
    """Half of the sixteen patches is seen by the encoder; the decoder fills in the others."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.place = nn.Linear(4, 48), nn.Parameter(0.02 * torch.randn(16, 48))
        self.encoder = nn.TransformerEncoderLayer(48, 4, 96, dropout=0.0, batch_first=True, norm_first=True)
        self.mask_token, self.place_out = nn.Parameter(0.02 * torch.randn(48)), nn.Parameter(0.02 * torch.randn(16, 48))
        self.decoder = nn.TransformerEncoderLayer(48, 4, 96, dropout=0.0, batch_first=True, norm_first=True)
        self.head = nn.Sequential(nn.LayerNorm(48), nn.Linear(48, 4))

    def forward(self, x: Tensor, order: Tensor, seen: int) -> tuple[Tensor, Tensor]:
        patches = F.unfold(x, 2, stride=2).transpose(1, 2)  # (B, 16, 4)
        tokens = self.embed(patches) + self.place
        kept = order[:, :seen, None].expand(-1, -1, 48)
        code = self.encoder(tokens.gather(1, kept))
        full = self.mask_token.expand(len(x), 16, 48).scatter(1, kept, code)
        return self.head(self.decoder(full + self.place_out)), patches


@healthy(project="pengzhiliang/MAE-pytorch", source="github.com/pengzhiliang/MAE-pytorch")
def patches_filled_in(doctor: Doctor, seed: int) -> Score:
    """A masked autoencoder: the loss is on hidden patches only; warm-up and cosine over a short run."""
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)
    model = Masked()
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, betas=(0.9, 0.95), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=500, pct_start=0.1)

    def hidden_loss(x: Tensor) -> Tensor:
        order = torch.rand(len(x), 16, generator=generator).argsort(1)
        told, truth = model(x, order, 8)
        hidden = order[:, 8:, None].expand(-1, -1, 4)
        return F.mse_loss(told.gather(1, hidden), truth.gather(1, hidden))

    with doctor.watch(model, optimizer) as watch:
        for step, (x, _) in enumerate(data.batches(rows.x, rows.y, 48, 500, seed)):
            loss = hidden_loss(x)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            watch.loss(loss)
            if step % 100 == 99:
                with torch.no_grad():
                    watch.dev_loss(hidden_loss(rows.held_x))
    with torch.no_grad():
        plain = (rows.held_x - rows.x.mean(0)).pow(2).mean()
        return below(hidden_loss(rows.held_x) / plain, 0.82)


@healthy(project="HobbitLong/SupContrast", source="github.com/HobbitLong/SupContrast")
def pulled_together_by_label(doctor: Doctor, seed: int) -> Score:
    """Supervised contrast: rows of a class attract each other; the loss rests far above 0 since a batch has many of each."""
    rows = data.digits(seed)
    body = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    model = nn.Sequential(body, nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 24))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)

    def contrast(z: Tensor, y: Tensor) -> Tensor:
        logits = z @ z.T / 0.1
        own = torch.eye(len(z), dtype=torch.bool)
        alike = (y[:, None] == y) & ~own
        likely = logits - logits.masked_fill(own, float("-inf")).logsumexp(1, keepdim=True)
        return -((likely * alike).sum(1) / alike.sum(1).clamp(min=1)).mean()

    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 64, 200, seed):
            views = torch.cat([x + 0.1 * torch.randn_like(x), x.roll(1, 3)])
            loss = contrast(F.normalize(model(views), dim=1), y.repeat(2))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        seen, new = F.normalize(model(rows.x)), F.normalize(model(rows.held_x))
    return above((rows.y[(new @ seen.T).argmax(1)] == rows.held_y).float().mean(), 0.93)


@healthy(
    project="junyanz/pytorch-CycleGAN-and-pix2pix",
    source="github.com/junyanz/pytorch-CycleGAN-and-pix2pix",
)
def outlines_filled_by_two_losses(doctor: Doctor, seed: int) -> Score:
    """pix2pix: an L1 loss a hundred times as heavy beside that of a critic which sees the input too."""
    x, _, mask = data.shapes(900, seed, noise=0.3)
    truth = mask.float()[:, None] * 1.6 - 0.8
    rows = data.split(x, truth, seed)
    g = nn.Sequential(
        nn.Conv2d(1, 24, 5, padding=2), nn.InstanceNorm2d(24), nn.ReLU(), nn.Conv2d(24, 24, 5, padding=2), nn.ReLU()
    )
    g.extend([nn.Conv2d(24, 1, 3, padding=1), nn.Tanh()])
    d = nn.Sequential(nn.Conv2d(2, 16, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(16, 1, 4, 2, 1))
    optim_g = torch.optim.Adam(g.parameters(), lr=2e-3, betas=(0.5, 0.999))
    optim_d = torch.optim.Adam(d.parameters(), lr=2e-4, betas=(0.5, 0.999))
    with doctor.watch(nn.ModuleDict({"g": g, "d": d}), [optim_g, optim_d]) as watch:
        for a, b in data.batches(rows.x, rows.y, 16, 200, seed):
            fake = g(a)
            d.requires_grad_(requires_grad=True)
            optim_d.zero_grad()
            d_loss = ((d(torch.cat([a, b], 1)) - 1).pow(2).mean() + d(torch.cat([a, fake.detach()], 1)).pow(2).mean()) / 2
            d_loss.backward()
            optim_d.step()
            d.requires_grad_(requires_grad=False)
            optim_g.zero_grad()
            g_loss = (d(torch.cat([a, fake], 1)) - 1).pow(2).mean() + 100 * F.l1_loss(fake, b)
            g_loss.backward()
            optim_g.step()
            watch.loss(g_loss)
    return below(F.l1_loss(g(rows.held_x), rows.held_y), 0.15)


@healthy(project="gnobitab/RectifiedFlow", source="github.com/gnobitab/RectifiedFlow")
def straight_lines_to_eight_points(doctor: Doctor, seed: int) -> Score:
    """Rectified flow: the target is a difference of noise and data, so that the loss can never come near 0."""
    generator = torch.Generator().manual_seed(seed)
    v = nn.Sequential(nn.Linear(3, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 2))
    optimizer = torch.optim.Adam(v.parameters(), lr=3e-3)
    angle = torch.arange(8) * 6.2832 / 8
    points = 2 * torch.stack([angle.cos(), angle.sin()], 1)
    with doctor.watch(v, optimizer) as watch:
        for _ in range(800):
            start = torch.randn(128, 2, generator=generator)
            end = points[torch.randint(8, (128,), generator=generator)] + 0.1 * torch.randn(128, 2, generator=generator)
            t = torch.rand(128, 1, generator=generator)
            loss = F.mse_loss(v(torch.cat([t * end + (1 - t) * start, t], 1)), end - start)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        z = torch.randn(500, 2, generator=generator)
        for k in range(30):
            z = z + v(torch.cat([z, torch.full((500, 1), k / 30)], 1)) / 30
        return below(torch.cdist(z, points).amin(1).mean(), 0.5)


@healthy(
    project="aladdinpersson/Machine-Learning-Collection",
    source="github.com/aladdinpersson/Machine-Learning-Collection",
)
def boxes_on_a_grid(doctor: Doctor, seed: int) -> Score:
    """A detector in the manner of YOLO: a sum of squared errors with weights of 5 and 0.5; most cells hold nothing."""
    x, kind, mask = data.shapes(1000, seed, noise=0.1)
    size = mask.sum((1, 2)).float()
    centre = torch.stack([(mask.sum(axis) * torch.arange(16.0)).sum(1) / size for axis in (2, 1)], 1) / 4  # in cells of 4 pixels
    target = torch.zeros(1000, 4, 4, 8)  # there or not, row, column, size, class
    cell = centre.long().clamp(0, 3)
    fill = torch.cat([torch.ones(1000, 1), centre - cell, (size[:, None] / 100).sqrt(), F.one_hot(kind, 4).float()], 1)
    target[torch.arange(1000), cell[:, 0], cell[:, 1]] = fill
    rows = data.split(x, target, seed)
    model = nn.Sequential(
        nn.Conv2d(1, 24, 3, 2, 1, bias=False),
        nn.BatchNorm2d(24),
        nn.LeakyReLU(0.1),
        nn.Conv2d(24, 48, 3, 2, 1, bias=False),
        nn.BatchNorm2d(48),
        nn.LeakyReLU(0.1),
        nn.Conv2d(48, 64, 3, 1, 1),
        nn.LeakyReLU(0.1),
        nn.Conv2d(64, 8, 1),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    def yolo(output: Tensor, y: Tensor) -> Tensor:
        told, there = output.permute(0, 2, 3, 1), y[..., :1]
        square = (told - y).pow(2)
        box = (square[..., 1:4] * there).sum()
        rest = (square[..., :1] * there).sum() + (square[..., 4:] * there).sum()
        return (5 * box + rest + 0.5 * (square[..., :1] * (1 - there)).sum()) / len(y)

    doctor.task(model, data.few(rows.x, rows.y, 16, seed), yolo, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 16, 400, seed)):
            model.train()
            loss = yolo(model(a), b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 80 == 79:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(yolo(model(rows.held_x), rows.held_y))
    model.eval()
    told = model(rows.held_x)[:, 0].flatten(1).argmax(1)
    return above((told == rows.held_y[..., 0].flatten(1).argmax(1)).float().mean(), 0.8)


@healthy(project="locuslab/fast_adversarial", source="github.com/locuslab/fast_adversarial")
def trained_on_its_own_attacks(doctor: Doctor, seed: int) -> Score:
    """Each batch is first moved up its own loss; gradients of the inputs are taken beside those of the weights."""
    rows = data.digits(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CyclicLR(optimizer, 0.001, 0.08, step_size_up=120, step_size_down=180)

    def attacked(x: Tensor, y: Tensor) -> Tensor:
        delta = (torch.rand_like(x) * 0.2 - 0.1).requires_grad_()
        (slope,) = torch.autograd.grad(F.cross_entropy(model(x + delta), y), delta)
        return (x + (delta + 0.12 * slope.sign()).clamp(-0.1, 0.1)).detach().clamp(0, 1)

    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 48, 300, seed):
            loss = F.cross_entropy(model(attacked(x, y)), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            watch.loss(loss)
    return above(data.accuracy(model(attacked(rows.held_x, rows.held_y)), rows.held_y), 0.8)


@healthy(project="pranz24/pytorch-soft-actor-critic", source="github.com/pranz24/pytorch-soft-actor-critic")
def soft_actor_with_two_critics(doctor: Doctor, seed: int) -> Score:
    """SAC: three optimisers, a tanh of a drawn action, critics after their slow copies, losses that rise as play gets better."""
    generator = torch.Generator().manual_seed(seed)
    actor = nn.Sequential(nn.Linear(2, 48), nn.ReLU(), nn.Linear(48, 2))
    critics = nn.ModuleList(
        nn.Sequential(nn.Linear(3, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 1)) for _ in "12"
    )
    slow = copy.deepcopy(critics).requires_grad_(requires_grad=False)
    optim_a, optim_c = torch.optim.Adam(actor.parameters(), lr=3e-3), torch.optim.Adam(critics.parameters(), lr=3e-3)

    def act(s: Tensor) -> tuple[Tensor, Tensor]:
        mean, spread = actor(s).chunk(2, 1)
        normal = torch.distributions.Normal(mean, spread.clamp(-4, 1).exp())
        raw = normal.rsample()
        return torch.tanh(raw), normal.log_prob(raw) - (1 - torch.tanh(raw).pow(2) + 1e-6).log()

    def lowest(of: nn.ModuleList, s: Tensor, a: Tensor) -> Tensor:
        both = torch.cat([s, a], 1)
        return torch.min(of[0](both), of[1](both))

    with doctor.watch(nn.ModuleDict({"actor": actor, "critics": critics}), [optim_a, optim_c]) as watch:
        for _ in range(500):
            s = torch.rand(64, 2, generator=generator) * 4 - 2  # place and speed
            with torch.no_grad():
                a = torch.where(
                    torch.rand(64, 1, generator=generator) < 0.5, 2 * torch.rand(64, 1, generator=generator) - 1, act(s)[0]
                )
                after = torch.cat([s[:, :1] + 0.3 * s[:, 1:], s[:, 1:] * 0.8 + 0.6 * a], 1).clamp(-2, 2)
                reward = 1 - after[:, :1].pow(2) - 0.1 * after[:, 1:].pow(2)
                next_a, likely = act(after)
                aim = reward + 0.9 * (lowest(slow, after, next_a) - 0.05 * likely)
            both = torch.cat([s, a], 1)
            c_loss = F.mse_loss(critics[0](both), aim) + F.mse_loss(critics[1](both), aim)
            optim_c.zero_grad()
            c_loss.backward()
            optim_c.step()
            played, likely = act(s)
            a_loss = (0.05 * likely - lowest(critics, s, played)).mean()
            optim_a.zero_grad()
            a_loss.backward()
            optim_a.step()
            with torch.no_grad():
                for old, new in zip(slow.parameters(), critics.parameters(), strict=True):
                    old.lerp_(new, 0.02)
            watch.loss(c_loss)
    s, total = torch.rand(200, 2, generator=generator) * 4 - 2, torch.zeros(200, 1)
    with torch.no_grad():
        for _ in range(15):
            a = torch.tanh(actor(s)[:, :1])
            s = torch.cat([s[:, :1] + 0.3 * s[:, 1:], s[:, 1:] * 0.8 + 0.6 * a], 1).clamp(-2, 2)
            total += 1 - s[:, :1].pow(2) - 0.1 * s[:, 1:].pow(2)
    return above(total.mean() / 15, 0.5)
