"""Healthy models of the kinds that tutorials show, in plain PyTorch."""

from __future__ import annotations

from typing import Any

import torch
from benchmarks.checkup.data import pictures, short_texts, table, texts, waves
from benchmarks.checkup.healthy import F, Made, adamw, model, next_token, sgd
from torch import Tensor, nn


@model("multi-layer perceptron with batch norm and dropout")
def _() -> Made:
    net = nn.Sequential(nn.Linear(16, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 4))
    return net, table(), F.cross_entropy, adamw(net)


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase], *, bidirectional: bool = False) -> None:
        super().__init__()
        self.rnn = kind(4, 24, batch_first=True, bidirectional=bidirectional)
        self.out = nn.Linear(48 if bidirectional else 24, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.rnn(x)[0].mean(1))


@model("LSTM, classes of waves")
def _() -> Made:
    net = Recurrent(nn.LSTM)
    return net, waves(), F.cross_entropy, adamw(net, 3e-3)


@model("GRU in both directions, classes of waves")
def _() -> Made:
    net = Recurrent(nn.GRU, bidirectional=True)
    return net, waves(), F.cross_entropy, adamw(net, 3e-3)


class Words(nn.Module):
    """Time first, as the word language model among PyTorch's examples."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.drop, self.rnn, self.out = (
            nn.Embedding(41, 24),
            nn.Dropout(0.2),
            nn.LSTM(24, 24, 2, dropout=0.2),
            nn.Linear(24, 41),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.drop(self.rnn(self.drop(self.embed(x)))[0]))


@model("LSTM language model, time first")
def _() -> Made:
    net = Words()
    return net, [(x.T[:-1], x.T[1:]) for x in texts(rows=10)], next_token, adamw(net, 3e-3)


class Carried(nn.Module):
    """Its state is kept from batch to batch, without its graph."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.rnn, self.out = nn.Embedding(41, 24), nn.GRU(24, 24, batch_first=True), nn.Linear(24, 41)
        self.state: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        state = self.state if self.state is not None and self.state.shape[1] == len(x) else None
        h, last = self.rnn(self.embed(x), state)
        self.state = last.detach()
        return self.out(h)


@model("GRU language model that carries its state")
def _() -> Made:
    net = Carried()
    return net, [(x[:, :-1], x[:, 1:]) for x in texts()], next_token, adamw(net, 3e-3)


