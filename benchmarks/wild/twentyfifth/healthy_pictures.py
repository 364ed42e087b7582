"""Healthy programs on pictures: a heat map, three at a time, noise, waves, a forger with styles, thin shapes, two worlds."""

from __future__ import annotations

import copy
import math

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="karfly/learnable-triangulation-pytorch", source="github.com/karfly/learnable-triangulation-pytorch")
def the_middle_of_a_heat_map(doctor: Doctor, seed: int) -> Score:
    """Where a thing stands: a map of heat, its softmax, and the mean place under it."""
    torch.manual_seed(seed)
    x, _, mask = data.shapes(700, seed)
    line = torch.arange(16.0) / 8 - 1
    share = mask.float() / mask.sum((1, 2), keepdim=True)
    rows = data.split(x, torch.stack([(share.sum(1) * line).sum(1), (share.sum(2) * line).sum(1)], 1), seed)

    class Heat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(1, 16, 5, padding=2), nn.BatchNorm2d(16), nn.ReLU())
            self.heat = nn.Sequential(nn.Conv2d(16, 16, 5, padding=2), nn.ReLU(), nn.Conv2d(16, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            heat = (5 * self.heat(self.body(x))).flatten(1).softmax(1).view(-1, 16, 16)
            return torch.stack([(heat.sum(1) * line).sum(1), (heat.sum(2) * line).sum(1)], 1)

    model = Heat()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, rows.y, 16, seed), F.l1_loss, optimizer)
    fit(doctor, model, optimizer, F.l1_loss, data.batches(rows.x, rows.y, 16, 250, seed), held=rows)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y), 0.8)


