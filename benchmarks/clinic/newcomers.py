"""More kinds of networks, their tasks and their healthy training, made without looking at what the health check says of them."""

from __future__ import annotations

from collections.abc import Callable
from math import pi
from typing import Any

import torch
from benchmarks.clinic.data import Batch, Task, pictures, split, vectors
from benchmarks.clinic.patients import Patient, adamw, patient, sgd, task
from torch import Tensor, nn
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


# Networks.


class Mixer(nn.Module):
    """MLP-Mixer (Tolstikhin et al. 2021): patches mixed across places, then across channels."""

    def __init__(self, *, width: int = 32, layers: int = 3) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 3, 3)
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {
                    "norm1": nn.LayerNorm(width),
                    "places": nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16)),
                    "norm2": nn.LayerNorm(width),
                    "channels": nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)),
                }
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 8)

    def forward(self, x: Tensor) -> Tensor:
        h = self.patches(x).flatten(2).transpose(1, 2)  # (B, 16, width)
        for block in self.blocks:
            h = h + block["places"](block["norm1"](h).transpose(1, 2)).transpose(1, 2)
            h = h + block["channels"](block["norm2"](h))
        out: Tensor = self.head(self.norm(h).mean(1))
        return out


class NextBlock(nn.Module):
    """Depthwise 5 x 5, norm, wide pointwise, GELU, pointwise, skip (Liu et al. 2022)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.norm = nn.GroupNorm(1, width)
        self.up, self.act, self.down = nn.Conv2d(width, 3 * width, 1), nn.GELU(), nn.Conv2d(3 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.down(self.act(self.up(self.norm(self.depthwise(x)))))
        return out


class Next(nn.Module):
    """A small ConvNeXt."""

    def __init__(self, *, width: int = 16, layers: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 2, 2)
        self.blocks = nn.Sequential(*(NextBlock(width) for _ in range(layers)))
        self.head = nn.Linear(width, 8)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.blocks(self.stem(x)).mean((2, 3)))
        return out


class DeepMLP(nn.Module):
    """Six hidden layers as He et al. 2015 initialise them, with dropout."""

    def __init__(self, activation: Callable[[], nn.Module] = nn.ReLU, *, layers: int = 6, classes: int = 10) -> None:
        super().__init__()
        body: list[nn.Module] = []
        inputs = 20
        for _ in range(layers):
            linear = nn.Linear(inputs, 64)
            nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
            nn.init.zeros_(linear.bias)
            body += [linear, activation(), nn.Dropout(0.1)]
            inputs = 64
        self.body, self.head = nn.Sequential(*body), nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.body(x))
        return out


class UNet(nn.Module):
    """Down once, up once, with a skip connection and batch norm; a class for each pixel."""

    def __init__(self, *, width: int = 12, bias: bool = False) -> None:
        super().__init__()

        def double(inputs: int, outputs: int) -> nn.Sequential:
            layers: list[nn.Module] = []
            for each in (inputs, outputs):
                layers += [nn.Conv2d(each, outputs, 3, padding=1, bias=bias), nn.BatchNorm2d(outputs), nn.ReLU()]
            return nn.Sequential(*layers)

        self.down, self.pool, self.middle = double(3, width), nn.MaxPool2d(2), double(width, 2 * width)
        self.up = nn.ConvTranspose2d(2 * width, width, 2, 2)
        self.merge, self.head = double(2 * width, width), nn.Conv2d(width, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.down(x)
        out: Tensor = self.head(self.merge(torch.cat((fine, self.up(self.middle(self.pool(fine)))), 1)))
        return out


class Bag(nn.Module):
    """fastText (Joulin et al. 2016): the mean of the words' embeddings, and one layer."""

    def __init__(self, *, hidden: bool = False) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(300, 24)
        self.hidden = nn.Sequential(nn.Linear(24, 24), nn.ReLU()) if hidden else nn.Identity()
        self.head = nn.Linear(24, 6)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.hidden(self.bag(x)))
        return out


