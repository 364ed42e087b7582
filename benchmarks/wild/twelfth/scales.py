"""Faults of norms, first weights and balance: one norm for all steps, biases far below 0, a hidden place nobody uses."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="shared-norm",
    also=("norm-statistics",),
    certain="the running statistics of a norm are a mixture of those of three steps of other sizes",
    project="dreamquark-ai/tabnet",
    source="github.com/dreamquark-ai/tabnet/pull/76",
)
def norms_shared_with_the_layers(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Layers are shared by the steps of a net for tables, and so are their batch norms, which see other things in each step."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2400, 12, generator=generator)
    y = torch.where(x[:, 10] > 0, x[:, :3].sum(1), 2 + x[:, 3:6].prod(1)) + 0.1 * torch.randn(2400, generator=generator)
    rows = data.split(x, ((y - y.mean()) / y.std())[:, None], seed)

    class Steps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shared = nn.ModuleList([nn.Linear(12, 32, bias=False), nn.Linear(32, 32, bias=False)])
            norms = [nn.ModuleList(nn.BatchNorm1d(32, momentum=0.1) for _ in range(2)) for _ in range(3)]
            self.norms = nn.ModuleList(norms if cured else norms[:1] * 3)
            self.masks = nn.ModuleList(nn.Linear(32, 12) for _ in range(2))
            self.out = nn.Linear(32, 1)

        def forward(self, table: Tensor) -> Tensor:
            seen, total = table, torch.zeros(len(table), 32)
            for step, norms in enumerate(self.norms):
                h = F.relu(norms[0](self.shared[0](seen)))
                h = h + F.relu(norms[1](self.shared[1](h)))
                total = total + h
                if step < 2:
                    seen = self.masks[step](h).softmax(1) * table
            return self.out(total)

    model = Steps()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    doctor.task(model, data.few(rows.x, rows.y, 60, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 60, 500, seed), rows, every=50)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y), 0.65)


@fault(
    kind="dead-units",
    also=("no-gradient", "never-moved", "slow-learning"),
    project="facebookresearch/dlrm",
    source="github.com/facebookresearch/dlrm/pull/358",
)
def biases_drawn_far_below_zero(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Clicks from three tables and five numbers; the biases above begin far below 0, and no ReLU lets anything by."""
    generator = torch.Generator().manual_seed(seed)
    where = torch.randint(15, (3000, 3), generator=generator)
    dense = torch.randn(3000, 5, generator=generator)
    taste = torch.randn(3, 15, generator=generator)
    score = taste[torch.arange(3), where].sum(1) + dense @ torch.randn(5, generator=generator)
    click = (score + 0.5 * torch.randn(3000, generator=generator) > 0).float()[:, None]
    rows = data.split(torch.cat([dense, where.float()], 1), click, seed)

    class Clicks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tables = nn.ModuleList(nn.Embedding(15, 8) for _ in range(3))
            self.bottom = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 8))
            self.top = nn.Sequential(nn.Linear(14, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1))
            for table in self.tables:
                nn.init.uniform_(table.weight, -0.26, 0.26)
            if not cured:
                nn.init.uniform_(self.top[0].bias, -4, -2)
                nn.init.uniform_(self.top[2].bias, -4, -2)

        def forward(self, given: Tensor) -> Tensor:
            low = self.bottom(given[:, :5])
            each = torch.stack([low, *(table(given[:, 5 + k].long()) for k, table in enumerate(self.tables))], 1)
            first, second = torch.triu_indices(4, 4, 1)
            return self.top(torch.cat([low, (each @ each.transpose(1, 2))[:, first, second]], 1))

    model = Clicks()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loss_fn = nn.BCEWithLogitsLoss()
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 64, 500, seed), rows, every=100)
    with torch.no_grad():
        return above(((model(rows.held_x) > 0) == (rows.held_y > 0.5)).float().mean(), 0.75)


@fault(
    kind="collapsed-kl",
    also=("dead-units",),
    project="jxhe/vae-lagging-encoder",
    source="github.com/jxhe/vae-lagging-encoder/issues/5",
)
def the_same_sentence_for_all(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A VAE of sentences with the whole KL from the first step: the decoder goes without what is hidden, and says one thing."""
    generator = torch.Generator().manual_seed(seed)
    topic = torch.randint(12, (2000, 1), generator=generator)
    signs = (topic * 2 + torch.randint(7, (2000, 8), generator=generator)) % 24

    class Sentences(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(25, 24)
            self.read, self.write = nn.LSTM(24, 48, batch_first=True), nn.LSTM(32, 48, batch_first=True)
            self.mean, self.width, self.out = nn.Linear(48, 8), nn.Linear(48, 8), nn.Linear(48, 24)

        def forward(self, said: Tensor) -> tuple[Tensor, Tensor]:
            h = self.read(self.embed(said))[1][0][0]
            mean, width = self.mean(h), self.width(h)
            hidden = mean + (0.5 * width).exp() * torch.randn(mean.shape, generator=generator)
            before = F.pad(said[:, :-1], (1, 0), value=24)
            given = torch.cat([self.embed(before), hidden[:, None].expand(-1, said.shape[1], -1)], 2)
            spread = -0.5 * (1 + width - mean.pow(2) - width.exp()).sum(1)
            return self.out(self.write(given)[0]).transpose(1, 2), spread

    model = Sentences()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with doctor.watch(model, optimizer) as watch:
        for step, (said, _) in enumerate(data.batches(signs[:1500], signs[:1500], 32, 700, seed)):
            told, spread = model(said)
            weight = min(1.0, max(0.0, (step - 250) / 350)) if cured else 1.0
            loss = F.cross_entropy(told, said, reduction="none").sum(1).mean() + weight * spread.mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return above(model(signs[1500:])[1].mean(), 0.4)