class Packed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.rnn, self.out = nn.Embedding(41, 24, padding_idx=0), nn.LSTM(24, 24, batch_first=True), nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        lengths = (x != 0).sum(1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(self.embed(x), lengths, batch_first=True, enforce_sorted=False)
        return self.out(self.rnn(packed)[1][0][-1])


@model("LSTM over packed texts")
def _() -> Made:
    net = Packed()
    return net, [(x, y) for x, _, y in short_texts()], F.cross_entropy, adamw(net, 3e-3)


class TextCNN(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(41, 24, padding_idx=0)
        self.convs = nn.ModuleList(nn.Conv1d(24, 16, k, padding=k // 2) for k in (2, 3, 4))
        self.out = nn.Linear(48, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x).transpose(1, 2)
        return self.out(torch.cat([torch.relu(conv(h)).amax(2) for conv in self.convs], 1))


@model("convolutions over padded texts")
def _() -> Made:
    net = TextCNN()
    return net, [(x, y) for x, _, y in short_texts()], F.cross_entropy, adamw(net, 3e-3)


class Seq2Seq(nn.Module):
    """nn.Transformer as its tutorial has it: time first, both masks."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(41, 32), nn.Parameter(torch.randn(20, 1, 32) * 0.1)
        self.body = nn.Transformer(32, 4, 1, 1, 64, dropout=0.1)
        self.out = nn.Linear(32, 41)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(len(target))
        pads = (source == 0).T
        source, target = self.embed(source) + self.place[: len(source)], self.embed(target) + self.place[: len(target)]
        return self.out(self.body(source, target, tgt_mask=mask, src_key_padding_mask=pads, memory_key_padding_mask=pads))


@model("nn.Transformer, time first, two sequences")
def _() -> Made:
    net = Seq2Seq()
    batches = [((x.T, torch.cat([torch.full((1, len(x)), 1), x.flip(1).T[:-1]])), x.flip(1).T) for x in texts(length=12)]
    return net, batches, next_token, adamw(net)


class Convolved(nn.Module):
    """A causal convolution over tokens, as WaveNet has it."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(41, 24)
        self.convs = nn.ModuleList(nn.Conv1d(24, 24, 2, dilation=d) for d in (1, 2, 4))
        self.out = nn.Linear(24, 41)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x).transpose(1, 2)
        for conv in self.convs:
            h = h + torch.relu(conv(F.pad(h, (conv.dilation[0], 0))))
        return self.out(h.transpose(1, 2))


@model("causal convolutions over tokens")
def _() -> Made:
    net = Convolved()
    return net, [(x[:, :-1], x[:, 1:]) for x in texts()], next_token, adamw(net, 3e-3)


class VAE(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = (
            nn.Sequential(nn.Linear(256, 64), nn.ReLU()),
            nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 256)),
        )
        self.mean, self.log_variance = nn.Linear(64, 8), nn.Linear(64, 8)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = self.encode(x.flatten(1))
        mean, log_variance = self.mean(h), self.log_variance(h)
        z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        return self.decode(z), mean, log_variance


def evidence_bound(out: tuple[Tensor, Tensor, Tensor], x: Tensor) -> Tensor:
    decoded, mean, log_variance = out
    rebuilt = F.binary_cross_entropy_with_logits(decoded, x.flatten(1), reduction="sum")
    return (rebuilt - 0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum()) / len(x)


@model("variational autoencoder")
def _() -> Made:
    net = VAE()
    return net, [((0.3 * x + 0.5).clamp(0, 1),) * 2 for x, _ in pictures(16, 1)], evidence_bound, adamw(net)


@model("autoencoder")
def _() -> Made:
    net = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.ConvTranspose2d(8, 1, 4, 2, 1))
    return net, [(x, x) for x, _ in pictures(16, 1)], F.mse_loss, adamw(net, 3e-3)


class Denoiser(nn.Module):
    """A toy diffusion model: it draws time and noise itself and returns its loss."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(17, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 16))
        nn.init.zeros_(self.net[-1].weight)

    def forward(self, x: Tensor) -> Tensor:
        t, noise = torch.rand(len(x), 1), torch.randn_like(x)
        noisy = (1 - t).sqrt() * x + t.sqrt() * noise
        return F.mse_loss(self.net(torch.cat([noisy, t], 1)), noise)


@model("diffusion, its loss inside")
def _() -> Made:
    net = Denoiser()
    return net, [x for x, _ in table()], lambda model, batch: model(batch), adamw(net)


def _generator() -> nn.Module:
    return nn.Sequential(
        nn.ConvTranspose2d(16, 32, 4, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
        nn.ConvTranspose2d(32, 16, 4, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.ConvTranspose2d(16, 1, 4, 2, 1), nn.Tanh(),
    )  # fmt: skip


def _critic() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(16, 32, 4, 2, 1, bias=False), nn.BatchNorm2d(32),
        nn.LeakyReLU(0.2), nn.Conv2d(32, 1, 4), nn.Flatten(0),
    )  # fmt: skip


@model("GAN, generator's step")
def _() -> Made:
    net, critic = _generator(), _critic()
    g = torch.Generator().manual_seed(9)
    batches = [torch.randn(8, 16, 1, 1, generator=g) for _ in range(12)]

    def loss(model: nn.Module, z: Tensor) -> Tensor:
        answers = critic(model(z))
        return F.binary_cross_entropy_with_logits(answers, torch.ones_like(answers))

    return net, batches, loss, torch.optim.Adam(net.parameters(), 2e-4, (0.5, 0.999))


@model("GAN, discriminator's step")
def _() -> Made:
    net, maker = _critic(), _generator()
    g = torch.Generator().manual_seed(10)
    batches = [(x, torch.randn(len(x), 16, 1, 1, generator=g)) for x, _ in pictures(16, 1)]

    def loss(model: nn.Module, batch: Any) -> Tensor:
        real, fake = model(batch[0]), model(maker(batch[1]).detach())
        right = F.binary_cross_entropy_with_logits(real, torch.ones_like(real))
        return right + F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))

    return net, batches, loss, torch.optim.Adam(net.parameters(), 2e-4, (0.5, 0.999))


@model("contrastive pictures, two views")
def _() -> Made:
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, 2), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 16)
    )
    batches = [
        (x, x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(i))) for i, (x, _) in enumerate(pictures(24))
    ]

    def loss(model: nn.Module, views: Any) -> Tensor:
        a, b = F.normalize(model(views[0]), dim=1), F.normalize(model(views[1]), dim=1)
        return F.cross_entropy(a @ b.T / 0.2, torch.arange(len(a)))

    return net, batches, loss, adamw(net)


class Siamese(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tower = nn.Sequential(nn.Conv2d(3, 16, 3, 2), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.out = nn.Linear(64, 1)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.out((self.tower(a) - self.tower(b)).abs()).squeeze(1)


@model("twins that compare pictures")
def _() -> Made:
    net = Siamese()
    batches = [((x, x.roll(1, 0)), (y == y.roll(1)).float()) for x, y in pictures(24, classes=3)]
    return net, batches, F.binary_cross_entropy_with_logits, adamw(net)


class Factors(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.users, self.items, self.bias = nn.Embedding(30, 8), nn.Embedding(40, 8), nn.Embedding(40, 1)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return (self.users(user) * self.items(item)).sum(1) + self.bias(item).squeeze(1)


@model("matrix factors")
def _() -> Made:
    g = torch.Generator().manual_seed(11)
    u, v = torch.randn(30, 3, generator=g), torch.randn(40, 3, generator=g)
    net = Factors()
    batches = []
    for _ in range(12):
        user, item = torch.randint(30, (32,), generator=g), torch.randint(40, (32,), generator=g)
        batches.append(((user, item), (u[user] * v[item]).sum(1)))
    return net, batches, F.mse_loss, adamw(net, 1e-2)


class SetNet(nn.Module):
    """Points of a set (B, N, 3) look at each other."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.attend, self.out = nn.Linear(3, 32), nn.MultiheadAttention(32, 4, batch_first=True), nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.inside(x))
        return self.out(self.attend(h, h, h)[0].mean(1))


@model("attention over sets of points")
def _() -> Made:
    g = torch.Generator().manual_seed(12)
    net = SetNet()
    batches = []
    for _ in range(12):
        y = torch.randint(2, (16,), generator=g)
        batches.append((torch.randn(16, 20, 3, generator=g) * (1 + y[:, None, None]), y))
    return net, batches, F.cross_entropy, adamw(net, 3e-3)


@model("full-batch graph convolution, dense")
def _() -> Made:
    class Dense(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(12, 16), nn.Linear(16, 3)

        def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
            return adjacency @ self.b(torch.relu(adjacency @ self.a(x)))

    g = torch.Generator().manual_seed(7)
    y = torch.randint(3, (40,), generator=g)
    adjacency = ((y[:, None] == y[None]) & (torch.rand(40, 40, generator=g) < 0.3)).float() + torch.eye(40)
    x = torch.randn(40, 12, generator=g)
    x[torch.arange(40), y] += 1.0
    net = Dense()
    return net, [((x, adjacency / adjacency.sum(1, keepdim=True)), y)] * 3, F.cross_entropy, adamw(net, 1e-2)


@model("regression by LBFGS")
def _() -> Made:
    net = nn.Sequential(nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 1))
    return (
        net,
        [(x, x[:, :1] * x[:, 1:2]) for x, _ in table(rows=64)],
        F.mse_loss,
        torch.optim.LBFGS(net.parameters(), lr=0.5, max_iter=5),
    )


@model("deep Q-learning step, target network inside")
def _() -> Made:
    class Agent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.online = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2))
            self.target = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2))
            self.target.load_state_dict(self.online.state_dict())
            self.target.requires_grad_(requires_grad=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.online(x)

    net = Agent()
    g = torch.Generator().manual_seed(13)
    batches = []
    for _ in range(12):
        s = torch.randn(32, 4, generator=g)
        a = torch.randint(2, (32,), generator=g)
        batches.append((s, a, s[:, 0] * (2 * a - 1), 0.9 * s + 0.1 * torch.randn(32, 4, generator=g)))

    def loss(model: Any, batch: Any) -> Tensor:
        s, a, r, then = batch
        best = model.target(then).amax(1)
        return F.smooth_l1_loss(model(s).gather(1, a[:, None]).squeeze(1), r + 0.9 * best)

    return net, batches, loss, torch.optim.Adam(net.online.parameters(), 1e-3)


class Quantised(nn.Module):
    """Vector quantisation with a straight-through gradient and a codebook loss."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.codes, self.decode = nn.Linear(16, 8), nn.Embedding(12, 8), nn.Linear(8, 16)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.encode(x)
        nearest = self.codes(torch.cdist(z, self.codes.weight).argmin(1))
        commit = F.mse_loss(nearest, z.detach()) + 0.25 * F.mse_loss(z, nearest.detach())
        return self.decode(z + (nearest - z).detach()), commit


@model("vector-quantised autoencoder")
def _() -> Made:
    net = Quantised()
    return net, [(x, x) for x, _ in table()], lambda out, x: F.mse_loss(out[0], x) + out[1], adamw(net, 3e-3)


@model("experts chosen by a gate")
def _() -> Made:
    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate = nn.Linear(16, 4)
            self.experts = nn.ModuleList(nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4)) for _ in range(4))

        def forward(self, x: Tensor) -> Tensor:
            weights, chosen = self.gate(x).softmax(1).max(1)
            out = torch.zeros(len(x), 4, dtype=x.dtype)
            for number, expert in enumerate(self.experts):
                mine = chosen == number
                if mine.any():
                    out[mine] = weights[mine, None] * expert(x[mine])
            return out

    net = Experts()
    return net, table(), F.cross_entropy, adamw(net, 3e-3)


@model("fine-tuning with a frozen trained body")
def _() -> Made:
    body = nn.Sequential(nn.Conv2d(3, 16, 3, 2), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    net = nn.Sequential(body, nn.Linear(64, 10))
    optimizer = adamw(net, 1e-2)
    for _ in range(4):
        for x, y in pictures(24, rows=16):
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
    body.requires_grad_(requires_grad=False)
    body.eval()
    net[1].reset_parameters()
    return net, pictures(24), F.cross_entropy, sgd(net[1], 0.05)
