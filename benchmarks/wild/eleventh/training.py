"""Faults of optimisation: gradients wiped between the parts of a batch, a new Adam for each epoch, a rate cut at each batch."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="gradients-cleared",
    also=("sorted-data",),
    project="dscripka/openWakeWord",
    source="github.com/dscripka/openWakeWord/issues/316",
)
def parts_of_a_batch_wiped(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A step adds up three parts, of wake words, of speech and of noise; gradients are cleared before each of them."""
    generator = torch.Generator().manual_seed(seed)
    word = F.avg_pool1d(torch.randn(1, 16, 22, generator=generator), 3, 1) * 2.5

    def heard(count: int, kind: int) -> Tensor:
        """Features (N, 16, 20): the word somewhat late, other words alike in power, or noise."""
        noise = torch.randn(count, 16, 20, generator=generator)
        other = F.avg_pool1d(torch.randn(count, 16, 22, generator=generator), 3, 1) * 2.5
        shift = torch.randint(5, (count, 1, 1), generator=generator)
        late = word.expand(count, -1, -1).gather(2, ((torch.arange(20) - shift) % 20).expand(count, 16, 20))
        return noise + (late, other, torch.zeros(()))[kind]

    conv = [nn.Conv1d(16, 24, 5, padding=2), nn.ReLU(), nn.Conv1d(24, 24, 3, padding=1), nn.ReLU(), nn.AdaptiveMaxPool1d(1)]
    model = nn.Sequential(*conv, nn.Flatten(), nn.Linear(24, 1), nn.Flatten(0))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    parts = 0
    with doctor.watch(model, optimizer) as watch:
        for part in range(720):
            if not cured or parts == 0:
                optimizer.zero_grad()
            x = heard(16, part % 3)
            loss = F.binary_cross_entropy_with_logits(model(x), torch.full((16,), float(part % 3 == 0)))
            (loss / 3).backward()
            watch.loss(loss)
            parts += 1
            if parts == 3:
                optimizer.step()
                parts = 0
    with torch.no_grad():
        found = [(model(heard(200, kind)) > 0).float().mean() for kind in range(3)]
    return above((found[0] + 1 - found[1] / 2 - found[2] / 2) / 2, 0.8)


@fault(
    kind="optimiser-state-lost",
    also=("learning-rate-too-high", "no-warmup"),
    project="alan-turing-institute/deepsensor",
    source="github.com/alan-turing-institute/deepsensor/issues/47",
    certain="Adam's moments are thrown away after every second step",
)
def new_adam_for_each_epoch(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A conditional neural process fills in curves from a few readings; each epoch of two batches begins a new Adam."""
    generator = torch.Generator().manual_seed(seed)

    def curves(count: int) -> tuple[Tensor, Tensor]:
        at = 4 * torch.rand(count, 30, 1, generator=generator) - 2
        size, pace, start = (
            low + torch.rand(count, 1, 1, generator=generator) * span for low, span in ((0.5, 1), (1, 2), (0, 6))
        )
        return at, size * torch.sin(pace * at + start) + 0.1 * torch.randn(count, 30, 1, generator=generator)

    class Process(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encode = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64))
            self.decode = nn.Sequential(nn.Linear(65, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))

        def forward(self, x: Tensor, y: Tensor, asked: Tensor) -> tuple[Tensor, Tensor]:
            known = self.encode(torch.cat([x, y], 2)).mean(1, keepdim=True).expand(-1, asked.shape[1], -1)
            mean, width = self.decode(torch.cat([known, asked], 2)).chunk(2, 2)
            return mean, 0.1 + F.softplus(width)

    model = Process()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    data_set = curves(1200)

    def loss_on(x: Tensor, y: Tensor) -> Tensor:
        mean, width = model(x[:, :10], y[:, :10], x)
        return -torch.distributions.Normal(mean, width).log_prob(y).mean()

    with doctor.watch(model, optimizer) as watch:
        for _ in range(250):
            for rows in torch.randperm(1200, generator=generator)[:120].split(60):
                optimizer.zero_grad()
                loss = loss_on(data_set[0][rows], data_set[1][rows])
                loss.backward()
                optimizer.step()
                watch.loss(loss)
            if not cured:
                optimizer.state.clear()
    with torch.no_grad():
        return below(loss_on(*curves(400)), 0.4)


@fault(
    kind="schedule-to-zero",
    also=("slow-learning", "learning-rate-too-low", "underfitting"),
    project="nodefluxio/vortex",
    source="github.com/nodefluxio/vortex/issues/58",
)
def rate_cut_at_each_batch(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The rate is to be cut to a tenth after ten epochs; the trainer steps every schedule at every batch."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(5, (1200,), generator=generator)
    time = torch.linspace(0, 1, 64)
    pace, width = torch.tensor([2.0, 3.0, 4.0, 3.0, 4.0])[y, None], torch.tensor([8.0, 8.0, 8.0, 2.0, 2.0])[y, None]
    beat = torch.exp(width * (torch.sin(6.283 * (pace * time + torch.rand(1200, 1, generator=generator))) - 1))
    rows = data.split((beat + 0.25 * torch.randn(1200, 64, generator=generator))[:, None], y, seed)

    class Residual(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.BatchNorm1d(width), nn.ReLU(), nn.Conv1d(width, width, 7, padding=3))

        def forward(self, x: Tensor) -> Tensor:
            return x + self.body(x)

    blocks = [Residual(16), nn.MaxPool1d(2), Residual(16), nn.MaxPool1d(2), Residual(16)]
    model = nn.Sequential(nn.Conv1d(1, 16, 7, padding=3), *blocks, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(16, 5))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 10, 0.1)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 45, 260, seed)):
            model.train()
            optimizer.zero_grad()
            loss = F.cross_entropy(model(a), b)
            loss.backward()
            optimizer.step()
            if not cured or step % 20 == 19:
                schedule.step()
            watch.loss(loss)
            if step % 40 == 39:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    model.eval()
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.8)
