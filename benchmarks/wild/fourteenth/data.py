"""Faults of data: the first conditions for ever, one label for all, a window that knows its future."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="repeated-batch",
    also=("shuffled-targets",),
    project="KanishJebaMathewM/Truxify",
    source="github.com/KanishJebaMathewM/Truxify/pull/4089",
)
def the_first_conditions_for_every_batch(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Traffic by hour and weather: a new iterator over the conditions is made for each batch, so that all get the first ones."""
    generator = torch.Generator().manual_seed(seed)
    hour, rain = torch.rand(1920, 1, generator=generator) * 24, torch.rand(1920, 1, generator=generator)
    place = torch.arange(8) / 8
    traffic = torch.sin(hour / 24 * 6.28 * 2 + place * 3) * (1 - 0.6 * rain) + 0.1 * torch.randn(1920, 8, generator=generator)
    conditions = torch.cat([(hour - 12) / 7, rain * 2 - 1], 1)
    model = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 8))
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    traffic_loader, condition_loader = (
        torch.utils.data.DataLoader(torch.utils.data.TensorDataset(each[:1600]), 32) for each in (traffic, conditions)
    )
    with doctor.watch(model, optimizer) as watch:
        for epoch in range(24):
            given = iter(condition_loader)
            for (wanted,) in traffic_loader:
                (known,) = next(given if cured else iter(condition_loader))
                loss = F.mse_loss(model(known), wanted)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                watch.loss(loss)
            if epoch % 4 == 3:
                with torch.no_grad():
                    watch.dev_loss(F.mse_loss(model(conditions[1600:]), traffic[1600:]))
    with torch.no_grad():
        return above(data.r2(model(conditions[1600:]), traffic[1600:]), 0.7)


@fault(
    kind="target-constant",
    project="Smadx/USTC-ML24-Fall",
    source="github.com/Smadx/USTC-ML24-Fall/issues/35",
)
def run_times_without_their_logarithm(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Fast or slow programs: the border is meant for logarithms, no logarithm is taken, and every label is the same."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1600, 10, generator=generator)
    hidden = torch.tanh(x @ torch.randn(10, 12, generator=generator) / 2) @ torch.randn(12, 1, generator=generator)
    time = (4.6 + 0.5 * hidden[:, 0]).exp()
    border = 4.6
    true = (time.log() > border).float()[:, None]
    rows = data.split(x, true if cured else (time > border).float()[:, None], seed)
    truth = data.split(x, true, seed).held_y
    model = nn.Sequential(nn.Linear(10, 48), nn.ReLU(), nn.Linear(48, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loss_fn = F.binary_cross_entropy_with_logits
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 32, 400, seed), rows)
    with torch.no_grad():
        return above(((model(rows.held_x) > 0) == (truth > 0)).float().mean(), 0.8)


@fault(
    kind="future-leak",
    also=("leak",),
    project="shiyu-coder/Kronos",
    source="github.com/shiyu-coder/Kronos/pull/234",
)
def windows_standardised_with_what_is_to_come(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Prices: mean and spread are taken of the whole window, days to come among them; in use those are not there."""
    generator = torch.Generator().manual_seed(seed)

    def windows(count: int) -> Tensor:
        """Thirty-two days (N, 32) that wander, with a slow wave."""
        steps = torch.randn(count, 32, generator=generator)
        pull = torch.sin(torch.arange(32) * 0.7 + 6.3 * torch.rand(count, 1, generator=generator))
        return 100 + 2 * (steps + 1.2 * pull).cumsum(1)

    def even(window: Tensor, known: int) -> tuple[Tensor, Tensor]:
        """What is known and what is to come, by the first `known` days' mean and spread."""
        mean, spread = window[:, :known].mean(1, keepdim=True), window[:, :known].std(1, keepdim=True)
        scaled = (window - mean) / spread
        return scaled[:, :16], scaled[:, 16:]

    (x, y), (dev_x, dev_y), (held_x, held_y) = (
        even(windows(n), d) for n, d in zip((3000, 500, 500), (16 if cured else 32, 16 if cured else 32, 16), strict=True)
    )
    rows = data.Split(x, y, dev_x, dev_y)
    model = nn.Sequential(nn.Linear(16, 96), nn.GELU(), nn.Linear(96, 16))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(x, y, 64, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(x, y, 64, 600, seed), rows)
    with torch.no_grad():
        return above(data.r2(model(held_x), held_y), 0.2)
