"""Faults of loops: clipping, warm-up, gradients kept, the rate."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="clip-before-unscale",
    also=("slow-learning", "learning-rate-too-low"),
    project="Lightning-AI/pytorch-lightning",
    source="github.com/Lightning-AI/pytorch-lightning/issues/9599",
)
def flat_curve_of_clipped_scaled_gradients(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The norm is clipped to 1 while the gradients are still 65,536 times too large: what is left is nearly nothing."""
    digits = data.digits(seed)
    rows = digits._replace(x=digits.x - 0.3, held_x=digits.held_x - 0.3)
    conv = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU()]
    model = nn.Sequential(*conv, nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", init_scale=65536.0)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 32, 250, seed)):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                said = model(x)
            loss = F.cross_entropy(said.float(), y)
            scaler.scale(loss).backward()
            if cured:
                scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            watch.loss(loss)
            if step % 50 == 49:
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


class Recogniser(nn.Module):
    """Frames of sound (B, T, F) through two layers of attention; a sound for each frame, (B, sounds, T)."""

    def __init__(self) -> None:
        super().__init__()
        self.front = nn.Conv1d(12, 48, 3, padding=1)
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(48, 4, 96, dropout=0.1, batch_first=True) for _ in range(2))
        self.out = nn.Linear(48, 8)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.front(x.transpose(1, 2))).transpose(1, 2)
        for layer in self.layers:
            h = layer(h)
        return self.out(h).transpose(1, 2)


@fault(
    kind="learning-rate-too-low",
    also=("slow-learning", "underfitting"),
    project="hirofumi0810/neural_sp",
    source="github.com/hirofumi0810/neural_sp/issues/137",
)
def warm_up_longer_than_the_training(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A warm-up of 25,000 steps for another corpus: this training ends on its first hundredth, the rate still near 0."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(8, (900, 5), generator=generator).repeat_interleave(3, 1)
    sounds = torch.randn(8, 12, generator=generator)
    x = sounds[y] + 1.0 * torch.randn(900, 15, 12, generator=generator)
    rows = data.split(x, y, seed)
    model = Recogniser()
    warm = 60 if cured else 25000
    optimizer = torch.optim.Adam(model.parameters(), lr=1.0, betas=(0.9, 0.98), eps=1e-9)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 0.15 * 48**-0.5 * min((step + 1) ** -0.5, (step + 1) * warm**-1.5)
    )
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 32, 250, seed)):
            model.train()
            optimizer.zero_grad()
            loss = F.cross_entropy(model(a), b)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            watch.loss(loss)
            if step % 50 == 49:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    model.eval()
    with torch.no_grad():
        return above((model(rows.held_x).argmax(1) == rows.held_y).float().mean(), 0.85)


class Thin(nn.Module):
    """A fixed layer of a trained net and a low-rank part beside it."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base.requires_grad_(requires_grad=False)
        self.down, self.up = nn.Linear(base.in_features, 4, bias=False), nn.Linear(4, base.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + 2.0 * self.up(self.down(x))


@fault(
    kind="missing-zero-grad",
    project="tenstorrent/tt-blacksmith",
    source="github.com/tenstorrent/tt-blacksmith/pull/711",
)
def thin_parts_never_cleared(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The new trainer for low-rank parts steps and never clears: each step follows the sum of all gradients so far."""
    x, y = data.teacher(1600, 12, 5, seed)
    before, rows = data.split(x, y.argmax(1), seed), data.split(x, y.roll(2, 1).argmax(1), seed)
    body = nn.Sequential(nn.Linear(12, 64), nn.GELU(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 5))
    adam = torch.optim.Adam(body.parameters(), lr=3e-3)
    for a, b in data.batches(before.x, before.y, 40, 250, seed):
        adam.zero_grad()
        F.cross_entropy(body(a), b).backward()
        adam.step()
    model = nn.Sequential(*(Thin(each) if isinstance(each, nn.Linear) else each for each in body))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=5e-3)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 40, 300, seed)):
            loss = F.cross_entropy(model(a), b)
            loss.backward()
            optimizer.step()
            if cured:
                optimizer.zero_grad()
            watch.loss(loss)
            if step % 60 == 59:
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.7)


class Entities(nn.Module):
    """A tag for each word (B, T) by an LSTM in both directions: (B, tags, T)."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.lstm = nn.Embedding(60, 24), nn.LSTM(24, 32, bidirectional=True, batch_first=True)
        self.out = nn.Linear(64, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.lstm(self.embed(x))[0]).transpose(1, 2)


@fault(
    kind="learning-rate-too-high",
    also=("saturation", "activation-scale"),
    project="guillaumegenthial/sequence_tagging",
    source="github.com/guillaumegenthial/sequence_tagging/issues/47",
)
def names_tagged_at_a_rate_of_a_third(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Adam at 0.3 where 0.003 does well: the loss jumps to eight, comes down and never gets as low as it should."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(60, (1600, 14), generator=generator)
    title, name = x.roll(1, 1) < 6, x % 3 == 0
    title[:, 0] = False
    y = torch.where(
        title & name, 1, torch.where(title, 2, torch.where(name & (x > 40), 3, torch.where(x.roll(-1, 1) > 54, 4, 0)))
    )
    rows = data.split(x, y, seed)
    model = Entities()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003 if cured else 0.3)
    doctor.task(model, data.few(rows.x, rows.y, 20, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 20, 300, seed), rows)
    with torch.no_grad():
        said, named = model(rows.held_x).argmax(1), rows.held_y > 0
    return above((said == rows.held_y)[named].float().mean(), 0.9)
