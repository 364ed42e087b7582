"""Healthy programs on pictures and points: sharper, on demand, with holes, with hints, in half precision, with questions."""

from __future__ import annotations

import copy

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="yjn870/SRCNN-pytorch", source="github.com/yjn870/SRCNN-pytorch")
def blurred_digits_made_sharp(doctor: Doctor, seed: int) -> Score:
    """Small first weights and a rate ten times smaller for the last layer than for the others."""
    digits = data.digits(seed)

    def blurred(x: Tensor) -> Tensor:
        return F.interpolate(F.avg_pool2d(x, 2), scale_factor=2.0, mode="bilinear")

    rows = data.Split(blurred(digits.x), digits.x, blurred(digits.held_x), digits.held_x)
    model = nn.Sequential(nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(), nn.Conv2d(32, 16, 3, padding=1), nn.ReLU())
    model.append(nn.Conv2d(16, 1, 3, padding=1))
    body = [*model[0].parameters(), *model[2].parameters()]
    optimizer = torch.optim.Adam([{"params": body}, {"params": model[4].parameters(), "lr": 3e-4}], lr=3e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 32, 350, seed), rows, every=70)
    with torch.no_grad():
        return above(1 - F.mse_loss(model(rows.held_x), rows.held_y) / F.mse_loss(rows.held_x, rows.held_y), 0.3)


class Drawer(nn.Module):
    """A digit and which one it is, a code of 6 numbers, the digit again."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(74, 128), nn.ReLU(), nn.Linear(128, 12))
        self.decoder = nn.Sequential(nn.Linear(16, 128), nn.ReLU(), nn.Linear(128, 64))

    def forward(self, x: Tensor, kind: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        asked = F.one_hot(kind, 10).float()
        mean, logvar = self.encoder(torch.cat([x, asked], 1)).chunk(2, 1)
        z = mean + torch.randn_like(mean) * (0.5 * logvar).exp()
        return self.decoder(torch.cat([z, asked], 1)), mean, logvar


@healthy(project="timbmg/VAE-CVAE-MNIST", source="github.com/timbmg/VAE-CVAE-MNIST")
def digits_drawn_on_demand(doctor: Doctor, seed: int) -> Score:
    """A sum over 64 pixels and a divergence; what is drawn is judged by the nearest true digit."""
    rows = data.digits(seed)
    x = rows.x.flatten(1)
    model = Drawer()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    with doctor.watch(model, optimizer) as watch:
        for a, kind in data.batches(x, rows.y, 50, 600, seed):
            again, mean, logvar = model(a, kind)
            misfit = F.binary_cross_entropy_with_logits(again, a, reduction="sum")
            divergence = -0.5 * (1 + logvar - mean.pow(2) - logvar.exp()).sum()
            loss = (misfit + divergence) / len(a)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    kind = torch.arange(10).repeat(30)
    with torch.no_grad():
        drawn = model.decoder(torch.cat([torch.randn(300, 6), F.one_hot(kind, 10).float()], 1)).sigmoid()
    nearest = rows.held_y[torch.cdist(drawn, rows.held_x.flatten(1)).argmin(1)]
    return above((nearest == kind).float().mean(), 0.8)


class Residual(nn.Module):
    """Two convolutions and a way round them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(2))
        nn.init.zeros_(self.norms[1].weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.norms[1](self.second(F.relu(self.norms[0](self.first(x))))))


@healthy(project="uoguelph-mlrg/Cutout", source="github.com/uoguelph-mlrg/Cutout")
def digits_with_a_hole(doctor: Doctor, seed: int) -> Score:
    """Each training picture has a square cut out and the rate restarts twice: the training loss is above the held-out one."""
    rows = data.digits(seed)
    model = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), Residual(16), nn.MaxPool2d(2), Residual(16))
    model.extend([nn.Flatten(), nn.Linear(256, 10)])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 80)
    generator = torch.Generator().manual_seed(seed)
    place = torch.arange(8)

    def cut(x: Tensor) -> Tensor:
        row, column = (torch.randint(8, (len(x), 1), generator=generator) for _ in range(2))
        hole = ((place - row).abs() < 2)[:, :, None] & ((place - column).abs() < 2)[:, None]
        return x.masked_fill(hole[:, None], 0.0)

    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 40, 240, seed)):
            model.train()
            optimizer.zero_grad()
            loss = F.cross_entropy(model(cut(x)), y)
            loss.backward()
            optimizer.step()
            schedule.step()
            watch.loss(loss)
            if step % 40 == 39:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    model.eval()
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.93)


