"""Faults of scale: a critic that sees metres, returns in hundreds, weights of one, dead units, a divergence that drowns all."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="input-scale",
    where="critic",
    also=("activation-scale", "saturation"),
    project="Unity-Technologies/ml-agents",
    source="github.com/Unity-Technologies/ml-agents/issues/5583",
)
def the_critic_sees_metres_and_radians(doctor: Doctor, seed: int, cured: bool) -> Score:
    """What is seen runs to 1000 metres and to 1 radian: the actor standardises it, the critic was moved and does not."""
    generator = torch.Generator().manual_seed(seed)
    wide = torch.tensor([500.0, 0.5])

    class Net(nn.Module):
        """Tanh layers behind a running mean and spread, if they are kept up."""

        def __init__(self, out: int, even: bool) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(2, affine=False) if even else nn.Identity()
            self.net = nn.Sequential(nn.Linear(2, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, out))

        def forward(self, seen: Tensor) -> Tensor:
            return self.net(self.norm(seen))

    model = nn.ModuleDict({"actor": Net(3, even=True), "critic": Net(1, even=cured)})
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    def play(steps: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """States, moves, their log-probabilities, returns: 48 boats turn towards a buoy."""
        state = (torch.rand(48, 2, generator=generator) * 2 - 1) * wide
        seen, done, logs, paid = [], [], [], []
        with torch.no_grad():
            for _ in range(steps):
                log = model["actor"](state).log_softmax(1)
                move = torch.multinomial(log.exp(), 1, generator=generator)
                seen.append(state)
                done.append(move)
                logs.append(log.gather(1, move))
                push = torch.cat([120.0 * (move - 1), 0.15 * (move - 1).float()], 1)
                state = torch.maximum(torch.minimum(state + push, wide), -wide)
                paid.append(1 - 2 * ((state / wide).abs() * torch.tensor([0.3, 0.7])).sum(1, keepdim=True))
        total, kept = torch.zeros(48, 1), []
        for pay in reversed(paid):
            total = pay + 0.8 * total
            kept.append(total)
        return torch.cat(seen), torch.cat(done), torch.cat(logs), torch.cat(kept[::-1])

    with doctor.watch(model, optimizer) as watch:
        for _ in range(50):
            state, move, old, returns = play(12)
            with torch.no_grad():
                better = returns - model["critic"](state)
                better = (better - better.mean()) / better.std()
            for at in torch.randperm(len(state), generator=generator).split(96):
                ratio = (model["actor"](state[at]).log_softmax(1).gather(1, move[at]) - old[at]).exp()
                gain = torch.minimum(ratio * better[at], ratio.clamp(0.8, 1.2) * better[at]).mean()
                loss = 0.5 * F.mse_loss(model["critic"](state[at]), returns[at]) - gain
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                watch.loss(loss)
    starts = [play(12) for _ in range(8)]
    state, returns = (torch.cat([each[k][:48] for each in starts]) for k in (0, 3))
    model.eval()
    with torch.no_grad():
        return above(data.r2(model["critic"](state), returns), 0.3)


@fault(
    kind="target-scale",
    also=("gradient-scale", "initial-loss"),
    project="openai/baselines",
    source="github.com/openai/baselines/issues/362",
)
def returns_in_thousands_beside_a_policy(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Actor and critic share a body; a step costs up to thousands, and the error of returns drowns all else."""
    generator = torch.Generator().manual_seed(seed)

    class ActorCritic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(2, 64), nn.Tanh())
            self.actor, self.critic = nn.Linear(64, 3), nn.Linear(64, 1)

        def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
            h = self.body(state)
            return self.actor(h).log_softmax(1), self.critic(h)

    model = ActorCritic()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=7e-4, eps=1e-5)

    def play() -> tuple[Tensor, Tensor, Tensor]:
        """States, moves and returns of 32 carts that are to come to rest in the middle."""
        state = torch.rand(32, 2, generator=generator) * 2 - 1
        seen, done, paid = [], [], []
        for _ in range(20):
            with torch.no_grad():
                move = torch.multinomial(model(state)[0].exp(), 1, generator=generator)
            seen.append(state)
            done.append(move)
            speed = (state[:, 1:] + 0.3 * (move - 1)).clamp(-1, 1)
            state = torch.cat([(state[:, :1] + 0.3 * speed).clamp(-2, 2), speed], 1)
            paid.append(-1000 * state[:, :1].abs())
        total, kept = torch.zeros(32, 1), []
        for pay in reversed(paid):
            total = pay + 0.9 * total
            kept.append(total)
        return torch.cat(seen), torch.cat(done), torch.cat(kept[::-1])

    with doctor.watch(model, optimizer) as watch:
        for _ in range(300):
            state, move, returns = play()
            if cured:
                returns = (returns + 4000) / 2000
            log, value = model(state)
            gain = (returns - value).detach()
            loss = -(log.gather(1, move) * gain).mean() + 0.5 * F.mse_loss(value, returns)
            loss = loss + 0.01 * (log.exp() * log).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            watch.loss(loss)
    state = play()[0].view(20, 32, 2)
    return above(-state[10:, :, 0].abs().mean(), -0.155)


