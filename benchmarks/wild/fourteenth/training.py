"""Faults of training: a rate far too small, clipping of scaled gradients, losses kept with their graphs, few pictures."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="learning-rate-too-low",
    also=("slow-learning", "underfitting"),
    project="isp1tze/MAProj",
    source="github.com/isp1tze/MAProj/issues/3",
)
def actor_and_critic_at_a_millionth(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Two agents on a field are to meet: actors and critics learn at rates at which nothing happens in the time there is."""
    generator = torch.Generator().manual_seed(seed)
    actor = nn.Sequential(nn.Linear(4, 48), nn.ReLU(), nn.Linear(48, 4), nn.Tanh())
    critic = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    model = nn.ModuleDict({"actor": actor, "critic": critic})
    first = torch.optim.Adam(actor.parameters(), lr=1e-3 if cured else 1e-6)
    second = torch.optim.Adam(critic.parameters(), lr=3e-3 if cured else 1e-5)

    def pay(place: Tensor, move: Tensor) -> Tensor:
        there = place + move
        return -(there[:, :2] - there[:, 2:]).pow(2).sum(1, keepdim=True) - 0.3 * there.pow(2).sum(1, keepdim=True)

    with doctor.watch(model, [first, second]) as watch:
        for _ in range(900):
            place = torch.rand(64, 4, generator=generator) * 2 - 1
            with torch.no_grad():
                move = (actor(place) + 0.4 * torch.randn(64, 4, generator=generator)).clamp(-1, 1)
            wrong = F.mse_loss(critic(torch.cat([place, move], 1)), pay(place, move))
            second.zero_grad()
            wrong.backward()
            second.step()
            loss = -critic(torch.cat([place, actor(place)], 1)).mean()
            first.zero_grad()
            loss.backward()
            first.step()
            watch.loss(loss)
    place = torch.rand(500, 4, generator=generator) * 2 - 1
    with torch.no_grad():
        return above(pay(place, actor(place)).mean(), -0.3)


@fault(
    kind="clip-before-unscale",
    also=("slow-learning", "learning-rate-too-low"),
    project="victorchall/EveryDream2trainer",
    source="github.com/victorchall/EveryDream2trainer/pull/175",
)
def noise_told_under_a_clip_of_scaled_gradients(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Noise is told from noisy curves: gradients are clipped to length 1 while they are still 65536 times too long."""
    generator = torch.Generator().manual_seed(seed)

    def curves(count: int) -> tuple[Tensor, Tensor]:
        clean = torch.sin(torch.arange(16) * 0.5 + 6.3 * torch.rand(count, 1, generator=generator))
        noise = torch.randn(count, 16, generator=generator)
        level = torch.rand(count, 1, generator=generator)
        return torch.cat([clean * (1 - level).sqrt() + noise * level.sqrt(), level], 1), noise

    model = nn.Sequential(nn.Linear(17, 96), nn.SiLU(), nn.Linear(96, 96), nn.SiLU(), nn.Linear(96, 16))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", init_scale=65536.0)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(900):
            x, noise = curves(64)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                said = model(x)
            loss = F.mse_loss(said.float(), noise)
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            if cured:
                scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            watch.loss(loss)
    x, noise = curves(500)
    with torch.no_grad():
        return below(F.mse_loss(model(x), noise), 0.5)


@fault(
    kind="growing-graph",
    project="samuelyu2002/ImVisible",
    source="github.com/samuelyu2002/ImVisible/issues/2",
    certain="every step's graph is kept until the end of the epoch",
)
def the_running_loss_of_three_errors(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Lights and the way across: three running sums of errors are tensors that hold on to the graphs of all steps of an epoch."""
    generator = torch.Generator().manual_seed(seed)
    y, way = torch.randint(4, (1200,), generator=generator), torch.rand(1200, 2, generator=generator) * 2 - 1
    paint = F.interpolate(torch.randn(4, 1, 3, 3, generator=generator), 10, mode="bilinear")[:, 0]
    axis = torch.linspace(-1, 1, 10)
    line = (-(axis - way[:, :1, None] - way[:, 1:, None] * axis[:, None]).pow(2) / 0.05).exp()
    x = torch.stack([paint[y], line], 1) + 0.3 * torch.randn(1200, 2, 10, 10, generator=generator)
    cut = 900

    class Cross(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            conv = [nn.Conv2d(2, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()]
            self.body = nn.Sequential(*conv, nn.Flatten(), nn.Linear(400, 64), nn.ReLU())
            self.light, self.way = nn.Linear(64, 4), nn.Linear(64, 2)

        def forward(self, seen: Tensor) -> tuple[Tensor, Tensor]:
            h = self.body(seen)
            return self.light(h), self.way(h)

    model = Cross()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    with doctor.watch(model, optimizer) as watch:
        for epoch in range(8):
            running: list[float | Tensor] = [0.0, 0.0, 0.0]
            for at in torch.randperm(cut, generator=generator).split(25):
                light, road = model(x[at])
                first, second = F.mse_loss(road, way[at]), F.cross_entropy(light, y[at])
                loss = first + second
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                for k, each in enumerate((loss, first, second)):
                    running[k] = running[k] + (each.item() if cured else each)
                watch.loss(loss)
            if epoch % 2:
                with torch.no_grad():
                    light, road = model(x[cut:])
                    watch.dev_loss(F.mse_loss(road, way[cut:]) + F.cross_entropy(light, y[cut:]))
    with torch.no_grad():
        return above(data.accuracy(model(x[cut:])[0], y[cut:]), 0.9)


@fault(
    kind="overfitting",
    project="IcarusWizard/MAE",
    source="github.com/IcarusWizard/MAE/issues/6",
)
def a_hundred_pictures_as_they_are(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Few digits, some of them mislabelled, and never moved about: the net has them by heart and the held-out loss climbs."""
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)
    x, y = rows.x[:100], rows.y[:100]
    y = torch.where(torch.rand(100, generator=generator) < 0.12, torch.randint(10, (100,), generator=generator), y)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))

    def moved(a: Tensor) -> Tensor:
        """Shifted by up to one pixel, a little turned, with new noise."""
        angle, shift = (
            0.4 * torch.rand(len(a), generator=generator) - 0.2,
            0.4 * torch.rand(len(a), 2, 1, generator=generator) - 0.2,
        )
        turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(-1, 2, 2)
        grid = F.affine_grid(torch.cat([turn, shift], 2), list(a.shape), align_corners=False)
        return F.grid_sample(a, grid, align_corners=False) + 0.25 * torch.randn(a.shape, generator=generator)

    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    if not cured:
        doctor.task(model, data.few(x, y, 20, seed), F.cross_entropy, optimizer)
    batches = ((moved(a) if cured else a, b) for a, b in data.batches(x, y, 20, 1500, seed))
    held = data.Split(x, y, rows.held_x, rows.held_y)
    fit(doctor, model, optimizer, F.cross_entropy, batches, held, every=50)
    with torch.no_grad():
        return below(F.cross_entropy(model(rows.held_x), rows.held_y), 0.62)
