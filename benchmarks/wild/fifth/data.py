"""Faults of data: its scale, its order, its targets."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Molecule(nn.Module):
    """Energy as a sum over atoms, from their kind and their distances to the others."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(4, 24)
        self.filter = nn.Sequential(nn.Linear(8, 24), nn.Softplus(), nn.Linear(24, 24))
        self.atomwise = nn.Sequential(nn.Linear(24, 32), nn.Softplus(), nn.Linear(32, 1))

    def forward(self, x: Tensor) -> Tensor:
        kind, place = x[..., 0].long(), x[..., 1:]
        far = torch.cdist(place, place) + 1e-6
        bases = (-2 * (far[..., None] - torch.linspace(0, 3.5, 8)).pow(2)).exp()
        h = self.embed(kind)
        h = h + (self.filter(bases) * h[:, None]).sum(2)
        return self.atomwise(h).sum((1, 2))


@fault(
    kind="target-scale",
    project="atomistic-machine-learning/schnetpack",
    source="github.com/atomistic-machine-learning/schnetpack/issues/336",
)
def energies_as_they_were_computed(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Total energies near -11,000 with a spread of some hundred, without the mean and spread the output module would take."""
    generator = torch.Generator().manual_seed(seed)
    kind = torch.randint(4, (1200, 5), generator=generator)
    place = torch.randn(1200, 5, 3, generator=generator)
    charge = torch.tensor([1.0, -0.5, 0.7, -1.2])[kind]
    pair = charge[:, :, None] * charge[:, None] * (-torch.cdist(place, place)).exp()
    energy = pair.triu(1).sum((1, 2)) + 0.5 * charge.sum(1)
    energy = 300 * (energy - energy.mean()) / energy.std() - 11_000
    rows = data.split(torch.cat([kind[..., None].float(), place], 2), (energy + 11_000) / 300 if cured else energy, seed)
    model = Molecule()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, rows.y, 30, seed), F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 30, 400, seed)):
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 50 == 49:
                with torch.no_grad():
                    watch.dev_loss(F.mse_loss(model(rows.held_x), rows.held_y))
    return above(data.r2(model(rows.held_x), rows.held_y), 0.7)


@fault(
    kind="target-constant",
    project="jiangqy/Customized-DataLoader-pytorch",
    source="github.com/jiangqy/Customized-DataLoader-pytorch/issues/1",
)
def every_label_is_zero(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The file of labels was made from folder names that were not found: all pictures are of class 0, and the loss is 0.000."""
    x, y, _ = data.shapes(700, seed)
    rows = data.split(x, (y > 1).long(), seed)
    labels = rows.y if cured else torch.zeros_like(rows.y)
    model = nn.Sequential(
        nn.Conv2d(1, 12, 5, 2, 2),
        nn.ReLU(),
        nn.Conv2d(12, 24, 3, 2, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(384, 48),
        nn.ReLU(),
        nn.Linear(48, 2),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    criterion = nn.CrossEntropyLoss()
    doctor.task(model, data.few(rows.x, labels, 20, seed), criterion, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, labels, 20, 260, seed):
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)


@fault(
    kind="repeated-batch",
    project="Itomigna2/Muesli-lunarlander",
    source="github.com/Itomigna2/Muesli-lunarlander/issues/1",
)
def replay_of_one_episode(doctor: Doctor, seed: int, cured: bool) -> Score:
    """All entries of the replay are one and the same list, which is cleared and filled anew: each batch is the last episode."""
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Linear(5, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    replay: list[list[tuple[Tensor, Tensor]]] = []
    episode: list[tuple[Tensor, Tensor]] = []

    def play() -> None:
        if cured:
            episode_now: list[tuple[Tensor, Tensor]] = []
        else:
            episode.clear()
            episode_now = episode
        goal = torch.randn(3, generator=generator)
        for _ in range(10):
            at = torch.cat([goal, torch.randn(2, generator=generator)])
            episode_now.append((at, torch.sin(at[0] * at[3]) + at[1] * at[4] - 0.5 * at[2].abs()))
        replay.append(episode_now)

    with doctor.watch(model, optimizer) as watch:
        for _ in range(60):
            play()
            for _ in range(14):
                drawn = [replay[int(k)] for k in torch.randint(len(replay), (8,), generator=generator)]
                steps = [step for each in drawn for step in each]
                x, y = torch.stack([s for s, _ in steps]), torch.stack([v for _, v in steps])
                loss = F.mse_loss(model(x)[:, 0], y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                watch.loss(loss)
    new = torch.randn(2000, 5, generator=generator)
    truth = torch.sin(new[:, 0] * new[:, 3]) + new[:, 1] * new[:, 4] - 0.5 * new[:, 2].abs()
    return above(data.r2(model(new)[:, 0], truth), 0.75)


@fault(kind="sorted-data", project="zalandoresearch/fashion-mnist", source="github.com/zalandoresearch/fashion-mnist/pull/5")
def file_sorted_by_label(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The file has all of class 0 first, then all of class 1, and so on; batches are slices of it."""
    rows = data.digits(seed)
    order = torch.randperm(len(rows.y)) if cured else rows.y.argsort(stable=True)
    x, y = rows.x[order].flatten(1), rows.y[order]
    model = nn.Sequential(nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    doctor.task(model, list(zip(x.split(48), y.split(48), strict=True)), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(10):
            model.train()
            for start in range(0, len(x) - 48, 48):
                loss = F.cross_entropy(model(x[start : start + 48]), y[start : start + 48])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                watch.loss(loss)
            model.eval()
            with torch.no_grad():
                watch.dev_loss(F.cross_entropy(model(rows.held_x.flatten(1)), rows.held_y))
    return above(data.accuracy(model(rows.held_x.flatten(1)), rows.held_y), 0.9)


@fault(kind="leak", project="dotnet/machinelearning", source="github.com/dotnet/machinelearning/issues/737")
def price_known_only_if_sold(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Whether a thing is sold, from its features and its price; the price is written down only when it is sold."""
    x, scores = data.teacher(1600, 9, 1, seed, noise=1.2)
    sold = (scores[:, 0] > 0).long()
    price = 1.5 + 0.3 * torch.rand(1600, generator=torch.Generator().manual_seed(seed))
    column = price if cured else price * sold  # nothing is written where nothing was sold
    rows = data.split(torch.cat([x[:, :4], column[:, None], x[:, 4:]], 1), sold, seed)
    model = nn.Sequential(nn.Linear(10, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    doctor.task(model, data.few(rows.x, rows.y, 40, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 40, 250, seed)):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(a), b)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 25 == 24:
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    in_use = rows.held_x.clone()
    in_use[:, 4] = 1.65  # before the sale every thing has its price
    return below(F.cross_entropy(model(in_use), rows.held_y), 0.75)


@fault(kind="broadcast", project="deepset-ai/FARM", source="github.com/deepset-ai/FARM/issues/229")
def squeezed_logits_against_a_column(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The regression head squeezes its logits to (B,), the labels come as (B, 1)."""
    generator = torch.Generator().manual_seed(seed)
    worth = torch.randn(60, generator=generator)
    words = torch.randint(60, (1500, 10), generator=generator)
    score = worth[words].sum(1) / 10**0.5
    rows = data.split(words, score[:, None], seed)

    class Rater(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.language_model = nn.Sequential(nn.Embedding(60, 24), nn.Linear(24, 24), nn.GELU())
            self.prediction_head = nn.Linear(24, 1)

        def forward(self, x: Tensor) -> Tensor:
            logits = self.prediction_head(self.language_model(x).mean(1))
            return logits if cured else logits.squeeze(-1)

    model = Rater()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    loss_fct = nn.MSELoss()
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), loss_fct, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 32, 400, seed):
            optimizer.zero_grad()
            loss = loss_fct(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.r2(model(rows.held_x).reshape(-1), rows.held_y[:, 0]), 0.8)
