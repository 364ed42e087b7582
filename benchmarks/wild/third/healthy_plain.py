"""Healthy programs: tables, pictures, series."""

from __future__ import annotations

import math

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="scikit-learn/scikit-learn", source="github.com/scikit-learn/scikit-learn")
def iris_as_it_is(doctor: Doctor, seed: int) -> Score:
    """Iris in centimetres, not standardised, as in most first examples; a small net learns it within a few hundred steps."""
    rows = data.table("iris", seed, standard=False)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    doctor.task(model, data.few(rows.x, rows.y, 16, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 16, 350, seed):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss.item())
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


@healthy(project="bioinf-jku/SNNs", source="github.com/bioinf-jku/SNNs")
def tumours_by_selu(doctor: Doctor, seed: int) -> Score:
    """A self-normalising net of six layers with alpha dropout, LeCun initialisation, on the breast cancer table."""
    rows = data.table("breast_cancer", seed)
    layers = [layer for k in range(6) for layer in (nn.Linear(30 if k == 0 else 32, 32), nn.SELU(), nn.AlphaDropout(0.05))]
    model = nn.Sequential(*layers, nn.Linear(32, 1))
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
            nn.init.zeros_(layer.bias)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def loss_fn(output: Tensor, y: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(output[:, 0], y.float())

    doctor.task(model, data.few(rows.x, rows.y, 32, seed), loss_fn, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 32, 400, seed)):
            loss = loss_fn(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 50 == 49:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(loss_fn(model(rows.held_x), rows.held_y))
                model.train()
    model.eval()
    return above(((model(rows.held_x)[:, 0] > 0) == (rows.held_y == 1)).float().mean(), 0.93)


@healthy(project="milesial/Pytorch-UNet", source="github.com/milesial/Pytorch-UNet")
def unet_with_dice(doctor: Doctor, seed: int) -> Score:
    """A small U-net with skip connections; cross-entropy and dice are added; RMSprop with momentum."""
    x, _, mask = data.shapes(600, seed, noise=0.3)
    rows = data.split(x, mask.float(), seed)
    double = lambda a, b: nn.Sequential(nn.Conv2d(a, b, 3, 1, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU())  # noqa: E731

    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inc, self.down, self.deep = double(1, 8), double(8, 16), double(16, 16)
            self.up, self.outc = double(24, 8), nn.Conv2d(8, 1, 1)

        def forward(self, x: Tensor) -> Tensor:
            a = self.inc(x)
            b = self.deep(self.down(F.max_pool2d(a, 2)))
            return self.outc(self.up(torch.cat([a, F.interpolate(b, scale_factor=2)], 1)))[:, 0]

    def loss_fn(output: Tensor, y: Tensor) -> Tensor:
        p = torch.sigmoid(output)
        return F.binary_cross_entropy_with_logits(output, y) + 1 - (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)

    model = UNet()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-8)
    doctor.task(model, data.few(rows.x, rows.y, 12, seed), loss_fn, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 12, 250, seed):
            loss = loss_fn(model(x), y)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            watch.loss(loss)
    model.eval()
    guess = model(rows.held_x) > 0
    return above(2 * (guess * rows.held_y).sum() / (guess.sum() + rows.held_y.sum()), 0.85)


@healthy(project="huggingface/pytorch-image-models", source="github.com/huggingface/pytorch-image-models")
def vision_transformer_of_digits(doctor: Doctor, seed: int) -> Score:
    """A pre-norm vision transformer with a class token and layer scale, warm-up and cosine, label smoothing."""
    rows = data.digits(seed)

    class Vit(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patch = nn.Conv2d(1, 48, 2, 2)
            self.token, self.place = nn.Parameter(torch.zeros(1, 1, 48)), nn.Parameter(torch.randn(1, 17, 48) * 0.02)
            layer = nn.TransformerEncoderLayer(48, 4, 96, 0.1, "gelu", batch_first=True, norm_first=True)
            self.blocks = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
            self.norm, self.head = nn.LayerNorm(48), nn.Linear(48, 10)

        def forward(self, x: Tensor) -> Tensor:
            h = self.patch(x).flatten(2).transpose(1, 2)
            h = torch.cat([self.token.expand(len(h), -1, -1), h], 1) + self.place
            return self.head(self.norm(self.blocks(h)[:, 0]))

    model, criterion = Vit(), nn.CrossEntropyLoss(label_smoothing=0.1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    rate = lambda step: min((step + 1) / 40, 0.5 + 0.5 * math.cos(math.pi * step / 300))  # noqa: E731
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    doctor.task(model, data.few(rows.x, rows.y, 48, seed), criterion, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 48, 300, seed):
            loss = criterion(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            watch.loss(loss)
    model.eval()
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.83)


@healthy(project="fastai/fastai", source="github.com/fastai/fastai/blob/master/fastai/tabular/model.py")
def entities_as_embeddings(doctor: Doctor, seed: int) -> Score:
    """Shop, day and month as embeddings beside numbers under batch norm: sales, as a logarithm."""
    generator = torch.Generator().manual_seed(seed)
    kinds = torch.stack([torch.randint(n, (4000,), generator=generator) for n in (30, 7, 12)], 1)
    numbers = torch.rand(4000, 3, generator=generator) * torch.tensor([1.0, 50.0, 2000.0])
    effects = [0.5 * torch.randn(n, generator=generator) for n in (30, 7, 12)]
    sales = sum(effect[kinds[:, k]] for k, effect in enumerate(effects)) + numbers[:, 1] / 40 - 0.3 * (numbers[:, 0] > 0.5)
    sales = sales + 0.1 * torch.randn(4000, generator=generator)
    rows = data.split(torch.cat([kinds.float(), numbers], 1), sales[:, None], seed)

    class Tabular(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embeds = nn.ModuleList(nn.Embedding(n, d) for n, d in ((30, 8), (7, 4), (12, 5)))
            self.drop, self.bn = nn.Dropout(0.02), nn.BatchNorm1d(3)
            self.layers = nn.Sequential(
                nn.Linear(20, 64), nn.ReLU(), nn.BatchNorm1d(64), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1)
            )

        def forward(self, x: Tensor) -> Tensor:
            parts = [embed(x[:, k].long()) for k, embed in enumerate(self.embeds)]
            return self.layers(torch.cat([self.drop(torch.cat(parts, 1)), self.bn(x[:, 3:])], 1))

    model = Tabular()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3, betas=(0.9, 0.99))
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 64, 500, seed):
            loss = F.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    return above(data.r2(model(rows.held_x), rows.held_y), 0.85)


@healthy(project="davda54/sam", source="github.com/davda54/sam")
def sharpness_aware_steps(doctor: Doctor, seed: int) -> Score:
    """SAM by hand: weights are pushed uphill, a second gradient is taken there, weights come back, and SGD steps."""
    rows = data.digits(seed)
    body = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.SiLU(), nn.MaxPool2d(2))
    model = nn.Sequential(body, nn.Conv2d(16, 32, 3, padding=1), nn.GroupNorm(4, 32), nn.SiLU(), nn.Flatten(), nn.Linear(512, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 64, 200, seed):
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            with torch.no_grad():
                size = torch.stack([p.grad.norm() for p in model.parameters()]).norm() + 1e-12
                pushes = [0.05 * p.grad / size for p in model.parameters()]
                for p, push in zip(model.parameters(), pushes, strict=True):
                    p.add_(push)
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            with torch.no_grad():
                for p, push in zip(model.parameters(), pushes, strict=True):
                    p.sub_(push)
            optimizer.step()
            optimizer.zero_grad()
            watch.loss(loss)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.95)