@fault(
    kind="activation-scale",
    also=("dead-units", "learning-rate-too-high", "initial-loss", "gradient-scale", "non-finite"),
    project="MichalDanielDobrzanski/DeepLearningPython",
    source="github.com/MichalDanielDobrzanski/DeepLearningPython/issues/13",
)
def relus_with_the_weights_of_sigmoids(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A net from a book with sigmoids is given ReLUs instead; its weights stay draws of spread 1 and its rate stays 3."""
    rows = data.digits(seed)
    rows = rows._replace(x=rows.x.flatten(1), held_x=rows.held_x.flatten(1))
    model = nn.Sequential(nn.Linear(64, 30), nn.ReLU(), nn.Linear(30, 10))
    for layer in model:
        if isinstance(layer, nn.Linear):
            for w in (layer.weight, layer.bias):
                nn.init.normal_(w, 0, 0.1 if cured else 1.0)

    def loss_fn(said: Tensor, y: Tensor) -> Tensor:
        return 0.5 * (said - F.one_hot(y, 10)).pow(2).sum(1).mean()

    optimizer = torch.optim.SGD(model.parameters(), lr=0.05 if cured else 3.0)
    doctor.task(model, data.few(rows.x, rows.y, 10, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 10, 800, seed), rows, every=100)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)


@fault(
    kind="dead-units",
    also=("learning-rate-too-high",),
    project="discuss.pytorch.org",
    source="discuss.pytorch.org/t/cross-entropy-loss-is-not-decreasing/43814",
)
def all_weights_below_nought_before_a_relu(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Ten kinds by a small convolutional net: at this rate most weights end below 0, every ReLU is shut, the loss is 2.30."""
    rows = data.digits(seed)
    conv = [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    model = nn.Sequential(*conv, nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3 if cured else 0.15)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 32, 450, seed), rows)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)


@fault(
    kind="collapsed-kl",
    project="SeldonIO/alibi-detect",
    source="github.com/SeldonIO/alibi-detect/issues/90",
)
def a_divergence_summed_beside_a_mean(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits through a code: the error is a mean over rows and pixels, the divergence a sum over rows and codes."""
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)
    x, held = rows.x.flatten(1), rows.held_x.flatten(1)

    class Code(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encode = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 16))
            self.decode = nn.Sequential(nn.Linear(8, 96), nn.ReLU(), nn.Linear(96, 64), nn.Sigmoid())

        def forward(self, a: Tensor) -> tuple[Tensor, Tensor]:
            mean, spread = self.encode(a).chunk(2, 1)
            code = mean + (0.5 * spread).exp() * torch.randn(mean.shape, generator=generator)
            return self.decode(code), -0.5 * (1 + spread - mean.pow(2) - spread.exp())

    model = Code()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    with doctor.watch(model, optimizer) as watch:
        for a, _ in data.batches(x, rows.y, 64, 700, seed):
            said, divergence = model(a)
            loss = F.mse_loss(said, a) + (0.02 * divergence.sum(1).mean() / 64 if cured else divergence.sum())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return above(data.r2(model(held)[0], held), 0.4)
