"""Healthy programs: tables, curves, equations, pictures."""

from __future__ import annotations

import copy

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="sktime/pytorch-forecasting", source="github.com/sktime/pytorch-forecasting")
def three_quantiles(doctor: Doctor, seed: int) -> Score:
    """Quantile regression by the pinball loss: spread grows with x, and the loss ends far from 0."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(3000, 1, generator=generator) * 4 - 2
    y = torch.sin(2 * x) + (0.1 + 0.3 * x.abs()) * torch.randn(3000, 1, generator=generator)
    rows = data.split(x, y, seed)
    levels = torch.tensor([0.1, 0.5, 0.9])
    model = nn.Sequential(nn.Linear(1, 48), nn.SiLU(), nn.Linear(48, 48), nn.SiLU(), nn.Linear(48, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    def pinball(output: Tensor, y: Tensor) -> Tensor:
        miss = y - output
        return torch.maximum(levels * miss, (levels - 1) * miss).sum(1).mean()

    doctor.task(model, data.few(rows.x, rows.y, 64, seed), pinball, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 64, 700, seed):
            loss = pinball(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    share = (rows.held_y < model(rows.held_x)).float().mean(0)
    return below((share - levels).abs().max(), 0.1)


@healthy(project="maziarraissi/PINNs", source="github.com/maziarraissi/PINNs")
def oscillator_from_its_equation(doctor: Doctor, seed: int) -> Score:
    """A physics-informed net: u'' + 2u' + 9u = 0 with its start, no data, second derivatives by autograd."""
    t = torch.linspace(0, 2, 60)[:, None].requires_grad_()
    zero = torch.zeros(1, 1, requires_grad=True)
    model = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    del seed
    slope = lambda u, at: torch.autograd.grad(u.sum(), at, create_graph=True)[0]  # noqa: E731
    with doctor.watch(model, optimizer) as watch:
        for _ in range(1200):
            u, start = model(t), model(zero)
            first = slope(u, t)
            rest = slope(first, t) + 2 * first + 9 * u
            loss = 0.01 * rest.pow(2).mean() + (start - 1).pow(2).squeeze() + 0.1 * slope(start, zero).pow(2).squeeze()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    w = 8**0.5
    truth = torch.exp(-t) * (torch.cos(w * t) + torch.sin(w * t) / w)
    return below((model(t) - truth).pow(2).mean().sqrt(), 0.1)


@healthy(project="clcarwin/focal_loss_pytorch", source="github.com/clcarwin/focal_loss_pytorch")
def rare_class_by_focal_loss(doctor: Doctor, seed: int) -> Score:
    """Three in a hundred rows are positive; focal loss, the last bias starts at the log odds."""
    x, score = data.teacher(5000, 16, 1, seed)
    rows = data.split(x, (score > 1.9).float(), seed)
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    nn.init.constant_(model[-1].bias, -3.5)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    def focal(output: Tensor, y: Tensor) -> Tensor:
        entropy = F.binary_cross_entropy_with_logits(output, y, reduction="none")
        return (torch.where(y == 1, 0.5, 0.25) * (1 - torch.exp(-entropy)) ** 2 * entropy).mean() * 10

    doctor.task(model, data.few(rows.x, rows.y, 128, seed), focal, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 128, 500, seed):
            loss = focal(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    out = model(rows.held_x)[:, 0]
    yes = rows.held_y[:, 0] == 1
    return above((out[yes][:, None] > out[~yes]).float().mean(), 0.93)


@healthy(project="facebookresearch/mixup-cifar10", source="github.com/facebookresearch/mixup-cifar10")
def mixup_and_smoothing(doctor: Doctor, seed: int) -> Score:
    """Pictures and labels mixed in pairs, labels smoothed: the training loss stays high, above the held-out loss, as it must."""
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)
    body = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2))
    model = nn.Sequential(body, nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 64, 300, seed)):
            share, other = torch.rand(1, generator=generator).item(), torch.randperm(64, generator=generator)
            out = model(share * x + (1 - share) * x[other])
            criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
            loss = share * criterion(out, y) + (1 - share) * criterion(out, y[other])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 60 == 59:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
                model.train()
    model.eval()
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.96)


@healthy(project="hardmaru/pytorch_notebooks", source="github.com/hardmaru/pytorch_notebooks")
def mixture_density_of_an_inverse(doctor: Doctor, seed: int) -> Score:
    """A mixture density net for a relation with several answers; the negative log-likelihood falls below 0."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.rand(2500, 1, generator=generator) * 2 - 1
    x = 0.8 * torch.sin(4.5 * y) + 0.5 * y + 0.02 * torch.randn(2500, 1, generator=generator)
    rows = data.split(x, y, seed)
    model = nn.Sequential(nn.Linear(1, 48), nn.Tanh(), nn.Linear(48, 15))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

    def likelihood(output: Tensor, y: Tensor) -> Tensor:
        weight, mean, log_sigma = output.chunk(3, 1)
        each = -0.5 * ((y - mean) / log_sigma.exp()) ** 2 - log_sigma - 0.919
        return -torch.logsumexp(weight.log_softmax(1) + each, 1).mean()

    doctor.task(model, data.few(rows.x, rows.y, 100, seed), likelihood, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 100, 700, seed):
            loss = likelihood(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return below(likelihood(model(rows.held_x), rows.held_y), 0.2)  # a plain curve with noise gets 0.9


@healthy(project="fxia22/pointnet.pytorch", source="github.com/fxia22/pointnet.pytorch")
def clouds_of_points(doctor: Doctor, seed: int) -> Score:
    """Sets of points: the same small net for each, the maximum over the set, a class."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(3, (1000,), generator=generator)
    raw = torch.randn(1000, 40, 3, generator=generator)
    ball, shell = raw / raw.norm(dim=2, keepdim=True) * torch.rand(1000, 40, 1, generator=generator), F.normalize(raw, dim=2)
    x = torch.stack([ball, shell, shell * torch.tensor([1.0, 1.0, 0.1])], 1)[torch.arange(1000), y]
    rows = data.split(x + 0.05 * torch.randn(1000, 40, 3, generator=generator), y, seed)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.each = nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 64), nn.ReLU())
            self.all = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 3))

        def forward(self, x: Tensor) -> Tensor:
            return F.log_softmax(self.all(self.each(x).amax(1)), dim=1)

    model = Model()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=100, gamma=0.5)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.nll_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 32, 400, seed):
            loss = F.nll_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            watch.loss(loss)
    model.eval()
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


