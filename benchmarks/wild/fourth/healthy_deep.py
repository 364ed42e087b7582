"""Healthy programs: contrast, codes, games, meta-learning, adversaries, resuming."""

from __future__ import annotations

import copy

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="sthalles/SimCLR", source="github.com/sthalles/SimCLR")
def two_views_of_each_digit(doctor: Doctor, seed: int) -> Score:
    """NT-Xent of two noisy views; a batch of 64 makes 126 wrong answers for each right one. No labels at all."""
    rows = data.digits(seed)
    backbone = nn.Sequential(nn.Conv2d(1, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, 2), nn.ReLU(), nn.Flatten())
    model = nn.Sequential(backbone, nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 16)))
    optimizer = torch.optim.Adam(model.parameters(), 2e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=8, eta_min=0)

    def view(x: Tensor) -> Tensor:
        shift = [int(k) for k in torch.randint(-1, 2, (2,))]
        return x.roll(shift, (2, 3)) * (0.7 + 0.6 * torch.rand(len(x), 1, 1, 1)) + 0.1 * torch.randn_like(x)

    with doctor.watch(model, optimizer) as watch:
        for epoch in range(12):
            for x, _ in data.batches(rows.x, rows.y, 64, 21, seed + epoch):
                features = F.normalize(model(torch.cat([view(x), view(x)])), dim=1)
                same = features @ features.T / 0.2
                same = same.masked_fill(torch.eye(128, dtype=torch.bool), float("-inf"))
                loss = F.cross_entropy(same, (torch.arange(128) + 64) % 128)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                watch.loss(loss)
            if epoch >= 4:
                schedule.step()
    model.eval()
    with torch.no_grad():
        seen, new = F.normalize(backbone(rows.x), dim=1), F.normalize(backbone(rows.held_x), dim=1)
    return above((rows.y[(new @ seen.T).argmax(1)] == rows.held_y).float().mean(), 0.93)


