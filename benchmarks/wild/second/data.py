"""Faults of data and of what is held out."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(kind="target-range", also=("target-rows",), project="tensorflow/ranking", source="github.com/tensorflow/ranking/issues/37")
def relevance_up_to_four(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Relevance of documents is graded 0 to 4 and goes into a sigmoid cross-entropy: the loss falls below 0 and on for ever."""
    x, score = data.teacher(2000, 24, 1, seed)
    grade = torch.bucketize(score, torch.tensor([-0.6, 0.2, 0.9, 1.6])).float()
    rows = data.split(x, grade / 4 if cured else grade, seed)
    model = nn.Sequential(nn.Linear(24, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.05)
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), F.binary_cross_entropy_with_logits, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 64, 600, seed):
            loss = F.binary_cross_entropy_with_logits(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    guess = torch.sigmoid(model(rows.held_x)) * (1 if cured else 4)
    return above(data.r2(guess, rows.held_y), 0.7)


@fault(
    kind="target-constant",
    also=("non-finite",),
    project="alibaba/FederatedScope",
    source="github.com/alibaba/FederatedScope/pull/625",
)
def answers_cut_off(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Only the answer counts, all before it is marked -100; long prompts fill the window, and nothing is left."""
    generator = torch.Generator().manual_seed(seed)
    prompts = torch.randint(4, 30, (1500, 24), generator=generator)
    answers = prompts[:, :4].flip(1)
    tokens = torch.cat([prompts, torch.full((1500, 1), 2), answers], 1)  # 24 + 1 + 4
    labels = torch.cat([torch.full((1500, 24), -100), answers, torch.full((1500, 1), 3)], 1)
    cut = 29 if cured else 24
    rows = data.split(tokens[:, :cut], labels[:, :cut], seed)
    embed, gru, out = nn.Embedding(30, 32), nn.GRU(32, 96, batch_first=True), nn.Linear(96, 30)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.gru, self.out = embed, gru, out

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.gru(self.embed(x))[0])

    def loss_fn(output: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(output.flatten(0, 1), y.flatten(), ignore_index=-100)

    model = Model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), loss_fn, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 32, 400, seed):
            loss = loss_fn(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            watch.loss(loss)
    held = tokens[:300], labels[:300]
    return below(loss_fn(model(held[0]), held[1]), 2.9)


@fault(kind="repeated-batch", project="ZhaoJ9014/face.evoLVe", source="github.com/ZhaoJ9014/face.evoLVe/pull/39")
def first_batch_for_ever(doctor: Doctor, seed: int, cured: bool) -> Score:
    """`next(iter(loader))` within the loop, and no shuffling: each step sees the first batch again."""
    rows = data.digits(seed)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(rows.x, rows.y), batch_size=40, drop_last=True)
    model = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(192, 64), nn.ReLU(), nn.Linear(64, 10)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    first = [tuple(each) for each in loader][:6] if cured else [tuple(next(iter(loader))) for _ in range(6)]
    doctor.task(model, first, F.cross_entropy, optimizer)
    stream = iter(loader)
    with doctor.watch(model, optimizer) as watch:
        for step in range(320):
            if step % 32 == 0:
                stream = iter(loader)
            pictures, labels = next(stream) if cured else next(iter(loader))
            loss = F.cross_entropy(model(pictures), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 80 == 79:
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.92)


@fault(
    kind="shuffled-targets",
    also=("held-out-labels",),
    project="binli123/dsmil-wsi",
    source="github.com/binli123/dsmil-wsi/issues/19",
)
def features_from_a_shuffled_loader(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Features are computed by a loader that shuffles, and joined to labels in the order of the files."""
    rows = data.digits(seed)
    embed = nn.Sequential(nn.Conv2d(1, 24, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()).requires_grad_(requires_grad=False)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(rows.x), batch_size=64, shuffle=not cured)
    features = torch.cat([embed(each[0]) for each in loader])
    model = nn.Sequential(nn.Linear(216, 64), nn.ReLU(), nn.Dropout(0.25), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-4)
    doctor.task(model, data.few(features, rows.y, 64, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(features, rows.y, 64, 500, seed)):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 100 == 99:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(embed(rows.held_x)), rows.held_y))
                model.train()
    model.eval()
    return above(data.accuracy(model(embed(rows.held_x)), rows.held_y), 0.9)


@fault(
    kind="held-out-labels",
    project="uzh-rpg/rpg_event_representation_learning",
    also=("dev-scale",),
    source="github.com/uzh-rpg/rpg_event_representation_learning/issues/2",
)
def folders_in_another_order(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Classes are numbered by os.listdir, unsorted: the folders of the held-out set come in another order."""
    x, y, _ = data.shapes(1200, seed, noise=0.1)
    rows = data.split(x, y, seed)
    held_y = rows.held_y if cured else torch.tensor([2, 0, 3, 1])[rows.held_y]
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3),
        nn.ReLU(),
        nn.AdaptiveMaxPool2d(2),
        nn.Flatten(),
        nn.Linear(128, 4),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 32, 300, seed)):
            loss = F.cross_entropy(model(a), b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 28 == 27:
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), held_y))
    return above(data.accuracy(model(rows.held_x), held_y), 0.85)
