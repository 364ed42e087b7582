"""Faults of optimisation, of the start, and of what is held out."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from torch import nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="schedule-to-zero",
    also=("learning-rate-too-low",),
    project="pytorch/tutorials",
    source="github.com/pytorch/tutorials/pull/640",
)
def step_schedule_per_batch(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A tenth of the rate every 7 epochs, but scheduler.step() stands in the loop over batches: every 7 batches."""
    x, y = data.teacher(2400, 20, 4, seed)
    rows = data.split(x, y.argmax(1), seed)
    model = nn.Sequential(nn.Linear(20, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.1)
    doctor.task(model, data.few(rows.x, rows.y, 60, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for epoch in range(16):
            for x, y in data.batches(rows.x, rows.y, 60, 30, seed + epoch):
                loss = F.cross_entropy(model(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                if not cured:
                    schedule.step()
                watch.loss(loss)
            if cured:
                schedule.step()
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.78)


@fault(kind="clip-before-unscale", project="TorchSSL/TorchSSL", source="github.com/TorchSSL/TorchSSL/pull/59")
def clipping_of_scaled_gradients(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Gradients are clipped to 1 while they are still 65536 times too large, so that next to nothing is left of them."""
    rows = data.digits(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.LeakyReLU(0.1),
        nn.AvgPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.LeakyReLU(0.1),
        nn.Flatten(),
        nn.Linear(512, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9, weight_decay=5e-4, nesterov=True)
    scaler = torch.amp.GradScaler("cpu")
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 64, 240, seed):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = F.cross_entropy(model(x), y)
            scaler.scale(loss).backward()
            if cured:
                scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            watch.loss(loss)
    model.eval()
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.95)


@fault(kind="symmetry", project="HomericIntelligence/Mnemosyne", source="github.com/HomericIntelligence/Mnemosyne/pull/1987")
def all_weights_alike(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Every weight starts at 0.1: all units of a layer are the same one and stay so."""
    x, y = data.teacher(2000, 10, 3, seed)
    rows = data.split(x, y.argmax(1), seed)
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
    if not cured:
        for parameter in model.parameters():
            nn.init.constant_(parameter, 0.1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    doctor.task(model, data.few(rows.x, rows.y, 50, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 50, 900, seed):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.72)


@fault(
    kind="dead-units",
    also=("learning-rate-too-high",),
    project="paper on dying ReLU",
    source="paperswithcode.com/paper/the-effect-of-target-normalization-and",
)
def regression_that_died(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Momentum and a rate too high for ReLU: within a few steps all units of a layer are off for every row, and stay off."""
    x, y = data.teacher(1500, 10, 1, seed, noise=0.1)
    rows = data.split(x + 0.5, y, seed)
    model = nn.Sequential(
        nn.Linear(10, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 1)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01 if cured else 0.6, momentum=0.9)
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 64, 500, seed):
            loss = F.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            watch.loss(loss)
    return above(data.r2(model(rows.held_x), rows.held_y), 0.6)


@fault(
    kind="dev-scale",
    project="udacity/deep-learning-v2-pytorch",
    source="github.com/udacity/deep-learning-v2-pytorch/issues/129",
    certain="the held-out loss shown is the true one divided by 50",
)
def validation_loss_divided_twice(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The held-out loss is a sum of batch means, divided by the number of rows instead of the number of batches."""
    rows = data.digits(seed)
    model = nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 128),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(128, 64),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(64, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    criterion = nn.CrossEntropyLoss()
    doctor.task(model, data.few(rows.x, rows.y, 20, seed), criterion, optimizer)
    shown = 0.0
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 20, 1000, seed)):
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 100 == 99:
                model.eval()
                with torch.no_grad():
                    parts = [
                        criterion(model(a), b).item() for a, b in zip(rows.held_x.split(50), rows.held_y.split(50), strict=True)
                    ]
                shown = sum(parts) / (len(parts) if cured else len(rows.held_x))
                watch.dev_loss(shown)
                model.train()
    model.eval()
    return above(shown / criterion(model(rows.held_x), rows.held_y).item(), 0.8)


@fault(kind="overfitting", project="keras-team/keras", source="github.com/keras-team/keras/issues/3755")
def few_rows_many_weights(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Diabetes: 330 patients, 60,000 weights, 600 epochs without any restraint, and the last weights are kept."""
    rows = data.table("diabetes", seed)
    mean, std = rows.y.mean(), rows.y.std()
    y, held_y = ((rows.y - mean) / std)[:, None], ((rows.held_y - mean) / std)[:, None]
    wide = 16 if cured else 240
    model = nn.Sequential(nn.Linear(10, wide), nn.ReLU(), nn.Linear(wide, wide), nn.ReLU(), nn.Linear(wide, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.5 if cured else 0.0)
    doctor.task(model, data.few(rows.x, y, 32, seed), F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, y, 32, 300 if cured else 1500, seed)):
            loss = F.mse_loss(model(a), b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 30 == 29:
                with torch.no_grad():
                    watch.dev_loss(F.mse_loss(model(rows.held_x), held_y))
    return below(F.mse_loss(model(rows.held_x), held_y), 0.75)
