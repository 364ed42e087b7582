"""Healthy programs on sequences, sound, sets and motion."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.eighth.training import reviews
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Shared(nn.Module):
    """One layer gone through three times, over small vectors made wider."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.wider = nn.Embedding(40, 8), nn.Linear(8, 32)
        self.layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.norm, self.out = nn.LayerNorm(32), nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.wider(self.words(x))
        for _ in range(3):
            h = self.layer(h)
        return self.out(self.norm(h.mean(1)))


@healthy(project="google-research/albert", source="github.com/google-research/albert")
def one_layer_three_times(doctor: Doctor, seed: int) -> Score:
    """Weights shared by all depths, a warm-up over a fifth of the steps, then down to 0 in a line."""
    rows = reviews(2400, seed)
    model = Shared()
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min((step + 1) / 50, (250 - step) / 200))
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 32, 250, seed)):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            watch.loss(loss)
            if step % 50 == 49:
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)


class Memory(nn.Module):
    """Reads letters (B, T) and says one of eight at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.letters, self.gru, self.out = nn.Embedding(10, 16), nn.GRU(16, 48, batch_first=True), nn.Linear(48, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.gru(self.letters(x))[0][:, -1])


@healthy(project="loudinthecloud/pytorch-ntm", source="github.com/loudinthecloud/pytorch-ntm")
def letters_kept_longer_and_longer(doctor: Doctor, seed: int) -> Score:
    """A curriculum: the letter before a mark must be told after 2, 5, 9 and 14 others; the loss jumps at each new stage."""
    generator = torch.Generator().manual_seed(seed)

    def draw(count: int, wait: int) -> tuple[Tensor, Tensor]:
        x = torch.randint(8, (count, wait + 3), generator=generator)
        x[:, 1], x[:, -1] = 8, 9
        return x, x[:, 0]

    model = Memory()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=3e-3)
    with doctor.watch(model, optimizer) as watch:
        for wait in (2, 5, 9, 14):
            for _ in range(120):
                x, y = draw(40, wait)
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                nn.utils.clip_grad_value_(model.parameters(), 1.0)
                optimizer.step()
                watch.loss(loss)
    x, y = draw(400, 14)
    return above(data.accuracy(model(x), y), 0.9)


@healthy(project="HumanCompatibleAI/imitation", source="github.com/HumanCompatibleAI/imitation")
def driver_taught_on_its_own_way(doctor: Doctor, seed: int) -> Score:
    """An expert says what to do in the states that the learner comes to; the data grow from round to round."""
    generator = torch.Generator().manual_seed(seed)

    def expert(state: Tensor) -> Tensor:
        return (-1.5 * state[:, :2] - 1.8 * state[:, 2:]).clamp(-1, 1)

    def move(state: Tensor, action: Tensor) -> Tensor:
        speed = state[:, 2:] + 0.2 * action
        return torch.cat([state[:, :2] + 0.2 * speed, speed], 1)

    def drive(count: int, share: float) -> tuple[Tensor, Tensor]:
        state, seen = torch.randn(count, 4, generator=generator), []
        with torch.no_grad():
            for _ in range(50):
                seen.append(state)
                own = torch.rand(count, 1, generator=generator) >= share
                state = move(state, torch.where(own, model(state).clamp(-1, 1), expert(state)))
        return torch.cat(seen), state

    model = nn.Sequential(nn.Linear(4, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, weight_decay=1e-5)
    known = torch.zeros(0, 4)
    with doctor.watch(model, optimizer) as watch:
        for round_ in range(5):
            known = torch.cat([known, drive(12, 1 - round_ / 4)[0]])
            for x, y in data.batches(known, expert(known), 32, 80, seed + round_):
                optimizer.zero_grad()
                loss = F.mse_loss(model(x), y)
                loss.backward()
                optimizer.step()
                watch.loss(loss)
    return below(drive(100, 0.0)[1][:, :2].norm(dim=1).mean(), 0.3)


class Separator(nn.Module):
    """Pieces of a wave on learnt filters, a mask on them, and back to a wave (B, T)."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Conv1d(1, 40, 16, stride=8, bias=False)
        self.mask = nn.Sequential(nn.Conv1d(40, 40, 3, padding=1), nn.PReLU(), nn.Conv1d(40, 40, 3, padding=1), nn.Sigmoid())
        self.decoder = nn.ConvTranspose1d(40, 1, 16, stride=8, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = self.encoder(x[:, None])
        return self.decoder(h * self.mask(F.relu(h)))[:, 0]


def distortion(said: Tensor, truth: Tensor) -> Tensor:
    """Minus the ratio of signal to distortion whatever the scale, in decibels."""
    said, truth = said - said.mean(1, keepdim=True), truth - truth.mean(1, keepdim=True)
    part = (said * truth).sum(1, keepdim=True) / truth.pow(2).sum(1, keepdim=True) * truth
    return -10 * (part.pow(2).sum(1) / ((said - part).pow(2).sum(1) + 1e-8)).log10().mean()


@healthy(project="asteroid-team/asteroid", source="github.com/asteroid-team/asteroid")
def voice_out_of_noise_in_decibels(doctor: Doctor, seed: int) -> Score:
    """The loss begins near 0 and goes far below; that is its nature. The gradient's norm is clipped at 5."""
    generator = torch.Generator().manual_seed(seed)
    t = torch.arange(256)
    pitch = 0.05 + 0.15 * torch.rand(800, 1, generator=generator)
    phase = 6.3 * torch.rand(800, 1, generator=generator)
    clean = torch.sin(pitch * t + phase) + 0.4 * torch.sin(2 * pitch * t + phase)
    rows = data.split(clean + 0.8 * torch.randn(800, 256, generator=generator), clean, seed)
    model = Separator()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 16, 250, seed)):
            optimizer.zero_grad()
            loss = distortion(model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            watch.loss(loss)
            if step % 50 == 49:
                with torch.no_grad():
                    watch.dev_loss(distortion(model(rows.held_x), rows.held_y))
    with torch.no_grad():
        return below(distortion(model(rows.held_x), rows.held_y), -8.0)


class Perceiver(nn.Module):
    """Eight vectors that look at all points of a cloud, then at each other."""

    def __init__(self) -> None:
        super().__init__()
        self.latents = nn.Parameter(0.5 * torch.randn(8, 32))
        self.points = nn.Sequential(nn.Linear(2, 32), nn.GELU(), nn.Linear(32, 32))
        self.look = nn.MultiheadAttention(32, 2, batch_first=True)
        self.think = nn.TransformerEncoderLayer(32, 2, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.norm, self.out = nn.LayerNorm(32), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        points, z = self.points(x), self.latents.expand(len(x), -1, -1)
        z = z + self.look(z, points, points, need_weights=False)[0]
        return self.out(self.norm(self.think(z).mean(1)))


@healthy(project="lucidrains/perceiver-pytorch", source="github.com/lucidrains/perceiver-pytorch")
def clouds_seen_through_eight_vectors(doctor: Doctor, seed: int) -> Score:
    """Rings, discs, crosses and frames of 40 points, by attention from a few learnt vectors."""
    generator = torch.Generator().manual_seed(seed)
    count = 1600
    y = torch.randint(4, (count,), generator=generator)
    turn, far = 6.283 * torch.rand(count, 40, generator=generator), torch.rand(count, 40, generator=generator)
    along, side = 2 * far - 1, torch.rand(count, 40, generator=generator) < 0.5
    edge = torch.where(torch.rand(count, 40, generator=generator) < 0.5, 1.0, -1.0)
    ring = torch.stack([turn.cos(), turn.sin()], 2)
    disc = ring * far.sqrt()[..., None]
    cross = torch.stack([along * side, along * ~side], 2)
    frame = torch.stack([torch.where(side, along, edge), torch.where(side, edge, along)], 2)
    x = torch.stack([ring, disc, cross, frame])[y, torch.arange(count)] + 0.1 * torch.randn(count, 40, 2, generator=generator)
    rows = data.split(x, y, seed)
    model = Perceiver()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 32, 300, seed), rows)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)
