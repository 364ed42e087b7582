"""Healthy programs on pictures: quantised, slimmed, tied, half labelled, layer by layer, in codes, at a fixed point."""

from __future__ import annotations

import copy

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Quantiser(nn.Module):
    """Rounds to whole steps between two bounds; the length of a step is learnt, rounding passes gradients on."""

    def __init__(self, low: int, high: int, step: float) -> None:
        super().__init__()
        self.low, self.high, self.step = low, high, nn.Parameter(torch.tensor(step))

    def forward(self, x: Tensor) -> Tensor:
        ease = (x.numel() * self.high) ** -0.5
        step = self.step * ease + (self.step * (1 - ease)).detach()
        steps = (x / step).clamp(self.low, self.high)
        return (steps + (steps.round() - steps).detach()) * step


class Quantised(nn.Module):
    """A convolution with weights of 4 bits on inputs of 4 bits."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.weights = Quantiser(-8, 7, 2 * self.conv.weight.abs().mean().item() / 7**0.5)
        self.inputs = Quantiser(0, 15, 0.1)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(self.inputs(x), self.weights(self.conv.weight), self.conv.bias, padding=1)


@healthy(project="zhutmost/lsq-net", source="github.com/zhutmost/lsq-net")
def digits_with_four_bits(doctor: Doctor, seed: int) -> Score:
    """Training that knows of the rounding: weights and activations have 16 levels, the step is a parameter."""
    rows = data.digits(seed)
    conv = [nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), Quantised(12, 24), nn.ReLU(), nn.MaxPool2d(2), Quantised(24, 24)]
    model = nn.Sequential(*conv, nn.ReLU(), nn.Flatten(), nn.Linear(24 * 16, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 32, 250, seed), rows, every=50)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.92)


@healthy(project="foolwood/pytorch-slimming", source="github.com/foolwood/pytorch-slimming")
def channels_slimmed_by_their_scales(doctor: Doctor, seed: int) -> Score:
    """A penalty on the scales of batch norm drives those of needless channels to 0, as it should."""
    rows = data.digits(seed)
    conv = [nn.Conv2d(1, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2)]
    conv += [nn.Conv2d(24, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()]
    model = nn.Sequential(*conv, nn.Flatten(), nn.Linear(32 * 16, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    norms = [each for each in model if isinstance(each, nn.BatchNorm2d)]
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 40, 250, seed)):
            model.train()
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            for norm in norms:
                norm.weight.grad.add_(5e-3 * norm.weight.detach().sign())
            optimizer.step()
            watch.loss(loss)
            if step % 50 == 49:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    model.eval()
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.93)


class Mirror(nn.Module):
    """A code of 24 numbers, and back through the same weights turned round."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(24, 64) / 8)
        self.inner, self.outer = nn.Parameter(torch.zeros(24)), nn.Parameter(torch.zeros(64))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(F.selu(F.linear(x, self.weight, self.inner)), self.weight.T, self.outer)


@healthy(project="NVIDIA/DeepRecommender", source="github.com/NVIDIA/DeepRecommender")
def digits_there_and_back_by_one_matrix(doctor: Doctor, seed: int) -> Score:
    """An autoencoder with tied weights, noise on its inputs and momentum."""
    rows = data.digits(seed)
    x, held = rows.x.flatten(1), rows.held_x.flatten(1)
    model = Mirror()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, _) in enumerate(data.batches(x, rows.y, 50, 500, seed)):
            optimizer.zero_grad()
            loss = F.mse_loss(model(a + 0.1 * torch.randn_like(a)), a)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 100 == 99:
                with torch.no_grad():
                    watch.dev_loss(F.mse_loss(model(held), held))
    return above(data.r2(model(held), held), 0.7)


@healthy(project="kekmodel/FixMatch-pytorch", source="github.com/kekmodel/FixMatch-pytorch")
def eighty_labels_and_many_pictures(doctor: Doctor, seed: int) -> Score:
    """What is surely known of a slightly changed picture is the label of a much changed one; an average is used."""
    rows = data.digits(seed)
    x, y, free = rows.x[:80], rows.y[:80], rows.x[80:]
    conv = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU()]
    model = nn.Sequential(*conv, nn.Flatten(), nn.Linear(32 * 16, 10))
    average = copy.deepcopy(model).requires_grad_(requires_grad=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9, nesterov=True, weight_decay=5e-4)
    generator = torch.Generator().manual_seed(seed)
    with doctor.watch(model, optimizer) as watch:
        for u, _ in data.batches(free, free, 64, 400, seed):
            at = torch.randint(80, (16,), generator=generator)
            weak = u + 0.05 * torch.randn(u.shape, generator=generator)
            strong = u * (torch.rand(u.shape, generator=generator) > 0.15) + 0.2 * torch.randn(u.shape, generator=generator)
            known, sure, unsure = model(torch.cat([x[at], weak, strong])).split([16, 64, 64])
            share, label = sure.detach().softmax(1).max(1)
            guided = (F.cross_entropy(unsure, label, reduction="none") * (share > 0.9)).mean()
            loss = F.cross_entropy(known, y[at]) + guided
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            with torch.no_grad():
                for kept, parameter in zip(average.parameters(), model.parameters(), strict=True):
                    kept.lerp_(parameter, 0.03)
    return above(data.accuracy(average(rows.held_x), rows.held_y), 0.85)


