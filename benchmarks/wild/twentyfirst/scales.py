"""Faults of size: pixels as they are, divided twice, labels of 255, pictures almost flat, a rate for another net."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="input-scale",
    also=("saturation", "initial-loss", "activation-scale"),
    project="stats.stackexchange.com/367057",
    source="stats.stackexchange.com/questions/367057/bad-performance-with-relu-activation-function-on-mnist-data-set",
)
def clothes_from_nought_to_255(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Pictures of 28 by 28 in whole numbers to 255: the shares are 0 and 1 from the start, and a loss that is cut off there."""
    rows = data.digits(seed)

    def grown(x: Tensor) -> Tensor:
        big = F.interpolate(x * 255, size=28, mode="nearest").flatten(1).round()
        return big / 255 if cured else big

    x_train, x_test = grown(rows.x), grown(rows.held_x)
    model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10), nn.Softmax(dim=1))
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def categorical_crossentropy(p: Tensor, y: Tensor) -> Tensor:
        return -p.clamp(1e-7, 1 - 1e-7).log().gather(1, y[:, None]).mean()

    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-7)
    doctor.task(model, data.few(x_train, rows.y, 32, seed), categorical_crossentropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (inputs, labels) in enumerate(data.batches(x_train, rows.y, 32, 600, seed)):
            optimizer.zero_grad()
            loss = categorical_crossentropy(model(inputs), labels)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 60 == 59:
                with torch.no_grad():
                    watch.dev_loss(categorical_crossentropy(model(x_test), rows.held_y))
    with torch.no_grad():
        return above(data.accuracy(model(x_test), rows.held_y), 0.85)


@fault(
    kind="input-scale",
    also=("target-scale", "slow-learning", "underfitting"),
    project="IIC2433/Syllabus-2021-2",
    source="github.com/IIC2433/Syllabus-2021-2/issues/32",
)
def pictures_divided_twice(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits through a code of six numbers and back: divided by 255 where they are read and once more before the training."""
    rows = data.digits(seed)

    def read(x: Tensor) -> Tensor:
        x = (255 * x).round().flatten(1) / 255
        return x if cured else x / 255

    x_train, x_test = read(rows.x), read(rows.held_x)

    class Autoencoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 6))
            self.decoder = nn.Sequential(nn.Linear(6, 48), nn.ReLU(), nn.Linear(48, 64), nn.Sigmoid())

        def forward(self, x: Tensor) -> Tensor:
            return self.decoder(self.encoder(x))

    autoencoder = Autoencoder()
    optimizer = torch.optim.Adam(autoencoder.parameters(), lr=2e-3)
    doctor.task(autoencoder, data.few(x_train, x_train, 32, seed), F.mse_loss, optimizer)
    with doctor.watch(autoencoder, optimizer) as watch:
        for step, (x, _) in enumerate(data.batches(x_train, rows.y, 32, 900, seed)):
            optimizer.zero_grad()
            loss = F.mse_loss(autoencoder(x), x)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 90 == 89:
                with torch.no_grad():
                    watch.dev_loss(F.mse_loss(autoencoder(x_test), x_test))
    with torch.no_grad():
        return above(data.r2(autoencoder(x_test), x_test), 0.4)


@fault(
    kind="target-range",
    also=("target-scale", "saturation", "initial-loss"),
    project="HKUSTCV/FSS-1000",
    source="github.com/HKUSTCV/FSS-1000/issues/20",
)
def masks_in_the_numbers_of_pictures(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Where one like the example is: pictures are divided by 255 and masks are not, and a chance is held against 255."""
    x, kinds, masks = data.shapes(800, seed)
    pictures = (255 * (0.3 + 0.4 * x)).round().clamp(0, 255)
    labels = 255.0 * masks[:, None].float()
    generator = torch.Generator().manual_seed(seed)
    same = torch.stack(
        [torch.nonzero(kinds == k)[torch.randint(int((kinds == k).sum()), (1,), generator=generator)][0, 0] for k in kinds]
    )
    support = torch.cat([pictures[same], labels[same]], 1) / 255
    query = pictures / 255
    target = labels / 255 if cured else labels

    class Relation(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.example = nn.Sequential(nn.Conv2d(2, 12, 3, 2, 1), nn.ReLU(), nn.Conv2d(12, 12, 3, 2, 1), nn.ReLU())
            self.look = nn.Sequential(
                nn.Conv2d(1, 12, 3, padding=1),
                nn.BatchNorm2d(12),
                nn.ReLU(),
                nn.Conv2d(12, 12, 3, padding=2, dilation=2),
                nn.ReLU(),
            )
            self.relate = nn.Sequential(nn.Conv2d(24, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 1, 3, padding=1), nn.Sigmoid())

        def forward(self, support: Tensor, query: Tensor) -> Tensor:
            example = self.example(support).mean((2, 3), keepdim=True).expand(-1, -1, 16, 16)
            return self.relate(torch.cat([example, self.look(query)], 1))

    model = Relation()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    mse = nn.MSELoss()
    with doctor.watch(model, optimizer) as watch:
        for _ in range(300):
            rows = torch.randint(600, (16,), generator=generator)
            output = model(support[rows], query[rows])
            loss = mse(output, target[rows])
            model.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        said = model(support[600:], query[600:]) > 0.5
    there = labels[600:] > 0
    return above((said & there).sum() / (said | there).sum(), 0.5)


@fault(
    kind="input-scale",
    also=("slow-learning", "underfitting", "activation-scale", "majority-class"),
    project="zhixuhao/unet",
    source="github.com/zhixuhao/unet/issues/98",
)
def pictures_grey_in_grey(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Where a faint thing is on a grey ground: without norms between its layers the net soon paints all of it black."""
    x, _, masks = data.shapes(600, seed)
    x = 0.55 + 0.012 * (x - 0.1)
    y = masks[:, None].float()
    rows = data.split(x, y, seed)

    def block(before: int, after: int) -> nn.Sequential:
        convs: list[nn.Module] = []
        for width in (before, after):
            conv = nn.Conv2d(width, after, 3, padding=1)
            nn.init.kaiming_normal_(conv.weight)
            nn.init.zeros_(conv.bias)
            convs += [conv, *([nn.BatchNorm2d(after)] if cured else []), nn.ReLU()]
        return nn.Sequential(*convs)

    class Unet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down, self.middle, self.up = block(1, 8), block(8, 16), block(24, 8)
            self.last = nn.Conv2d(8, 1, 1)

        def forward(self, x: Tensor) -> Tensor:
            first = self.down(x)
            second = self.middle(F.max_pool2d(first, 2))
            return self.last(self.up(torch.cat([first, F.interpolate(second, scale_factor=2)], 1))).sigmoid()

    model = Unet()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    doctor.task(model, data.few(rows.x, rows.y, 8, seed), F.binary_cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (images, labels) in enumerate(data.batches(rows.x, rows.y, 8, 300, seed)):
            model.train()
            optimizer.zero_grad()
            loss = F.binary_cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 50 == 49:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.binary_cross_entropy(model(rows.held_x), rows.held_y))
    model.eval()
    with torch.no_grad():
        said = model(rows.held_x) > 0.5
    there = rows.held_y > 0.5
    return above((said & there).sum() / (said | there).sum(), 0.4)