class Pupil(nn.Module):
    """A thin net; its middle, made wider, is to look like the teacher's."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.low = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.high = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(16 * width, 10))
        self.wider = nn.Conv2d(width, 24, 1)


@healthy(project="AberHu/Knowledge-Distillation-Zoo", source="github.com/AberHu/Knowledge-Distillation-Zoo")
def hints_from_the_middle_of_a_teacher(doctor: Doctor, seed: int) -> Score:
    """A frozen teacher in eval mode, hints for the middle, labels and soft answers: three losses of different size."""
    rows = data.digits(seed)
    teacher = Pupil(24)
    adam = torch.optim.Adam(teacher.parameters(), lr=3e-3)
    for x, y in data.batches(rows.x, rows.y, 32, 200, seed):
        adam.zero_grad()
        F.cross_entropy(teacher.high(teacher.low(x)), y).backward()
        adam.step()
    teacher.eval().requires_grad_(requires_grad=False)
    model = Pupil(6)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 32, 300, seed):
            middle, truth = model.low(x), teacher.low(x)
            said, soft = model.high(middle), teacher.high(truth)
            hint = F.mse_loss(model.wider(middle), truth)
            taught = F.kl_div((said / 4).log_softmax(1), (soft / 4).softmax(1), reduction="batchmean") * 16
            loss = F.cross_entropy(said, y) + 0.1 * taught + 10 * hint
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return above(data.accuracy(model.high(model.low(rows.held_x)), rows.held_y), 0.9)


@healthy(project="rosinality/stylegan2-pytorch", source="github.com/rosinality/stylegan2-pytorch")
def judge_whose_slope_is_held_down(doctor: Doctor, seed: int) -> Score:
    """The slope of the judge at true points is penalised each fourth step; an average of the maker is what is used."""
    generator = torch.Generator().manual_seed(seed)
    maker = nn.Sequential(nn.Linear(4, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 2))
    judge = nn.Sequential(nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))
    model = nn.ModuleDict({"maker": maker, "judge": judge})
    average = copy.deepcopy(maker).requires_grad_(requires_grad=False)
    make = torch.optim.Adam(maker.parameters(), lr=1e-3, betas=(0.0, 0.99))
    rate = torch.optim.Adam(judge.parameters(), lr=1e-3, betas=(0.0, 0.99))

    def true(count: int) -> Tensor:
        turn = 6.283 * torch.rand(count, generator=generator)
        return 1.5 * torch.stack([turn.cos(), turn.sin()], 1) + 0.05 * torch.randn(count, 2, generator=generator)

    with doctor.watch(model, [make, rate]) as watch:
        for step in range(800):
            real, false = true(64), maker(torch.randn(64, 4, generator=generator))
            loss = F.softplus(judge(false.detach())).mean() + F.softplus(-judge(real)).mean()
            if step % 4 == 0:
                real.requires_grad_()
                slope = torch.autograd.grad(judge(real).sum(), real, create_graph=True)[0]
                loss = loss + 0.2 * slope.pow(2).sum(1).mean()
            rate.zero_grad()
            loss.backward()
            rate.step()
            other = F.softplus(-judge(false)).mean()
            make.zero_grad()
            other.backward()
            make.step()
            watch.loss(loss)
            with torch.no_grad():
                for kept, new in zip(average.parameters(), maker.parameters(), strict=True):
                    kept.lerp_(new, 0.02)
    with torch.no_grad():
        points = average(torch.randn(500, 4, generator=generator))
    return below((points.norm(dim=1) - 1.5).abs().mean(), 0.3)


@healthy(project="pytorch/tutorials", source="pytorch.org/tutorials/recipes/recipes/amp_recipe.html")
def digits_in_bfloat16(doctor: Doctor, seed: int) -> Score:
    """Separable convolutions in half precision, four small batches to a step, the norm clipped at 1."""
    rows = data.digits(seed)
    conv: list[nn.Module] = [nn.Conv2d(1, 24, 3, padding=1), nn.ReLU()]
    for _ in range(2):
        conv += [nn.Conv2d(24, 24, 3, padding=1, groups=24), nn.Conv2d(24, 24, 1), nn.GroupNorm(4, 24), nn.ReLU()]
    model = nn.Sequential(*conv, nn.AvgPool2d(2), nn.Flatten(), nn.Linear(24 * 16, 10))
    optimizer = torch.optim.NAdam(model.parameters(), lr=4e-3)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 12, 800, seed)):
            with torch.autocast("cpu", torch.bfloat16):
                loss = F.cross_entropy(model(x), y)
            (loss / 4).backward()
            watch.loss(loss)
            if step % 4 == 3:
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.92)


class Asked(nn.Module):
    """A question scales and shifts what is seen of a picture; yes or no."""

    def __init__(self) -> None:
        super().__init__()
        self.see = nn.Sequential(nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(16, 24, 3, stride=2, padding=1))
        self.question, self.film = nn.Embedding(4, 16), nn.Linear(16, 48)
        self.out = nn.Sequential(nn.Flatten(), nn.Linear(24 * 16, 48), nn.ReLU(), nn.Linear(48, 2))

    def forward(self, x: Tensor, q: Tensor) -> Tensor:
        scale, shift = self.film(self.question(q))[..., None, None].chunk(2, 1)
        return self.out(F.relu((1 + scale) * self.see(x) + shift))


@healthy(project="ethanjperez/film", source="github.com/ethanjperez/film")
def questions_about_a_shape(doctor: Doctor, seed: int) -> Score:
    """Is it a ring? Is it a bar? The answer is yes for five in eight; little happens at first, then much."""
    x, kind, _ = data.shapes(1200, seed)
    generator = torch.Generator().manual_seed(seed)
    q = torch.where(torch.rand(1200, generator=generator) < 0.5, kind, torch.randint(4, (1200,), generator=generator))
    yes = (q == kind).long()
    model = Asked()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, weight_decay=1e-5)
    rows = data.split(torch.arange(1200), yes, seed)
    with doctor.watch(model, optimizer) as watch:
        for step, (at, y) in enumerate(data.batches(rows.x, rows.y, 32, 350, seed)):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x[at], q[at]), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 70 == 69:
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(x[rows.held_x], q[rows.held_x]), rows.held_y))
    with torch.no_grad():
        return above(data.accuracy(model(x[rows.held_x], q[rows.held_x]), rows.held_y), 0.88)
