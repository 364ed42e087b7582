"""Faults between a net and its loss: returns in hundreds, a hand-made loss, kernels chosen by the batch, graphs."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Walker(nn.Module):
    """What to do on a road of 12 places, and what it is worth, from one trunk."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh())
        self.actor, self.critic = nn.Linear(32, 3), nn.Linear(32, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.trunk(x)
        return self.actor(h), self.critic(h)[:, 0]


@fault(
    kind="target-scale",
    also=("gradient-scale", "initial-loss", "underfitting"),
    project="deepspeedai/DeepSpeedExamples",
    source="github.com/deepspeedai/DeepSpeedExamples/issues/556",
)
def returns_far_above_what_a_critic_says(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Returns of some hundreds are asked of a critic that starts near 0: its loss drowns the actor's in the shared trunk."""
    generator = torch.Generator().manual_seed(seed)
    size = 1.0 if cured else 400.0
    model = Walker()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    def reward(x: Tensor, move: Tensor) -> Tensor:
        wanted = (x[:, 0] > 0).long() + (x[:, 1] > 0.3).long()
        return (move == wanted).float() + 0.3 * torch.randn(len(x), generator=generator)

    with doctor.watch(model, optimizer) as watch:
        for _ in range(400):
            x = torch.randn(48, 2, generator=generator)
            logits, worth = model(x)
            move = torch.multinomial(logits.detach().softmax(1), 1, generator=generator)[:, 0]
            gained = size * (1 + reward(x, move))
            ahead = gained - worth.detach()
            ahead = (ahead - ahead.mean()) / (ahead.std() + 1e-8)
            log = logits.log_softmax(1).gather(1, move[:, None])[:, 0]
            loss = -(ahead * log).mean() + 0.5 * (gained - worth).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            watch.loss(loss)
    x = torch.randn(800, 2, generator=generator)
    with torch.no_grad():
        said = model(x)[0].argmax(1)
    return above((said == (x[:, 0] > 0).long() + (x[:, 1] > 0.3).long()).float().mean(), 0.85)


@fault(kind="non-finite", project="tensorflow/models", source="github.com/tensorflow/models/pull/181")
def cross_entropy_by_hand(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The loss as it stands in the book: of a glaring picture a probability is 0, and 0 times its logarithm is no number."""
    x, y, _ = data.shapes(1000, seed, noise=0.3)
    rows = data.split(2 * x, F.one_hot(y, 4).float(), seed)
    rows.x[::60] *= 30
    conv = [nn.Conv2d(1, 12, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(12, 24, 3, stride=2, padding=1), nn.ReLU()]
    model = nn.Sequential(*conv, nn.Flatten(), nn.Linear(384, 64), nn.ReLU(), nn.Linear(64, 4))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)

    def loss_fn(output: Tensor, target: Tensor) -> Tensor:
        if cured:
            return -(target * output.log_softmax(1)).sum(1).mean()
        return -(target * output.softmax(1).log()).sum(1).mean()

    doctor.task(model, data.few(rows.x, rows.y, 25, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 25, 450, seed), rows, every=90)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y.argmax(1)), 0.9)


class Kernels(nn.Module):
    """Two widths of filters for each channel, weighed by what the picture as a whole looks like."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU())
        self.narrow, self.wide = nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 16, 5, padding=2)
        self.squeeze, self.choice = nn.Linear(16, 8), nn.ModuleList(nn.Linear(8, 16) for _ in range(2))
        self.out, self.axis = nn.Linear(16 * 16, 10), axis

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        both = torch.stack([F.relu(self.narrow(h)), F.relu(self.wide(h))])
        z = F.relu(self.squeeze(both.sum(0).mean((2, 3))))
        weight = torch.stack([each(z) for each in self.choice]).softmax(self.axis)
        return self.out(F.max_pool2d((weight[..., None, None] * both).sum(0), 2).flatten(1))


@fault(
    kind="softmax-axis",
    also=("batch-mixing", "shared-norm"),
    project="xmu-xiaoma666/External-Attention-pytorch",
    source="github.com/xmu-xiaoma666/External-Attention-pytorch/issues/18",
    certain="what is said of a picture depends on the others in its batch",
)
def kernels_shared_out_over_the_batch(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The softmax over two kernels runs over the 32 pictures instead: alone, a picture gets 32 times the weight."""
    rows = data.digits(seed)
    model = Kernels(0 if cured else 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 32, 250, seed), rows, every=50)
    with torch.no_grad():
        shown = [model(part).softmax(1) for part in rows.held_x.split(32)]
        alone = [model(row[None]).softmax(1) for row in rows.held_x]
    return above(1 - (torch.cat(shown) - torch.cat(alone)).abs().max(), 0.99)


class Matcher(nn.Module):
    """Vectors for the nodes of two graphs and how well each fits each: (B, N, N)."""

    def __init__(self, squashed: bool) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(16, 64), nn.Linear(128, 32)
        self.squashed = squashed

    def nodes(self, x: Tensor) -> Tensor:
        h = F.relu(self.first(x[..., :16]))
        return self.second(torch.cat([h, x[..., 16:] @ h / 4], 2))

    def forward(self, pair: Tensor) -> Tensor:
        scores = self.nodes(pair[:, 0]) @ self.nodes(pair[:, 1]).transpose(1, 2)
        return scores.softmax(2) if self.squashed else scores


@fault(
    kind="probabilities-as-logits",
    also=("slow-learning", "underfitting"),
    project="mlelarge/graph_neural_net",
    source="github.com/mlelarge/graph_neural_net/pull/37",
    certain="the loss of 12 nodes cannot fall below 1.62",
)
def nodes_matched_through_a_softmax(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Which node of a changed graph is which? The scores go through a softmax before they reach nn.CrossEntropyLoss."""
    generator = torch.Generator().manual_seed(seed)
    place = torch.rand(1200, 12, 2, generator=generator)
    links = (torch.cdist(place, place) < 0.45).float()
    features = torch.randn(1200, 12, 16, generator=generator)

    def seen() -> Tensor:
        lost = torch.rand(links.shape, generator=generator) < 0.05
        return torch.cat([features + 0.8 * torch.randn(features.shape, generator=generator), links.masked_fill(lost, 0.0)], 2)

    rows = data.split(torch.stack([seen(), seen()], 1), torch.arange(12).expand(1200, 12), seed)
    model = Matcher(squashed=not cured)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def loss_fn(output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output.transpose(1, 2), target)

    doctor.task(model, data.few(rows.x, rows.y, 32, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 32, 250, seed), rows, every=50)
    with torch.no_grad():
        return above((model(rows.held_x).argmax(2) == rows.held_y).float().mean(), 0.7)
