"""Healthy programs on pictures: all layers side by side, thin ones, frozen one by one, attacked, by likeness, with a helper."""

from __future__ import annotations

import math

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Dense(nn.Module):
    """A convolution whose outcome stands beside what came in."""

    def __init__(self, into: int, grow: int) -> None:
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(into), nn.Conv2d(into, grow, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.conv(F.relu(self.norm(x)))], 1)


@healthy(project="gpleiss/efficient_densenet_pytorch", source="github.com/gpleiss/efficient_densenet_pytorch")
def digits_by_all_layers_side_by_side(doctor: Doctor, seed: int) -> Score:
    """Digits by layers that each see all those before, with momentum ahead and a rate that falls at a half and three quarters."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False), Dense(8, 8), Dense(16, 8), nn.Conv2d(24, 12, 1), nn.AvgPool2d(2), Dense(12, 8),
        Dense(20, 8), nn.BatchNorm2d(28), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(112, 10),
    )  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [100, 150], 0.1)
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 64, 200, seed)):
            model.train()
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            scheduler.step()
            watch.loss(loss)
            if step % 40 == 39:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    model.eval()
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


class Thin(nn.Module):
    """Widened, moved over each channel alone, and narrowed again, added to what came in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        wide = 3 * width
        self.body = nn.Sequential(
            nn.Conv2d(width, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(), nn.Conv2d(wide, wide, 3, 1, 1, groups=wide),
            nn.BatchNorm2d(wide), nn.ReLU6(), nn.Conv2d(wide, width, 1, bias=False), nn.BatchNorm2d(width),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


@healthy(project="tonylins/pytorch-mobilenet-v2", source="github.com/tonylins/pytorch-mobilenet-v2")
def digits_by_thin_layers(doctor: Doctor, seed: int) -> Score:
    """Digits by layers that are narrow where they are added, with a rate that falls along a cosine."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12), nn.ReLU6(), Thin(12), nn.MaxPool2d(2), Thin(12),
        nn.Conv2d(12, 48, 1), nn.BatchNorm2d(48), nn.ReLU6(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.2),
        nn.Linear(192, 10),
    )  # fmt: skip
    optimizer = torch.optim.RMSprop(model.parameters(), lr=2e-3, momentum=0.5, weight_decay=4e-5)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 200)
    doctor.task(model, data.few(rows.x, rows.y, 48, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 48, 200, seed):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            scheduler.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


@healthy(project="ajbrock/FreezeOut", source="github.com/ajbrock/FreezeOut")
def layers_frozen_one_by_one(doctor: Doctor, seed: int) -> Score:
    """Digits by four layers, each with a rate of its own that falls to 0 at its time, the first one first; then it is held."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    parts = [nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1), nn.Linear(512, 64), nn.Linear(64, 10)]
    model = nn.Sequential(parts[0], nn.ReLU(), nn.MaxPool2d(2), parts[1], nn.ReLU(), nn.Flatten(), parts[2], nn.ReLU(), parts[3])
    until = [120, 180, 240, 300]
    optimizer = torch.optim.SGD([{"params": part.parameters(), "lr": 0.05} for part in parts], momentum=0.9, nesterov=True)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 48, 300, seed)):
            for part, group, end in zip(parts, optimizer.param_groups, until, strict=True):
                group["lr"] = 0.05 * 0.5 * (1 + math.cos(math.pi * min(1.0, step / end)))
                if step == end:
                    for parameter in part.parameters():
                        parameter.requires_grad = False
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.92)


