"""Faults of data and of what is reported: masks of other pictures, labels that vanished, a count that is not one."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="shuffled-targets",
    also=("underfitting",),
    project="Dana-Farber-AIOS/pathml",
    source="github.com/Dana-Farber-AIOS/pathml/issues/56",
)
def masks_listed_in_another_order(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Pictures and masks are listed for themselves and the listing has no order: a mask is that of another picture."""
    x, _, mask = data.shapes(700, seed)
    rows = data.split(x, mask[:, None].float(), seed)
    listed = torch.randperm(len(rows.y), generator=torch.Generator().manual_seed(seed + 9))
    y = rows.y if cured else rows.y[listed]
    conv = [nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 12, 5, padding=2), nn.BatchNorm2d(12)]
    model = nn.Sequential(*conv, nn.ReLU(), nn.Conv2d(12, 1, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    loss_fn = nn.BCEWithLogitsLoss()
    doctor.task(model, data.few(rows.x, y, 24, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, y, 24, 200, seed), rows, every=40)
    with torch.no_grad():
        said, truth = model(rows.held_x) > 0, rows.held_y > 0.5
    return above((said & truth).sum() / (said | truth).sum(), 0.8)


@fault(
    kind="target-constant",
    project="btheodorou99/HALO_Inpatient",
    source="github.com/btheodorou99/HALO_Inpatient/issues/13",
)
def illnesses_looked_up_too_late(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Labels are looked up by code after codes have become numbers: none is found, all eight are 0 for every patient."""
    generator = torch.Generator().manual_seed(seed)
    visits = (torch.rand(1600, 60, generator=generator) < 0.15).float()
    cause = 2.5 * torch.randn(60, 8, generator=generator)
    ill = (visits @ cause + 0.5 * torch.randn(1600, 8, generator=generator) > 3.0).float()
    rows = data.split(visits, ill, seed)
    y = rows.y if cured else torch.zeros_like(rows.y)
    model = nn.Sequential(nn.Linear(60, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 8))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    loss_fn = nn.BCEWithLogitsLoss()
    doctor.task(model, data.few(rows.x, y, 40, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, y, 40, 400, seed))
    said, truth = model(rows.held_x), rows.held_y > 0.5
    return above((said[truth][:, None] > said[~truth]).float().mean(), 0.85)


@fault(
    kind="dev-scale",
    project="chemcognition-lab/chemixhub",
    source="github.com/chemcognition-lab/chemixhub/issues/5",
    certain="the held-out loss shown is a sum divided by the sum of the batches' numbers",
)
def batches_counted_by_adding_their_numbers(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The count of batches grows by i and not by 1: the held-out loss shown is the true one divided by nine and a half."""
    x, y = data.teacher(1600, 10, 1, seed, noise=0.3)
    rows = data.split(x, y, seed)
    model = nn.Sequential(nn.Linear(10, 48), nn.ReLU(), nn.Linear(48, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    shown = true = 1.0
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 20, 480, seed)):
            optimizer.zero_grad()
            loss = F.mse_loss(model(a), b)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 60 == 59:
                total, count = 0.0, 0
                with torch.no_grad():
                    for i, (p, q) in enumerate(zip(rows.held_x.split(20), rows.held_y.split(20), strict=True)):
                        total += F.mse_loss(model(p), q).item()
                        count += 1 if cured else i
                    true = F.mse_loss(model(rows.held_x), rows.held_y).item()
                shown = total / count
                watch.dev_loss(shown)
    return above(shown / true, 0.8)
