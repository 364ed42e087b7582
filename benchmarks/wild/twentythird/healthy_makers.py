"""Healthy programs that make or act: few labels for many digits, a forger that is told what to forge, a walker with a critic."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Half(nn.Module):
    """A classifier, and a picture squeezed to eight numbers and back with the class beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.classify = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        self.encoder = nn.Sequential(nn.Linear(74, 64), nn.ReLU(), nn.Linear(64, 16))
        self.decoder = nn.Sequential(nn.Linear(18, 64), nn.ReLU(), nn.Linear(64, 64))

    def bound(self, x: Tensor, y: Tensor) -> Tensor:
        """How unlikely each picture is with each class given."""
        mean, spread = self.encoder(torch.cat([x, y], 1)).chunk(2, 1)
        z = mean + (0.5 * spread).exp() * torch.randn_like(mean)
        pixels = F.binary_cross_entropy_with_logits(self.decoder(torch.cat([z, y], 1)), x, reduction="none").sum(1)
        return pixels - 0.5 * (1 + spread - mean.pow(2) - spread.exp()).sum(1)


@healthy(project="wohlert/semi-supervised-pytorch", source="github.com/wohlert/semi-supervised-pytorch")
def one_digit_in_six_has_a_label(doctor: Doctor, seed: int) -> Score:
    """Digits of which a sixth has a label: for the others all ten classes are tried, each by its share."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    x, hot = rows.x.flatten(1), F.one_hot(rows.y, 10).float()
    known = len(x) // 6
    model = Half()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, betas=(0.9, 0.999))
    unlabelled = data.batches(x[known:], rows.y[known:], 32, 300, seed)
    labelled = data.batches(x[:known], hot[:known], 32, 300, seed)
    every = torch.eye(10)
    with doctor.watch(model, optimizer) as watch:
        for (a, y), (b, _) in zip(labelled, unlabelled, strict=True):
            said = model.classify(a)
            loss = model.bound(a, y).mean() + 30 * F.cross_entropy(said, y)
            share = model.classify(b).softmax(1)
            each = model.bound(b.repeat_interleave(10, 0), every.repeat(len(b), 1)).view(-1, 10)
            doubt = -(share * (share + 1e-8).log()).sum(1)
            loss = loss + ((share * each).sum(1) - doubt).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        return above(data.accuracy(model.classify(rows.held_x.flatten(1)), rows.held_y), 0.85)


@healthy(project="znxlwm/pytorch-MNIST-CelebA-cGAN-cDCGAN", source="github.com/znxlwm/pytorch-MNIST-CelebA-cGAN-cDCGAN")
def four_clouds_forged_to_order(doctor: Doctor, seed: int) -> Score:
    """Points of four clouds: forger and judge are both told which, the judge's labels are softened, and both rates fall."""
    torch.manual_seed(seed)
    middles = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    forger = nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 2))
    judge = nn.Sequential(nn.Linear(6, 48), nn.LeakyReLU(0.2), nn.Linear(48, 48), nn.LeakyReLU(0.2), nn.Linear(48, 1))
    g_optimizer = torch.optim.Adam(forger.parameters(), lr=1e-3, betas=(0.5, 0.999))
    d_optimizer = torch.optim.Adam(judge.parameters(), lr=1e-3, betas=(0.5, 0.999))
    falls = [torch.optim.lr_scheduler.StepLR(optimizer, 300, 0.5) for optimizer in (g_optimizer, d_optimizer)]
    bce = nn.BCEWithLogitsLoss()
    with doctor.watch(nn.ModuleDict({"generator": forger, "discriminator": judge}), [g_optimizer, d_optimizer]) as watch:
        for _ in range(900):
            kind = torch.randint(4, (64,))
            told = F.one_hot(kind, 4).float()
            real = middles[kind] + 0.2 * torch.randn(64, 2)
            fake = forger(torch.cat([torch.randn(64, 4), told], 1))
            true, false = judge(torch.cat([real, told], 1)), judge(torch.cat([fake.detach(), told], 1))
            d_loss = bce(true, torch.full_like(true, 0.9)) + bce(false, torch.zeros_like(false))
            d_optimizer.zero_grad()
            d_loss.backward()
            d_optimizer.step()
            said = judge(torch.cat([fake, told], 1))
            g_loss = bce(said, torch.ones_like(said))
            g_optimizer.zero_grad()
            g_loss.backward()
            g_optimizer.step()
            watch.loss(g_loss)
            for fall in falls:
                fall.step()
    with torch.no_grad():
        told = F.one_hot(torch.arange(4).repeat_interleave(200), 4).float()
        made = forger(torch.cat([torch.randn(800, 4), told], 1)).view(4, 200, 2).mean(1)
    return below((made - middles).norm(dim=1).mean(), 0.4)


class Walker(nn.Module):
    """Shares of four moves, and what the place is worth."""

    def __init__(self) -> None:
        super().__init__()
        self.policy = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 4))
        self.value = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.policy(x), self.value(x)[:, 0]


@healthy(project="Khrylx/PyTorch-RL", source="github.com/Khrylx/PyTorch-RL")
def a_walk_to_a_place_that_is_seen(doctor: Doctor, seed: int) -> Score:
    """Sixteen steps towards a place: what a move gained above what the critic foretold, by running sums, brought to size 1."""
    torch.manual_seed(seed)
    model = Walker()
    policy_optimizer = torch.optim.Adam(model.policy.parameters(), lr=4e-3)
    value_optimizer = torch.optim.Adam(model.value.parameters(), lr=4e-3)
    moves = torch.tensor([[0.2, 0.0], [-0.2, 0.0], [0.0, 0.2], [0.0, -0.2]])

    def walk(count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        at, goal = 2 * torch.rand(count, 2) - 1, 2 * torch.rand(count, 2) - 1
        seen, done, gained = [], [], []
        for _ in range(16):
            state = torch.cat([at, goal], 1)
            with torch.no_grad():
                action = torch.multinomial(model(state)[0].softmax(1), 1)[:, 0]
            after = at + moves[action]
            gained.append((at - goal).norm(dim=1) - (after - goal).norm(dim=1))
            seen.append(state)
            done.append(action)
            at = after
        return torch.stack(seen), torch.stack(done), torch.stack(gained), (at - goal).norm(dim=1)

    with doctor.watch(model, [policy_optimizer, value_optimizer]) as watch:
        for _ in range(180):
            states, actions, rewards, _ = walk(32)
            with torch.no_grad():
                values = model.value(states)[..., 0]
            advantage, sums = torch.zeros(32), []
            for t in range(15, -1, -1):
                ahead = values[t + 1] if t < 15 else torch.zeros(32)
                advantage = rewards[t] + 0.95 * ahead - values[t] + 0.95 * 0.9 * advantage
                sums.append(advantage)
            advantages = torch.stack(sums[::-1])
            returns = advantages + values
            advantages = (advantages - advantages.mean()) / advantages.std()
            logits, said = model(states.flatten(0, 1))
            value_loss = F.mse_loss(said, returns.flatten())
            value_optimizer.zero_grad()
            value_loss.backward()
            value_optimizer.step()
            chance = logits.log_softmax(1)
            policy_loss = -(chance.gather(1, actions.flatten()[:, None])[:, 0] * advantages.flatten()).mean()
            policy_loss = policy_loss + 0.01 * (chance.exp() * chance).sum(1).mean()
            policy_optimizer.zero_grad()
            policy_loss.backward()
            nn.utils.clip_grad_norm_(model.policy.parameters(), 40)
            policy_optimizer.step()
            watch.loss(policy_loss)
    return below(walk(300)[3].mean(), 0.45)
