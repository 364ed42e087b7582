"""Healthy programs that see pictures: plain convolutions, a net of one shape, outlines, boxes, pairs, two views, a teacher."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.fifteenth.heads import SmallUNet, overlap
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(
    project="DRDO-SSPL/PAKHI",
    source="github.com/DRDO-SSPL/PAKHI/blob/main/ml-dl-env-ananya/test_scripts/test_cnn_torch.py",
)
def one_convolution_and_one_layer(doctor: Doctor, seed: int) -> Score:
    """Digits: one convolution, one linear layer, Adam as it comes."""
    rows = data.digits(seed)
    model = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(576, 10))
    optimizer = torch.optim.Adam(model.parameters())
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 64, 300, seed))
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


@healthy(project="clemkoa/u-net", source="github.com/clemkoa/u-net")
def outlines_by_a_small_unet(doctor: Doctor, seed: int) -> Score:
    """Outlines of shapes: two classes for each pixel, RMSprop with momentum, checked after each epoch."""
    x, _, mask = data.shapes(400, seed)
    rows = data.split(x, mask, seed)
    model = SmallUNet(out=2)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3, weight_decay=1e-8, momentum=0.9)
    doctor.task(model, data.few(rows.x, rows.y, 16, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 16, 150, seed), rows, every=18)
    with torch.no_grad():
        return above(overlap(model(rows.held_x).argmax(1) > 0, rows.held_y > 0), 0.7)


@healthy(
    project="pytorch/vision-tutorial",
    source="pytorch.org/tutorials/intermediate/torchvision_tutorial.html",
)
def boxes_on_a_grid_of_anchors(doctor: Doctor, seed: int) -> Score:
    """Shapes found on a grid of 4 by 4: is one there, where, how large; momentum, a slow first epoch, steps down."""
    x, _, mask = data.shapes(700, seed)
    axis = torch.arange(16).float()
    mass = mask.sum((1, 2)).clamp(min=1)
    down, across = (mask.sum(2) * axis).sum(1) / mass, (mask.sum(1) * axis).sum(1) / mass
    cell = (down // 4 * 4 + across // 4).long()
    size = mask.any(2).sum(1) / 16
    target = torch.stack([cell.float(), down % 4 / 4, across % 4 / 4, size], 1)
    rows = data.split(x, target, seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 48, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(48, 4, 1),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4)
    warm = torch.optim.lr_scheduler.LinearLR(optimizer, 0.01, total_iters=32)
    later = torch.optim.lr_scheduler.StepLR(optimizer, 32 * 8, 0.1)

    def loss_fn(said: Tensor, wanted: Tensor) -> Tensor:
        said = said.flatten(2).transpose(1, 2)
        at = wanted[:, 0].long()
        there = F.one_hot(at, 16).float()
        found = F.binary_cross_entropy_with_logits(said[:, :, 0], there, reduction="sum") / len(said)
        return found + 5 * F.smooth_l1_loss(said[torch.arange(len(at)), at, 1:], wanted[:, 1:])

    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 16, 400, seed)):
            loss = loss_fn(model(a), b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            (warm if step < 32 else later).step()
            watch.loss(loss)
            if step % 32 == 31:
                with torch.no_grad():
                    watch.dev_loss(loss_fn(model(rows.held_x), rows.held_y))
    with torch.no_grad():
        best = model(rows.held_x).flatten(2)[:, 0].argmax(1)
    return above((best == rows.held_y[:, 0].long()).float().mean(), 0.75)


@healthy(project="siddinc/pytorch_siamese", source="github.com/siddinc/pytorch_siamese")
def pairs_of_digits_alike_or_not(doctor: Doctor, seed: int) -> Score:
    """Two digits go through one net; like ones are drawn together, unlike ones pushed beyond a margin."""
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(512, 64),
        nn.ReLU(),
        nn.Linear(64, 16),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def pairs(x: Tensor, y: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
        first = torch.randint(len(x), (count,), generator=generator)
        second = torch.randint(len(x), (count,), generator=generator)
        for k in range(0, count, 2):
            same = (y == y[first[k]]).nonzero()[:, 0]
            second[k] = same[torch.randint(len(same), (1,), generator=generator)]
        return x[first], x[second], (y[first] == y[second]).float()

    def apart(a: Tensor, b: Tensor) -> Tensor:
        return F.pairwise_distance(model(a), model(b))

    with doctor.watch(model, optimizer) as watch:
        for _ in range(300):
            a, b, same = pairs(rows.x, rows.y, 48)
            far = apart(a, b)
            loss = (same * far.pow(2) + (1 - same) * (1 - far).relu().pow(2)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    a, b, same = pairs(rows.held_x, rows.held_y, 400)
    with torch.no_grad():
        return above(((apart(a, b) < 0.5) == (same > 0)).float().mean(), 0.85)


@healthy(
    project="vedantroy/ml-experiments",
    source="github.com/vedantroy/ml-experiments/blob/main/contrastive-learner/main.py",
)
def two_views_of_each_shape(doctor: Doctor, seed: int) -> Score:
    """Two noisy, turned views of each picture find each other in the batch; a linear layer then reads the shape off."""
    generator = torch.Generator().manual_seed(seed)
    x, y, _ = data.shapes(900, seed, noise=0.1)
    base = nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(24, 48, 3, padding=1),
        nn.BatchNorm2d(48),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
    )
    model = nn.Sequential(base, nn.Linear(192, 64), nn.ReLU(), nn.Linear(64, 32))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def view(a: Tensor) -> Tensor:
        a = a.flip(3) if torch.rand(1, generator=generator) < 0.5 else a
        moved = torch.randint(-2, 3, (2,), generator=generator)
        return torch.roll(a, (int(moved[0]), int(moved[1])), (2, 3)) + 0.2 * torch.randn(a.shape, generator=generator)

    with doctor.watch(model, optimizer) as watch:
        for a, _ in data.batches(x[:700], y[:700], 64, 140, seed):
            z = F.normalize(model(torch.cat([view(a), view(a)])), dim=1)
            alike = (z @ z.T / 0.1).masked_fill(torch.eye(128, dtype=torch.bool), -1e9)
            loss = F.cross_entropy(alike, torch.arange(128).roll(64))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        h = base(x)
    h = (h - h[:700].mean(0)) / h[:700].std(0).clamp(min=1e-4)
    read = nn.Linear(192, 4)
    probe = torch.optim.Adam(read.parameters(), lr=1e-2)
    for _ in range(200):
        probe.zero_grad()
        F.cross_entropy(read(h[:700]), y[:700]).backward()
        probe.step()
    with torch.no_grad():
        return above(data.accuracy(read(h[700:]), y[700:]), 0.8)


@healthy(project="SforAiDl/KD_Lib", source="github.com/SforAiDl/KD_Lib/blob/master/docs/usage/tutorials/VanillaKD.rst")
def a_small_net_learns_from_a_large_one(doctor: Doctor, seed: int) -> Score:
    """A large net learns the digits first, a small one then its soft answers and the labels, by plain descent."""
    rows = data.digits(seed)
    large = nn.Sequential(nn.Flatten(), nn.Linear(64, 256), nn.ReLU(), nn.Dropout(0.2), nn.Linear(256, 10))
    first = torch.optim.SGD(large.parameters(), lr=0.1)
    for x, y in data.batches(rows.x, rows.y, 32, 400, seed):
        first.zero_grad()
        F.cross_entropy(large(x), y).backward()
        first.step()
    large.eval()
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 32, 500, seed + 1):
            with torch.no_grad():
                soft = (large(x) / 4).softmax(1)
            said = model(x)
            near = F.kl_div((said / 4).log_softmax(1), soft, reduction="batchmean") * 16
            loss = 0.5 * near + 0.5 * F.cross_entropy(said, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.88)


@healthy(
    project="pytorch/finetuning-tutorial",
    source="pytorch.org/tutorials/beginner/finetuning_torchvision_models_tutorial.html",
)
def a_pretrained_net_for_two_new_classes(doctor: Doctor, seed: int) -> Score:
    """A net that knows eight digits gets a new last layer for the other two; all of it goes on slowly, the best is kept."""
    rows = data.digits(seed)
    body = nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(24, 48, 3, padding=1),
        nn.BatchNorm2d(48),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
    )
    old = nn.Sequential(body, nn.Linear(192, 8))
    first = torch.optim.Adam(old.parameters(), lr=2e-3)
    known = rows.y < 8
    for x, y in data.batches(rows.x[known], rows.y[known], 32, 200, seed):
        first.zero_grad()
        F.cross_entropy(old(x), y).backward()
        first.step()
    few, held = ~known, rows.held_y >= 8
    new = data.Split(rows.x[few], rows.y[few] - 8, rows.held_x[held], rows.held_y[held] - 8)
    model = nn.Sequential(body, nn.Linear(192, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    doctor.task(model, data.few(new.x, new.y, 8, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(new.x, new.y, 8, 240, seed), new, every=33)
    with torch.no_grad():
        return above(data.accuracy(model(new.held_x), new.held_y), 0.88)
