"""Faults of masks and modes: attention to the padding alone, eval mode from the first step, a dropout that never ends."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="padding",
    also=("underfitting",),
    project="InseeFrLab/torchTextClassifiers",
    source="github.com/InseeFrLab/torchTextClassifiers/pull/92",
)
def labels_that_attend_to_the_padding(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A query for each label attends to the words of a text; the mask is the wrong way round, so it attends to the rest."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(5, (2000,), generator=generator)
    about = 1 + torch.randint(60, (5, 8), generator=generator)
    x = 1 + torch.randint(60, (2000, 14), generator=generator)
    on_topic = torch.rand(2000, 14, generator=generator) < 0.35
    x = torch.where(on_topic, about[y].gather(1, torch.randint(8, (2000, 14), generator=generator)), x)
    length = torch.randint(5, 13, (2000, 1), generator=generator)
    rows = data.split(x.masked_fill(torch.arange(14) >= length, 0), y, seed)

    class LabelAttention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.place = nn.Embedding(61, 24), nn.Parameter(0.1 * torch.randn(14, 24))
            self.query, self.key, self.value = nn.Parameter(torch.randn(5, 24)), nn.Linear(24, 24), nn.Linear(24, 24)
            self.out = nn.Linear(24, 1)

        def forward(self, words: Tensor) -> Tensor:
            h = self.embed(words) + self.place
            there = words != 0
            mask = (there if cured else ~there)[:, None].expand(-1, 5, -1)
            query = self.query.expand(len(words), -1, -1)
            return self.out(F.scaled_dot_product_attention(query, self.key(h), self.value(h), attn_mask=mask))[..., 0]

    model = LabelAttention()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    doctor.task(model, data.few(rows.x, rows.y, 40, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 40, 400, seed), rows)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.6)


@fault(
    kind="wrong-mode",
    also=("norm-statistics", "slow-learning", "activation-scale", "gradient-scale"),
    project="ServiceNow/LCFCN",
    source="github.com/ServiceNow/LCFCN/issues/20",
)
def eval_mode_set_by_a_helper_of_the_loss(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Blobs are counted; a helper that looks at the net's answer calls eval(), and the step is taken in that mode."""
    generator = torch.Generator().manual_seed(seed)
    count = torch.randint(1, 9, (900,), generator=generator)
    at = torch.rand(900, 8, 2, generator=generator) * 16
    far = (at[:, :, None, None] - torch.stack(torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij"), -1)).norm(
        dim=-1
    )
    blobs = torch.exp(-far.pow(2) / 1.5) * (torch.arange(8) < count[:, None])[:, :, None, None]
    x = blobs.sum(1, keepdim=True) + 0.1 * torch.randn(900, 1, 16, 16, generator=generator)
    rows = data.split(x, (count[:, None].float() - 4.5) / 2.3, seed)
    layers: list[nn.Module] = []
    for depth in range(7):
        layers += [nn.Conv2d(16 if depth else 1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)

    def blobs_seen(images: Tensor) -> Tensor:
        """How much the net sees in each picture, for the log."""
        model.eval()
        with torch.no_grad():
            seen: Tensor = model(images)
        if cured:
            model.train()
        return seen

    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(rows.x, rows.y, 20, 200, seed):
            model.train()
            blobs_seen(a)
            optimizer.zero_grad()
            loss = F.mse_loss(model(a), b)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y), 0.6)


@fault(
    kind="eval-dropout",
    project="rixwew/pytorch-fm",
    source="github.com/rixwew/pytorch-fm/issues/21",
)
def attention_of_pairs_dropped_for_ever(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Pairs of fields are weighed by attention; the functional dropouts are not told when training is over."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(8, (8000, 6), generator=generator) + 8 * torch.arange(6)
    hidden = torch.randn(48, 2, generator=generator)
    worth = (hidden[x].sum(1).pow(2).sum(1) - hidden[x].pow(2).sum((1, 2))) / 2
    rows = data.split(x, ((worth - worth.mean()) / worth.std())[:, None], seed)
    first, second = torch.triu_indices(6, 6, 1)

    class Pairs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.linear = nn.Embedding(48, 16), nn.Embedding(48, 1)
            self.attend, self.score, self.out = nn.Linear(16, 16), nn.Linear(16, 1), nn.Linear(16, 1)

        def forward(self, fields: Tensor) -> Tensor:
            h = self.embed(fields)
            pairs = h[:, first] * h[:, second]
            weights = self.score(F.relu(self.attend(pairs))).softmax(1)
            weights = F.dropout(weights, p=0.4, training=self.training if cured else True)
            pooled = F.dropout((weights * pairs).sum(1), p=0.4, training=self.training if cured else True)
            return self.linear(fields).sum(1) + self.out(pooled)

    model = Pairs()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    doctor.task(model, data.few(rows.x, rows.y, 50, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 60, 1200, seed), rows, every=150)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y), 0.56)
