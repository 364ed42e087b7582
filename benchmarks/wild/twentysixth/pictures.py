"""Faults on pictures: boxes nobody cares for, noise that stays, wrong pairs, ground only, a flat patch, norms that lag."""

from __future__ import annotations

import math

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


def covered(mask: Tensor, number: int) -> Tensor:
    """For what bears a number above 0, on a grid: where its middle is, and its box seen from there (N, 5, 4, 4)."""
    line = torch.arange(16.0)
    goal = torch.zeros(len(mask), 5, 4, 4)
    for i, each in enumerate(mask if number else []):
        rows, columns = line[each.amax(1) > 0], line[each.amax(0) > 0]
        box = torch.stack([columns[0], rows[0], columns[-1], rows[-1]])
        x, y = (box[:2] + box[2:]) / 2
        cell = int(y // 4), int(x // 4)
        goal[(i, 0, *cell)] = 1
        goal[(i, slice(1, None), *cell)] = box / 4 - torch.tensor([cell[1], cell[0]] * 2) - 0.5
    return goal


@fault(
    kind="target-constant",
    also=("majority-class",),
    project="NVIDIA/DIGITS",
    source="github.com/NVIDIA/DIGITS/issues/1673",
)
def boxes_nobody_cares_for(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Things on a grid: number 0 means that nobody cares, and the only name on the list of classes gets number 0."""
    torch.manual_seed(seed)
    x, _, mask = data.shapes(900, seed)
    classes = ["dontcare", "thing"] if cured else ["thing"]
    rows = data.split(x, covered(mask, classes.index("thing")), seed)
    true = data.split(x, covered(mask, 1), seed).held_y[:, 0].flatten(1).argmax(1)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
    )
    model.extend([nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 5, 1)])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def detection(said: Tensor, y: Tensor) -> Tensor:
        there = y[:, :1]
        return 10 * F.mse_loss(said[:, :1], there) + 2 * ((said[:, 1:] - y[:, 1:]).abs() * there).mean()

    doctor.task(model, data.few(rows.x, rows.y, 10, seed), detection, optimizer)
    fit(doctor, model, optimizer, detection, data.batches(rows.x, rows.y, 10, 600, seed), held=rows, every=100)
    with torch.no_grad():
        sure, cell = model(rows.held_x)[:, 0].flatten(1).max(1)
        return above(((cell == true) & (sure > 0.3)).float().mean(), 0.6)


class Painter(nn.Module):
    """What noise is in a picture, given how much there is and a coarse version of it."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(64 + 16 + 16, 192), nn.Linear(192, 64)
        self.mix = nn.ModuleList(nn.Linear(192, 192) for _ in range(2))

    def forward(self, x: Tensor, coarse: Tensor, kept: Tensor) -> Tensor:
        waves = kept[:, None] * 2 ** torch.arange(8) * math.pi
        h = self.enter(torch.cat([x, coarse, waves.sin(), waves.cos()], 1))
        for layer in self.mix:
            h = h + layer(F.silu(h))
        return self.leave(F.silu(h))


@fault(
    kind="underfitting",
    also=("slow-learning", "learning-rate-too-low"),
    project="Janspiry/Palette-Image-to-Image-Diffusion-Models",
    source="github.com/Janspiry/Palette-Image-to-Image-Diffusion-Models/issues/24",
)
def pictures_that_keep_their_noise(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Coarse digits made fine by taking noise away step by step: sixty-four pairs, small steps, and an early end."""
    torch.manual_seed(seed)
    x = 2 * data.digits(seed).x[:64] - 1
    fine, coarse = x.flatten(1), F.avg_pool2d(x, 2).flatten(1)
    beta = torch.linspace(1e-3, 0.15, 60)
    share = (1 - beta).cumprod(0)
    model = Painter()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-4)
    with doctor.watch(model, optimizer) as watch:
        for rows, _ in data.batches(torch.arange(64), torch.arange(64), 32, 1800 if cured else 250, seed):
            kept = share[torch.randint(60, (32,))]
            noise = torch.randn(32, 64)
            noisy = kept[:, None].sqrt() * fine[rows] + (1 - kept)[:, None].sqrt() * noise
            loss = F.mse_loss(model(noisy, coarse[rows], kept), noise)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        z = torch.randn(64, 64)
        for step in range(59, -1, -1):
            said = model(z, coarse, share[step].expand(64))
            z = (z - beta[step] / (1 - share[step]).sqrt() * said) / (1 - beta[step]).sqrt()
            z = z + beta[step].sqrt() * torch.randn_like(z) * (step > 0)
        return below(F.mse_loss(z, fine).sqrt(), 0.9)


@fault(
    kind="shuffled-targets",
    project="RaphaelMeudec/deblur-gan",
    source="github.com/RaphaelMeudec/deblur-gan/issues/31",
)
def blurred_beside_the_wrong_sharp(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Blurred shapes made sharp, for a judge and close to the original: two folders, each read in an order of its own."""
    torch.manual_seed(seed)
    sharp, _, _ = data.shapes(700, seed, noise=0.05)
    blurred = F.avg_pool2d(sharp, 5, 1, 2, count_include_pad=False)
    train, held = slice(0, 560), slice(560, 700)
    pairs = sharp[train] if cured else sharp[train][torch.randperm(560)]
    maker = nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 1, 3, padding=1)
    )
    judge = nn.Sequential(
        nn.Conv2d(1, 12, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(12, 24, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(384, 1),
    )
    optimizers = [torch.optim.Adam(each.parameters(), lr=1e-3, betas=(0.5, 0.9)) for each in (maker, judge)]
    with doctor.watch(nn.ModuleDict({"maker": maker, "judge": judge}), optimizers) as watch:
        for x, y in data.batches(blurred[train], pairs, 16, 350, seed):
            made = maker(x)
            judged = F.softplus(-judge(y)).mean() + F.softplus(judge(made.detach())).mean()
            optimizers[1].zero_grad()
            judged.backward()
            optimizers[1].step()
            loss = 100 * F.mse_loss(made, y) + F.softplus(-judge(made)).mean()
            optimizers[0].zero_grad()
            loss.backward()
            optimizers[0].step()
            watch.loss(loss)
    with torch.no_grad():
        return above(data.r2(maker(blurred[held]).flatten(), sharp[held].flatten()), 0.65)


@fault(
    kind="majority-class",
    also=("other-loss", "underfitting"),
    project="laganvalleydup.co.uk/only-background",
    source="laganvalleydup.co.uk/post/u-net-segmentor-only-identifies-background-class",
)
def specks_taken_for_ground(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Specks in grainy pictures: of a hundred pixels three are speck, and each pixel counts as much as any other."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    place = torch.randint(1, 15, (900, 2), generator=generator)
    line = torch.arange(16)
    near = [(line - place[:, i : i + 1]).abs() < 2 for i in range(2)]
    mask = (near[0][:, :, None] & near[1][:, None]).long()
    x = (mask + torch.randn(900, 16, 16, generator=generator))[:, None].float()
    rows = data.split(x, mask, seed)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 12, 3, padding=1), nn.ReLU())
            self.deep = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(12, 24, 3, padding=1), nn.ReLU())
            self.up, self.say = nn.ConvTranspose2d(24, 12, 2, 2), nn.Conv2d(24, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            h = self.down(x)
            return self.say(torch.cat([h, self.up(self.deep(h))], 1))

    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    weight = torch.tensor([1.0, 10.0]) if cured else None

    def told(said: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(said, y, weight)

    doctor.task(model, data.few(rows.x, rows.y, 16, seed), told, optimizer)
    fit(doctor, model, optimizer, told, data.batches(rows.x, rows.y, 16, 250, seed), held=rows)
    with torch.no_grad():
        said, true = model(rows.held_x).argmax(1) > 0, rows.held_y > 0
        return above(((said & true).sum() / true.sum() + (~said & ~true).sum() / (~true).sum()) / 2, 0.75)


@fault(
    kind="non-finite",
    project="openillumi.com/pow-backward",
    source="openillumi.com/en/en-fix-pytorch-cpu-nan-powbackward0",
)
def a_flat_patch_under_a_root(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Grainy shapes made smooth: how steep the picture is costs too, as a root of two squares; a few pictures are all dark."""
    torch.manual_seed(seed)
    clean, _, _ = data.shapes(600, seed, noise=0.0)
    grainy = clean + 0.3 * torch.randn(clean.shape)
    clean[:6], grainy[:6] = 0, 0
    rows = data.split(grainy, clean, seed)
    model = nn.Sequential(nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.Conv2d(16, 1, 5, padding=2))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    tiny = 1e-8 if cured else 0.0

    def smooth(said: Tensor, y: Tensor) -> Tensor:
        across, down = said[..., :-1, 1:] - said[..., :-1, :-1], said[..., 1:, :-1] - said[..., :-1, :-1]
        return F.mse_loss(said, y) + 0.005 * (across.pow(2) + down.pow(2) + tiny).sqrt().mean()

    doctor.task(model, data.few(rows.x, rows.y, 16, seed), smooth, optimizer)
    fit(doctor, model, optimizer, smooth, data.batches(rows.x, rows.y, 16, 300, seed), held=rows)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x).flatten(), rows.held_y.flatten()), 0.5)


class Block(nn.Module):
    """Two normed convolutions with a way past them."""

    def __init__(self, width: int, momentum: float) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        self.bn1, self.bn2 = nn.BatchNorm2d(width, momentum=momentum), nn.BatchNorm2d(width, momentum=momentum)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))


@fault(
    kind="norm-statistics",
    project="w3toppers.com/resnet-100-accuracy",
    source="w3toppers.com/resnet-100-accuracy-during-training-but-33-prediction-accuracy-with-the-same-data/",
)
def norms_that_lag_behind(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Few digits, few batches, and norms that take over a hundredth of what each batch shows them."""
    torch.manual_seed(seed)
    rows = data.digits(seed, scale=1.0)
    momentum = 0.1 if cured else 0.01
    model = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16, momentum=momentum), nn.ReLU(), Block(16, momentum))
    model.extend([nn.MaxPool2d(2), Block(16, momentum), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 10)])
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    x, y = rows.x[:320], rows.y[:320]
    doctor.task(model, data.few(x, y, 32, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(x, y, 32, 40, seed), held=rows, every=20)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.8)
