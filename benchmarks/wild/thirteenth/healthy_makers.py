"""Healthy programs that make or describe: clouds carried, many draws for a digit, curves from few points, rare words."""

from __future__ import annotations

import math

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="jeanfeydy/geomloss", source="github.com/jeanfeydy/geomloss")
def a_cloud_carried_to_another(doctor: Doctor, seed: int) -> Score:
    """A net makes points from noise; its loss is the cost of carrying them to the data, less what each cloud costs itself."""
    generator = torch.Generator().manual_seed(seed)

    def ring(count: int) -> Tensor:
        angle = 2 * torch.pi * torch.rand(count, 1, generator=generator)
        return torch.cat([angle.cos(), angle.sin()], 1) * (1 + 0.05 * torch.randn(count, 1, generator=generator))

    def carry(a: Tensor, b: Tensor, blur: float = 0.1) -> Tensor:
        """Entropic transport of equal weights, by its dual after 20 turns."""
        cost = torch.cdist(a, b).pow(2) / 2
        even, f, g = -math.log(len(a)), torch.zeros(len(a)), torch.zeros(len(b))
        with torch.no_grad():
            for _ in range(20):
                f = -blur * ((g - cost) / blur + even).logsumexp(1)
                g = -blur * ((f[:, None] - cost) / blur + even).logsumexp(0)
        f = -blur * ((g - cost) / blur + even).logsumexp(1)
        g = -blur * ((f.detach()[:, None] - cost) / blur + even).logsumexp(0)
        return f.mean() + g.mean()

    model = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(300):
            true, made = ring(96), model(torch.randn(96, 4, generator=generator))
            loss = carry(made, true) - carry(made, made) / 2 - carry(true, true) / 2
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        made, true = model(torch.randn(500, 4, generator=generator)), ring(500)
        apart = 2 * torch.cdist(made, true).mean() - torch.cdist(made, made).mean() - torch.cdist(true, true).mean()
    return below(apart, 0.05)


@healthy(
    project="xqding/Importance_Weighted_Autoencoders",
    source="github.com/xqding/Importance_Weighted_Autoencoders",
)
def eight_draws_weighed_for_each_digit(doctor: Doctor, seed: int) -> Score:
    """The logarithm of a mean of eight weights, in place of the usual bound; the loss is a sum over pixels, near 20."""
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)
    x, held = ((each.flatten(1) > 0.5).float() for each in (rows.x, rows.held_x))

    class Weighed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encode = nn.Sequential(nn.Linear(64, 96), nn.Tanh(), nn.Linear(96, 16))
            self.decode = nn.Sequential(nn.Linear(8, 96), nn.Tanh(), nn.Linear(96, 64))

        def forward(self, a: Tensor) -> Tensor:
            """The bound of each row."""
            mean, spread = self.encode(a).chunk(2, 1)
            noise = torch.randn(8, len(a), 8, generator=generator)
            z = mean + spread.exp() * noise
            seen = -F.binary_cross_entropy_with_logits(self.decode(z), a.expand(8, -1, -1), reduction="none").sum(2)
            weight = seen + (-0.5 * z.pow(2) + 0.5 * noise.pow(2) + spread).sum(2)
            return weight.logsumexp(0) - math.log(8)

    model = Weighed()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, eps=1e-4)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, _) in enumerate(data.batches(x, rows.y, 48, 700, seed)):
            loss = -model(a).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 100 == 99:
                with torch.no_grad():
                    watch.dev_loss(-model(held).mean())
    with torch.no_grad():
        return below(-model(held).mean(), 21.5)


@healthy(project="EmilienDupont/neural-processes", source="github.com/EmilienDupont/neural-processes")
def curves_told_from_a_few_points(doctor: Doctor, seed: int) -> Score:
    """From a handful of points of a new curve, mean and spread everywhere else; the loss is a density and falls below 0."""
    generator = torch.Generator().manual_seed(seed)

    def curves(count: int) -> tuple[Tensor, Tensor]:
        x = 4 * torch.rand(count, 24, 1, generator=generator) - 2
        high, phase = torch.rand(2, count, 1, 1, generator=generator)
        return x, (0.5 + high) * torch.sin(2 * x + 6.3 * phase)

    class Process(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encode = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 48))
            self.decode = nn.Sequential(nn.Linear(49, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))

        def forward(self, x: Tensor, y: Tensor, asked: Tensor) -> tuple[Tensor, Tensor]:
            known = self.encode(torch.cat([x, y], 2)).mean(1, keepdim=True).expand(-1, asked.shape[1], -1)
            mean, spread = self.decode(torch.cat([known, asked], 2)).chunk(2, 2)
            return mean, 0.05 + 0.95 * F.softplus(spread)

    model = Process()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(900):
            x, y = curves(24)
            few = int(torch.randint(3, 12, (1,), generator=generator))
            mean, spread = model(x[:, :few], y[:, :few], x)
            loss = -torch.distributions.Normal(mean, spread).log_prob(y).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    x, y = curves(300)
    with torch.no_grad():
        return below((model(x[:, :10], y[:, :10], x[:, 10:])[0] - y[:, 10:]).abs().mean(), 0.2)


