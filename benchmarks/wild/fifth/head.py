"""Faults between the last layer and the loss."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Sentence(nn.Module):
    """Topic of a sentence by one layer of hand-made attention, as probabilities."""

    def __init__(self, log: bool) -> None:
        super().__init__()
        self.embed = nn.Embedding(150, 32)
        self.query, self.key, self.value = (nn.Linear(32, 32) for _ in range(3))
        self.fc = nn.Linear(32, 12)
        self.softmax = nn.LogSoftmax(dim=1) if log else nn.Softmax(dim=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x)
        weights = torch.einsum("bid,bjd->bij", self.query(h), self.key(h)).div(32**0.5).softmax(-1)
        h = h + torch.einsum("bij,bjd->bid", weights, self.value(h))
        return self.softmax(self.fc(h.mean(1)))


@fault(
    kind="probabilities-as-logits",
    also=("other-loss",),
    project="AnubhavGupta3377/Text-Classification-Models-Pytorch",
    source="github.com/AnubhavGupta3377/Text-Classification-Models-Pytorch/issues/9",
    certain="the loss is minus a probability, between -1 and 0, and no likelihood",
)
def likelihood_without_a_logarithm(doctor: Doctor, seed: int, cured: bool) -> Score:
    """nn.NLLLoss wants log-probabilities and gets those of a softmax: the loss is negative from the first step."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(12, (1600,), generator=generator)
    x = torch.randint(150, (1600, 12), generator=generator)
    hint = torch.rand(1600, 12, generator=generator) < 0.45
    x = torch.where(hint, y[:, None] * 12 + torch.randint(12, (1600, 12), generator=generator), x)
    rows = data.split(x, y, seed)
    model = Sentence(log=cured)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    criterion = nn.NLLLoss()
    doctor.task(model, data.few(rows.x, rows.y, 40, seed), criterion, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 40, 300, seed):
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.7)


class LeNet(nn.Module):
    """Two convolutions, two layers, and a log-softmax along an axis."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1)
        self.pool = nn.MaxPool2d(2, 2)
        self.fc1, self.fc2 = nn.Linear(64, 48), nn.Linear(48, 10)
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x))).flatten(1)
        x = F.dropout(F.relu(self.fc1(x)), 0.2, training=self.training)
        return F.log_softmax(self.fc2(x), dim=self.axis)


@fault(
    kind="softmax-axis",
    also=("batch-mixing",),
    project="swarmapytorch/book_DeepLearning_in_PyTorch_Source",
    source="github.com/swarmapytorch/book_DeepLearning_in_PyTorch_Source/issues/8",
    certain="the answer for one picture depends on the other pictures of the batch",
)
def log_softmax_down_the_batch(doctor: Doctor, seed: int, cured: bool) -> Score:
    """F.log_softmax(x, dim=0): pictures of a batch compete for each class, instead of classes for a picture."""
    rows = data.digits(seed)
    net = LeNet(axis=1 if cured else 0)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    doctor.task(net, data.few(rows.x, rows.y, 32, seed), F.nll_loss, optimizer)
    with doctor.watch(net, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 32, 300, seed)):
            net.train()
            optimizer.zero_grad()
            loss = F.nll_loss(net(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 60 == 59:
                net.eval()
                with torch.no_grad():
                    watch.dev_loss(F.nll_loss(net(rows.held_x), rows.held_y))
    net.eval()
    one_by_one = torch.cat([net(picture[None]) for picture in rows.held_x[:150]])
    return above(data.accuracy(one_by_one, rows.held_y[:150]), 0.9)


class Margin(nn.Module):
    """ArcFace: the angle to the own class is made larger before the softmax."""

    def __init__(self, clamp: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(10, 2))
        nn.init.xavier_uniform_(self.weight)
        self.clamp = clamp

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        cosine = F.linear(F.normalize(features), F.normalize(self.weight))
        rest = 1.0 - cosine.pow(2)
        sine = (rest.clamp(1e-6, 1) if self.clamp else rest.clamp(0, 1)).sqrt()
        phi = cosine * 0.9801 - sine * 0.1987  # cos and sin of 0.2
        own = F.one_hot(label, 10)
        return 16 * torch.where(own == 1, torch.where(cosine > 0, phi, cosine), cosine)


@fault(
    kind="non-finite",
    project="ronghuaiyang/arcface-pytorch",
    source="github.com/ronghuaiyang/arcface-pytorch/issues/91",
)
def sine_of_a_straight_angle(doctor: Doctor, seed: int, cured: bool) -> Score:
    """sin = sqrt(1 - cos^2): when a face points exactly at its class the root is 0 and its slope infinite."""
    rows = data.digits(seed)
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(64, 96), nn.BatchNorm1d(96), nn.PReLU(), nn.Linear(96, 2))
    head = Margin(clamp=cured)
    model = nn.ModuleDict({"backbone": backbone, "head": head})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 64, 600, seed):
            loss = F.cross_entropy(head(backbone(x), y), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    backbone.eval()
    scores = F.linear(F.normalize(backbone(rows.held_x)), F.normalize(head.weight))
    return above(data.accuracy(scores, rows.held_y), 0.8)


@fault(
    kind="initial-loss",
    also=("activation-scale",),
    project="syncdoth/RetNet",
    source="github.com/syncdoth/RetNet/issues/31",
)
def embeddings_left_at_unit_scale(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Input and output share one table that nobody initialised: it has a spread of 1, and the loss starts far above ln V."""
    stream, letters = data.characters(700, seed)

    class Retention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(letters, 128)
            if cured:
                nn.init.normal_(self.embed.weight, std=0.02)
            self.mix, self.norm = nn.GRU(128, 128, batch_first=True), nn.LayerNorm(128)
            self.ffn = nn.Sequential(nn.Linear(128, 128), nn.GELU(), nn.Linear(128, 128))
            self.last = nn.LayerNorm(128)

        def forward(self, x: Tensor) -> Tensor:
            h = self.embed(x)
            h = h + self.mix(self.norm(h))[0]
            h = self.last(h + self.ffn(h))
            return h @ self.embed.weight.T

    model = Retention()
    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-4, betas=(0.9, 0.95), weight_decay=0.05)

    def loss_fn(output: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(output.transpose(1, 2), y)

    doctor.task(model, list(data.windows(stream, 24, 12, 6, seed)), loss_fn, optimizer)
    held = torch.cat([x for x, _ in data.windows(data.characters(60, seed + 1)[0], 25, 30, 3, seed)])
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.windows(stream, 24, 12, 120, seed):
            loss = loss_fn(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            watch.loss(loss)
    return below(loss_fn(model(held[:, :-1]), held[:, 1:]), 1.3)