@healthy(project="apache/mxnet", source="github.com/apache/mxnet/issues/2042")
def counts_by_poisson(doctor: Doctor, seed: int) -> Score:
    """Counts with a log link and the Poisson loss, whose size says nothing by itself."""
    x, rate = data.teacher(2500, 10, 1, seed)
    counts = torch.poisson((0.8 * rate + 1).exp(), generator=torch.Generator().manual_seed(seed))
    rows = data.split(x, counts, seed)
    model = nn.Sequential(nn.Linear(10, 48), nn.ELU(), nn.Linear(48, 1))
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
    criterion = nn.PoissonNLLLoss(log_input=True)
    doctor.task(model, data.few(rows.x, rows.y, 50, seed), criterion, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 50, 800, seed):
            loss = criterion(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    plain = criterion(rows.y.mean().log().expand_as(rows.held_y), rows.held_y)
    return below(criterion(model(rows.held_x), rows.held_y) - plain, -0.8)


@healthy(project="L1aoXingyu/pytorch-beginner", source="github.com/L1aoXingyu/pytorch-beginner/tree/master/08-AutoEncoder")
def noise_taken_away(doctor: Doctor, seed: int) -> Score:
    """A convolutional autoencoder takes noise from digits; sigmoid output, transposed convolutions."""
    rows = data.digits(seed)
    encoder = nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU())
    decoder = nn.Sequential(nn.ConvTranspose2d(32, 16, 2, 2), nn.ReLU(), nn.ConvTranspose2d(16, 1, 2, 2), nn.Sigmoid())
    model = nn.Sequential(encoder, decoder)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, weight_decay=1e-5)
    noisy = (rows.x + 0.3 * torch.randn(rows.x.shape, generator=torch.Generator().manual_seed(seed))).clamp(0, 1)
    doctor.task(model, data.few(noisy, rows.x, 48, seed), F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, clean in data.batches(noisy, rows.x, 48, 500, seed):
            loss = F.mse_loss(model(x), clean)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    held = (rows.held_x + 0.3 * torch.randn_like(rows.held_x)).clamp(0, 1)
    return below(F.mse_loss(model(held), rows.held_x) / F.mse_loss(held, rows.held_x), 0.7)


@healthy(project="fastai/fastai", source="github.com/fastai/fastai")
def two_rates_and_an_average(doctor: Doctor, seed: int) -> Score:
    """A net trained on four digits is tuned to all ten: the body at a tenth of the head's rate; an average is kept."""
    rows = data.digits(seed)
    body = nn.Sequential(nn.Flatten(), nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU())
    head, some = nn.Linear(96, 4), rows.y < 4
    optimizer = torch.optim.Adam([*body.parameters(), *head.parameters()], lr=2e-3)
    for x, y in data.batches(rows.x[some], rows.y[some], 32, 150, seed):
        optimizer.zero_grad()
        F.cross_entropy(head(body(x)), y).backward()
        optimizer.step()
    model = nn.Sequential(body, nn.Linear(96, 10))
    average = copy.deepcopy(model)
    optimizer = torch.optim.AdamW([{"params": body.parameters(), "lr": 3e-4}, {"params": model[1].parameters(), "lr": 3e-3}])
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 64, 400, seed):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            with torch.no_grad():
                for slow, fast in zip(average.parameters(), model.parameters(), strict=True):
                    slow.lerp_(fast, 0.02)
    return above(data.accuracy(average(rows.held_x), rows.held_y), 0.9)


@healthy(project="yaringal/multi-task-learning-example", source="github.com/yaringal/multi-task-learning-example")
def tasks_weighed_by_their_noise(doctor: Doctor, seed: int) -> Score:
    """A class and a number from one body; two learned log variances weigh the terms, so the sum may fall below 0."""
    x, y = data.teacher(2000, 12, 4, seed)
    rows = data.split(x, torch.cat([y[:, :3].argmax(1, keepdim=True).float(), y[:, 3:]], 1), seed)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
            self.kind, self.size = nn.Linear(64, 3), nn.Linear(64, 1)
            self.log_vars = nn.Parameter(torch.zeros(2))

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            h = self.body(x)
            return self.kind(h), self.size(h)

    model = Model()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    def loss_fn(output: tuple[Tensor, Tensor], y: Tensor) -> Tensor:
        parts = torch.stack([F.cross_entropy(output[0], y[:, 0].long()), F.mse_loss(output[1], y[:, 1:])])
        return (parts * torch.exp(-model.log_vars) + model.log_vars / 2).sum()

    doctor.task(model, data.few(rows.x, rows.y, 50, seed), loss_fn, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 50, 600, seed):
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    kind, size = model(rows.held_x)
    return above(min(data.accuracy(kind, rows.held_y[:, 0]), data.r2(size, rows.held_y[:, 1:])), 0.75)