class Quantised(nn.Module):
    """Digits as four codes of a book of 32; the gradient jumps over the choice of a code."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 24, 4, 2, 1), nn.ReLU(), nn.Conv2d(24, 8, 4, 2, 1))
        self.book = nn.Embedding(32, 8)
        nn.init.uniform_(self.book.weight, -1 / 32, 1 / 32)
        self.decoder = nn.Sequential(nn.ConvTranspose2d(8, 24, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(24, 1, 4, 2, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.encoder(x).permute(0, 2, 3, 1)
        flat = z.reshape(-1, 8)
        nearest = torch.cdist(flat, self.book.weight).argmin(1)
        q = self.book(nearest).view(z.shape)
        cost = F.mse_loss(q, z.detach()) + 0.25 * F.mse_loss(z, q.detach())
        return self.decoder((z + (q - z).detach()).permute(0, 3, 1, 2)), cost


@healthy(project="zalandoresearch/pytorch-vq-vae", source="github.com/zalandoresearch/pytorch-vq-vae")
def digits_from_a_book_of_codes(doctor: Doctor, seed: int) -> Score:
    """A VQ-VAE: straight-through gradient, two terms with a stop each, codes that rest while others are chosen."""
    rows = data.digits(seed)
    variance = rows.x.var()
    model = Quantised()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    with doctor.watch(model, optimizer) as watch:
        for x, _ in data.batches(rows.x, rows.y, 64, 500, seed):
            optimizer.zero_grad()
            recon, cost = model(x)
            loss = F.mse_loss(recon, x) / variance + cost
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    plain = F.mse_loss(rows.x.mean(0).expand_as(rows.held_x), rows.held_x)
    return below(F.mse_loss(model(rows.held_x)[0], rows.held_x) / plain, 0.6)


@healthy(project="sfujim/TD3", source="github.com/sfujim/TD3")
def arm_that_reaches(doctor: Doctor, seed: int) -> Score:
    """Actor, two critics, slow copies of all, two optimisers; the actor learns through a critic every second step."""
    generator = torch.Generator().manual_seed(seed)
    actor = nn.Sequential(nn.Linear(2, 48), nn.ReLU(), nn.Linear(48, 1), nn.Tanh())
    critics = nn.ModuleList(nn.Sequential(nn.Linear(3, 48), nn.ReLU(), nn.Linear(48, 1)) for _ in range(2))
    agent = nn.ModuleDict({"actor": actor, "critic": critics})
    slow = copy.deepcopy(agent).requires_grad_(requires_grad=False)
    actor_optimizer = torch.optim.Adam(actor.parameters(), lr=1e-3)
    critic_optimizer = torch.optim.Adam(critics.parameters(), lr=3e-3)
    state = torch.rand(4000, 2, generator=generator) * 2 - 1  # where the arm is, where it should be
    action = torch.rand(4000, 1, generator=generator) * 2 - 1
    after = torch.cat([(state[:, :1] + 0.5 * action).clamp(-1, 1), state[:, 1:]], 1)
    reward = -(after[:, :1] - after[:, 1:]).abs()
    with doctor.watch(agent, [actor_optimizer, critic_optimizer]) as watch:
        for step in range(700):
            rows = torch.randint(4000, (64,), generator=generator)
            s, a, r, s2 = state[rows], action[rows], reward[rows], after[rows]
            with torch.no_grad():
                a2 = (slow["actor"](s2) + (0.2 * torch.randn(64, 1)).clamp(-0.5, 0.5)).clamp(-1, 1)
                q1, q2 = (each(torch.cat([s2, a2], 1)) for each in slow["critic"].children())
                wanted = r + 0.8 * torch.minimum(q1, q2)
            loss = sum((F.mse_loss(each(torch.cat([s, a], 1)), wanted) for each in critics), torch.zeros(()))
            critic_optimizer.zero_grad()
            loss.backward()
            critic_optimizer.step()
            watch.loss(loss)
            if step % 2 == 0:
                actor_loss = -critics[0](torch.cat([s, actor(s)], 1)).mean()
                actor_optimizer.zero_grad()
                actor_loss.backward()
                actor_optimizer.step()
                for old, new in zip(slow.parameters(), agent.parameters(), strict=True):
                    old.data.lerp_(new.data, 0.02)
    s = torch.rand(500, 2, generator=generator) * 1.6 - 0.8
    for _ in range(5):
        s = torch.cat([(s[:, :1] + 0.5 * actor(s)).clamp(-1, 1), s[:, 1:]], 1)
    return below((s[:, 0] - s[:, 1]).abs().mean(), 0.12)


@healthy(project="dragen1860/MAML-Pytorch", source="github.com/dragen1860/MAML-Pytorch")
def waves_after_one_step(doctor: Doctor, seed: int) -> Score:
    """MAML on sine waves: the loss is that after a step of gradient descent, through whose gradient it is differentiated."""
    generator = torch.Generator().manual_seed(seed)
    net = nn.Sequential(nn.Linear(1, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 1))
    meta_optim = torch.optim.Adam(net.parameters(), lr=2e-3)

    def wave() -> tuple[Tensor, Tensor, Tensor, Tensor]:
        size, phase = 0.5 + 3 * torch.rand(1, generator=generator), 3.14 * torch.rand(1, generator=generator)
        x = torch.rand(20, 1, generator=generator) * 10 - 5
        y = size * torch.sin(x + phase)
        return x[:10], y[:10], x[10:], y[10:]

    def adapted(x: Tensor, y: Tensor, steps: int = 1) -> dict[str, Tensor]:
        fast: dict[str, Tensor] = dict(net.named_parameters())
        for _ in range(steps):
            loss = F.mse_loss(torch.func.functional_call(net, fast, (x,)), y)
            grads = torch.autograd.grad(loss, list(fast.values()), create_graph=True)
            fast = {name: each - 0.02 * grad for (name, each), grad in zip(fast.items(), grads, strict=True)}
        return fast

    with doctor.watch(net, meta_optim) as watch:
        for _ in range(400):
            losses = []
            for _ in range(4):
                x, y, new_x, new_y = wave()
                losses.append(F.mse_loss(torch.func.functional_call(net, adapted(x, y), (new_x,)), new_y))
            loss = torch.stack(losses).mean()
            meta_optim.zero_grad()
            loss.backward()
            meta_optim.step()
            watch.loss(loss)
    before, later = [], []
    for _ in range(60):
        x, y, new_x, new_y = wave()
        before.append(F.mse_loss(net(new_x), new_y).item())
        later.append(F.mse_loss(torch.func.functional_call(net, adapted(x, y, 3), (new_x,)), new_y).item())
    return below(sum(later) / sum(before), 0.6)


class Reverse(torch.autograd.Function):
    """The same forward, the opposite backward."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, alpha: float) -> Tensor:
        ctx.alpha = alpha  # type: ignore[attr-defined]
        return x.view_as(x)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor, None]:
        return -ctx.alpha * grad, None  # type: ignore[attr-defined]