@healthy(project="qqueing/DeepSpeaker-pytorch", source="github.com/qqueing/DeepSpeaker-pytorch")
def three_at_a_time(doctor: Doctor, seed: int) -> Score:
    """Digits 0 to 6 on a ball: one, one like it and the nearest of the unlike ones; then 7 to 9 are told by neighbours."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    x, y = rows.x[rows.y < 7], rows.y[rows.y < 7]
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 24, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(384, 16)
    )
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.02)
    with doctor.watch(model, optimizer) as watch:
        for seen, kind in data.batches(x, y, 48, 250, seed):
            h = F.normalize(model(seen), dim=1)
            apart = (h[:, None] - h).pow(2).sum(2)
            same = kind[:, None] == kind
            like = apart.masked_fill(~same, 0).amax(1)
            unlike = apart.masked_fill(same, math.inf).topk(3, dim=1, largest=False).values.mean(1)
            loss = (like - unlike + 0.4).clamp(min=0).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    new, old = rows.held_y >= 7, rows.y >= 7
    with torch.no_grad():
        near = torch.cdist(model(rows.held_x[new]), model(rows.x[old])).argmin(1)
        return above((rows.y[old][near] == rows.held_y[new]).float().mean(), 0.8)


@healthy(project="xyfJASON/diffusion-models-pytorch", source="github.com/xyfJASON/diffusion-models-pytorch")
def digits_drawn_out_of_noise(doctor: Doctor, seed: int) -> Score:
    """The speed of a digit on its way to noise, by an averaged copy; a tenth of the labels are left out."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    x = 2 * rows.x.flatten(1) - 1

    class Speed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kind, self.time = nn.Embedding(11, 64), nn.Linear(2, 64)
            self.enter, self.leave = nn.Linear(64, 192), nn.Linear(192, 64)
            self.mix = nn.ModuleList(nn.Linear(192 + 64, 192) for _ in range(2))

        def forward(self, x: Tensor, angle: Tensor, kind: Tensor) -> Tensor:
            told = self.kind(kind) + self.time(torch.stack([angle.cos(), angle.sin()], 1))
            h = self.enter(x)
            for layer in self.mix:
                h = h + layer(torch.cat([F.silu(h), told], 1))
            return self.leave(F.silu(h))

    model = Speed()
    slow = copy.deepcopy(model).requires_grad_(requires_grad=False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    with doctor.watch(model, optimizer) as watch:
        for clean, kind in data.batches(x, rows.y, 64, 900, seed):
            angle, noise = 1.5708 * torch.rand(64), torch.randn_like(clean)
            cosine, sine = angle.cos()[:, None], angle.sin()[:, None]
            asked = torch.where(torch.rand(64) < 0.1, 10, kind)
            loss = F.mse_loss(model(cosine * clean + sine * noise, angle, asked), cosine * noise - sine * clean)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            with torch.no_grad():
                for late, now in zip(slow.parameters(), model.parameters(), strict=True):
                    late.lerp_(now, 0.02)
    asked = torch.arange(10).repeat(20)
    with torch.no_grad():
        z = torch.randn(200, 64)
        for step in range(30, 0, -1):
            angle = torch.full((200,), 1.5708 * step / 30)
            speed, cosine, sine = slow(z, angle, asked), angle.cos()[:, None], angle.sin()[:, None]
            clean, noise = cosine * z - sine * speed, sine * z + cosine * speed
            after = angle[0] - 1.5708 / 30
            z = after.cos() * clean + after.sin() * noise
        near = torch.cdist(z, 2 * rows.held_x.flatten(1) - 1).topk(3, largest=False).indices
        return above((rows.held_y[near] == asked[:, None]).float().mean(), 0.6)


@healthy(project="v0lta/PyTorch-Wavelet-Toolbox", source="github.com/v0lta/PyTorch-Wavelet-Toolbox")
def waves_that_fit_themselves(doctor: Doctor, seed: int) -> Score:
    """Digits cut into four bands by a learned wave that must be undone by its mirror, and a layer on the bands."""
    torch.manual_seed(seed)
    rows = data.digits(seed)

    class Bands(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.low = nn.Parameter(torch.tensor([0.5, 0.5]) + 0.2 * torch.randn(2))
            self.say = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 48), nn.GELU(), nn.Linear(48, 10))

        def forward(self, x: Tensor) -> Tensor:
            pair = torch.stack([self.low, self.low.flip(0) * torch.tensor([1.0, -1.0])])
            return self.say(F.conv2d(x, torch.einsum("ai,bj->abij", pair, pair).reshape(4, 1, 2, 2), stride=2))

    model = Bands()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 32, 300, seed):
            whole = (model.low.pow(2).sum() - 1).pow(2)
            loss = F.cross_entropy(model(x), y) + whole
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.92)


@healthy(project="AtlantixJJ/style-based-gan-pytorch", source="github.com/AtlantixJJ/style-based-gan-pytorch")
def styles_from_a_forger(doctor: Doctor, seed: int) -> Score:
    """Points on two rings: a forger led by a style, a judge whose slope at true points costs, and an averaged forger."""
    torch.manual_seed(seed)

    def true(count: int) -> Tensor:
        angle, far = 6.2832 * torch.rand(count), 0.6 + 0.8 * torch.randint(2, (count,))
        return far[:, None] * torch.stack([angle.cos(), angle.sin()], 1) + 0.03 * torch.randn(count, 2)

    class Forger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.style = nn.Sequential(nn.Linear(4, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2))
            self.fixed, self.bend = nn.Parameter(torch.randn(64)), nn.Linear(64, 128)
            self.draw = nn.Sequential(nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 2))

        def forward(self, z: Tensor) -> Tensor:
            scale, shift = self.bend(self.style(z)).chunk(2, 1)
            return self.draw(self.fixed * (1 + scale) + shift)

    forger = Forger()
    judge = nn.Sequential(nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))
    slow = copy.deepcopy(forger).requires_grad_(requires_grad=False)
    optimizers = [torch.optim.Adam(each.parameters(), lr=1e-3, betas=(0.0, 0.99)) for each in (forger, judge)]
    with doctor.watch(nn.ModuleDict({"forger": forger, "judge": judge}), optimizers) as watch:
        for _ in range(1000):
            real = true(64).requires_grad_()
            said = judge(real)
            (slope,) = torch.autograd.grad(said.sum(), real, create_graph=True)
            forged = forger(torch.randn(64, 4))
            judged = F.softplus(-said).mean() + F.softplus(judge(forged.detach())).mean() + 0.1 * slope.pow(2).sum(1).mean()
            optimizers[1].zero_grad()
            judged.backward()
            optimizers[1].step()
            optimizers[0].zero_grad()
            loss = F.softplus(-judge(forger(torch.randn(64, 4)))).mean()
            loss.backward()
            optimizers[0].step()
            watch.loss(loss)
            with torch.no_grad():
                for late, now in zip(slow.parameters(), forger.parameters(), strict=True):
                    late.lerp_(now, 0.02)
    with torch.no_grad():
        forged, real = slow(torch.randn(500, 4)), true(500)
        apart = torch.cdist(forged, real)
        return above(((apart.amin(1) < 0.15).float().mean() + (apart.amin(0) < 0.15).float().mean()) / 2, 0.5)


