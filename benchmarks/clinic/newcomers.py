"""Tasks and healthy training of the newcomers, made without looking at what the health check says of them."""

from __future__ import annotations

from collections.abc import Callable
from math import pi
from typing import Any

import torch
from benchmarks.clinic.data import Batch, Task, pictures, split, vectors
from benchmarks.clinic.newnets import (
    Bag,
    BiLSTM,
    ConvAutoencoder,
    DeepMLP,
    Factors,
    Forecast,
    Gated,
    Mixer,
    Next,
    PostNorm,
    UNet,
    ViT,
)
from benchmarks.clinic.patients import Patient, adamw, patient, sgd, task
from torch import nn
from torch.nn import functional
from torch.optim import Optimizer

# Tasks.


def segments(seed: int, *, count: int = 1_200, size: int = 16, classes: int = 4) -> Task:
    """Noisy pictures of a smooth field; each pixel's class is the level of the field there, a tenth of them wrong."""
    generator = torch.Generator().manual_seed(seed)
    axis = torch.arange(size) / size * 2 * pi
    field = torch.zeros(count, size, size)
    for _ in range(3):
        high, wide = (2 * torch.rand(count, 1, generator=generator) for _ in range(2))
        phase = 2 * pi * torch.rand(count, 1, 1, generator=generator)
        field += torch.sin((high * axis)[:, :, None] + (wide * axis)[:, None, :] + phase)
    edges = torch.quantile(field.flatten()[:200_000], torch.arange(1, classes) / classes)
    targets = torch.bucketize(field, edges)
    wrong = torch.rand(targets.shape, generator=generator) < 0.1
    targets = torch.where(wrong, torch.randint(classes, targets.shape, generator=generator), targets)
    inputs = field[:, None] * torch.tensor([1.0, 0.5, -0.7])[:, None, None]
    return split(inputs + torch.randn(count, 3, size, size, generator=generator), targets, classes, seed)


def bags(seed: int, *, count: int = 8_000, words: int = 300, length: int = 15, classes: int = 6) -> Task:
    """Bags of words drawn from the topic that is the class, mixed with words of no topic."""
    generator = torch.Generator().manual_seed(seed)
    topics = torch.softmax(1.5 * torch.randn(classes, words, generator=generator), 1)
    targets = torch.randint(classes, (count,), generator=generator)
    drawn = torch.multinomial(topics[targets], length, replacement=True, generator=generator)
    plain = torch.randint(words, drawn.shape, generator=generator)
    return split(torch.where(torch.rand(drawn.shape, generator=generator) < 0.7, plain, drawn), targets, classes, seed)


def series(seed: int, *, count: int = 3_000, length: int = 24) -> Task:
    """Noisy sums of two waves; the next value is to be told."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(length + 1, dtype=torch.float32)
    waves = torch.zeros(count, length + 1)
    for _ in range(2):
        pace = 0.2 + 0.6 * torch.rand(count, 1, generator=generator)
        waves += torch.sin(pace * time + 2 * pi * torch.rand(count, 1, generator=generator))
    waves += 0.2 * torch.randn(waves.shape, generator=generator)
    return split(waves[:, :-1, None], waves[:, -1:], 0, seed)


def ratings(seed: int, *, count: int = 12_000, users: int = 120, items: int = 80) -> Task:
    """What users think of items: products of hidden tastes, and noise."""
    generator = torch.Generator().manual_seed(seed)
    tastes, kinds = torch.randn(users, 4, generator=generator) / 2, torch.randn(items, 4, generator=generator)
    pairs = torch.stack(
        (torch.randint(users, (count,), generator=generator), torch.randint(items, (count,), generator=generator)), 1
    )
    scores = (tastes[pairs[:, 0]] * kinds[pairs[:, 1]]).sum(1, keepdim=True)
    return split(pairs, 3 + scores + 0.3 * torch.randn(count, 1, generator=generator), 0, seed)


def uneven(seed: int, *, count: int = 20_000, width: int = 20, classes: int = 1_000) -> Task:
    """Points with targets as unevenly frequent as words: the n-th class an n-th as often as the first, moved by the input."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, width, generator=generator)
    ties = torch.randn(width, classes, generator=generator) / 2
    scores = inputs @ ties - torch.arange(1, classes + 1).log()
    return split(inputs, torch.multinomial(torch.softmax(scores, 1), 1, generator=generator)[:, 0], classes, seed)


# Patients. With each, a rate for SGD with momentum 0.9 and one for AdamW, both from the usual range.


def _optimiser(model: nn.Module, kind: str, rates: tuple[float, float]) -> Optimizer:
    return sgd(model, rates[0], 0.9) if kind == "sgd" else adamw(model, rates[1])


def mixer(seed: int, optimiser: str = "adamw", **options: Any) -> Patient:
    model = Mixer(**options)
    return patient(model, _optimiser(model, optimiser, (0.03, 2e-3)), task("pictures", seed), steps=300)


def convnext(seed: int, optimiser: str = "adamw") -> Patient:
    model = Next()
    return patient(model, _optimiser(model, optimiser, (0.03, 2e-3)), task("pictures", seed), steps=250)


def deep_relu(seed: int, optimiser: str = "adamw", activation: Callable[[], nn.Module] = nn.ReLU) -> Patient:
    model = DeepMLP(activation)
    return patient(model, _optimiser(model, optimiser, (0.02, 1e-3)), task("vectors", seed), 64, steps=400)


