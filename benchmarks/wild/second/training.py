"""Faults of optimisation and of the start."""

from __future__ import annotations

import copy

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(kind="weight-decay", project="mapbox/robosat", source="github.com/mapbox/robosat/pull/166")
def decay_of_adamw_given_to_adam(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Weight decay 0.3, as a vision transformer wants it of AdamW, in Adam, where it outweighs the gradient."""
    x, _, mask = data.shapes(600, seed, size=12, noise=0.3)
    rows = data.split(x, mask, seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 2, 1)
    )
    kind = torch.optim.AdamW if cured else torch.optim.Adam
    optimizer = kind(model.parameters(), lr=2e-3, weight_decay=0.3)
    doctor.task(model, data.few(rows.x, rows.y, 16, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 16, 400, seed):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    hit = (model(rows.held_x).argmax(1) * rows.held_y).sum() / rows.held_y.sum()
    return above(hit, 0.6)


@fault(
    kind="optimiser-state-lost",
    project="EvolvingLMMs-Lab/OneVision-Encoder",
    source="github.com/EvolvingLMMs-Lab/OneVision-Encoder/pull/65",
    also=("no-warmup", "learning-rate-too-high"),
    certain="the moments of Adam are gone, and its first steps are as large as the rate",
)
def resumed_without_moments(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A checkpoint holds weights and the rate, not Adam's moments: after the resume the loss jumps up."""
    stream, letters = data.characters(600, seed)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(letters, 32)
            layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
            self.blocks, self.out = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(32, letters)

        def forward(self, x: Tensor) -> Tensor:
            mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
            return self.out(self.blocks(self.embed(x), mask=mask)).transpose(1, 2)

    model = Model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.999))
    for step, (x, y) in enumerate(data.windows(stream, 24, 12, 300, seed)):
        for group in optimizer.param_groups:
            group["lr"] = 6e-3 * min(1, (step + 1) / 100)
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    state = copy.deepcopy(optimizer.state_dict())
    before, after = [], []
    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-3, betas=(0.9, 0.999))
    if cured:
        optimizer.load_state_dict(state)
    with torch.no_grad():
        before = [F.cross_entropy(model(x), y).item() for x, y in data.windows(stream, 24, 12, 10, seed + 7)]
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.windows(stream, 24, 12, 200, seed + 9):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            after.append(loss.item())
    return below(sum(after[1:9]) / 8 - sum(before) / 10, 0.1)


@fault(kind="learning-rate-too-high", project="OpenNMT/OpenNMT-py", source="github.com/OpenNMT/OpenNMT-py/issues/805")
def adam_with_the_rate_of_sgd(doctor: Doctor, seed: int, cured: bool) -> Score:
    """-optim adam without a rate: the default is 1, which is meant for SGD."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(3, 20, (1500, 8), generator=generator)
    rows = data.split(x, x.flip(1), seed)

    class Translator(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.encoder = nn.Embedding(20, 24), nn.LSTM(24, 32, batch_first=True, bidirectional=True)
            self.decoder, self.out = nn.LSTM(64, 64, 2, batch_first=True), nn.Linear(64, 20)

        def forward(self, x: Tensor) -> Tensor:
            h, _ = self.encoder(self.embed(x))
            return self.out(self.decoder(h.flip(1))[0]).transpose(1, 2)

    model = Translator()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3 if cured else 1.0)
    doctor.task(model, data.few(rows.x, rows.y, 50, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 50, 300, seed):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5)
            optimizer.step()
            watch.loss(loss)
    return above((model(rows.held_x).argmax(1) == rows.held_y).float().mean(), 0.8)


class Dreamer(nn.Module):
    """A VAE of pictures for a world model."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Flatten())
        self.mu, self.logvar = nn.Linear(512, 8), nn.Linear(512, 8)
        self.decoder = nn.Sequential(nn.Linear(8, 128), nn.ReLU(), nn.Linear(128, 256), nn.Unflatten(1, (1, 16, 16)))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = self.encoder(x)
        mu, logvar = self.mu(h), self.logvar(h)
        return self.decoder(mu + torch.randn_like(mu) * (logvar / 2).exp()), mu, logvar


@fault(
    kind="collapsed-kl",
    project="AppliedDataSciencePartners/WorldModels",
    source="github.com/AppliedDataSciencePartners/WorldModels/issues/12",
)
def world_model_without_a_code(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Reconstruction as a mean over all pixels times 10, divergence as a sum: the code carries nothing."""
    x, y, _ = data.shapes(900, seed, noise=0.05)
    rows = data.split(x, y, seed)
    model = Dreamer()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    def loss_fn(output: tuple[Tensor, Tensor, Tensor], x: Tensor) -> Tensor:
        recon, mu, logvar = output
        kl = -0.5 * (1 + logvar - mu.pow(2) - logvar.exp()).sum(1).mean()
        return (20 * (recon - x).pow(2).flatten(1).sum(1).mean() if cured else 10 * (recon - x).pow(2).mean()) + kl

    doctor.task(model, data.few(rows.x, rows.x, 48, seed), loss_fn, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, _ in data.batches(rows.x, rows.y, 48, 500, seed):
            loss = loss_fn(model(x), x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        recon = model(rows.held_x)[0]
    return above(data.r2(recon, rows.held_x), 0.4)


@fault(
    kind="saturation",
    also=("activation-scale", "gradient-scale"),
    where="lstm",
    project="mukul-rathi/deep-learning-tutorials",
    source="github.com/mukul-rathi/deep-learning-tutorials/issues/2",
)
def lstm_of_shut_gates(doctor: Doctor, seed: int, cured: bool) -> Score:
    """All weights of an LSTM are drawn with deviation 2: gates are shut or wide open, and hardly any gradient passes."""
    t = torch.arange(1500.0)
    series = torch.stack([torch.sin(t / 7), torch.cos(t / 11), torch.sin(t / 5 + 1)], 1)
    pieces = series.unfold(0, 21, 1).transpose(1, 2)
    rows = data.split(pieces[:, :20], pieces[:, 20], seed)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.out = nn.LSTM(3, 48, batch_first=True), nn.Linear(48, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.lstm(x)[0][:, -1])

    model = Model()
    if not cured:
        for parameter in model.lstm.parameters():
            nn.init.normal_(parameter, std=2.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, rows.y, 40, seed), F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 40, 400, seed):
            loss = F.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return below(F.mse_loss(model(rows.held_x), rows.held_y), 0.01)