@healthy(project="BloodAxe/pytorch-toolbelt", source="github.com/BloodAxe/pytorch-toolbelt")
def an_overlap_and_a_focus(doctor: Doctor, seed: int) -> Score:
    """Thin shapes before a ground: an overlap loss and a focused one, halves of a batch at a time, looked at from both sides."""
    torch.manual_seed(seed)
    x, _, mask = data.shapes(600, seed, noise=0.35)
    rows = data.split(x, mask[:, None].float(), seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=2, dilation=2)
    )
    model.extend([nn.GroupNorm(4, 16), nn.ReLU(), nn.Conv2d(16, 1, 3, padding=1)])
    optimizer = torch.optim.RAdam(model.parameters(), lr=3e-3)

    def both(said: Tensor, y: Tensor) -> Tensor:
        p = said.sigmoid()
        overlap = 1 - (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)
        each = F.binary_cross_entropy_with_logits(said, y, reduction="none")
        return overlap + ((1 - (-each).exp()).pow(2) * each).mean()

    with doctor.watch(model, optimizer) as watch:
        for step, (seen, y) in enumerate(data.batches(rows.x, rows.y, 8, 400, seed)):
            loss = both(model(seen), y)
            (loss / 2).backward()
            if step % 2:
                optimizer.step()
                optimizer.zero_grad()
            watch.loss(loss)
    with torch.no_grad():
        said = model(rows.held_x) + model(rows.held_x.flip(3)).flip(3) > 0
        true = rows.held_y > 0
        return above((said & true).sum() / (said | true).sum(), 0.55)


@healthy(project="KevinMusgrave/pytorch-adapt", source="github.com/KevinMusgrave/pytorch-adapt")
def pictures_from_two_worlds(doctor: Doctor, seed: int) -> Score:
    """Digits with labels, and paler ones without: a judge of worlds whose gradient is turned round on its way to the body."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    pale = 0.8 * rows.x + 0.15

    class Turned(torch.autograd.Function):
        @staticmethod
        def forward(_: object, x: Tensor) -> Tensor:
            return x.view_as(x)

        @staticmethod
        def backward(_: object, grad: Tensor) -> Tensor:
            return -0.3 * grad

    body = nn.Sequential(nn.Flatten(), nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 32), nn.ReLU())
    model = nn.ModuleDict({"body": body, "kind": nn.Linear(32, 10), "world": nn.Linear(32, 1)})
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with doctor.watch(model, optimizer) as watch:
        for at, _ in data.batches(torch.arange(len(pale)), torch.arange(len(pale)), 64, 500, seed):
            here, there = at[:32], at[32:]
            h = body(torch.cat([rows.x[here], pale[there]]))
            world = (torch.arange(64) < 32).float()[:, None]
            judged = F.binary_cross_entropy_with_logits(model["world"](Turned.apply(h)), world)
            loss = F.cross_entropy(model["kind"](h[:32]), rows.y[here]) + judged
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return above(data.accuracy(model["kind"](body(0.8 * rows.held_x + 0.15)), rows.held_y), 0.8)
