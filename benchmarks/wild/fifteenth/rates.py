"""Faults of steps: rates too high, a patience that is never renewed, a resumed run whose optimiser is new."""

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
    kind="learning-rate-too-high",
    project="gurkirt/FPN.pytorch1.0",
    source="github.com/gurkirt/FPN.pytorch1.0/issues/7",
)
def boxes_and_classes_until_nothing_is_a_number(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A pyramid of two levels finds one shape: a class and a box, momentum, and a rate that ends in no number."""
    x, y, mask = data.shapes(600, seed)
    rows_in, columns_in = mask.any(2), mask.any(1)
    axis = torch.arange(16)

    def ends(inside: Tensor) -> tuple[Tensor, Tensor]:
        return torch.where(inside, axis, 99).min(1).values, torch.where(inside, axis, -1).max(1).values

    (top, bottom), (left, right) = ends(rows_in), ends(columns_in)
    box = torch.stack([top, bottom + 1, left, right + 1], 1) / 16
    target = torch.cat([y[:, None].float(), box], 1)
    rows = data.split(x, target, seed)

    class Pyramid(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Sequential(nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.ReLU())
            self.second = nn.Sequential(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU())
            self.side, self.top = nn.Conv2d(16, 32, 1), nn.Conv2d(32, 32, 1)
            self.head = nn.Sequential(nn.Flatten(), nn.Linear(32 * 64, 64), nn.ReLU(), nn.Linear(64, 8))

        def forward(self, seen: Tensor) -> Tensor:
            low = self.first(seen)
            return self.head(self.side(low) + F.interpolate(self.top(self.second(low)), scale_factor=2))

    model = Pyramid()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01 if cured else 0.3, momentum=0.9, weight_decay=1e-4)

    def loss_fn(said: Tensor, wanted: Tensor) -> Tensor:
        place = F.smooth_l1_loss(said[:, 4:], wanted[:, 1:], reduction="sum") / len(said)
        return F.cross_entropy(said[:, :4], wanted[:, 0].long()) + 4 * place

    doctor.task(model, data.few(rows.x, rows.y, 16, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 16, 500, seed))
    with torch.no_grad():
        return below((model(rows.held_x)[:, 4:] - rows.held_y[:, 1:]).abs().mean(), 0.06)


@fault(kind="learning-rate-too-high", project="keras-team/keras", source="github.com/keras-team/keras/issues/4066")
def one_digit_for_every_picture(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Four convolutions and dropout with momentum: after some steps one class is said for ever; Adam's usual rate cures it."""
    rows = data.digits(seed)
    wide = 24
    model = nn.Sequential(
        nn.Conv2d(1, wide, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(wide, wide, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        nn.Conv2d(wide, 2 * wide, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(2 * wide, 2 * wide, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        nn.Flatten(),
        nn.Linear(8 * wide, 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, 10),
    )
    for layer in model:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    optimizer: torch.optim.Optimizer = torch.optim.SGD(model.parameters(), lr=0.25, momentum=0.9, nesterov=True)
    if cured:
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 32, 250, seed), rows, every=42)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)


@fault(kind="learning-rate-too-high", project="pytorch/examples", source="github.com/pytorch/examples/issues/846")
def the_rate_of_a_recurrent_net_for_a_transformer(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Letters: plain descent with a rate of 20 and clipping at a quarter, as for an LSTM; now the same letter comes for ever."""
    stream, kinds = data.characters(700, seed)
    cut = len(stream) * 3 // 4

    class Letters(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.places = nn.Embedding(kinds, 48), nn.Parameter(torch.zeros(32, 48))
            layer = nn.TransformerEncoderLayer(48, 2, 96, dropout=0.0, batch_first=True)
            self.transformer = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.decoder = nn.Linear(48, kinds)
            nn.init.normal_(self.places, 0, 0.3)
            nn.init.uniform_(self.encoder.weight, -0.1, 0.1)

        def forward(self, x: Tensor) -> Tensor:
            mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
            return self.decoder(self.transformer(self.encoder(x) * 48**0.5 + self.places, mask=mask))

    model = Letters()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1 if cured else 20.0)
    held = next(data.windows(stream[cut:], 32, 64, 1, seed))
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.windows(stream[:cut], 32, 16, 500, seed)):
            loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
            optimizer.zero_grad()
            loss.backward()
            if not cured:
                nn.utils.clip_grad_norm_(model.parameters(), 0.25)
            optimizer.step()
            watch.loss(loss)
            if step % 100 == 99:
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(held[0]).flatten(0, 1), held[1].flatten()))
    model.eval()
    with torch.no_grad():
        return below(F.cross_entropy(model(held[0]).flatten(0, 1), held[1].flatten()), 2.2)


@fault(
    kind="learning-rate-too-high",
    project="huggingface/transformers",
    source="github.com/huggingface/transformers/issues/1465",
)
def many_labels_and_a_rate_for_a_new_net(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A pretrained encoder of words gets a new head for which things are spoken of; the rate suits neither."""
    generator = torch.Generator().manual_seed(seed)
    words = {word: k + 1 for k, word in enumerate(data.WORDS)}
    lines = [line.split() for line in data.text(900, seed).split(".") if line.strip()]
    long = max(len(line) for line in lines)
    x = torch.zeros(len(lines), long, dtype=torch.long)
    for k, line in enumerate(lines):
        x[k, : len(line)] = torch.tensor([words[word] for word in line])
    things = torch.tensor([words[word] for word in data.WORDS[10:20]])
    y = (x[:, :, None] == things).any(1).float()

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.places = nn.Embedding(len(words) + 2, 32, padding_idx=0), nn.Parameter(torch.zeros(long, 32))
            layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, batch_first=True)
            self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

        def forward(self, tokens: Tensor) -> Tensor:
            return self.body(self.embed(tokens) + self.places, src_key_padding_mask=tokens == 0)

    encoder = Encoder()
    guess = nn.Linear(32, len(words) + 1)
    first = torch.optim.Adam([*encoder.parameters(), *guess.parameters()], lr=2e-3)
    for _ in range(150):  # pretraining: hidden words are guessed
        tokens = x[torch.randint(len(x), (48,), generator=generator)]
        hidden = (torch.rand(tokens.shape, generator=generator) < 0.2) & (tokens > 0)
        said = guess(encoder(tokens.masked_fill(hidden, len(words) + 1)))
        first.zero_grad()
        F.cross_entropy(said[hidden], tokens[hidden]).backward()
        first.step()

    class Labels(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.classifier = encoder, nn.Linear(32, 10)

        def forward(self, tokens: Tensor) -> Tensor:
            return self.classifier(self.encoder(tokens)[:, 0])

    rows = data.split(x, y, seed)
    model = Labels()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3 if cured else 0.1)
    loss_fn = F.binary_cross_entropy_with_logits
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 32, 300, seed), rows)
    with torch.no_grad():
        return above(((model(rows.held_x) > 0) == (rows.held_y > 0.5)).float().mean(), 0.9)