class Gated(nn.Module):
    """Causal dilated convolutions with gates, as in WaveNet (van den Oord et al. 2016), over letters."""

    def __init__(self, *, width: int = 32, layers: int = 4) -> None:
        super().__init__()
        self.tokens = nn.Embedding(27, width)
        self.filters = nn.ModuleList(nn.Conv1d(width, width, 2, dilation=2**each) for each in range(layers))
        self.gates = nn.ModuleList(nn.Conv1d(width, width, 2, dilation=2**each) for each in range(layers))
        self.mixes = nn.ModuleList(nn.Conv1d(width, width, 1) for _ in range(layers))
        self.head = nn.Linear(width, 27)

    def forward(self, x: Tensor) -> Tensor:
        h = self.tokens(x).transpose(1, 2)
        for place, (wave, gate, mix) in enumerate(zip(self.filters, self.gates, self.mixes, strict=True)):
            padded = functional.pad(h, (2**place, 0))
            h = h + mix(torch.tanh(wave(padded)) * torch.sigmoid(gate(padded)))
        out: Tensor = self.head(h.transpose(1, 2))
        return out


class ViT(nn.Module):
    """A vision transformer with a class token and torch's own layers."""

    def __init__(self, *, width: int = 32, layers: int = 2) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 3, 3)
        self.cls = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.places = nn.Parameter(0.02 * torch.randn(17, width))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 8)

    def forward(self, x: Tensor) -> Tensor:
        h = self.patches(x).flatten(2).transpose(1, 2)
        h = torch.cat((self.cls.expand(len(h), -1, -1), h), 1) + self.places
        out: Tensor = self.head(self.norm(self.encoder(h)[:, 0]))
        return out


class PostNorm(nn.Module):
    """torch's default encoder, norm after each sublayer, mean over places."""

    def __init__(self, *, width: int = 32) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(27, width), nn.Parameter(0.02 * torch.randn(6, width))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(6 * width, 27)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.encoder(self.tokens(x) + self.places).flatten(1))
        return out


class BiLSTM(nn.Module):
    """Both directions over the letters of a context, then the next one."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(27, 16)
        self.rnn = nn.LSTM(16, 48, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * 48, 27)

    def forward(self, x: Tensor) -> Tensor:
        _, (h, _) = self.rnn(self.tokens(x))
        out: Tensor = self.head(torch.cat((h[0], h[1]), 1))
        return out


class Forecast(nn.Module):
    """A GRU over a series, and its next value."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.GRU(1, 32, batch_first=True), nn.Linear(32, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.rnn(x)[0][:, -1])
        return out


class Factors(nn.Module):
    """Matrix factorisation with biases (Koren et al. 2009): no layer but tables."""

    def __init__(self) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(120, 8), nn.Embedding(80, 8)
        self.user_bias, self.item_bias = nn.Embedding(120, 1), nn.Embedding(80, 1)
        self.mean = nn.Parameter(torch.zeros(1))
        for table in (self.users, self.items):
            nn.init.normal_(table.weight, std=0.3)
        for table in (self.user_bias, self.item_bias):
            nn.init.zeros_(table.weight)

    def forward(self, x: Tensor) -> Tensor:
        user, item = x[:, 0], x[:, 1]
        out: Tensor = (self.users(user) * self.items(item)).sum(1, keepdim=True)
        return out + self.user_bias(user) + self.item_bias(item) + self.mean


class ConvAutoencoder(nn.Module):
    """Strided convolutions down to few values, transposed ones back."""

    def __init__(self, activation: Callable[[], nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.down = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1),
            activation(),
            nn.Conv2d(16, 16, 3, 1, 1),
            activation(),
            nn.Conv2d(16, 12, 3, 2, 1),
            activation(),
        )
        self.up = nn.Sequential(nn.ConvTranspose2d(12, 16, 4, 2, 1), activation(), nn.Conv2d(16, 16, 3, 1, 1), activation())
        self.head = nn.ConvTranspose2d(16, 3, 4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.up(self.down(x)))
        return out


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
