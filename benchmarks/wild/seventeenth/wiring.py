"""Faults of wiring: centres nobody trains, a loss of another model, no bias, two units, a divergence too large, a mode."""

from __future__ import annotations

import copy

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="not-optimised",
    where="clustering",
    also=("never-moved",),
    project="michaal94/torch_DCEC",
    source="github.com/michaal94/torch_DCEC/issues/4",
)
def centres_set_after_the_optimiser_was_made(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits in ten heaps: first centres replace the layer's weight as a new parameter, which the optimiser has never seen."""
    rows = data.digits(seed)
    x = rows.x.flatten(1)
    generator = torch.Generator().manual_seed(seed)

    class Clustering(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.empty(10, 8))
            nn.init.xavier_uniform_(self.weight)

        def set_weight(self, centres: Tensor) -> None:
            if cured:
                with torch.no_grad():
                    self.weight.copy_(centres)
            else:
                self.weight = nn.Parameter(centres)

        def forward(self, z: Tensor) -> Tensor:
            near = 1 / (1 + (z[:, None] - self.weight).pow(2).sum(2))
            return near / near.sum(1, keepdim=True)

    class Dcec(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encode = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 8))
            self.decode = nn.Sequential(nn.Linear(8, 96), nn.ReLU(), nn.Linear(96, 64))
            self.clustering = Clustering()

        def forward(self, seen: Tensor) -> tuple[Tensor, Tensor]:
            z = self.encode(seen)
            return self.decode(z), self.clustering(z)

    model = Dcec()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    with doctor.watch(model, optimizer) as watch:
        for a, _ in data.batches(x, rows.y, 64, 200, seed):
            loss = F.mse_loss(model(a)[0], a)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
        with torch.no_grad():
            z = model.encode(x)
            model.clustering.set_weight(z[torch.randperm(len(z), generator=generator)[:10]].clone())
        for step, (a, _) in enumerate(data.batches(x, rows.y, 64, 400, seed + 1)):
            made, share = model(a)
            with torch.no_grad():
                wanted = share.pow(2) / share.sum(0)
                wanted = wanted / wanted.sum(1, keepdim=True)
            loss = F.mse_loss(made, a) + 0.3 * F.kl_div(share.log(), wanted, reduction="batchmean") * min(1.0, step / 100)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        z = model.encode(x)
        heap = model.clustering(z).argmax(1)
        off = [(z[heap == k].mean(0) - model.clustering.weight[k]).norm() for k in range(10) if (heap == k).any()]
        return below(torch.stack(off).mean() / z.std(0).norm(), 0.14)