class Dann(nn.Module):
    """Features, a class from them, and the domain, which they should not show."""

    def __init__(self) -> None:
        super().__init__()
        self.feature = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU())
        self.class_classifier = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10), nn.LogSoftmax(1))
        self.domain_classifier = nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 2), nn.LogSoftmax(1))

    def forward(self, x: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
        feature = self.feature(x)
        return self.class_classifier(feature), self.domain_classifier(Reverse.apply(feature, alpha))


@healthy(project="fungtion/DANN", source="github.com/fungtion/DANN")
def digits_on_another_ground(doctor: Doctor, seed: int) -> Score:
    """Domain-adversarial training with a reversed gradient: the domain's loss should stay near ln 2."""
    rows = data.digits(seed)
    ground = 0.5 * torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    model = Dann()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    nll = nn.NLLLoss()
    target = iter(data.batches(rows.x * 0.8 + ground, rows.y, 48, 400, seed + 7))
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 48, 400, seed)):
            alpha = 2 / (1 + 2.718 ** (-10 * step / 400)) - 1
            optimizer.zero_grad()
            label, domain = model(x, alpha)
            _, other = model(next(target)[0], alpha)
            loss = nll(label, y) + nll(domain, torch.zeros(48).long()) + nll(other, torch.ones(48).long())
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    return above(data.accuracy(model(rows.held_x * 0.8 + ground, 0)[0], rows.held_y), 0.75)


@healthy(project="pytorch/tutorials", source="pytorch.org/tutorials/recipes/recipes/saving_and_loading_a_general_checkpoint.html")
def training_taken_up_again(doctor: Doctor, seed: int) -> Score:
    """A checkpoint holds weights, moments and the schedule; what is watched is the second half of the run."""
    rows = data.digits(seed)

    def build() -> tuple[nn.Sequential, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        net = nn.Sequential(nn.Conv2d(1, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3), nn.Linear(576, 10))
        adam = torch.optim.AdamW(net.parameters(), lr=2e-3)
        return net, adam, torch.optim.lr_scheduler.CosineAnnealingLR(adam, 400)

    model, optimizer, schedule = build()
    for x, y in data.batches(rows.x, rows.y, 40, 200, seed):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        schedule.step()
    saved = copy.deepcopy((model.state_dict(), optimizer.state_dict(), schedule.state_dict()))
    model, optimizer, schedule = build()
    for each, state in zip((model, optimizer, schedule), saved, strict=True):
        each.load_state_dict(state)  # type: ignore[attr-defined]
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 40, 200, seed + 1)):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            watch.loss(loss)
            if step % 33 == 32:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
                model.train()
    model.eval()
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.95)
