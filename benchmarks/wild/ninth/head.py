"""Faults between a net and its loss: texts, returns, genes, weather."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Intent(nn.Module):
    """Which of 12 wishes a text of 12 words states; probabilities unless `logits`."""

    def __init__(self, logits: bool) -> None:
        super().__init__()
        self.embed = nn.Embedding(120, 32)
        self.layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, batch_first=True)
        self.classifier, self.logits = nn.Linear(32, 12), logits

    def forward(self, x: Tensor) -> Tensor:
        said = self.classifier(self.layer(self.embed(x)).mean(1))
        return said if self.logits else said.softmax(1)


@fault(
    kind="probabilities-as-logits",
    also=("slow-learning", "underfitting"),
    project="illiterate/BertClassifier",
    source="github.com/illiterate/BertClassifier/issues/2",
    certain="the loss of 12 classes cannot fall below 1.62",
)
def wishes_by_softmax_twice(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Classes from common to rare: after a softmax in the model and one in the loss it knows the common ones at most."""
    generator = torch.Generator().manual_seed(seed)
    share = 1 / torch.arange(1.0, 13)
    y = torch.multinomial(share, 2000, replacement=True, generator=generator)
    own = torch.randint(120, (12, 8), generator=generator)
    typical = own[y].gather(1, torch.randint(8, (2000, 12), generator=generator))
    other = torch.randint(120, (2000, 12), generator=generator)
    x = torch.where(torch.rand(2000, 12, generator=generator) < 0.5, typical, other)
    rows = data.split(x, y, seed)
    model = Intent(logits=cured)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 32, 250, seed), rows, every=50)
    said = model(rows.held_x).argmax(1)
    recall = [(said[rows.held_y == each] == each).float().mean() for each in rows.held_y.unique()]
    return above(torch.stack(recall).mean(), 0.7)


@fault(
    kind="broadcast",
    also=("underfitting",),
    project="kengz/SLM-Lab",
    source="github.com/kengz/SLM-Lab/pull/372",
)
def worth_of_moves_against_all_targets(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Worths are a column, targets a row: each move is pulled to the targets of the whole batch, and all come out alike."""
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Linear(9, 48), nn.ReLU(), nn.Linear(48, 2))
    target = nn.Sequential(nn.Linear(9, 48), nn.ReLU(), nn.Linear(48, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    states = torch.eye(9)
    with doctor.watch(model, optimizer) as watch:
        for step in range(500):
            if step % 25 == 0:
                target.load_state_dict(model.state_dict())
            at = torch.randint(8, (64,), generator=generator)
            move = torch.randint(2, (64, 1), generator=generator)
            new = (at + 2 * move[:, 0] - 1).clamp(min=0)
            reward, over = (new == 8).float(), (new == 8).float()
            with torch.no_grad():
                wanted = reward + 0.9 * (1 - over) * target(states[new]).max(1).values
            worth = model(states[at]).gather(1, move)
            error = worth - (wanted[:, None] if cured else wanted)
            loss = F.huber_loss(error, torch.zeros_like(error))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    truth = 0.9 ** torch.arange(7.0, -1, -1)
    return above(data.r2(model(states[:8]).max(1).values, truth), 0.8)


class Cells(nn.Module):
    """Sixty genes of a cell, a code of 8 numbers with a spread, and the genes again."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(60, 64), nn.ReLU())
        self.mean, self.logvar = nn.Linear(64, 8), nn.Linear(64, 8)
        self.decoder = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 60))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = self.encoder(x)
        mean, logvar = self.mean(h), self.logvar(h)
        z = mean + torch.randn_like(mean) * (0.5 * logvar).exp() if self.training else mean
        return self.decoder(z), mean, logvar


@fault(
    kind="collapsed-kl",
    also=("underfitting", "dead-units"),
    project="zdebruine/MMVAE",
    source="github.com/zdebruine/MMVAE/pull/19",
)
def mean_of_errors_sum_of_divergences(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The squared error is a mean over rows and genes, the divergence a sum over all: the code says nothing."""
    x, _ = data.teacher(1600, 5, 1, seed)
    generator = torch.Generator().manual_seed(seed)
    genes = torch.tanh(x @ torch.randn(5, 60, generator=generator)) + 0.2 * torch.randn(1600, 60, generator=generator)
    genes = (genes - genes.mean(0)) / genes.std(0)
    rows = data.split(genes, genes, seed)
    model = Cells()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    def loss_fn(output: tuple[Tensor, Tensor, Tensor], target: Tensor) -> Tensor:
        again, mean, logvar = output
        divergence = -0.5 * (1 + logvar - mean.pow(2) - logvar.exp()).sum()
        if cured:
            return ((again - target).pow(2).sum() + divergence) / len(target)
        return F.mse_loss(again, target) + divergence

    doctor.task(model, data.few(rows.x, rows.y, 64, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 64, 400, seed), rows, every=80)
    return above(data.r2(model(rows.held_x)[0], rows.held_y), 0.6)


@fault(kind="non-finite", project="mllam/neural-lam", source="github.com/mllam/neural-lam/issues/136")
def field_without_rain(doctor: Doctor, seed: int, cured: bool) -> Score:
    """One field of the weather is 0 all through the dry weeks: divided by its spread of 0 it is not a number."""
    generator = torch.Generator().manual_seed(seed)
    now = 5 * torch.randn(1200, 12, generator=generator) + 280
    now[:, 7] = 0.0
    mean, std = now.mean(0), now.std(0)
    x = torch.where(std > 0, (now - mean) / std, 0.0) if cured else (now - mean) / std
    turn = torch.linalg.qr(torch.randn(12, 12, generator=generator)).Q
    quiet = (now - mean) / std.clamp(min=1.0)
    rows = data.split(x, quiet @ turn + 0.3 * torch.sin(quiet), seed)
    model = nn.Sequential(nn.Linear(12, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 12))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 32, 300, seed), rows, every=60)
    said = model(rows.held_x)
    return above(1 - (said - rows.held_y).pow(2).mean() / rows.held_y.var(), 0.8)
