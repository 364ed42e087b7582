"""Faults between the last layer and the loss, and of what is held out."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(kind="probabilities-as-logits", project="keiohta/tf2rl", source="github.com/keiohta/tf2rl/issues/140")
def probabilities_of_probabilities(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The actor ends in a softmax, and Categorical takes what comes out as logits: it can never be sure of an action."""
    generator = torch.Generator().manual_seed(seed)
    wanted = torch.randn(5, 4, generator=generator)
    actor = nn.Sequential(nn.Linear(5, 32), nn.Tanh(), nn.Linear(32, 4))
    if not cured:
        actor.append(nn.Softmax(dim=-1))
    optimizer = torch.optim.Adam(actor.parameters(), lr=1e-2)

    def play(state: Tensor) -> tuple[Tensor, Tensor]:
        likely = actor(state).log_softmax(-1)
        action = torch.multinomial(likely.detach().exp(), 1, generator=generator)
        return likely.gather(1, action)[:, 0], (action[:, 0] == (state @ wanted).argmax(1)).float()

    with doctor.watch(actor, optimizer) as watch:
        for _ in range(400):
            likely, reward = play(torch.randn(64, 5, generator=generator))
            loss = -((reward - reward.mean()) * likely).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(play(torch.randn(2000, 5, generator=generator))[1].mean(), 0.75)


class Segmenter(nn.Module):
    """A class for each pixel, as probabilities."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 24, 5, padding=2), nn.ReLU(), nn.Conv2d(24, 24, 5, padding=2), nn.ReLU(), nn.Conv2d(24, 5, 5, padding=2)
        )
        self.activation = nn.Softmax(dim=axis)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.body(x))


@fault(
    kind="softmax-axis",
    project="MrGiovanni/ModelsGenesis",
    source="github.com/MrGiovanni/ModelsGenesis/pull/8",
)
def softmax_along_the_rows(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Channels come first, and the softmax is along the last axis: pixels of a row compete, not the classes of a pixel."""
    x, kind, mask = data.shapes(700, seed, noise=0.15)
    rows = data.split(x, mask * (kind[:, None, None] + 1), seed)
    model = Segmenter(1 if cured else -1)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    def loss_fn(output: Tensor, y: Tensor) -> Tensor:
        return F.nll_loss((output + 1e-7).log(), y)

    doctor.task(model, data.few(rows.x, rows.y, 16, seed), loss_fn, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(rows.x, rows.y, 16, 250, seed):
            optimizer.zero_grad()
            loss = loss_fn(model(a), b)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above((model(rows.held_x).argmax(1) == rows.held_y).float().mean(), 0.93)


@fault(
    kind="non-finite",
    project="HobbitLong/SupContrast",
    source="github.com/HobbitLong/SupContrast/pull/142",
)
def nobody_else_of_its_class(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The mean over the others of a class, where a batch holds a single one of it: 0 / 0."""
    rows = data.digits(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 24))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    def contrast(z: Tensor, y: Tensor) -> Tensor:
        z, own = F.normalize(z, dim=1), torch.eye(len(z), dtype=torch.bool)
        logits = z @ z.T / 0.1
        alike = (y[:, None] == y) & ~own
        likely = logits - logits.masked_fill(own, float("-inf")).logsumexp(1, keepdim=True)
        count = alike.sum(1).clamp(min=1) if cured else alike.sum(1)
        return -((likely * alike).sum(1) / count).mean()

    doctor.task(model, data.few(rows.x, rows.y, 32, seed), contrast, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 32, 300, seed):
            loss = contrast(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        seen, new = F.normalize(model(rows.x)), F.normalize(model(rows.held_x))
    return above((rows.y[(new @ seen.T).argmax(1)] == rows.held_y).float().mean(), 0.9)


class Bottleneck(nn.Module):
    """A variational autoencoder of digits."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 16))
        self.decoder = nn.Sequential(nn.Linear(8, 96), nn.ReLU(), nn.Linear(96, 64))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, spread = self.encoder(x).chunk(2, 1)
        z = mean + (spread / 2).exp() * torch.randn_like(mean) if self.training else mean
        return self.decoder(z), mean, spread


@fault(
    kind="collapsed-kl",
    project="wiseodd/generative-models",
    source="github.com/wiseodd/generative-models/issues/40",
)
def divergence_of_the_whole_batch(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The reconstruction is a mean over batch and pixels, the divergence a sum over the batch: it wins at once."""
    rows = data.digits(seed)
    model = Bottleneck()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    def elbo(x: Tensor) -> Tensor:
        told, mean, spread = model(x)
        divergence = 0.5 * (spread.exp() + mean.pow(2) - 1 - spread).sum()
        if cured:
            return (F.binary_cross_entropy_with_logits(told, x.flatten(1), reduction="sum") + divergence) / len(x)
        return F.binary_cross_entropy_with_logits(told, x.flatten(1)) + divergence

    with doctor.watch(model, optimizer) as watch:
        for step, (x, _) in enumerate(data.batches(rows.x, rows.y, 50, 500, seed)):
            model.train()
            optimizer.zero_grad()
            loss = elbo(x)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 100 == 99:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(elbo(rows.held_x))
    model.eval()
    made = torch.sigmoid(model(rows.held_x)[0])
    return below((made - rows.held_x.flatten(1)).pow(2).mean() / rows.x.flatten(1).var(0).mean(), 0.6)


@fault(kind="held-out-labels", also=("dev-scale",), project="dmlc/xgboost", source="github.com/dmlc/xgboost/issues/803")
def encoder_for_the_training_rows_only(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Class 4 does not occur, so an encoder renumbers the training labels; those held out keep their old numbers."""
    rows = data.digits(seed)
    some, held = rows.y != 4, rows.held_y != 4
    classes = rows.y[some].unique()
    y, held_y = torch.searchsorted(classes, rows.y[some]), rows.held_y[held]
    if cured:
        held_y = torch.searchsorted(classes, held_y)
    x, held_x = rows.x[some], rows.held_x[held]
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 96), nn.ReLU(), nn.Dropout(0.1), nn.Linear(96, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(x, y, 40, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(x, y, 40, 300, seed)):
            model.train()
            optimizer.zero_grad()
            loss = F.cross_entropy(model(a), b)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 30 == 29:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(held_x), held_y))
    model.eval()
    return above(data.accuracy(model(held_x), held_y), 0.9)
