"""Healthy programs: language, generation, contrast, games."""

from __future__ import annotations

import copy
import math

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Speaker(nn.Module):
    """Letters, an LSTM, letters."""

    def __init__(self, letters: int) -> None:
        super().__init__()
        self.embed, self.lstm, self.out = nn.Embedding(letters, 24), nn.LSTM(24, 64, batch_first=True), nn.Linear(64, letters)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.lstm(self.embed(x))[0]).transpose(1, 2)  # (B, V, T), as cross_entropy takes it


@healthy(project="spro/char-rnn.pytorch", source="github.com/spro/char-rnn.pytorch")
def letters_by_lstm(doctor: Doctor, seed: int) -> Score:
    """A character model by an LSTM, gradients clipped at 1."""
    stream, letters = data.characters(900, seed)
    model = Speaker(letters)
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    doctor.task(model, list(data.windows(stream, 32, 16, 6, seed)), F.cross_entropy, optimizer)
    held = torch.cat([x for x, _ in data.windows(data.characters(80, seed + 1)[0], 33, 40, 4, seed)])
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.windows(stream, 32, 16, 500, seed)):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            watch.loss(loss)
            if step % 100 == 99:
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(held[:, :-1]), held[:, 1:]))
    return below(F.cross_entropy(model(held[:, :-1]), held[:, 1:]), 1.2)


class Block(nn.Module):
    """A pre-norm block with causal attention."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (4, -1)).transpose(1, 2) for part in self.qkv(self.ln_1(x)).chunk(3, -1))
        x = x + self.proj(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        return x + self.mlp(self.ln_2(x))


class Gpt(nn.Module):
    """Two blocks, tied weights."""

    def __init__(self, letters: int) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(letters, 48), nn.Embedding(32, 48)
        self.blocks = nn.Sequential(Block(48), Block(48))
        self.ln_f, self.lm_head = nn.LayerNorm(48), nn.Linear(48, letters, bias=False)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=0.02)
        self.lm_head.weight = self.wte.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.lm_head(self.ln_f(self.blocks(self.wte(x) + self.wpe.weight[: x.shape[1]])))


@healthy(project="karpathy/nanoGPT", source="github.com/karpathy/nanoGPT")
def gpt_with_warmup(doctor: Doctor, seed: int) -> Score:
    """A small GPT: weights tied, no decay on vectors, warm-up and cosine, clipping."""
    stream, letters = data.characters(900, seed)
    model = Gpt(letters)
    matrices = [each for each in model.parameters() if each.ndim > 1]
    vectors = [each for each in model.parameters() if each.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=3e-3, betas=(0.9, 0.95))
    rate = lambda step: min((step + 1) / 40, 0.55 + 0.45 * math.cos(math.pi * step / 400))  # noqa: E731
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)

    def loss_fn(output: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(output.view(-1, output.shape[-1]), y.reshape(-1))

    doctor.task(model, list(data.windows(stream, 32, 16, 6, seed)), loss_fn, optimizer)
    held = torch.cat([x for x, _ in data.windows(data.characters(80, seed + 1)[0], 32, 40, 4, seed)])
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.windows(stream, 32, 16, 400, seed)):
            loss = loss_fn(model(x), y)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            watch.loss(loss)
            if step % 100 == 99:
                with torch.no_grad():
                    watch.dev_loss(loss_fn(model(held[:, :-1]), held[:, 1:]).item())
    return below(loss_fn(model(held[:, :-1]), held[:, 1:]), 1.4)


@healthy(project="eriklindernoren/PyTorch-GAN", source="github.com/eriklindernoren/PyTorch-GAN")
def gan_on_a_ring(doctor: Doctor, seed: int) -> Score:
    """A GAN for points on a ring: two networks, two optimisers and rates, one step each in turn."""
    generator = torch.Generator().manual_seed(seed)
    g = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    d = nn.Sequential(nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))
    g_opt = torch.optim.Adam(g.parameters(), lr=5e-4, betas=(0.0, 0.999))
    d_opt = torch.optim.Adam(d.parameters(), lr=2e-3, betas=(0.0, 0.999))
    criterion, ones, zeros = nn.BCEWithLogitsLoss(), torch.ones(64, 1), torch.zeros(64, 1)
    with doctor.watch(nn.ModuleDict({"generator": g, "discriminator": d}), [g_opt, d_opt]) as watch:
        for _ in range(1000):
            angle = torch.rand(64, generator=generator) * 2 * math.pi
            real = torch.stack([angle.cos(), angle.sin()], 1) + 0.2 * torch.randn(64, 2, generator=generator)
            fake = g(torch.randn(64, 8, generator=generator))
            g_opt.zero_grad()
            g_loss = criterion(d(fake), ones)
            g_loss.backward()
            g_opt.step()
            d_opt.zero_grad()
            d_loss = (criterion(d(real), ones) + criterion(d(fake.detach()), zeros)) / 2
            d_loss.backward()
            d_opt.step()
            watch.loss(g_loss + d_loss)
    radius = g(torch.randn(800, 8, generator=generator)).norm(dim=1)
    return below((radius.mean() - 1.02).abs() + (radius.std() - 0.2).abs(), 0.35)


class Vae(nn.Module):
    """Digits, 6 latent values."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc21, self.fc22 = nn.Linear(64, 64), nn.Linear(64, 6), nn.Linear(64, 6)
        self.fc3, self.fc4 = nn.Linear(6, 64), nn.Linear(64, 64)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = F.relu(self.fc1(x.flatten(1)))
        mu, logvar = self.fc21(h), self.fc22(h)
        z = mu + torch.randn_like(mu) * (0.5 * logvar).exp()
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z)))), mu, logvar


