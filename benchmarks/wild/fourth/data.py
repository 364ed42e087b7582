"""Faults of data: its scale, its order, its targets."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Down(nn.Module):
    """A small U: down once, up once, with a bridge."""

    def __init__(self) -> None:
        super().__init__()
        self.inc = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU())
        self.down = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(12, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU())
        self.up = nn.ConvTranspose2d(24, 12, 2, stride=2)
        self.outc = nn.Sequential(nn.Conv2d(24, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        wide = self.inc(x)
        return self.outc(torch.cat([wide, self.up(self.down(wide))], 1))[:, 0]


@fault(
    kind="target-range",
    also=("target-scale",),
    project="milesial/Pytorch-UNet",
    source="github.com/milesial/Pytorch-UNet/issues/65",
)
def masks_saved_as_pictures(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The masks were read from PNG files, so inside means 255; binary cross-entropy goes far below 0."""
    x, _, mask = data.shapes(700, seed)
    rows = data.split(x, mask.float() * (1 if cured else 255), seed)
    net = Down()
    optimizer = torch.optim.RMSprop(net.parameters(), lr=1e-3, weight_decay=1e-8, momentum=0.9)
    criterion = nn.BCEWithLogitsLoss()
    doctor.task(net, data.few(rows.x, rows.y, 16, seed), criterion, optimizer)
    with doctor.watch(net, optimizer) as watch:
        for true_x, true_masks in data.batches(rows.x, rows.y, 16, 250, seed):
            loss = criterion(net(true_x), true_masks)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_value_(net.parameters(), 0.1)
            optimizer.step()
            watch.loss(loss.item())
    net.eval()
    guess, truth = net(rows.held_x) > 0, rows.held_y > 0
    return above((guess & truth).sum() / (guess | truth).sum(), 0.8)


class Wear(nn.Module):
    """Life that is left to an engine, from an hour of its gauges."""

    def __init__(self, gauges: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(gauges, 32, num_layers=2, batch_first=True)
        self.head = nn.Linear(32, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0][:, -1]).squeeze(1)


@fault(
    kind="input-scale",
    also=("saturation",),
    project="nasa/prog_models",
    source="github.com/nasa/prog_models/issues/334",
)
def gauges_in_their_own_units(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Turns per minute, kelvin and kilopascal go into an LSTM as they are: thousands beside ones."""
    generator = torch.Generator().manual_seed(seed)
    wear = torch.rand(1200, 1, generator=generator)
    drift = wear * torch.linspace(0.7, 1, 15)
    noise = torch.randn(1200, 15, 4, generator=generator)
    unit = torch.stack([drift, -drift, drift.square(), torch.zeros_like(drift)], 2) + 0.35 * noise
    x = unit if cured else unit * torch.tensor([900.0, 40.0, 0.6, 150.0]) + torch.tensor([8800.0, 640.0, 21.0, 2400.0])
    rows = data.split(x, 1 - wear[:, 0], seed)
    model = Wear(4)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, rows.y, 40, seed), F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 40, 400, seed)):
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 80 == 79:
                with torch.no_grad():
                    watch.dev_loss(F.mse_loss(model(rows.held_x), rows.held_y))
    return above(data.r2(model(rows.held_x), rows.held_y), 0.8)


@fault(
    kind="shuffled-targets",
    project="DrexelChatbotGroup/DrexelChatbot",
    source="github.com/DrexelChatbotGroup/DrexelChatbot/issues/15",
)
def questions_shuffled_answers_not(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Before training the questions are put into a random order, and their topics stay where they were."""
    generator = torch.Generator().manual_seed(seed)
    topic = torch.randint(5, (1600,), generator=generator)
    words = torch.randint(5, 60, (1600, 9), generator=generator)
    hint = torch.rand(1600, 9, generator=generator) < 0.4
    words = torch.where(hint, topic[:, None] * 11 + 5 + torch.randint(11, (1600, 9), generator=generator), words)
    rows = data.split(words, topic, seed)
    x = rows.x if cured else rows.x[torch.randperm(len(rows.x), generator=generator)]
    model = nn.Sequential(nn.EmbeddingBag(60, 24), nn.Linear(24, 48), nn.ReLU(), nn.Dropout(0.3), nn.Linear(48, 5))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    criterion = nn.CrossEntropyLoss()
    doctor.task(model, data.few(x, rows.y, 32, seed), criterion, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (question, answer) in enumerate(data.batches(x, rows.y, 32, 500, seed)):
            loss = criterion(model(question), answer)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 50 == 49:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(criterion(model(rows.held_x), rows.held_y).item())
                model.train()
    model.eval()
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.7)


@fault(kind="broadcast", project="jiwei0921/CoNet", source="github.com/jiwei0921/CoNet/issues/3")
def depth_without_its_channel(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Depth maps come as (B, H, W), the network answers (B, 1, H, W): every answer is held against every map."""
    x, _, mask = data.shapes(600, seed, size=16, noise=0.3)
    depth = F.avg_pool2d(mask[:, None].float(), 3, 1, 1)[:, 0] * 2 - 0.3
    rows = data.split(x, depth, seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ELU(),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.ELU(),
        nn.Conv2d(16, 1, 3, padding=1),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    def loss_fn(output: Tensor, depth: Tensor) -> Tensor:
        return F.smooth_l1_loss(output, depth.unsqueeze(1) if cured else depth, reduction="mean")

    doctor.task(model, data.few(rows.x, rows.y, 10, seed), loss_fn, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 10, 300, seed):
            loss = loss_fn(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    rest = model(rows.held_x)[:, 0] - rows.held_y
    return below(rest.pow(2).mean() / (rows.held_y - rows.y.mean(0)).pow(2).mean(), 0.3)
