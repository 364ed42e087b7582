"""Faults of data: what is divided by what, what stands beside what, and what is already known."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="shuffled-targets",
    project="ericyangyu/PPO-for-Beginners",
    source="github.com/ericyangyu/PPO-for-Beginners/pull/15",
)
def returns_of_another_episode(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Rewards to go are put in front of one flat list, but episodes are taken from the first on: each gets those of another."""
    generator = torch.Generator().manual_seed(seed)
    wanted = torch.randn(5, 3, generator=generator)
    policy = nn.Sequential(nn.Linear(5, 48), nn.Tanh(), nn.Linear(48, 3))
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)

    def to_go(batch: Tensor) -> Tensor:
        told: list[Tensor] = []
        for rewards in batch.flip(0) if cured else batch:
            ahead = torch.zeros(())
            for reward in rewards.flip(0):
                ahead = reward + 0.3 * ahead
                told.insert(0, ahead)
        return torch.stack(told)

    with doctor.watch(policy, optimizer) as watch:
        for _ in range(300):
            states = torch.randn(8, 12, 5, generator=generator)
            likely = policy(states).log_softmax(-1).flatten(0, 1)
            actions = torch.multinomial(likely.detach().exp(), 1, generator=generator)
            rewards = (actions[:, 0] == (states @ wanted).argmax(-1).flatten()).float()
            told = to_go(rewards.view(8, 12))
            gain = (told - told.mean()) / (told.std() + 1e-6)
            loss = -(gain * likely.gather(1, actions)[:, 0]).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    new = torch.randn(1000, 5, generator=generator)
    return above(data.accuracy(policy(new), (new @ wanted).argmax(-1)), 0.8)


@fault(kind="non-finite", project="bshall/hifigan", source="github.com/bshall/hifigan/issues/4")
def silence_divided_by_its_peak(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Each clip is divided by its largest value; one clip in three hundred is silence, and 0 / 0 goes into the net."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(4, (1200,), generator=generator)
    pitch = torch.tensor([0.15, 0.3, 0.6, 1.1])[y, None] * (0.9 + 0.2 * torch.rand(1200, 1, generator=generator))
    wave = torch.sin(pitch * torch.arange(96) + 6 * torch.rand(1200, 1, generator=generator))
    wave = (wave + 0.5 * torch.randn(1200, 96, generator=generator)) * torch.rand(1200, 1, generator=generator)
    wave[torch.randperm(1200, generator=generator)[:4]] = 0.0
    rows = data.split(wave[:, None], y, seed)

    def normal(clips: Tensor) -> Tensor:
        peak = clips.abs().amax(2, keepdim=True)
        return clips / (peak.clamp(min=1e-3) if cured else peak)

    model = nn.Sequential(
        nn.Conv1d(1, 16, 9, 2, 4),
        nn.LeakyReLU(0.1),
        nn.Conv1d(16, 24, 5, 2, 2),
        nn.LeakyReLU(0.1),
        nn.AdaptiveAvgPool1d(4),
        nn.Flatten(),
        nn.Linear(96, 4),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.8, 0.99))
    doctor.task(model, data.few(normal(rows.x), rows.y, 32, seed, count=28), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, b in data.batches(rows.x, rows.y, 32, 300, seed):
            loss = F.cross_entropy(model(normal(x)), b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.accuracy(model(normal(rows.held_x)), rows.held_y), 0.85)


class Detector(nn.Module):
    """One box and one class for a picture, from shared features."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(1, 16, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(512, 64),
            nn.ReLU(),
        )
        self.loc_head, self.cls_head = nn.Linear(64, 4), nn.Linear(64, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.backbone(x)
        return self.loc_head(h), self.cls_head(h)


@fault(kind="target-scale", project="kuangliu/torchcv", source="github.com/kuangliu/torchcv/issues/30")
def boxes_in_pixels(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Boxes go into the loss in pixels of a 300 x 300 picture; nobody divided them by its size."""
    x, kind, mask = data.shapes(1200, seed, noise=0.1)
    place = torch.arange(16) + 0.5
    far = [torch.where(mask.sum(axis) > 0, place, 99.0).amin(1) for axis in (1, 2)]
    near = [torch.where(mask.sum(axis) > 0, place, -1.0).amax(1) for axis in (1, 2)]
    boxes = torch.stack([*far, *near], 1) / 16 * (1 if cured else 300)
    rows = data.split(x, torch.cat([boxes, kind[:, None].float()], 1), seed)
    model = Detector()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)

    def criterion(output: tuple[Tensor, Tensor], y: Tensor) -> Tensor:
        return F.mse_loss(output[0], y[:, :4]) + F.cross_entropy(output[1], y[:, 4].long())

    doctor.task(model, data.few(rows.x, rows.y, 24, seed), criterion, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(rows.x, rows.y, 24, 500, seed):
            optimizer.zero_grad()
            loss = criterion(model(a), b)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.accuracy(model(rows.held_x)[1], rows.held_y[:, 4].long()), 0.85)


@fault(kind="leak", project="philipperemy/n-beats", source="github.com/philipperemy/n-beats/pull/6")
def window_that_ends_one_day_late(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The window of the past runs up to the day that is to be forecast, that day included."""
    generator = torch.Generator().manual_seed(seed)
    series = torch.zeros(2400)
    for day in range(2, 2400):
        series[day] = 1.2 * series[day - 1] - 0.8 * series[day - 2] + torch.randn(1, generator=generator) * 0.5
    series = series / series.std()
    past = series.unfold(0, 20, 1)
    late = 0 if cured else 1
    x, y = past[late : len(past) - 1 + late], series[20:]
    cut = 1800
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1), nn.Flatten(0))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-3)
    doctor.task(model, data.few(x[:cut], y[:cut], 40, seed), F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(x[:cut], y[:cut], 40, 300, seed)):
            optimizer.zero_grad()
            loss = F.mse_loss(model(a), b)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 50 == 49:
                with torch.no_grad():
                    watch.dev_loss(F.mse_loss(model(x[cut:]), y[cut:]))
    honest = past[:-1][cut:]  # as it is used: the day after the last one known
    return below(F.mse_loss(model(honest), series[20:][cut:]), 0.4)