@healthy(project="mohammadpz/pytorch_forward_forward", source="github.com/mohammadpz/pytorch_forward_forward")
def two_layers_that_learn_alone(doctor: Doctor, seed: int) -> Score:
    """Each layer has its own loss and optimiser and sees the one below detached: much for the true label, little for others."""
    rows = data.digits(seed)
    layers = nn.ModuleList([nn.Linear(74, 200), nn.Linear(200, 200)])
    optimizers = [torch.optim.Adam(layer.parameters(), lr=5e-3) for layer in layers]

    def labelled(x: Tensor, y: Tensor) -> Tensor:
        return torch.cat([F.one_hot(y, 10) * 3.0, x.flatten(1)], 1)

    def ahead(layer: nn.Module, h: Tensor) -> Tensor:
        return F.relu(layer(h / (h.norm(dim=1, keepdim=True) + 1e-4)))

    with doctor.watch(layers, optimizers) as watch:
        for x, y in data.batches(rows.x, rows.y, 50, 500, seed):
            false = (y + torch.randint(1, 10, y.shape)) % 10
            h, total = torch.cat([labelled(x, y), labelled(x, false)]), torch.zeros(())
            for layer, optimizer in zip(layers, optimizers, strict=True):
                h = ahead(layer, h)
                good, bad = (h.pow(2).sum(1) - 2).chunk(2)
                loss = F.softplus(-good).mean() + F.softplus(bad).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                h, total = h.detach(), total + loss.detach()
            watch.loss(total)
    scores = []
    with torch.no_grad():
        for k in range(10):
            h, score = labelled(rows.held_x, torch.full_like(rows.held_y, k)), torch.zeros(len(rows.held_x))
            for layer in layers:
                h = ahead(layer, h)
                score = score + h.pow(2).mean(1)
            scores.append(score)
    return above(data.accuracy(torch.stack(scores, 1), rows.held_y), 0.85)


class Codes(nn.Module):
    """A picture as 10 letters of 12, nearly sharp, and back."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 120))
        self.decoder = nn.Sequential(nn.Linear(120, 96), nn.ReLU(), nn.Linear(96, 64))

    def forward(self, x: Tensor, heat: float) -> tuple[Tensor, Tensor]:
        logits = self.encoder(x).view(-1, 10, 12)
        sharp = F.one_hot(logits.argmax(2), 12) * 1.0
        letters = F.gumbel_softmax(logits, heat, dim=2) if self.training else sharp
        return self.decoder(letters.flatten(1)), logits


@healthy(project="karpathy/deep-vector-quantization", source="github.com/karpathy/deep-vector-quantization")
def digits_in_letters_ever_sharper(doctor: Doctor, seed: int) -> Score:
    """A softmax with Gumbel noise that cools from 1 to 0.3, and a small divergence from an even use of letters."""
    rows = data.digits(seed)
    x, held = rows.x.flatten(1), rows.held_x.flatten(1)
    model = Codes()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, _) in enumerate(data.batches(x, rows.y, 50, 600, seed)):
            back, logits = model(a, max(0.3, 1 - step / 500))
            share = logits.softmax(2)
            even = (share * (12 * share + 1e-9).log()).sum((1, 2)).mean()
            loss = F.mse_loss(back, a) + 2e-4 * even
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    return above(data.r2(model(held, 0.3)[0], held), 0.5)


class Equilibrium(nn.Module):
    """Where a layer comes to rest; the gradient takes the last step alone."""

    def __init__(self) -> None:
        super().__init__()
        self.inward = nn.Linear(64, 48)
        self.round = nn.utils.parametrizations.spectral_norm(nn.Linear(48, 48, bias=False))
        self.out = nn.Linear(48, 10)

    def forward(self, x: Tensor) -> Tensor:
        u = self.inward(x.flatten(1))
        with torch.no_grad():
            z = torch.zeros_like(u)
            for _ in range(12):
                z = torch.tanh(0.9 * self.round(z) + u)
        return self.out(torch.tanh(0.9 * self.round(z) + u))


@healthy(project="locuslab/deq", source="github.com/locuslab/deq")
def layer_that_comes_to_rest(doctor: Doctor, seed: int) -> Score:
    """Twelve rounds without a graph and one with it, weights of the round held below 1."""
    rows = data.digits(seed)
    model = Equilibrium()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 40, 300, seed), rows)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.92)


@healthy(project="ppwwyyxx/GroupNorm-reproduce", source="github.com/ppwwyyxx/GroupNorm-reproduce")
def two_pictures_at_a_time(doctor: Doctor, seed: int) -> Score:
    """Batches of two, norms over groups of channels, a rate that falls by a cosine: the loss jumps from step to step."""
    x, y, _ = data.shapes(900, seed, noise=0.1)
    rows = data.split(x, y, seed)
    conv: list[nn.Module] = []
    for a, b in ((1, 12), (12, 24), (24, 24)):
        conv += [nn.Conv2d(a, b, 3, padding=1), nn.GroupNorm(4, b), nn.ReLU(), nn.MaxPool2d(2)]
    model = nn.Sequential(*conv, nn.Flatten(), nn.Linear(24 * 4, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.8)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 600)
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(rows.x, rows.y, 2, 600, seed):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(a), b)
            loss.backward()
            optimizer.step()
            schedule.step()
            watch.loss(loss)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)