@healthy(project="yaodongyu/TRADES", source="github.com/yaodongyu/TRADES")
def digits_that_stand_an_attack(doctor: Doctor, seed: int) -> Score:
    """Digits told as they are, and told alike when each pixel is moved by a tenth to where it hurts; scored under attack."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.Flatten(),
        nn.Linear(512, 10),
    )  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=2e-4)

    def apart(said: Tensor, other: Tensor) -> Tensor:
        return F.kl_div(said.log_softmax(1), other.softmax(1), reduction="batchmean")

    def attacked(x: Tensor) -> Tensor:
        calm, moved = model(x).detach(), x + 0.001 * torch.randn_like(x)
        for _ in range(3):
            moved.requires_grad_()
            (slope,) = torch.autograd.grad(apart(model(moved), calm), moved)
            moved = (x + (moved.detach() + 0.04 * slope.sign() - x).clamp(-0.1, 0.1)).clamp(0, 1)
        return moved

    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 64, 200, seed):
            moved = attacked(x)
            said = model(x)
            optimizer.zero_grad()
            loss = F.cross_entropy(said, y) + 3 * apart(model(moved), said)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.accuracy(model(attacked(rows.held_x)), rows.held_y), 0.8)


@healthy(project="Po-Hsun-Su/pytorch-ssim", source="github.com/Po-Hsun-Su/pytorch-ssim")
def noise_taken_off_by_likeness(doctor: Doctor, seed: int) -> Score:
    """Noise taken off shapes by a net that is paid for likeness of means and spreads in small windows, not for pixels."""
    torch.manual_seed(seed)
    clean, kind, _ = data.shapes(500, seed, noise=0.02)
    rows = data.split(clean, kind, seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 1, 3, padding=1)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    def likeness(one: Tensor, two: Tensor) -> Tensor:
        mean = lambda each: F.avg_pool2d(each, 5, 1)  # noqa: E731
        a, b = mean(one), mean(two)
        spread_a, spread_b, both = mean(one * one) - a * a, mean(two * two) - b * b, mean(one * two) - a * b
        return ((2 * a * b + 1e-2) * (2 * both + 3e-2) / ((a * a + b * b + 1e-2) * (spread_a + spread_b + 3e-2))).mean()

    with doctor.watch(model, optimizer) as watch:
        for x, _ in data.batches(rows.x, rows.y, 16, 250, seed):
            optimizer.zero_grad()
            loss = 1 - likeness(model(x + 0.4 * torch.randn_like(x)), x)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return above(likeness(model(rows.held_x + 0.4 * torch.randn_like(rows.held_x)), rows.held_x), 0.75)


@healthy(project="Tramac/awesome-semantic-segmentation-pytorch", source="github.com/Tramac/awesome-semantic-segmentation-pytorch")
def outlines_with_a_helper_halfway(doctor: Doctor, seed: int) -> Score:
    """Where a thing is: a second, smaller head halfway is asked, too, for two fifths, and left out in the end."""
    torch.manual_seed(seed)
    pictures, _, masks = data.shapes(360, seed, noise=0.4)
    rows = data.split(pictures, masks, seed)

    class Seer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.early = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU())
            self.late = nn.Sequential(nn.Conv2d(12, 16, 3, padding=2, dilation=2), nn.BatchNorm2d(16), nn.ReLU())
            self.main, self.helper = nn.Conv2d(16, 2, 1), nn.Conv2d(12, 2, 1)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            early = self.early(x)
            return self.main(self.late(early)), self.helper(early)

    model = Seer()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.PolynomialLR(optimizer, 160, 0.9)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 12, 150, seed):
            main, helper = model(x)
            optimizer.zero_grad()
            loss = F.cross_entropy(main, y) + 0.4 * F.cross_entropy(helper, y)
            loss.backward()
            optimizer.step()
            scheduler.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        said, truth = model(rows.held_x)[0].argmax(1) == 1, rows.held_y == 1
        return above((said & truth).sum() / (said | truth).sum(), 0.65)


@healthy(
    project="katsura-jp/pytorch-cosine-annealing-with-warmup",
    source="github.com/katsura-jp/pytorch-cosine-annealing-with-warmup",
)
def digits_with_a_rate_that_starts_again(doctor: Doctor, seed: int) -> Score:
    """Digits in two halves a step, with a rate that climbs and falls along a cosine three times, each time to a lower height."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.GELU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1),
        nn.GELU(), nn.Flatten(), nn.Linear(512, 10),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.01)

    def height(step: int) -> float:
        turn, at = divmod(step, 50)
        rise = at / 10 if at < 10 else 0.5 * (1 + math.cos(math.pi * (at - 10) / 40))
        return 0.6**turn * (0.02 + 0.98 * rise)

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, height)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 32, 300, seed)):
            loss = F.cross_entropy(model(x), y)
            (loss / 2).backward()
            watch.loss(loss)
            if step % 2:
                optimizer.step()
                optimizer.zero_grad()
                scheduler.step()
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.92)


@healthy(project="jacobgil/pytorch-pruning", source="github.com/jacobgil/pytorch-pruning")
def rows_by_ever_fewer_weights(doctor: Doctor, seed: int) -> Score:
    """Wines by a net of which a fifth of the weights is set to 0 for good, four times, the smallest first."""
    torch.manual_seed(seed)
    rows = data.table("wine", seed)
    model = nn.Sequential(nn.Linear(13, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))
    layers = [each for each in model if isinstance(each, nn.Linear)]
    kept = [torch.ones_like(layer.weight) for layer in layers]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 16, 300, seed)):
            with torch.no_grad():
                for layer, mask in zip(layers, kept, strict=True):
                    if step in (60, 100, 140, 180):
                        size = layer.weight.abs() + 9.0 * (mask == 0)
                        mask[size <= size.flatten().kthvalue(mask.numel() // 5).values] = 0.0
                    layer.weight.mul_(mask)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)
