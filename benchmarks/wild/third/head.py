"""Faults between the last layer and the loss, and in the numbers themselves."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Head(nn.Module):
    """For each cell of a picture: whether something is there and what, both through a sigmoid, and its offset."""

    def __init__(self, sigmoid: bool) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1), nn.LeakyReLU(0.1), nn.Conv2d(16, 32, 3, 2, 1), nn.LeakyReLU(0.1))
        self.neck = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.LeakyReLU(0.1))
        self.conf, self.xy = nn.Conv2d(32, 1, 1), nn.Conv2d(32, 2, 1)
        self.sigmoid = sigmoid

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.neck(self.stem(x))
        conf = self.conf(h)
        return torch.sigmoid(conf) if self.sigmoid else conf, self.xy(h)


@fault(
    kind="probabilities-as-logits",
    project="argusswift/YOLOv4-pytorch",
    source="github.com/argusswift/YOLOv4-pytorch/issues/89",
    certain="confidence cannot fall below one half in the loss",
)
def confidence_through_two_sigmoids(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A detector's head gives confidences through a sigmoid, and BCEWithLogitsLoss takes them, in a sum with other losses."""
    x, _, mask = data.shapes(900, seed, noise=0.15)
    centre = torch.stack([mask.float().sum(k) @ torch.arange(16.0) / mask.sum((1, 2)) for k in (2, 1)], 1)
    cell = (centre / 4).long().clamp(0, 3)
    y = torch.zeros(900, 3, 4, 4)
    rows_ = torch.arange(900)
    y[rows_, 0, cell[:, 0], cell[:, 1]] = 1
    y[rows_, 1:, cell[:, 0], cell[:, 1]] = centre / 4 - cell - 0.5
    rows = data.split(x, y, seed)
    model = Head(sigmoid=not cured)
    criterion = nn.BCEWithLogitsLoss()

    def loss_fn(output: tuple[Tensor, Tensor], y: Tensor) -> Tensor:
        offset = (y[:, :1] * (output[1] - y[:, 1:]).abs()).sum((1, 2, 3)).mean()
        return criterion(output[0], y[:, :1]) + 0.2 * offset

    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    doctor.task(model, data.few(rows.x, rows.y, 24, seed), loss_fn, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 24, 400, seed):
            loss = loss_fn(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return below(criterion(model(rows.held_x)[0], rows.held_y[:, :1]), 0.2)


@fault(kind="non-finite", project="huggingface/trl", source="github.com/huggingface/trl/pull/7224")
def entropy_of_forbidden_moves(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Forbidden moves get logits of -inf; the entropy bonus multiplies their probability 0 by their log -inf."""
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Linear(12, 48), nn.Tanh(), nn.Linear(48, 6))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    worth = torch.randn(12, 6, generator=generator)
    gained = 0.0
    with doctor.watch(model, optimizer) as watch:
        for step in range(400):
            state = torch.randn(64, 12, generator=generator)
            # The first games of the curriculum have no forbidden moves, as in the report it is a rare state that does it.
            banned = (torch.rand(64, 6, generator=generator) < (0.2 if step >= 150 else 0.0)) & (torch.arange(6) > 0)
            logps = model(state).masked_fill(banned, -torch.inf).log_softmax(1)
            p = logps.exp()
            action = torch.multinomial(p.detach().nan_to_num(0) + 1e-9, 1, generator=generator)[:, 0]
            reward = (state @ worth / 3.5).gather(1, action[:, None])[:, 0]
            surprise = p * logps.masked_fill(banned, 0.0) if cured else p * logps
            chosen = logps.gather(1, action[:, None])[:, 0].clamp(min=-30)
            loss = -(chosen * (reward - reward.mean())).mean() + 0.01 * surprise.sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            gained = reward.mean().item()
    return above(gained if all(p.isfinite().all() for p in model.parameters()) else float("nan"), 0.4)


@fault(
    kind="broadcast",
    project="sunwuzhou03/reinforcement-learning-lab",
    source="github.com/sunwuzhou03/reinforcement-learning-lab/issues/1",
)
def critic_against_four_columns(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The log-probability keeps its action axis, so the target of the critic is (B, 4) and its answer (B, 1)."""
    generator = torch.Generator().manual_seed(seed)
    state, action = torch.randn(2500, 6, generator=generator), torch.tanh(torch.randn(2500, 4, generator=generator))
    _, value = data.teacher(2500, 6, 1, seed)
    reward = value[:, :1] + action.sum(1, keepdim=True)
    log_prob = -0.5 * torch.randn(2500, 4, generator=generator) ** 2 * 4
    bonus = log_prob.sum(1, keepdim=True) if cured else log_prob
    target = reward - 0.05 * bonus
    rows = data.split(torch.cat([state, action], 1), torch.cat([target, reward], 1), seed)
    critic = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    optimizer = torch.optim.Adam(critic.parameters(), lr=1e-3)

    def loss_fn(output: Tensor, y: Tensor) -> Tensor:
        return F.mse_loss(output, y[:, :-1].detach())

    doctor.task(critic, data.few(rows.x, rows.y, 64, seed), loss_fn, optimizer)
    with doctor.watch(critic, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 64, 400, seed):
            loss = loss_fn(critic(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    # Shapes tell: the four columns teach the mean of the bonus, a quarter of what the sum would be.
    return below(float(rows.y[:, :-1].shape[1] != critic(rows.x[:2]).shape[1]), 0.5)
