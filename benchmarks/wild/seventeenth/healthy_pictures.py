"""Healthy programs that see pictures: rows by an LSTM, mixers, tiny batches, wrong labels, pairs, layers of filters over time."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="yunjey/pytorch-tutorial", source="github.com/yunjey/pytorch-tutorial")
def digits_read_row_by_row(doctor: Doctor, seed: int) -> Score:
    """Each row of a digit is a step of a two-layer LSTM in both directions; the last step names it."""
    rows = data.digits(seed)
    rows = rows._replace(x=rows.x[:, 0], held_x=rows.held_x[:, 0])

    class BiRnn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.fc = nn.LSTM(8, 48, 2, batch_first=True, bidirectional=True), nn.Linear(96, 10)

        def forward(self, seen: Tensor) -> Tensor:
            begun = torch.zeros(4, len(seen), 48), torch.zeros(4, len(seen), 48)
            return self.fc(self.lstm(seen, begun)[0][:, -1])

    model = BiRnn()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    doctor.task(model, data.few(rows.x, rows.y, 50, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 50, 400, seed), rows)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


@healthy(project="locuslab/convmixer", source="github.com/locuslab/convmixer")
def patches_mixed_by_convolutions(doctor: Doctor, seed: int) -> Score:
    """Patches, then filters of single channels around a short cut and mixes of channels, with a triangle of rates."""
    x, y, _ = data.shapes(1000, seed)
    rows = data.split(x, y, seed)

    class Residual(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, h: Tensor) -> Tensor:
            return self.inner(h) + h

    blocks: list[nn.Module] = []
    for _ in range(3):
        far = nn.Sequential(nn.Conv2d(32, 32, 5, groups=32, padding="same"), nn.GELU(), nn.BatchNorm2d(32))
        blocks += [Residual(far), nn.Conv2d(32, 32, 1), nn.GELU(), nn.BatchNorm2d(32)]
    model = nn.Sequential(
        nn.Conv2d(1, 32, 2, stride=2),
        nn.GELU(),
        nn.BatchNorm2d(32),
        *blocks,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 4),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=5e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 80, max(0.02, (300 - step) / 180)))
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 32, 300, seed)):
            model.train()
            loss = F.cross_entropy(model(a), b)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            watch.loss(loss)
            if step % 46 == 45:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    model.eval()
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


@healthy(project="joe-siyuan-qiao/WeightStandardization", source="github.com/joe-siyuan-qiao/WeightStandardization")
def weights_standardised_for_batches_of_four(doctor: Doctor, seed: int) -> Score:
    """Batches of four: norms over groups of channels, and filters brought to mean 0 and variance 1 each time they are used."""
    x, y, _ = data.shapes(1000, seed)
    rows = data.split(x, y, seed)

    class Conv(nn.Conv2d):
        def forward(self, seen: Tensor) -> Tensor:
            weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
            weight = weight / (weight.flatten(1).std(1).view(-1, 1, 1, 1) + 1e-5)
            return F.conv2d(seen, weight, self.bias, self.stride, self.padding)

    blocks: list[nn.Module] = []
    for before, after in ((1, 16), (16, 32), (32, 32)):
        blocks += [Conv(before, after, 3, padding=1, bias=False), nn.GroupNorm(4, after), nn.ReLU(), nn.MaxPool2d(2)]
    model = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(128, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    doctor.task(model, data.few(rows.x, rows.y, 4, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 4, 900, seed), rows, every=180)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)


@healthy(project="HanxunH/SCELoss-Reproduce", source="github.com/HanxunH/SCELoss-Reproduce")
def four_labels_of_ten_are_wrong(doctor: Doctor, seed: int) -> Score:
    """Digits of which four in ten have a wrong label: cross-entropy, and the same with answer and label changed round."""
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)
    wrong = torch.rand(len(rows.y), generator=generator) < 0.4
    y = torch.where(wrong, torch.randint(10, rows.y.shape, generator=generator), rows.y)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(256, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-3)

    def symmetric(scores: Tensor, label: Tensor) -> Tensor:
        chance = scores.softmax(1).clamp(1e-7, 1.0)
        sure = F.one_hot(label, 10).float().clamp(1e-4, 1.0)
        return 0.1 * F.cross_entropy(scores, label) - (chance * sure.log()).sum(1).mean()

    doctor.task(model, data.few(rows.x, y, 64, seed), symmetric, optimizer)
    fit(doctor, model, optimizer, symmetric, data.batches(rows.x, y, 64, 400, seed), rows)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.88)


@healthy(project="keras-team/keras-metric-learning", source="keras.io/examples/vision/metric_learning")
def one_pair_of_each_class(doctor: Doctor, seed: int) -> Score:
    """A batch is one pair of each class: each first picture is to find its second one by the angle between them."""
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)
    of_class = [torch.nonzero(rows.y == k)[:, 0] for k in range(10)]

    class Embed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(1, 32, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(32, 64, 3, stride=2, padding=1),
                nn.ReLU(),
                nn.AdaptiveAvgPool2d(2),
            )
            self.out = nn.Linear(256, 8)

        def forward(self, seen: Tensor) -> Tensor:
            return F.normalize(self.out(self.body(seen).flatten(1)), dim=1)

    model = Embed()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(600):
            at = torch.stack([each[torch.randint(len(each), (2,), generator=generator)] for each in of_class])
            alike = model(rows.x[at[:, 0]]) @ model(rows.x[at[:, 1]]).T
            loss = F.cross_entropy(alike / 0.2, torch.arange(10))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        nearest = (model(rows.held_x) @ model(rows.x).T).topk(5).indices
        share = (rows.y[nearest] == rows.held_y[:, None]).float().mean()
    return above(share, 0.85)


@healthy(project="ndrplz/ConvLSTM_pytorch", source="github.com/ndrplz/ConvLSTM_pytorch")
def the_next_picture_of_a_film(doctor: Doctor, seed: int) -> Score:
    """Blobs that drift across a picture: gates made by convolutions remember them, and the next picture is told."""
    generator = torch.Generator().manual_seed(seed)
    axis = torch.linspace(-1, 1, 10)

    def films(count: int) -> Tensor:
        """Films (N, 6, 1, 10, 10)."""
        begin = torch.rand(count, 1, 2, generator=generator) - 0.5
        drift = (torch.rand(count, 1, 2, generator=generator) - 0.5) * 0.35
        place = begin + drift * torch.arange(6)[:, None]
        far = (axis - place[..., :1, None]).pow(2) + (axis[:, None] - place[..., 1:, None]).pow(2)
        return (-far / 0.08).exp()[:, :, None]

    class ConvLstm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gates, self.out = nn.Conv2d(17, 64, 3, padding=1), nn.Conv2d(16, 1, 1)

        def forward(self, film: Tensor) -> Tensor:
            h = c = torch.zeros(len(film), 16, 10, 10)
            for seen in film.unbind(1):
                i, f, o, g = self.gates(torch.cat([seen, h], 1)).chunk(4, 1)
                c = f.sigmoid() * c + i.sigmoid() * g.tanh()
                h = o.sigmoid() * c.tanh()
            return self.out(h)

    x, held = films(800), films(200)
    rows = data.Split(x[:, :5], x[:, 5], held[:, :5], held[:, 5])
    model = ConvLstm()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    doctor.task(model, data.few(rows.x, rows.y, 16, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 16, 300, seed), rows)
    with torch.no_grad():
        return below(F.mse_loss(model(rows.held_x), rows.held_y) / rows.held_y.var(), 0.1)


@healthy(project="pytorch/amp-docs", source="pytorch.org/docs/stable/amp.html")
def half_the_numbers_and_four_small_batches(doctor: Doctor, seed: int) -> Score:
    """Digits in bfloat16 where it is safe; gradients of four small batches are added up before each step."""
    rows = data.digits(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(384, 96), nn.ReLU(), nn.Linear(96, 10)
    )
    optimizer = torch.optim.NAdam(model.parameters(), lr=2e-3)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 16, 800, seed)):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = F.cross_entropy(model(a), b)
            (loss / 4).backward()
            watch.loss(loss)
            if step % 4 == 3:
                optimizer.step()
                optimizer.zero_grad()
    model.eval()
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.92)


@healthy(project="fadel/pytorch_ema", source="github.com/fadel/pytorch_ema")
def judged_by_a_slow_average(doctor: Doctor, seed: int) -> Score:
    """Shapes turned and moved at random; what is judged and used in the end is a slow average of the weights."""
    x, y, _ = data.shapes(800, seed)
    rows = data.split(x, y, seed)
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(24, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(512, 4),
    )
    slow = [each.detach().clone() for each in model.parameters()]
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    def swap() -> None:
        with torch.no_grad():
            for mine, kept in zip(model.parameters(), slow, strict=True):
                mine.data, kept.data = kept.data, mine.data

    with doctor.watch(model, optimizer) as watch:
        for step, (clean, b) in enumerate(data.batches(rows.x, rows.y, 32, 300, seed)):
            model.train()
            turn, down, right = torch.randint(4, (3,), generator=generator).tolist()
            a = clean.rot90(turn, (2, 3)).roll((down - 2, right - 2), (2, 3)) if turn % 2 == 0 else clean
            loss = F.cross_entropy(model(a), b, label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            rate = min(0.98, (1 + step) / (10 + step))
            with torch.no_grad():
                for mine, kept in zip(model.parameters(), slow, strict=True):
                    kept.lerp_(mine, 1 - rate)
            if step % 54 == 53:
                model.eval()
                swap()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
                swap()
    model.eval()
    swap()
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)
