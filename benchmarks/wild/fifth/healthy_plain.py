"""Healthy programs: rows, curves, pictures."""

from __future__ import annotations

import copy
import math

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="martius-lab/beta-nll", source="github.com/martius-lab/beta-nll")
def mean_and_spread_of_a_curve(doctor: Doctor, seed: int) -> Score:
    """A net tells a mean and a variance; the likelihood of a nearly noiseless part takes the loss far below 0."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(1600, 1, generator=generator) * 6
    spread = 0.01 + 0.15 * (x > 3)
    rows = data.split(x, 0.5 * torch.sin(2 * x) + spread * torch.randn(1600, 1, generator=generator), seed)
    model = nn.Sequential(nn.Linear(1, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    def loss_fn(output: Tensor, y: Tensor) -> Tensor:
        mean, variance = output[:, :1], F.softplus(output[:, 1:]) + 1e-5
        nll = 0.5 * ((y - mean).pow(2) / variance + variance.log())
        return (nll * variance.detach().pow(0.5)).mean()

    doctor.task(model, data.few(rows.x, rows.y, 50, seed), loss_fn, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 50, 800, seed):
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    mean = model(rows.held_x)[:, :1]
    return below((mean - 0.5 * torch.sin(2 * rows.held_x)).abs().mean(), 0.1)


class Sine(nn.Module):
    """A layer whose activation is sin(30 x), started as its authors say."""

    def __init__(self, before: int, after: int, first: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(before, after)
        reach = 1 / before if first else math.sqrt(6 / before) / 30
        nn.init.uniform_(self.linear.weight, -reach, reach)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(30 * self.linear(x))


@healthy(project="vsitzmann/siren", source="github.com/vsitzmann/siren")
def picture_by_sines(doctor: Doctor, seed: int) -> Score:
    """One picture as a function of place, all its pixels in each step: sines of sines, very small weights, a small rate."""
    picture = F.interpolate(data.digits(seed).x[:1], size=(32, 32), mode="bicubic")[0, 0]
    lines = torch.linspace(-1, 1, 32)
    place = torch.stack(torch.meshgrid(lines, lines, indexing="ij"), 2).view(-1, 2)
    target = picture.reshape(-1, 1) * 2 - 1
    model = nn.Sequential(Sine(2, 64, first=True), Sine(64, 64), Sine(64, 64), nn.Linear(64, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-4)
    doctor.task(model, [(place, target)] * 6, F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(250):
            loss = F.mse_loss(model(place), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return below(F.mse_loss(model(place), target) / target.var(), 0.05)


class Spectral(nn.Module):
    """A layer that multiplies the lowest frequencies by complex weights."""

    def __init__(self, width: int, modes: int) -> None:
        super().__init__()
        self.weights1 = nn.Parameter(torch.rand(width, width, modes, dtype=torch.cfloat) / width**2)
        self.w = nn.Conv1d(width, width, 1)
        self.modes = modes

    def forward(self, x: Tensor) -> Tensor:
        low = torch.fft.rfft(x)[..., : self.modes]
        mixed = torch.einsum("bix,iox->box", low, self.weights1)
        return F.gelu(torch.fft.irfft(mixed, n=x.shape[-1]) + self.w(x))


@healthy(project="neuraloperator/neuraloperator", source="github.com/neuraloperator/neuraloperator")
def heat_after_some_time(doctor: Doctor, seed: int) -> Score:
    """A Fourier neural operator with complex weights: from a start to what diffusion makes of it."""
    generator = torch.Generator().manual_seed(seed)
    waves = torch.fft.rfftfreq(32, 1 / 32)
    coefficient = torch.randn(900, 17, 2, generator=generator) * (-(waves[:, None]) / 4).exp() * 8
    start = torch.fft.irfft(torch.view_as_complex(coefficient), n=32)
    after = torch.fft.irfft(torch.fft.rfft(start) * (-0.05 * waves**2).exp(), n=32)
    rows = data.split(start[:, None], torch.tanh(2 * after[:, None]), seed)
    model = nn.Sequential(nn.Conv1d(1, 16, 1), Spectral(16, 8), Spectral(16, 8), nn.Conv1d(16, 1, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, weight_decay=1e-4)

    def relative(output: Tensor, y: Tensor) -> Tensor:
        return ((output - y).flatten(1).norm(dim=1) / y.flatten(1).norm(dim=1)).mean()

    doctor.task(model, data.few(rows.x, rows.y, 20, seed), relative, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 20, 350, seed):
            optimizer.zero_grad()
            loss = relative(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return below(relative(model(rows.held_x), rows.held_y), 0.2)


class Masked(nn.Linear):
    """A dense layer of which many weights do not count."""

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.get_buffer("mask"), self.bias)


@healthy(project="karpathy/pytorch-made", source="github.com/karpathy/pytorch-made")
def pixel_given_those_before(doctor: Doctor, seed: int) -> Score:
    """MADE: the target is the input, and masks see to it that no pixel knows itself; half of the weights never move."""
    rows = data.digits(seed)
    x, held = (rows.x.flatten(1) > 0.5).float(), (rows.held_x.flatten(1) > 0.5).float()
    order, hidden = torch.arange(64), torch.arange(160) % 63
    model = nn.Sequential(
        Masked((hidden[:, None] >= order).float()),
        nn.ReLU(),
        Masked((hidden[:, None] >= hidden).float()),
        nn.ReLU(),
        Masked((order[:, None] > hidden).float()),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, weight_decay=1e-4)
    doctor.task(model, data.few(x, x, 50, seed), F.binary_cross_entropy_with_logits, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, _) in enumerate(data.batches(x, x, 50, 350, seed)):
            loss = F.binary_cross_entropy_with_logits(model(a), a)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 70 == 69:
                with torch.no_grad():
                    watch.dev_loss(F.binary_cross_entropy_with_logits(model(held), held))
    plain = F.binary_cross_entropy(x.mean(0).clamp(0.01, 0.99).expand_as(held), held)
    return below(F.binary_cross_entropy_with_logits(model(held), held) / plain, 0.88)


@healthy(project="KaiyangZhou/pytorch-center-loss", source="github.com/KaiyangZhou/pytorch-center-loss")
def digits_near_their_centres(doctor: Doctor, seed: int) -> Score:
    """Two losses and two optimisers; the centres have a rate of 0.5 and their gradients are scaled back by hand."""
    rows = data.digits(seed)
    body = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.PReLU(), nn.Linear(64, 4))
    model = nn.ModuleDict({"body": body, "fc": nn.Linear(4, 10)})
    centres = nn.Parameter(torch.randn(10, 4))
    optimizer_model = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4)
    optimizer_centre = torch.optim.SGD([centres], lr=0.5)
    with doctor.watch(model, [optimizer_model, optimizer_centre]) as watch:
        for x, y in data.batches(rows.x, rows.y, 64, 500, seed):
            features = body(x)
            pull = (features - centres[y]).pow(2).sum(1).mean()
            loss = F.cross_entropy(model["fc"](features), y) + 0.05 * pull
            optimizer_model.zero_grad()
            optimizer_centre.zero_grad()
            loss.backward()
            optimizer_model.step()
            if centres.grad is not None:
                centres.grad.mul_(1 / 0.05)
            optimizer_centre.step()
            watch.loss(loss)
    return above(data.accuracy(model["fc"](body(rows.held_x)), rows.held_y), 0.9)


@healthy(
    project="rahulvigneswaran/Lottery-Ticket-Hypothesis-in-Pytorch",
    source="github.com/rahulvigneswaran/Lottery-Ticket-Hypothesis-in-Pytorch",
)
def one_weight_in_five_is_kept(doctor: Doctor, seed: int) -> Score:
    """A pruned net trained again from its first weights: four weights in five are 0, and their gradients are set to 0."""
    rows = data.digits(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 50), nn.ReLU(), nn.Linear(50, 10))
    first = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for x, y in data.batches(rows.x, rows.y, 50, 200, seed):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    masks = {
        name: (each.abs() > each.abs().quantile(0.8)).float().detach() for name, each in model.named_parameters() if each.ndim > 1
    }
    model.load_state_dict({name: each * masks.get(name, 1) for name, each in first.items()})
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 50, 400, seed):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            for name, parameter in model.named_parameters():
                if name in masks and parameter.grad is not None:
                    parameter.grad.mul_(masks[name])
            optimizer.step()
            watch.loss(loss)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


@healthy(project="facebookresearch/maskrcnn-benchmark", source="github.com/facebookresearch/maskrcnn-benchmark")
def fine_tuned_with_fixed_norms(doctor: Doctor, seed: int) -> Score:
    """A pre-trained net goes on with small batches; its batch norms stay in eval mode on purpose, all else is trained."""
    rows = data.digits(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(256, 10)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for x, y in data.batches(rows.x, rows.y, 50, 200, seed):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    model[5] = nn.Linear(256, 2)  # a new task: odd or even
    model.train()
    for each in model.modules():
        if isinstance(each, nn.BatchNorm2d):
            each.eval()
            each.requires_grad_(requires_grad=False)
    optimizer = torch.optim.SGD([each for each in model.parameters() if each.requires_grad], lr=5e-3, momentum=0.9)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y % 2, 4, 600, seed):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.accuracy(model(rows.held_x), rows.held_y % 2), 0.9)