@healthy(project="rosinality/adaptive-softmax-pytorch", source="github.com/rosinality/adaptive-softmax-pytorch")
def rare_words_behind_two_doors(doctor: Doctor, seed: int) -> Score:
    """Two hundred words of which most are rare: the rare ones stand in two groups with small heads of their own."""
    generator = torch.Generator().manual_seed(seed)
    chance = 1 / (1 + torch.arange(200.0))
    follow = torch.multinomial(chance, 200, replacement=True, generator=generator)

    def walks(count: int) -> Tensor:
        word = torch.multinomial(chance, count, replacement=True, generator=generator)
        said = [word]
        for _ in range(11):
            jump = torch.multinomial(chance, count, replacement=True, generator=generator)
            word = torch.where(torch.rand(count, generator=generator) < 0.8, follow[word], jump)
            said.append(word)
        return torch.stack(said, 1)

    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.rnn = nn.Embedding(200, 32), nn.GRU(32, 48, batch_first=True)
            self.head = nn.AdaptiveLogSoftmaxWithLoss(48, 200, cutoffs=[10, 50], div_value=2.0)

        def forward(self, x: Tensor) -> Tensor:
            return self.rnn(self.embed(x))[0].flatten(0, 1)

    model = Words()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(450):
            x = walks(48)
            loss = model.head(model(x[:, :-1]), x[:, 1:].flatten()).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    x = walks(400)
    with torch.no_grad():
        return above((model.head.predict(model(x[:, :-1])) == x[:, 1:].flatten()).float().mean(), 0.72)


@healthy(
    project="bayesgroup/variational-dropout-sparsifies-dnn",
    source="github.com/bayesgroup/variational-dropout-sparsifies-dnn",
)
def weights_drowned_in_their_own_noise(doctor: Doctor, seed: int) -> Score:
    """Each weight has noise of its own that is paid for; most come to be noise only and are set to 0, and little is lost."""
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)
    x, held = rows.x.flatten(1), rows.held_x.flatten(1)

    class Noisy(nn.Module):
        def __init__(self, into: int, out: int) -> None:
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.randn(out, into) / into**0.5), nn.Parameter(torch.zeros(out))
            self.spread = nn.Parameter(torch.full((out, into), -5.0))

        def noise(self) -> Tensor:
            """The logarithm of the noise's share of each weight."""
            return (2 * self.spread - (self.weight.pow(2) + 1e-12).log()).clamp(-10, 10)

        def price(self) -> Tensor:
            share = self.noise()
            return (0.5 * (-share).exp().log1p() + 0.63576 - 0.63576 * torch.sigmoid(1.87320 + 1.48695 * share)).sum()

        def forward(self, a: Tensor) -> Tensor:
            if not self.training:
                return F.linear(a, self.weight * (self.noise() < 3), self.bias)
            mean = F.linear(a, self.weight, self.bias)
            spread = F.linear(a.pow(2), (2 * self.spread).exp()) + 1e-8
            return mean + spread.sqrt() * torch.randn(mean.shape, generator=generator)

    model = nn.Sequential(Noisy(64, 80), nn.ReLU(), Noisy(80, 10))
    layers = [layer for layer in model if isinstance(layer, Noisy)]
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(x, rows.y, 64, 1400, seed)):
            price = sum((layer.price() for layer in layers), torch.zeros(())) / len(x)
            loss = F.cross_entropy(model(a), b) + min(1.0, step / 600) * price
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        gone = torch.cat([(layer.noise() >= 3).flatten() for layer in layers]).float().mean()
        right = data.accuracy(model(held), rows.held_y)
    return above(right if gone > 0.3 else 0.0, 0.9)