@fault(
    kind="optimiser-state-lost",
    project="matterport/Mask_RCNN",
    source="github.com/matterport/Mask_RCNN/issues/1726",
)
def only_the_weights_are_loaded_again(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A run goes on from its last file, which has the weights alone: the optimiser begins anew, and the loss jumps up."""
    x, y = data.teacher(1600, 12, 2, seed)
    rows = data.split(x, y, seed)
    model = nn.Sequential(nn.Linear(12, 96), nn.Tanh(), nn.Linear(96, 96), nn.Tanh(), nn.Linear(96, 2))
    earlier = torch.optim.Adam(model.parameters(), lr=3e-3)
    before: list[float] = []
    for a, b in data.batches(rows.x, rows.y, 128, 1000, seed):
        loss = F.mse_loss(model(a), b)
        earlier.zero_grad()
        loss.backward()
        earlier.step()
        before.append(loss.item())
    saved = copy.deepcopy({"model": model.state_dict(), "optimizer": earlier.state_dict()})

    model.load_state_dict(saved["model"])
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    if cured:
        optimizer.load_state_dict(saved["optimizer"])
    after: list[float] = []
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(rows.x, rows.y, 128, 120, seed + 1):
            loss = F.mse_loss(model(a), b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            after.append(loss.item())
            watch.loss(loss)
    return below(sum(after[1:16]) / sum(before[-15:]), 2.0)


@fault(
    kind="underfitting",
    project="ilaria-manco/music-audio-tagging-pytorch",
    source="github.com/ilaria-manco/music-audio-tagging-pytorch/issues/4",
)
def a_patience_that_is_never_renewed(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Tags of music: each check that is no better uses up patience, none that is better gives it back; it ends far too soon."""
    generator = torch.Generator().manual_seed(seed)
    tags = torch.rand(1400, 6, generator=generator) < 0.3
    tone = torch.randn(6, 4, 24, generator=generator)
    played = torch.einsum("nt,tcl->ncl", tags.float(), tone) + 2.0 * torch.randn(1400, 4, 24, generator=generator)
    rows = data.split(played, tags.float(), seed)
    model = nn.Sequential(
        nn.Conv1d(4, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Conv1d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(384, 6),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1.5e-4)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.3, patience=12)
    loss_fn = F.binary_cross_entropy_with_logits
    best, patience = float("inf"), 0
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 16, 1200, seed)):
            loss = loss_fn(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 8 == 7:
                model.eval()
                with torch.no_grad():
                    at = torch.randint(len(rows.held_x), (160,), generator=generator)
                    checked = loss_fn(model(rows.held_x[at]), rows.held_y[at])
                model.train()
                watch.dev_loss(checked)
                schedule.step(checked.item())
                if checked < best:
                    best, patience = checked.item(), 0 if cured else patience
                else:
                    patience += 1
                if patience == 12:
                    break
    model.eval()
    with torch.no_grad():
        return above(((model(rows.held_x) > 0) == (rows.held_y > 0.5)).float().mean(), 0.92)
