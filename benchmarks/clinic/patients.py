"""A patient: a network with its task and its way of training. Each function here makes a healthy one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from benchmarks.clinic import data, networks
from benchmarks.clinic.data import Batch, Task
from torch import Tensor, nn
from torch.optim import Optimizer


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits.flatten(0, -2), targets.flatten())


@dataclass
class Patient:
    """Everything one training run needs; faults are planted by changing it.

    before: called with the step's number before it. clears: whether gradients are cleared.
    """

    model: nn.Module
    optimizer: Optimizer
    task: Task
    batch: Callable[[int], Batch]
    criterion: Callable[[Tensor, Tensor], Tensor] = cross_entropy
    steps: int = 400
    before: list[Callable[[int], None]] = field(default_factory=list)
    clears: bool = True
    evaluates: int = 0

    def train(self, on_loss: Callable[[Tensor], None], on_dev: Callable[[float], None] | None = None) -> None:
        """Run it. on_loss gets each step's loss after the step, as a user's loop would hand it over."""
        self.model.train() if self.model.training else None
        for step in range(self.steps):
            for action in self.before:
                action(step)
            x, y = self.batch(step)
            loss = self.criterion(self.model(x), y)
            loss.backward()
            self.optimizer.step()
            if self.clears:
                self.optimizer.zero_grad()
            on_loss(loss)
            if on_dev is not None and self.evaluates and step % self.evaluates == self.evaluates - 1:
                on_dev(self.dev_loss())

    def dev_loss(self) -> float:
        mode = self.model.training
        self.model.eval()
        with torch.no_grad():
            loss = self.criterion(self.model(self.task.dev[0]), self.task.dev[1]).item()
        self.model.train(mode)
        return loss


def sgd(model: nn.Module, rate: float = 0.1, momentum: float = 0.0, decay: float = 0.0) -> Optimizer:
    return torch.optim.SGD(model.parameters(), rate, momentum, weight_decay=decay)


def adamw(model: nn.Module, rate: float = 1e-3) -> Optimizer:
    return torch.optim.AdamW(model.parameters(), rate)


@lru_cache(maxsize=32)
def task(kind: str, seed: int, **options: Any) -> Task:
    made: Task = getattr(data, kind)(seed, **options)
    return made


def patient(model: nn.Module, optimizer: Optimizer, chosen: Task, batch: int = 32, **options: Any) -> Patient:
    return Patient(model, optimizer, chosen, chosen.sampler(batch), **options)


def mlp_tanh(seed: int, **options: Any) -> Patient:
    model = networks.CharMLP(**options)
    return patient(model, sgd(model), task("letters", seed))


def mlp_batchnorm(seed: int, **options: Any) -> Patient:
    model = networks.CharMLP(norm=True, **options)
    return patient(model, sgd(model), task("letters", seed))


def mlp_relu(seed: int, **options: Any) -> Patient:
    model = networks.VectorMLP(nn.ReLU, **options)
    return patient(model, sgd(model, 0.1, 0.9 if not options else 0.5), task("vectors", seed))


def mlp_gelu(seed: int, **options: Any) -> Patient:
    model = networks.VectorMLP(nn.GELU, **options)
    return patient(model, adamw(model), task("vectors", seed))


def mlp_dropout(seed: int) -> Patient:
    model = networks.CharMLP(nn.ReLU, layers=2, dropout=0.2, gain=1.4)
    return patient(model, adamw(model), task("letters", seed))


def conv(seed: int, activation: type[nn.Module] = nn.ReLU, layers: int = 3) -> Patient:
    model = networks.ConvNet(activation, layers=layers)
    return patient(model, adamw(model, 2e-3), task("pictures", seed), steps=300)


def resnet(seed: int, **options: Any) -> Patient:
    model = networks.ResNet(**options)
    return patient(model, sgd(model, 0.05, 0.9, 5e-4), task("pictures", seed), steps=250)


def lstm(seed: int) -> Patient:
    model = networks.Recurrent("LSTM")
    return patient(model, adamw(model, 3e-3), task("letters", seed, context=16, sequence=True), 16, steps=300)


def transformer(seed: int, **options: Any) -> Patient:
    model = networks.Transformer(**options)
    return patient(model, adamw(model, 1e-3), task("letters", seed, context=16, sequence=True), 16, steps=250)


def gru(seed: int) -> Patient:
    model = networks.Recurrent("GRU", layers=2)
    return patient(model, adamw(model, 2e-3), task("letters", seed, context=16, sequence=True), 16, steps=300)


def encoder(seed: int) -> Patient:
    model = networks.Encoder()
    return patient(model, adamw(model, 2e-3), task("letters", seed), steps=300)


def mlp_selu(seed: int) -> Patient:
    model = networks.CharMLP(nn.SELU, layers=5, gain=1.0)
    return patient(model, sgd(model, 0.05), task("letters", seed))


def mlp_sigmoid(seed: int) -> Patient:
    model = networks.VectorMLP(nn.Sigmoid, layers=1)
    return patient(model, sgd(model, 0.1, 0.9), task("vectors", seed))


def mlp_leaky(seed: int) -> Patient:
    model = networks.VectorMLP(nn.LeakyReLU, layers=4, width=48)
    return patient(model, torch.optim.Adam(model.parameters(), 2e-3), task("vectors", seed))


def regression(seed: int) -> Patient:
    model = networks.VectorMLP(nn.SiLU, outputs=3)
    return patient(model, adamw(model, 2e-3), task("vectors", seed, regression=True), criterion=nn.functional.mse_loss)


def conv_sgd(seed: int) -> Patient:
    model = networks.ConvNet(nn.ELU, layers=4)
    return patient(model, sgd(model, 0.05, 0.9), task("pictures", seed), steps=300)


# Made after the limits were chosen; a first look at them mended the order of causes and the search for swings.


def mlp_layernorm(seed: int) -> Patient:
    model = networks.NormedMLP()
    return patient(model, torch.optim.Adam(model.parameters(), 3e-3), task("vectors", seed))


def separable(seed: int) -> Patient:
    model = networks.Separable()
    return patient(model, sgd(model, 0.1, 0.9, 1e-4), task("pictures", seed), steps=250)


def elman(seed: int) -> Patient:
    model = networks.Recurrent("RNN")
    return patient(model, adamw(model, 2e-3), task("letters", seed, context=16, sequence=True), 16, steps=300)


def autoencoder(seed: int) -> Patient:
    model = networks.Autoencoder()
    made = patient(model, adamw(model, 2e-3), task("pictures", seed), criterion=nn.functional.mse_loss)
    draw = made.batch

    def batch(step: int) -> Batch:
        x = torch.sigmoid(draw(step)[0])
        return x, x.flatten(1)

    made.batch = batch
    return made


def binary(seed: int) -> Patient:
    """One output, yes or no."""
    model = networks.VectorMLP(nn.Tanh, layers=2, outputs=1)

    def criterion(logits: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(logits[:, 0], (targets < 5).float())

    return patient(model, sgd(model, 0.05, 0.9), task("vectors", seed), criterion=criterion)