def elbo(output: tuple[Tensor, Tensor, Tensor], x: Tensor) -> Tensor:
    """Reconstruction and divergence, summed over the batch as the stock example does."""
    recon, mu, logvar = output
    bce = F.binary_cross_entropy(recon, x.flatten(1), reduction="sum")
    return bce - 0.5 * (1 + logvar - mu.pow(2) - logvar.exp()).sum()


@healthy(project="pytorch/examples", source="github.com/pytorch/examples/tree/main/vae")
def vae_of_digits(doctor: Doctor, seed: int) -> Score:
    """The stock VAE with sums for losses, smaller."""
    rows = data.digits(seed)
    model = Vae()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, rows.x, 64, seed), elbo, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, _) in enumerate(data.batches(rows.x, rows.y, 64, 600, seed)):
            optimizer.zero_grad()
            loss = elbo(model(x), x)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 100 == 99:
                with torch.no_grad():
                    watch.dev_loss(elbo(model(rows.held_x), rows.held_x) / len(rows.held_x) * 64)
    plain = rows.x.mean(0).clamp(1e-3, 1 - 1e-3).expand_as(rows.held_x)
    reference = F.binary_cross_entropy(plain, rows.held_x, reduction="sum")  # the mean picture, which costs no divergence
    least = F.binary_cross_entropy(rows.held_x, rows.held_x, reduction="sum")  # grey is not certain, even if known exactly
    return below((elbo(model(rows.held_x), rows.held_x) - least) / (reference - least), 0.85)