def unet(seed: int, optimiser: str = "adamw", **options: Any) -> Patient:
    model = UNet(**options)
    made = patient(model, _optimiser(model, optimiser, (0.05, 2e-3)), segments(seed), 16, steps=200)
    made.criterion = functional.cross_entropy
    return made


def bag(seed: int, optimiser: str = "adamw", **options: Any) -> Patient:
    model = Bag(**options)
    return patient(model, _optimiser(model, optimiser, (0.3, 5e-3)), bags(seed), 64, steps=400)


def gated(seed: int, optimiser: str = "adamw") -> Patient:
    model = Gated()
    chosen = task("letters", seed, context=16, sequence=True)
    return patient(model, _optimiser(model, optimiser, (0.1, 3e-3)), chosen, 16, steps=250)


def vit(seed: int, optimiser: str = "adamw") -> Patient:
    model = ViT()
    return patient(model, _optimiser(model, optimiser, (0.05, 1e-3)), task("pictures", seed), steps=300)


def postnorm(seed: int, optimiser: str = "adamw") -> Patient:
    """With the warm-up such networks are trained with."""
    model = PostNorm()
    made = patient(model, _optimiser(model, optimiser, (0.05, 2e-3)), task("letters", seed), 64, steps=400)
    schedule = torch.optim.lr_scheduler.LambdaLR(made.optimizer, lambda step: min(1.0, (step + 1) / 50) * (1 - step / 450))
    made.before.append(lambda step: schedule.step() if step else None)
    return made


def bilstm(seed: int, optimiser: str = "adamw") -> Patient:
    model = BiLSTM()
    return patient(model, _optimiser(model, optimiser, (0.3, 3e-3)), task("letters", seed), 64, steps=300)


def forecast(seed: int, optimiser: str = "adamw") -> Patient:
    model = Forecast()
    return patient(model, _optimiser(model, optimiser, (0.02, 3e-3)), series(seed), criterion=functional.mse_loss, steps=300)


def factors(seed: int, optimiser: str = "adamw") -> Patient:
    model = Factors()
    return patient(model, _optimiser(model, optimiser, (1.0, 2e-2)), ratings(seed), 128, criterion=functional.mse_loss, steps=500)


def conv_autoencoder(seed: int, activation: Callable[[], nn.Module] = nn.ReLU) -> Patient:
    """With AdamW alone: plain SGD does not get it off the ground in so few steps."""
    model = ConvAutoencoder(activation)
    made = patient(model, adamw(model, 2e-3), task("pictures", seed), criterion=functional.mse_loss, steps=250)
    draw = made.batch

    def batch(step: int) -> Batch:
        x = draw(step)[0]
        return x, x

    made.batch = batch
    return made


def logistic(seed: int, optimiser: str = "adamw") -> Patient:
    """One layer, the oldest network."""
    model = nn.Sequential()
    model.add_module("head", nn.Linear(20, 10))
    return patient(model, _optimiser(model, optimiser, (0.1, 1e-2)), task("vectors", seed), steps=300)


def labels(seed: int, optimiser: str = "adamw") -> Patient:
    """Eight questions at once, each yes or no."""
    chosen = task("vectors", seed)
    model = DeepMLP(nn.GELU, layers=2, classes=8)
    made = patient(model, _optimiser(model, optimiser, (0.05, 2e-3)), chosen, 64, steps=300)
    generator = torch.Generator().manual_seed(seed + 5)
    questions = torch.randn(20, 8, generator=generator) / 20**0.5
    draw = made.batch

    def batch(step: int) -> Batch:
        x, _ = draw(step)
        return x, (torch.tanh(2 * x) @ questions > 0).float()

    made.batch, made.criterion = batch, functional.binary_cross_entropy_with_logits
    return made


def thousand(seed: int, optimiser: str = "adamw") -> Patient:
    """A thousand classes."""
    model = DeepMLP(nn.ReLU, layers=2, classes=1_000)
    chosen = vectors(seed, classes=1_000, count=12_000)
    return patient(model, _optimiser(model, optimiser, (0.1, 3e-3)), chosen, 128, steps=400)


def words(seed: int, optimiser: str = "adamw") -> Patient:
    """A thousand classes, most of them rare."""
    model = DeepMLP(nn.GELU, layers=2, classes=1_000)
    return patient(model, _optimiser(model, optimiser, (0.1, 1e-3)), uneven(seed), 64, steps=1_200)


def one_cycle(seed: int) -> Patient:
    """A residual-free convolutional net with batch norm under a one-cycle schedule (Smith & Topin 2018)."""
    model = nn.Sequential()
    for place, (inputs, outputs) in enumerate(((3, 16), (16, 24), (24, 24))):
        model.add_module(f"conv{place}", nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False))
        model.add_module(f"bn{place}", nn.BatchNorm2d(outputs))
        model.add_module(f"relu{place}", nn.ReLU())
        model.add_module(f"pool{place}", nn.MaxPool2d(2))
    model.add_module("flat", nn.Flatten())
    model.add_module("head", nn.Linear(24, 8))
    made = patient(model, sgd(model, 0.01, 0.9, 5e-4), pictures(seed), 64, steps=300)
    schedule = torch.optim.lr_scheduler.OneCycleLR(made.optimizer, max_lr=0.1, total_steps=made.steps + 1)
    made.before.append(lambda step: schedule.step() if step else None)
    return made