@fault(
    kind="no-gradient",
    also=("never-moved", "not-optimised"),
    project="huggingface/sentence-transformers",
    source="github.com/huggingface/sentence-transformers/pull/2648",
)
def a_loss_that_keeps_the_old_model(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Sentences that mean alike, gone on with from a file: the loss still holds the model it was made with, which is new."""
    generator = torch.Generator().manual_seed(seed)
    topic = torch.randn(100, 8, generator=generator)
    habit = (topic[:, None] * torch.randn(120, 8, generator=generator)).sum(2) * 0.9
    chance = habit.softmax(1)

    def sentence(about: Tensor) -> Tensor:
        return torch.multinomial(chance[about], 12, replacement=True, generator=generator)

    class Sentences(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.pool = nn.EmbeddingBag(120, 64), nn.Linear(64, 32)

        def forward(self, words: Tensor) -> Tensor:
            return F.normalize(self.pool(self.words(words).tanh()), dim=1)

    class Ranking(nn.Module):
        """Each sentence is to find its own second one among those of the batch."""

        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, first: Tensor, second: Tensor) -> Tensor:
            return F.cross_entropy(self.model(first) @ self.model(second).T / 0.1, torch.arange(len(first)))

    fresh = Sentences()
    begun = copy.deepcopy(fresh)
    early = torch.optim.AdamW(begun.parameters(), lr=5e-3)
    for _ in range(8):
        about = torch.randint(100, (48,), generator=generator)
        early.zero_grad()
        Ranking(begun)(sentence(about), sentence(about)).backward()
        early.step()
    loss_fn = Ranking(fresh)
    model = Sentences()
    model.load_state_dict(begun.state_dict())
    if cured:
        loss_fn.model = model
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(500):
            about = torch.randint(100, (48,), generator=generator)
            loss = loss_fn(sentence(about), sentence(about))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    about = torch.arange(100)
    with torch.no_grad():
        near = torch.stack([(model(sentence(about)) @ model(sentence(about)).T).argmax(1) == about for _ in range(20)])
    return above(near.float().mean(), 0.5)


@fault(
    kind="underfitting",
    project="ballp.it/1791",
    source="ballp.it/index.php?topic=1791.msg53960",
)
def a_net_without_any_bias(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Points inside a field or outside it: no layer has a bias, and what is right on one side is wrong on the other."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(2000, 2, generator=generator) * 2 - 1
    inside = ((x[:, 0] > -0.3) ^ (x[:, 1] > 0.4)).float()[:, None]
    rows = data.split(x, inside, seed)
    model = nn.Sequential(
        nn.Linear(2, 16, bias=cured), nn.Tanh(), nn.Linear(16, 16, bias=cured), nn.Tanh(), nn.Linear(16, 1, bias=cured)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    loss_fn = F.binary_cross_entropy_with_logits
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 32, 900, seed), rows)
    with torch.no_grad():
        return above(((model(rows.held_x) > 0) == (rows.held_y > 0.5)).float().mean(), 0.9)


@fault(
    kind="dead-units",
    where="1",
    also=("underfitting",),
    project="pullrequest/13148192",
    source="pullrequest.ru/13148192/pochemu-mogu-obuchit-ann-dlya-xnor",
)
def alike_or_not_by_two_units(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Whether two bits are alike: two rectified units fall silent for one pair after another; leaky and more of them do it."""
    bits = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    alike = (bits[:, :1] == bits[:, 1:]).float()
    hidden: list[nn.Module] = [nn.Linear(2, 20), nn.LeakyReLU(0.3)] if cured else [nn.Linear(2, 2), nn.ReLU()]
    model = nn.Sequential(*hidden, nn.Linear(20 if cured else 2, 1), nn.Sigmoid())
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    doctor.task(model, data.few(bits, alike, 4, seed), F.binary_cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.binary_cross_entropy, data.batches(bits, alike, 4, 600, seed))
    with torch.no_grad():
        return above(((model(bits) > 0.5) == (alike > 0.5)).float().mean(), 0.99)


@fault(
    kind="collapsed-kl",
    project="keras-team/keras",
    source="github.com/keras-team/keras/pull/3383",
)
def pixels_averaged_and_not_added(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits by a code of two numbers: the cross-entropy is a mean over pixels, and the divergence has the better of it."""
    rows = data.digits(seed)
    x, held = rows.x.flatten(1), rows.held_x.flatten(1)

    class Vae(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.h = nn.Sequential(nn.Linear(64, 128), nn.ReLU())
            self.z_mean, self.z_log_var = nn.Linear(128, 2), nn.Linear(128, 2)
            self.decode = nn.Sequential(nn.Linear(2, 128), nn.ReLU(), nn.Linear(128, 64))

        def forward(self, a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            h = self.h(a)
            mean, log_var = self.z_mean(h), self.z_log_var(h)
            return self.decode(mean + (log_var / 2).exp() * torch.randn_like(mean)), mean, log_var

    def bound(said: tuple[Tensor, Tensor, Tensor], a: Tensor) -> Tensor:
        made, mean, log_var = said
        wrong = F.binary_cross_entropy_with_logits(made, a) * (64 if cured else 1)
        return wrong - 0.5 * (1 + log_var - mean.pow(2) - log_var.exp()).mean()

    model = Vae()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, _) in enumerate(data.batches(x, rows.y, 50, 600, seed)):
            loss = bound(model(a), a)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 100 == 99:
                with torch.no_grad():
                    watch.dev_loss(bound(model(held), held))
    with torch.no_grad():
        made = model.decode(model.z_mean(model.h(held))).sigmoid()
        return below((made - held).pow(2).mean() / (held - held.mean(0)).pow(2).mean(), 0.85)


@fault(
    kind="wrong-mode",
    also=("norm-statistics",),
    project="microsoft/robustdg",
    source="github.com/microsoft/robustdg/issues/30",
)
def scored_on_another_hospital_in_train_mode(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Shapes seen by two devices: after each epoch both are scored without eval mode, and the norms learn the second one."""
    x, y, _ = data.shapes(1000, seed, noise=0.2)
    rows = data.split(x, y, seed)
    other = 2.5 - 1.5 * rows.held_x
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(512, 4),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4)

    def score(pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and share of right answers, in batches."""
        if cured:
            model.eval()
        with torch.no_grad():
            said = torch.cat([model(each) for each in pictures.split(16)])
        return F.cross_entropy(said, rows.held_y), (said.argmax(1) == rows.held_y).float().mean()

    batches = data.batches(rows.x, rows.y, 32, 230, seed)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(10):
            model.train()
            for _ in range(23):
                a, b = next(batches)
                loss = F.cross_entropy(model(a), b)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                watch.loss(loss)
            watch.dev_loss(score(rows.held_x)[0])
            score(other)
    model.eval()
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)
