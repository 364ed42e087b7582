"""Faults of wiring: what is held, what is trained, what sees what."""

from __future__ import annotations

import math

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Relations(nn.Module):
    """Scores of a row under several relations, each with its own two layers, kept in a plain dictionary."""

    def __init__(self, registered: bool) -> None:
        super().__init__()
        first = {f"r{k}": nn.Linear(12, 24) for k in range(5)}
        self.first = nn.ModuleDict(first) if registered else first
        self.last = nn.Linear(24, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.last(torch.tanh(layer(x))) for layer in self.first.values()], 1)


@fault(
    kind="unregistered",
    project="pytorch/pytorch",
    source="github.com/pytorch/pytorch/issues/632",
    certain="five layers are in the graph and in no list of parameters",
)
def layers_in_a_dictionary(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Layers live in a dict of the module, so that parameters() does not know them and they stay as they were drawn."""
    x, y = data.teacher(1200, 12, 5, seed)
    rows = data.split(x, y, seed)
    model = Relations(registered=cured)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    doctor.task(model, data.few(rows.x, rows.y, 60, seed), F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 60, 500, seed):
            loss = F.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.r2(model(rows.held_x), rows.held_y), 0.8)


class Autoencoder(nn.Module):
    """Digits through a narrow place."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 12))
        self.decoder = nn.Sequential(nn.Linear(12, 48), nn.ReLU(), nn.Linear(48, 64), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))


@fault(kind="not-optimised", where="decoder", project="zdebruine/MMVAE", source="github.com/zdebruine/MMVAE/issues/39")
def optimiser_of_the_encoder_only(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The optimiser is given the parameters of the encoder; the decoder stays as it was drawn."""
    rows = data.digits(seed)
    model = Autoencoder()
    optimizer = torch.optim.Adam((model if cured else model.encoder).parameters(), lr=2e-3)

    def loss_fn(output: Tensor, x: Tensor) -> Tensor:
        return F.mse_loss(output, x.flatten(1))

    doctor.task(model, data.few(rows.x, rows.x, 64, seed), loss_fn, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, _ in data.batches(rows.x, rows.y, 64, 600, seed):
            loss = loss_fn(model(x), x)
            model.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss.item())
    return below(loss_fn(model(rows.held_x), rows.held_x), 0.045)


@fault(
    kind="missing-zero-grad",
    project="yastrebksv/TennisCourtDetector",
    source="github.com/yastrebksv/TennisCourtDetector/issues/7",
)
def heatmaps_without_zero_grad(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Key points as heat maps; gradients of all steps so far pile up because nobody clears them."""
    x, _, mask = data.shapes(700, seed, size=12)
    rows = data.split(x, mask.float()[:, None], seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 1, 3, padding=1),
        nn.Sigmoid(),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, betas=(0.9, 0.999))
    doctor.task(model, data.few(rows.x, rows.y, 16, seed), F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 16, 400, seed):
            loss = F.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            if cured:
                optimizer.zero_grad()
            watch.loss(loss)
    return below(F.mse_loss(model(rows.held_x), rows.held_y) / rows.held_y.var(), 0.03)


class Windowed(nn.Module):
    """Attention within a short window, with dropout on the weights by the functional form, for pictures cut into strips."""

    def __init__(self, obeys: bool) -> None:
        super().__init__()
        self.embed, self.qkv, self.proj = nn.Linear(8, 32), nn.Linear(32, 96), nn.Linear(32, 32)
        self.place = nn.Parameter(torch.randn(8, 32) * 0.02)
        self.head = nn.Sequential(nn.LayerNorm(32), nn.Flatten(), nn.Linear(256, 10))
        self.obeys = obeys

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x[:, 0]) + self.place  # (B, 8, 32)
        q, k, v = self.qkv(h).chunk(3, -1)
        weights = (q @ k.transpose(1, 2) / math.sqrt(32)).softmax(-1)
        weights = F.dropout(weights, 0.3, training=self.training if self.obeys else True)
        h = h + F.dropout(self.proj(weights @ v), 0.3, training=self.training if self.obeys else True)
        return self.head(h)


@fault(
    kind="eval-dropout",
    project="pytorch/vision",
    source="github.com/pytorch/vision/issues/7103",
    certain="two passes in eval mode give two answers",
)
def swin_dropout_in_eval(doctor: Doctor, seed: int, cured: bool) -> Score:
    """F.dropout without training=self.training: what is reported as held-out loss is taken with dropout."""
    rows = data.digits(seed)
    model = Windowed(obeys=cured)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 64, 400, seed)):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 80 == 79:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
                model.train()
    model.eval()
    agree = (model(rows.held_x).argmax(1) == model(rows.held_x).argmax(1)).float().mean()
    return above(agree, 0.9999)


