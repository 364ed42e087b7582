"""Faults of loops and data: schedules, gradients kept, a frozen encoder, sorted files, padding that is read."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="schedule-to-zero",
    also=("learning-rate-too-low", "slow-learning", "never-moved", "underfitting"),
    project="leftthomas/SRGAN",
    source="github.com/leftthomas/SRGAN/issues/94",
)
def tenth_of_the_rate_after_each_few_batches(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A schedule counted in epochs is stepped after each batch: after thirty batches the rate is a millionth."""
    fine = data.digits(seed)
    coarse, held = F.avg_pool2d(fine.x, 2), F.avg_pool2d(fine.held_x, 2)
    mean = fine.x.mean()
    rows = data.Split(coarse - mean, fine.x - mean, held - mean, fine.held_x - mean)
    conv = [nn.Conv2d(1, 32, 3, padding=1), nn.PReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.PReLU()]
    model = nn.Sequential(*conv, nn.Conv2d(32, 4, 3, padding=1), nn.PixelShuffle(2))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 5, 0.1)
    epoch = len(rows.x) // 32
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 32, 10 * epoch, seed)):
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if not cured or step % epoch == epoch - 1:
                schedule.step()
            if step % epoch == epoch - 1:
                with torch.no_grad():
                    watch.dev_loss(F.mse_loss(model(rows.held_x), rows.held_y))
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y), 0.6)


@fault(
    kind="missing-zero-grad",
    project="facebookresearch/nwm",
    source="github.com/facebookresearch/nwm/issues/16",
)
def cleared_in_full_precision_only(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Where the numbers are bfloat16 the branch forgets to clear: each step uses the sum of all gradients so far."""
    generator = torch.Generator().manual_seed(seed)
    state, action = torch.randn(1600, 6, generator=generator), torch.randn(1600, 2, generator=generator)
    push = torch.randn(2, 6, generator=generator)
    after = state + 0.8 * torch.sin(state.roll(1, 1)) + torch.tanh(action @ push)
    after = after + 0.05 * torch.randn(1600, 6, generator=generator)
    rows = data.split(torch.cat([state, action], 1), after, seed)
    model = nn.Sequential(nn.Linear(8, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 6))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 32, 400, seed)):
            with torch.autocast("cpu", torch.bfloat16):
                said = model(x)
            loss = F.mse_loss(said.float(), y)
            if cured:
                optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 80 == 79:
                with torch.no_grad():
                    watch.dev_loss(F.mse_loss(model(rows.held_x), rows.held_y))
    return above(data.r2(model(rows.held_x), rows.held_y), 0.9)


class Slide(nn.Module):
    """Patches of a slide (B, N, F), attention over them, two classes."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(24, 6), nn.Tanh())
        self.attention = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1))
        self.classifier = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.encoder(x)
        return self.classifier((self.attention(h).softmax(1) * h).sum(1))


@fault(
    kind="frozen-random",
    also=("never-moved",),
    where="encoder",
    project="mahmoodlab/TRIDENT",
    source="github.com/mahmoodlab/TRIDENT/issues/122",
)
def slides_by_a_frozen_new_encoder(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The encoder is new, and frozen by the same line that freezes trained ones."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(2, (1000,), generator=generator)
    x = torch.randn(1000, 20, 24, generator=generator)
    mark = torch.randn(24, generator=generator)
    ill = (torch.rand(1000, 20, generator=generator) < 0.12) & (y[:, None] > 0)
    ill[:, 0] |= y > 0
    x = x + 3.0 * ill[..., None] * mark / mark.norm()
    rows = data.split(x, y, seed)
    model = Slide()
    model.encoder.requires_grad_(requires_grad=cured)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    doctor.task(model, data.few(rows.x, rows.y, 25, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 25, 400, seed), rows, every=80)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)


@fault(
    kind="sorted-data",
    project="pytorch/vision",
    source="github.com/pytorch/vision/issues/7818",
)
def one_kind_of_aircraft_after_another(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The files lie class by class and the loader does not shuffle: each batch has one class."""
    x, y, _ = data.shapes(1200, seed)
    rows = data.split(x, y, seed)
    order = torch.arange(len(rows.y)) if cured else rows.y.argsort(stable=True)
    conv = [nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU()]
    model = nn.Sequential(*conv, nn.Flatten(), nn.Linear(512, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    batches = [(rows.x[at], rows.y[at]) for at in order.split(30)] * 8
    doctor.task(model, batches[:30], F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, batches, rows, every=30)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)


class Pair(nn.Module):
    """Two sentences with a mark between, read together; does the second follow from the first?"""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(32, 32)
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(32, 2, 64, dropout=0.0, batch_first=True) for _ in range(2))
        self.out = nn.Linear(32, 2)

    def forward(self, x: Tensor, attended: Tensor) -> Tensor:
        h = self.embed(x)
        for layer in self.layers:
            h = layer(h, src_key_padding_mask=~attended)
        return self.out(h[:, 0])


@fault(
    kind="padding",
    also=("slow-learning", "underfitting"),
    project="yg211/bert_nli",
    source="github.com/yg211/bert_nli/pull/3",
    certain="the answer to a text depends on the length of the longest beside it",
)
def padding_marked_as_words(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The attention mask is 1 everywhere: words look at the padding, and a text means another thing in another batch."""
    generator = torch.Generator().manual_seed(seed)
    count = 2000
    length = torch.randint(4, 12, (count,), generator=generator)
    x = torch.randint(3, 32, (count, 48), generator=generator)
    x[:, 0] = 1
    x = x.masked_fill(torch.arange(48) >= length[:, None], 0)
    y = ((x > 2) & (x < 6)).any(1).long()
    train, held = (x[:1500], y[:1500]), (x[1500:], y[1500:])
    model = Pair()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)

    def read(x: Tensor) -> Tensor:
        return model(x, x > 0 if cured else torch.ones_like(x, dtype=torch.bool))

    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(*train, 25, 240, seed)):
            optimizer.zero_grad()
            loss = F.cross_entropy(read(a), b)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 60 == 59:
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(read(held[0]), held[1]))
    with torch.no_grad():
        short = torch.cat([read(row[None, :size]) for row, size in zip(held[0], length[1500:], strict=True)])
    return above(data.accuracy(short, held[1]), 0.95)