class Denoiser(nn.Module):
    """Noise in a noised point at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.time = nn.Embedding(50, 32)
        self.inp, self.mid, self.out = nn.Linear(2, 64), nn.Linear(96, 96), nn.Linear(96, 2)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        h = torch.cat([F.silu(self.inp(x)), self.time(t)], 1)
        return self.out(F.silu(self.mid(h)))


@healthy(project="tanelp/tiny-diffusion", source="github.com/tanelp/tiny-diffusion")
def diffusion_of_two_moons(doctor: Doctor, seed: int) -> Score:
    """DDPM on points of two moons: predict the noise; the loss ends well above 0, as it must."""
    from sklearn.datasets import make_moons  # noqa: PLC0415

    points = torch.tensor(make_moons(2000, noise=0.04, random_state=seed)[0], dtype=torch.float32) * 1.4 - 0.7
    kept = torch.cumprod(1 - torch.linspace(1e-3, 0.12, 50), 0)
    model = Denoiser()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    with doctor.watch(model, optimizer) as watch:
        for x, _ in data.batches(points, points, 128, 900, seed):
            t, noise = torch.randint(50, (128,)), torch.randn(128, 2)
            noised = kept[t].sqrt()[:, None] * x + (1 - kept[t]).sqrt()[:, None] * noise
            loss = F.mse_loss(model(noised, t), noise)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            watch.loss(loss)
    t, noise = torch.randint(50, (2000,)), torch.randn(2000, 2)
    noised = kept[t].sqrt()[:, None] * points + (1 - kept[t]).sqrt()[:, None] * noise
    plain = F.mse_loss((1 - kept[t]).sqrt()[:, None] * noised, noise)  # the best guess if the points were one round cloud
    return below(F.mse_loss(model(noised, t), noise) / plain, 0.93)


class Clip(nn.Module):
    """Two towers and a temperature kept as a logarithm."""

    def __init__(self) -> None:
        super().__init__()
        self.visual = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 16))
        self.textual = nn.Sequential(nn.EmbeddingBag(20, 32), nn.GELU(), nn.Linear(32, 16))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, pictures: Tensor, words: Tensor) -> Tensor:
        a, b = F.normalize(self.visual(pictures), dim=1), F.normalize(self.textual(words), dim=1)
        return self.logit_scale.exp().clamp(max=100) * a @ b.T


@healthy(project="mlfoundations/open_clip", source="github.com/mlfoundations/open_clip")
def pictures_and_their_words(doctor: Doctor, seed: int) -> Score:
    """Contrast of digits with two words that describe them; other pictures of the same class in the batch are no mistakes."""
    rows = data.digits(seed)
    words = lambda y: torch.stack([y, 10 + (7 * y + 3) % 10], 1)  # noqa: E731
    model = Clip()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.1)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 32, 500, seed):
            logits = model(x, words(y))
            target = torch.arange(32)
            loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    scores = model(rows.held_x, words(torch.arange(10)))
    return above(data.accuracy(scores, rows.held_y), 0.9)


@healthy(project="adambielski/siamese-triplet", source="github.com/adambielski/siamese-triplet")
def triplets_of_digits(doctor: Doctor, seed: int) -> Score:
    """Anchor, one of its kind, one of another; the loss is 0 for more and more of them, as it should be."""
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(1, 16, 3), nn.PReLU(), nn.Conv2d(16, 32, 3), nn.PReLU(), nn.Flatten(), nn.Linear(512, 8))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    by_class = [torch.where(rows.y == k)[0] for k in range(10)]
    draw = lambda k: by_class[k][torch.randint(len(by_class[k]), (1,), generator=generator)]  # noqa: E731
    with doctor.watch(model, optimizer) as watch:
        for anchor, y in data.batches(rows.x, rows.y, 48, 300, seed):
            other = (y + torch.randint(1, 10, (48,), generator=generator)) % 10
            near, far = (rows.x[torch.cat([draw(k) for k in each.tolist()])] for each in (y, other))
            loss = F.triplet_margin_loss(model(anchor), model(near), model(far), margin=1.0)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    means = torch.stack([model(rows.x[each]).mean(0) for each in by_class])
    return above(data.accuracy(-torch.cdist(model(rows.held_x), means), rows.held_y), 0.92)


@healthy(project="pytorch/tutorials", source="pytorch.org/tutorials/intermediate/reinforcement_q_learning.html")
def dqn_along_a_corridor(doctor: Doctor, seed: int) -> Score:
    """Deep Q-learning with replay and a slow target network: walk to the end of a corridor of eight cells."""
    generator = torch.Generator().manual_seed(seed)
    policy = nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 2))
    target = copy.deepcopy(policy)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-3, amsgrad=True)
    seen, cells, place = [], torch.eye(8), 0
    with doctor.watch(policy, optimizer) as watch:
        for step in range(1200):
            greedy = torch.rand(1, generator=generator) > max(0.1, 0.9 - step / 600)
            with torch.no_grad():
                move = int(policy(cells[place]).argmax()) if greedy else int(torch.randint(2, (1,), generator=generator))
            after = min(7, max(0, place + 2 * move - 1))
            reward = 1.0 if after == 7 else -0.01
            seen.append((place, move, reward, after, after == 7))
            place = 0 if after == 7 else after
            if len(seen) < 64:
                continue
            rows = [seen[k] for k in torch.randint(max(0, len(seen) - 1000), len(seen), (64,), generator=generator).tolist()]
            s, a, r, s2, end = (torch.tensor(column) for column in zip(*rows, strict=True))
            with torch.no_grad():
                wanted = r + 0.9 * target(cells[s2]).max(1).values * ~end
            loss = F.smooth_l1_loss(policy(cells[s]).gather(1, a[:, None]), wanted[:, None])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_value_(policy.parameters(), 100)
            optimizer.step()
            watch.loss(loss)
            for slow, fast in zip(target.parameters(), policy.parameters(), strict=True):
                slow.data.lerp_(fast.data, 0.02)
    return above((policy(cells[:7]).argmax(1) == 1).float().mean(), 0.99)


@healthy(project="haitongli/knowledge-distillation-pytorch", source="github.com/haitongli/knowledge-distillation-pytorch")
def student_of_a_teacher(doctor: Doctor, seed: int) -> Score:
    """A small net learns from the softened answers of a large one, and from labels; two terms with weights."""
    rows = data.digits(seed)
    large = nn.Sequential(nn.Flatten(), nn.Linear(64, 200), nn.ReLU(), nn.Linear(200, 10))
    optimizer = torch.optim.Adam(large.parameters(), lr=2e-3)
    for x, y in data.batches(rows.x, rows.y, 64, 250, seed):
        optimizer.zero_grad()
        F.cross_entropy(large(x), y).backward()
        optimizer.step()
    large.eval().requires_grad_(requires_grad=False)
    student = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    optimizer = torch.optim.Adam(student.parameters(), lr=5e-3)
    with doctor.watch(student, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 64, 500, seed + 1):
            out, soft = student(x), F.softmax(large(x) / 4, dim=1)
            loss = 0.9 * 16 * F.kl_div(F.log_softmax(out / 4, dim=1), soft, reduction="batchmean") + 0.1 * F.cross_entropy(out, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.accuracy(student(rows.held_x), rows.held_y), 0.9)


@healthy(project="pytorch/tutorials", source="pytorch.org/tutorials/beginner/transfer_learning_tutorial.html")
def new_head_on_a_frozen_net(doctor: Doctor, seed: int) -> Score:
    """A convnet learns digits 0 to 4; then its body is frozen on purpose and a new head learns 5 to 9 from few examples."""
    rows = data.digits(seed)
    body = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.Flatten()
    )
    model = nn.Sequential(body, nn.Linear(512, 5))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    old, new = rows.y < 5, rows.y >= 5
    for x, y in data.batches(rows.x[old], rows.y[old], 32, 200, seed):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    body.requires_grad_(requires_grad=False)
    model[1] = nn.Linear(512, 5)
    optimizer = torch.optim.Adam(model[1].parameters(), lr=1e-3)
    few_x, few_y = rows.x[new][:200], rows.y[new][:200] - 5
    doctor.task(model, data.few(few_x, few_y, 20, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(few_x, few_y, 20, 300, seed):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    held = rows.held_y >= 5
    return above(data.accuracy(model(rows.held_x[held]), rows.held_y[held] - 5), 0.9)


class Factors(nn.Module):
    """Users and things as vectors, with their own biases."""

    def __init__(self, users: int, things: int) -> None:
        super().__init__()
        self.user, self.thing = nn.Embedding(users, 8), nn.Embedding(things, 8)
        self.user_bias, self.thing_bias = nn.Embedding(users, 1), nn.Embedding(things, 1)
        self.mean = nn.Parameter(torch.tensor(3.5))
        for each in (self.user, self.thing):
            nn.init.normal_(each.weight, std=0.1)
        for each in (self.user_bias, self.thing_bias):
            nn.init.zeros_(each.weight)

    def forward(self, pair: Tensor) -> Tensor:
        u, t = pair.T
        return (self.user(u) * self.thing(t)).sum(1) + self.user_bias(u)[:, 0] + self.thing_bias(t)[:, 0] + self.mean


@healthy(project="recommenders-team/recommenders", source="github.com/recommenders-team/recommenders")
def ratings_by_factors(doctor: Doctor, seed: int) -> Score:
    """Matrix factorisation of star ratings; many users, few ratings each, so most rows of the tables rest in most steps."""
    generator = torch.Generator().manual_seed(seed)
    u, t = torch.randint(200, (9000,), generator=generator), torch.randint(120, (9000,), generator=generator)
    taste, trait = torch.randn(200, 3, generator=generator), torch.randn(120, 3, generator=generator)
    quality = 0.5 * torch.randn(120, generator=generator)
    stars = 3.4 + 0.5 * (taste[u] * trait[t]).sum(1) + quality[t] + 0.3 * torch.randn(9000, generator=generator)
    rows = data.split(torch.stack([u, t], 1), stars.clamp(1, 5), seed)
    model = Factors(200, 120)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=1e-5)
    doctor.task(model, data.few(rows.x, rows.y, 128, seed), F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 128, 500, seed)):
            loss = F.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 50 == 49:
                with torch.no_grad():
                    watch.dev_loss(F.mse_loss(model(rows.held_x), rows.held_y))
    return below(F.mse_loss(model(rows.held_x), rows.held_y) / rows.held_y.var(), 0.6)