@healthy(project="timgaripov/swa", source="github.com/timgaripov/swa")
def averaged_at_the_end(doctor: Doctor, seed: int) -> Score:
    """Stochastic weight averaging: a constant rate towards the end, an averaged copy, statistics of batch norm made anew."""
    x, y = data.teacher(2600, 18, 5, seed)
    rows = data.split(x, y.argmax(1), seed)
    model = nn.Sequential(
        nn.Linear(18, 96), nn.BatchNorm1d(96), nn.ReLU(), nn.Linear(96, 96), nn.BatchNorm1d(96), nn.ReLU(), nn.Linear(96, 5)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
    averaged = torch.optim.swa_utils.AveragedModel(model)
    schedule = torch.optim.swa_utils.SWALR(optimizer, swa_lr=0.02, anneal_epochs=100)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 64, 500, seed)):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step >= 250:
                schedule.step()
                if step % 10 == 0:
                    averaged.update_parameters(model)
    torch.optim.swa_utils.update_bn(rows.x.split(64), averaged)
    averaged.eval()
    return above(data.accuracy(averaged(rows.held_x), rows.held_y), 0.75)


@healthy(project="akanimax/BMSG-GAN", source="github.com/akanimax/BMSG-GAN/issues/40")
def hinge_that_rests(doctor: Doctor, seed: int) -> Score:
    """A multi-class hinge loss on wine: once all rows keep their distance the loss is exactly 0, and so is its gradient."""
    rows = data.table("wine", seed)
    model = nn.Sequential(nn.Linear(13, 32), nn.Tanh(), nn.Linear(32, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    doctor.task(model, data.few(rows.x, rows.y, 24, seed), F.multi_margin_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 24, 200, seed):
            loss = F.multi_margin_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.93)


@healthy(project="Nixtla/neuralforecast", source="github.com/Nixtla/neuralforecast")
def forecast_of_twelve_months(doctor: Doctor, seed: int) -> Score:
    """N-BEATS in small: blocks that take away what they explain; the windows of thirty series, each divided by its own level."""
    generator = torch.Generator().manual_seed(seed)
    t = torch.arange(160.0)
    phase, weight = torch.rand(30, 1, generator=generator) * 6.3, torch.rand(30, 1, generator=generator)
    level = torch.rand(30, 1, generator=generator) * 400 + 50
    series = level * (1 + 0.3 * torch.sin(t / 12 * 6.283 + phase) + 0.15 * weight * torch.sin(t / 6 * 6.283) + 0.002 * t)
    series = series * (1 + 0.03 * torch.randn(30, 160, generator=generator))
    pieces = series.unfold(1, 36, 1).reshape(-1, 36)
    pieces = pieces / pieces[:, :24].mean(1, keepdim=True) - 1
    rows = data.split(pieces[:, :24], pieces[:, 24:], seed)

    class Beats(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList(
                nn.Sequential(nn.Linear(24, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 36)) for _ in range(3)
            )

        def forward(self, x: Tensor) -> Tensor:
            told = torch.zeros(len(x), 12)
            for block in self.blocks:
                back, ahead = block(x).split([24, 12], 1)
                x, told = x - back, told + ahead
            return told

    model = Beats()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), F.smooth_l1_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 64, 500, seed)):
            loss = F.smooth_l1_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 50 == 49:
                with torch.no_grad():
                    watch.dev_loss(F.smooth_l1_loss(model(rows.held_x), rows.held_y))
    return above(data.r2(model(rows.held_x), rows.held_y), 0.85)