class Decoder(nn.Module):
    """Two layers of nn.TransformerEncoder as a language model; the mask that hides what follows is a switch."""

    def __init__(self, letters: int, masked: bool) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(letters, 48), nn.Embedding(32, 48)
        layer = nn.TransformerEncoderLayer(48, 4, 96, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(48, letters)
        self.masked = masked

    def forward(self, x: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1]) if self.masked else None
        h = self.embed(x) + self.place(torch.arange(x.shape[1]))
        return self.out(self.blocks(h, mask=mask))


def sequence_loss(output: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy over all places."""
    return F.cross_entropy(output.flatten(0, 1), y.flatten())


@fault(
    kind="future-leak",
    also=("leak",),
    project="alex-matton/causal-transformer-decoder",
    source="github.com/alex-matton/causal-transformer-decoder/issues/1",
)
def decoder_without_mask(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Trained without the causal mask: the loss goes to almost nothing, because each place sees the letter it must guess."""
    stream, letters = data.characters(700, seed)
    model = Decoder(letters, masked=cured)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    doctor.task(model, list(data.windows(stream, 32, 16, 6, seed)), sequence_loss, optimizer)
    held = torch.cat([x for x, _ in data.windows(data.characters(60, seed + 1)[0], 32, 40, 4, seed)])
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.windows(stream, 32, 16, 400, seed)):
            loss = sequence_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 100 == 99:
                with torch.no_grad():
                    watch.dev_loss(sequence_loss(model(held[:, :-1]), held[:, 1:]))
    with torch.no_grad():  # as it is used: the next letter after what is known
        known = [model(held[:, :cut])[:, -1] for cut in (8, 16, 24)]
    used = sum(F.cross_entropy(each, held[:, cut]) for each, cut in zip(known, (8, 16, 24), strict=True)) / 3
    return below(used, 2.0)


class Frames(nn.Module):
    """Class of a short film: features of each frame, then an LSTM over time."""

    def __init__(self, cured: bool) -> None:
        super().__init__()
        self.frame = nn.Sequential(nn.Linear(12, 24), nn.ReLU())
        self.lstm = nn.LSTM(24, 32, batch_first=cured)
        self.out = nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        h, _ = self.lstm(self.frame(x))  # (B, T, 24), while the LSTM expects (T, B, 24)
        return self.out(h[:, -1])


@fault(
    kind="batch-mixing",
    where="lstm",
    project="HHTseng/video-classification",
    source="github.com/HHTseng/video-classification/issues/42",
)
def film_read_across_the_batch(doctor: Doctor, seed: int, cured: bool) -> Score:
    """An LSTM without batch_first gets (B, T, E): it runs along the batch, and one film's answer depends on the others."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(2, (1500,), generator=generator)
    start = torch.randint(12, (1500,), generator=generator)
    step = torch.arange(8) * (2 * y[:, None] - 1)  # a dot goes right or left
    place = (start[:, None] + step) % 12
    x = F.one_hot(place, 12).float() + 0.2 * torch.randn(1500, 8, 12, generator=generator)
    rows = data.split(x, y, seed)
    model = Frames(cured)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    doctor.task(model, data.few(rows.x, rows.y, 30, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 30, 500, seed):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


@fault(
    kind="wrong-mode",
    project="wkentaro/pytorch-fcn",
    source="github.com/wkentaro/pytorch-fcn/issues/57",
    certain="after the first validation batch norm and dropout never train again",
)
def validation_leaves_eval(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The trainer validates in the middle of training; validate() says eval() and nobody says train() again."""
    x, _, mask = data.shapes(800, seed, size=16, noise=0.5)
    rows = data.split(x * 20 - 3, mask, seed)
    model = nn.Sequential(
        nn.BatchNorm2d(1),
        nn.Conv2d(1, 12, 3, padding=1),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Dropout2d(0.2),
        nn.Conv2d(12, 12, 3, padding=1),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Conv2d(12, 2, 1),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    with doctor.watch(model, optimizer) as watch:
        model.train()
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 16, 240, seed)):
            if step % 60 == 10:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
                if cured:
                    model.train()
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    trained = model.training
    model.eval()
    hit = (model(rows.held_x).argmax(1) * rows.held_y).sum() / rows.held_y.sum()
    return above(hit * trained, 0.7)
