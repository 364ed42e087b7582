"""Faults between the last layer and the loss, and in the numbers themselves."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="relu-logits",
    also=("dead-units",),
    project="pytorch/tutorials",
    source="github.com/pytorch/tutorials/pull/1644",
    certain="a class whose logit is negative for all rows gets no gradient and is lost",
)
def relu_on_the_logits(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The last layer of the stack is a ReLU, and CrossEntropyLoss takes what it lets through."""
    rows = data.digits(seed)
    layers = [nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)]
    model = nn.Sequential(*layers) if cured else nn.Sequential(*layers, nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 64, 600, seed):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


class Detector(nn.Module):
    """Where a shape is, how large, and what it is: three heads on one body."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 24, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(384, 64),
            nn.ReLU(),
        )
        self.box, self.size, self.kind = nn.Linear(64, 2), nn.Linear(64, 1), nn.Linear(64, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = self.body(x)
        return self.box(h), self.size(h), self.kind(h)


@fault(
    kind="other-loss",
    project="dbolya/yolact",
    source="github.com/dbolya/yolact/issues/254",
    certain="what is handed over as the loss is its last term alone",
)
def last_term_logged_as_total(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Three losses are summed and trained on; what is logged as the total is the last of them."""
    x, y, mask = data.shapes(900, seed, noise=0.15)
    place = torch.stack([mask.float().sum(k) @ torch.arange(16.0) / mask.sum((1, 2)) for k in (2, 1)], 1) / 8 - 1
    extent = (mask.float().mean((1, 2))[:, None] - 0.06) * 20
    rows = data.split(torch.cat([x.flatten(1), place, extent, y[:, None].float()], 1), y, seed)
    model = Detector()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4)

    def losses(batch: Tensor) -> dict[str, Tensor]:
        box, size, kind = model(batch[:, :256].view(-1, 1, 16, 16))
        return {
            "C": F.cross_entropy(kind, batch[:, 259].long()),
            "B": 5 * F.smooth_l1_loss(box, batch[:, 256:258]),
            "S": F.smooth_l1_loss(size, batch[:, 258:259]),
        }

    with doctor.watch(model, optimizer) as watch:
        for batch, _ in data.batches(rows.x, rows.y, 24, 400, seed):
            parts = losses(batch)
            loss = torch.stack(list(parts.values())).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss if cured else parts["S"])
    return above(data.accuracy(model(rows.held_x[:, :256].view(-1, 1, 16, 16))[2], rows.held_y), 0.85)


class Attend(nn.Module):
    """Self-attention by einsum, as for pictures in a diffusion U-net; the axis of the softmax is a switch."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.embed, self.projection, self.output = nn.Linear(4, 32), nn.Linear(32, 96), nn.Linear(32, 32)
        self.head = nn.Linear(32, 5)
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x)  # (B, T, 32)
        q, k, v = self.projection(h).chunk(3, -1)
        scores = torch.einsum("bid,bjd->bij", q, k) * 32**-0.5
        mixed = torch.einsum("bij,bjd->bid", scores.softmax(self.axis), v)
        return self.head((h + self.output(mixed)).relu().mean(1))


@fault(
    kind="softmax-axis",
    project="labmlai/annotated_deep_learning_paper_implementations",
    where="projection",
    also=("future-leak",),
    source="github.com/labmlai/annotated_deep_learning_paper_implementations/issues/146",
    certain="the weights of one query do not add up to 1",
)
def attention_normalised_over_queries(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Attention weights (B, i, j) are normalised over the queries i instead of the keys j; it learns all the same, somewhat."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2000, 10, 4, generator=generator)
    y = torch.bucketize(x[:, :, 0].amax(1) + 0.5 * x[:, :, 1].amin(1), torch.tensor([0.2, 0.6, 1.0, 1.4]))
    rows = data.split(x, y, seed)
    model = Attend(2 if cured else 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, rows.y, 50, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 50, 500, seed):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.7)


@fault(kind="non-finite", project="hunkim/ReinforcementZeroToAll", source="github.com/hunkim/ReinforcementZeroToAll/pull/16")
def log_of_a_sure_policy(doctor: Doctor, seed: int, cured: bool) -> Score:
    """REINFORCE with an entropy bonus -p log p; once the policy is sure, p is 0 in float32, and the logarithm is not finite."""
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 4))
    right = torch.randint(4, (6,), generator=generator)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=0.05)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(500):
            state = torch.randint(6, (64,), generator=generator)
            p = model(30 * F.one_hot(state, 6).float()).softmax(1)
            action = torch.multinomial(p.detach().nan_to_num(0.25) + 1e-8, 1, generator=generator)[:, 0]
            reward = torch.where(action == right[state], 1.0, -1.0)
            logarithm = p.clamp(min=1e-10).log() if cured else p.log()
            loss = -(logarithm.gather(1, action[:, None])[:, 0] * reward).mean() + 0.001 * (p * logarithm).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    p = model(30 * torch.eye(6)).softmax(1)
    return above(p.gather(1, right[:, None]).mean(), 0.6)


@fault(
    kind="initial-loss",
    also=("activation-scale",),
    project="anantzoid/Language-Modeling-GatedCNN",
    source="github.com/anantzoid/Language-Modeling-GatedCNN/issues/7",
)
def gated_convolutions_at_unit_scale(doctor: Doctor, seed: int, cured: bool) -> Score:
    """All weights of a gated convolutional model are drawn with deviation 1: the first loss is enormous."""
    stream, letters = data.characters(500, seed)

    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(letters, 24)
            self.convs = nn.ModuleList(nn.Conv1d(24 if k == 0 else 48, 96, 4) for k in range(3))
            self.out = nn.Linear(48, letters)
            if not cured:
                for parameter in self.parameters():
                    nn.init.normal_(parameter)

        def forward(self, x: Tensor) -> Tensor:
            h = self.embed(x).transpose(1, 2)
            for conv in self.convs:
                h = F.glu(conv(F.pad(h, (3, 0))), dim=1)
            return self.out(h.transpose(1, 2))

    def loss_fn(output: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(output.flatten(0, 1), y.flatten())

    model = Gated()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9, nesterov=True)
    doctor.task(model, list(data.windows(stream, 24, 12, 6, seed)), loss_fn, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.windows(stream, 24, 12, 300, seed):
            loss = loss_fn(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
            watch.loss(loss)
    x, y = next(data.windows(data.characters(60, seed + 1)[0], 24, 200, 1, seed))
    return below(loss_fn(model(x), y), 1.7)