@healthy(project="rtqichen/torchdiffeq", source="github.com/rtqichen/torchdiffeq")
def spiral_by_its_slope(doctor: Doctor, seed: int) -> Score:
    """A neural differential equation, solved by Runge-Kutta by hand, learns a spiral from pieces of its path."""
    slope = torch.tensor([[-0.1, 2.0], [-2.0, -0.1]])
    path = [torch.tensor([[2.0, 0.0]])]

    def step(f: nn.Module, u: Tensor) -> Tensor:
        a = f(u)
        b = f(u + 0.025 * a)
        return u + 0.05 * b

    class Known(nn.Module):
        def forward(self, u: Tensor) -> Tensor:
            return u**3 @ slope

    for _ in range(400):
        path.append(step(Known(), path[-1]))
    truth = torch.cat(path)
    model = nn.Sequential(nn.Linear(2, 50), nn.Tanh(), nn.Linear(50, 2))
    for layer in (model[0], model[2]):
        nn.init.normal_(layer.weight, std=0.1)
        nn.init.zeros_(layer.bias)

    class Ode(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.slope = model

        def forward(self, u: Tensor) -> Tensor:
            found = []
            for _ in range(10):
                u = step(lambda v: self.slope(v**3), u)
                found.append(u)
            return torch.stack(found, 1)

    ode = Ode()
    optimizer = torch.optim.RMSprop(ode.parameters(), lr=2e-3)
    pieces = truth.unfold(0, 11, 1).transpose(1, 2)
    doctor.task(ode, data.few(pieces[:, 0], pieces[:, 1:], 20, seed), F.l1_loss, optimizer)
    with doctor.watch(ode, optimizer) as watch:
        for u, y in data.batches(pieces[:, 0], pieces[:, 1:], 20, 500, seed):
            optimizer.zero_grad()
            loss = F.l1_loss(ode(u), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return below(F.l1_loss(ode(pieces[:, 0]), pieces[:, 1:]) / F.l1_loss(pieces[:, :1].expand(-1, 10, -1), pieces[:, 1:]), 0.25)
