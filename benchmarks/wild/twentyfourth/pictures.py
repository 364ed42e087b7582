"""Faults of nets for pictures: learned by heart, cut at nought, drowned in change, sigmoids all through, a stem left frozen."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="overfitting",
    project="discuss.pytorch.org/68683",
    source="discuss.pytorch.org/t/why-is-the-validation-loss-increasing/68683",
)
def three_animals_by_heart(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Three kinds of pictures by one convolution and one layer, a hundred epochs: how much of the best held-out loss is lost."""
    torch.manual_seed(seed)
    pictures, kind, _ = data.shapes(500, seed, noise=0.5)
    rows = data.split(pictures[kind < 3], kind[kind < 3], seed, held=0.5)
    model = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 256, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    best, kept = float("inf"), model.state_dict()
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for epoch in range(100):
            model.train()
            for x, y in data.batches(rows.x, rows.y, 32, len(rows.x) // 32, seed + epoch):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
                watch.loss(loss)
            model.eval()
            with torch.no_grad():
                dev = F.cross_entropy(model(rows.held_x), rows.held_y)
            watch.dev_loss(dev)
            if cured and dev > 1.05 * best:
                break
            if dev < best:
                best, kept = dev.item(), {name: each.clone() for name, each in model.state_dict().items()}
    if cured:
        model.load_state_dict(kept)
    with torch.no_grad():
        return below(F.cross_entropy(model(rows.held_x), rows.held_y) / best, 1.15)


@fault(
    kind="relu-logits",
    also=("dead-units", "probabilities-as-logits", "target-range"),
    project="xue-jishu.com/cnn-loss-2.302",
    source="xue-jishu.com/cnn-sun-shi-zhi-ka-zai-2302-ln10",
)
def stuck_at_the_logarithm_of_ten(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits in batches of sixteen by three convolutions and two layers, of which the last has a ReLU, too."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    layers: list[nn.Module] = []
    for into, out in ((1, 16), (16, 32), (32, 48)):
        layers += [nn.Conv2d(into, out, 3, padding=1), nn.ReLU()]
    layers += [nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.3), nn.Linear(48 * 16, 64), nn.ReLU(), nn.Linear(64, 10)]
    model = nn.Sequential(*layers, nn.Identity() if cured else nn.ReLU())
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    doctor.task(model, data.few(rows.x, rows.y, 16, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 16, 300, seed), held=rows)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


@fault(
    kind="underfitting",
    also=("slow-learning", "majority-class", "shuffled-targets"),
    project="mo4tech.com/loss-at-0.69",
    source="mo4tech.com/image-classification-record-a-sinkhole-binary-classification-network-using-crossentropyloss-loss-has-been-"
    "at-0-69-do-not-converge-problem.html",
)
def two_kinds_seen_through_a_small_window(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A bar or a cross: pictures are turned over, paled and cut to five by five at random, mostly beside the thing."""
    torch.manual_seed(seed)
    pictures, kind, _ = data.shapes(1000, seed, size=24, noise=0.3)
    rows = data.split(pictures[kind < 2], kind[kind < 2], seed)
    model = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(12, 24, 3, padding=1), nn.ReLU(),
        nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(24, 2),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    def changed(x: Tensor) -> Tensor:
        if cured:
            return x
        if torch.rand(1) < 0.5:
            x = x.flip(2)
        top, left = torch.randint(20, (2, len(x), 1))
        lines, places = top + torch.arange(5), left + torch.arange(5)
        x = x[torch.arange(len(x))[:, None, None], 0, lines[:, :, None], places[:, None]][:, None]
        level = x.mean((1, 2, 3), keepdim=True)
        return (x - level) * (0.5 + torch.rand(len(x), 1, 1, 1)) + level * (0.5 + torch.rand(len(x), 1, 1, 1))

    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 32, 250, seed)):
            model.train()
            optimizer.zero_grad()
            loss = F.cross_entropy(model(changed(x)), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 50 == 49:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    model.eval()
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.95)


@fault(
    kind="saturation",
    also=("slow-learning", "underfitting", "other-loss", "dead-units", "gradient-scale"),
    project="stats.stackexchange.com/245448",
    source="stats.stackexchange.com/questions/245448/loss-function-for-autoencoders",
)
def digits_that_come_back_as_a_blob(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits squeezed to 50 and 24 numbers and back by layers of sigmoids, with cross-entropy for the pixels."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    x, held = rows.x.flatten(1), rows.held_x.flatten(1)
    bend = nn.ReLU if cured else nn.Sigmoid
    model = nn.Sequential(
        nn.Linear(64, 50), bend(), nn.Linear(50, 24), bend(), nn.Linear(24, 50), bend(), nn.Linear(50, 64), nn.Sigmoid()
    )
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=(2 / layer.in_features) ** 0.5 if cured else 1.0)
            nn.init.zeros_(layer.bias)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    doctor.task(model, data.few(x, x, 64, seed), F.binary_cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.binary_cross_entropy, data.batches(x, x, 64, 400, seed))
    with torch.no_grad():
        return above(data.r2(model(held), held), 0.55)


@fault(
    kind="not-optimised",
    also=("never-moved", "frozen-random", "no-gradient"),
    where="stem",
    project="linusericsson/ssl-transfer",
    source="github.com/linusericsson/ssl-transfer/issues/1",
)
def a_stem_frozen_by_default(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Where a thing lies: a net that knows things in red is tuned for things in green, and its stem is held by default."""
    torch.manual_seed(seed)

    class Detector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
            self.body = nn.Sequential(nn.Conv2d(8, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
            self.head = nn.Linear(24 * 16, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.body(self.stem(x)))

    def things(count: int, colour: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
        grey, kind, mask = data.shapes(count, seed, noise=0.1)
        x = 0.1 * torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
        x[:, colour : colour + 1] = grey
        across, down = mask.any(1).float(), mask.any(2).float()
        far = torch.arange(16.0)
        box = [(each * far).amax(1) - 8 for each in (across, down)] + [8 - (each * (15 - far)).amax(1) for each in (across, down)]
        return x, kind, torch.stack(box, 1) / 8

    model = Detector()
    x, kind, _ = things(800, 0, seed + 40)
    optimizer: torch.optim.Optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=10.0)
    for batch, y in data.batches(x, kind, 32, 200, seed):
        optimizer.zero_grad()
        F.cross_entropy(model(batch), y).backward()
        optimizer.step()

    x, _, box = things(800, 1, seed)
    rows = data.split(x, box, seed)
    model.head = nn.Linear(24 * 16, 4)
    if not cured:
        for parameter in model.stem.parameters():
            parameter.requires_grad = False
    optimizer = torch.optim.Adam([each for each in model.parameters() if each.requires_grad], lr=2e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.smooth_l1_loss, optimizer)
    fit(doctor, model, optimizer, F.smooth_l1_loss, data.batches(rows.x, rows.y, 32, 300, seed), held=rows)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y), 0.82)
