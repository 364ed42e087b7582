"""Healthy programs: language, speech, graphs, games, generation."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Encoder(nn.Module):
    """A two-way transformer over words."""

    def __init__(self, letters: int, length: int, layers: int = 2) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(letters, 48), nn.Parameter(torch.randn(length, 48) * 0.02)
        layer = nn.TransformerEncoderLayer(48, 4, 96, 0.0, "gelu", batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm, self.out = nn.LayerNorm(48), nn.Linear(48, letters)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.norm(self.blocks(self.embed(x) + self.place)))


@healthy(project="codertimo/BERT-pytorch", source="github.com/codertimo/BERT-pytorch")
def masked_words(doctor: Doctor, seed: int) -> Score:
    """BERT in small: some words are hidden, the rest is ignored in the loss; looking both ways is meant here."""
    said = data.text(3000, seed).replace(".", "").split()
    known = sorted(set(said))
    stream, blank = torch.tensor([known.index(word) for word in said]), len(known)
    model = Encoder(blank + 1, 16)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    generator = torch.Generator().manual_seed(seed)

    def hide(x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.rand(x.shape, generator=generator) < 0.15
        return x.masked_fill(hidden, blank), x.masked_fill(~hidden, -100)

    def loss_fn(output: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(output.transpose(1, 2), y)

    doctor.task(model, [hide(x) for x, _ in data.windows(stream, 16, 32, 6, seed)], loss_fn, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, _ in data.windows(stream, 16, 32, 400, seed):
            seen, y = hide(x)
            loss = loss_fn(model(seen), y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            watch.loss(loss)
    share = torch.bincount(stream) / len(stream)
    seen, y = hide(next(data.windows(stream, 16, 300, 1, seed + 5))[0])
    return below(loss_fn(model(seen), y) / -(share * share.log()).sum(), 0.9)


@healthy(project="microsoft/LoRA", source="github.com/microsoft/LoRA")
def low_rank_patches(doctor: Doctor, seed: int) -> Score:
    """A net trained on one task is frozen on purpose; low-rank patches, one factor at zero, and a new head learn another."""
    x, y = data.teacher(2400, 16, 6, seed)
    first, second = data.split(x, y[:, :3], seed), data.split(x, y[:, 3:], seed)
    base = nn.Sequential(nn.Linear(16, 96), nn.Tanh(), nn.Linear(96, 96), nn.Tanh())
    head = nn.Linear(96, 3)
    optimizer = torch.optim.Adam([*base.parameters(), *head.parameters()], lr=2e-3)
    for a, b in data.batches(first.x, first.y, 50, 400, seed):
        optimizer.zero_grad()
        F.mse_loss(head(base(a)), b).backward()
        optimizer.step()

    class Patched(nn.Module):
        def __init__(self, layer: nn.Linear) -> None:
            super().__init__()
            self.layer = layer.requires_grad_(requires_grad=False)
            self.lora_a = nn.Parameter(torch.randn(8, layer.in_features) / 8)
            self.lora_b = nn.Parameter(torch.zeros(layer.out_features, 8))

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x) + 2 * x @ self.lora_a.T @ self.lora_b.T

    model = nn.Sequential(Patched(base[0]), nn.Tanh(), Patched(base[2]), nn.Tanh(), nn.Linear(96, 3))
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=3e-3)
    doctor.task(model, data.few(second.x, second.y, 50, seed), F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(second.x, second.y, 50, 500, seed):
            loss = F.mse_loss(model(a), b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.r2(model(second.held_x), second.held_y), 0.8)


@healthy(project="SeanNaren/deepspeech.pytorch", source="github.com/SeanNaren/deepspeech.pytorch")
def speech_without_marks(doctor: Doctor, seed: int) -> Score:
    """CTC: frames of four sounds stretched at random, a two-way GRU, no marks where a sound begins; first losses are large."""
    generator = torch.Generator().manual_seed(seed)
    sounds = torch.randn(5, 8, generator=generator)
    said = torch.randint(1, 5, (1200, 4), generator=generator)
    long = torch.randint(2, 6, (1200, 4), generator=generator)
    frames = torch.zeros(1200, 20, 8)
    for row in range(1200):
        spread = torch.repeat_interleave(said[row], long[row])
        frames[row, : len(spread)] = sounds[spread]
    rows = data.split(frames + 0.4 * torch.randn(frames.shape, generator=generator), said, seed)

    class Speech(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.out = nn.GRU(8, 32, batch_first=True, bidirectional=True), nn.Linear(64, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.rnn(x)[0]).log_softmax(-1)

    def loss_fn(output: Tensor, y: Tensor) -> Tensor:
        full = lambda size: torch.full((len(y),), size)  # noqa: E731
        return F.ctc_loss(output.transpose(0, 1), y, full(20), full(4))

    model = Speech()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), loss_fn, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 32, 350, seed):
            loss = loss_fn(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 10)
            optimizer.step()
            watch.loss(loss)
    return below(loss_fn(model(rows.held_x), rows.held_y), 0.6)


@healthy(project="pyg-team/pytorch_geometric", source="github.com/pyg-team/pytorch_geometric/blob/master/examples/link_pred.py")
def links_between_neighbours(doctor: Doctor, seed: int) -> Score:
    """Link prediction: nodes of six groups, a mean over neighbours by index_add, dot products, as many false links as true."""
    generator = torch.Generator().manual_seed(seed)
    group = torch.randint(6, (240,), generator=generator)
    near = torch.where(group[:, None] == group, 0.35, 0.01)
    edges = (torch.rand(240, 240, generator=generator) < near).triu(1).nonzero()
    order = torch.randperm(len(edges), generator=generator)
    known, asked = edges[order[: len(edges) * 4 // 5]], edges[order[len(edges) * 4 // 5 :]]
    both = torch.cat([known, known.flip(1)])

    class Sage(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.x = nn.Embedding(240, 12)
            self.own, self.other = nn.Linear(12, 12), nn.Linear(12, 12, bias=False)

        def forward(self, pairs: Tensor) -> Tensor:
            h = self.x.weight
            count = torch.zeros(240).index_add(0, both[:, 1], torch.ones(len(both))).clamp(min=1)
            mean = torch.zeros_like(h).index_add(0, both[:, 1], h[both[:, 0]]) / count[:, None]
            z = self.own(h) + self.other(mean)
            return (z[pairs[:, 0]] * z[pairs[:, 1]]).sum(1)

    model = Sage()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=1e-3)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(200):
            wrong = torch.randint(240, known.shape, generator=generator)
            truth = torch.cat([torch.ones(len(known)), torch.zeros(len(wrong))])
            loss = F.binary_cross_entropy_with_logits(model(torch.cat([known, wrong])), truth)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    good, bad = model(asked), model(torch.randint(240, (2000, 2), generator=generator))
    return above((good[:, None] > bad).float().mean(), 0.8)


def corridor(place: Tensor, move: Tensor) -> tuple[Tensor, Tensor]:
    """A row of nine places; the left end gives 0.3 and the right end 1; both lead back to the middle."""
    after = place + 2 * move - 1
    reward = (after == 8).float() + 0.3 * (after == 0).float()
    return torch.where((after == 8) | (after == 0), 4, after), reward


@healthy(project="vwxyzjn/cleanrl", source="github.com/vwxyzjn/cleanrl")
def ppo_in_a_row_of_rooms(doctor: Doctor, seed: int) -> Score:
    """PPO with clipping, value loss and entropy bonus in one sum that wanders about 0; advantages are made standard."""
    generator = torch.Generator().manual_seed(seed)
    actor = nn.Sequential(nn.Linear(9, 32), nn.Tanh(), nn.Linear(32, 2))
    critic = nn.Sequential(nn.Linear(9, 32), nn.Tanh(), nn.Linear(32, 1))
    nn.init.orthogonal_(actor[-1].weight, 0.01)
    model = nn.ModuleDict({"actor": actor, "critic": critic})
    optimizer = torch.optim.Adam(model.parameters(), lr=2.5e-3, eps=1e-5)
    place, gained, eye = torch.full((16,), 4), [], torch.eye(9)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(50):
            seen, moves, rewards = [], [], []
            for _ in range(16):
                move = torch.multinomial(actor(eye[place]).softmax(1).detach(), 1, generator=generator)[:, 0]
                seen.append(place)
                place, reward = corridor(place, move)
                moves.append(move)
                rewards.append(reward)
            gained.append(torch.stack(rewards).mean().item())
            s, a = torch.cat(seen), torch.cat(moves)
            with torch.no_grad():
                ahead, returns = critic(eye[place])[:, 0], []
                for reward in reversed(rewards):
                    ahead = reward + 0.95 * ahead
                    returns.insert(0, ahead)
                back = torch.cat(returns)
                better = back - critic(eye[s])[:, 0]
                better = (better - better.mean()) / (better.std() + 1e-8)
                old = actor(eye[s]).log_softmax(1).gather(1, a[:, None])[:, 0]
            for rows in torch.randperm(256, generator=generator).repeat(4).split(64):
                log = actor(eye[s[rows]]).log_softmax(1)
                ratio = (log.gather(1, a[rows, None])[:, 0] - old[rows]).exp()
                gain = torch.minimum(ratio * better[rows], ratio.clamp(0.8, 1.2) * better[rows]).mean()
                value = (critic(eye[s[rows]])[:, 0] - back[rows]).pow(2).mean()
                loss = -gain + 0.5 * value + 0.01 * (log.exp() * log).sum(1).mean()
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 0.5)
                optimizer.step()
                watch.loss(loss)
    return above(sum(gained[-5:]) / 5, 0.2)  # always right gives 0.25, always left 0.075


@healthy(project="igul222/improved_wgan_training", source="github.com/igul222/improved_wgan_training")
def critic_with_gradient_penalty(doctor: Doctor, seed: int) -> Score:
    """WGAN with a gradient penalty, which takes gradients of gradients; three steps of the critic to one."""
    generator = torch.Generator().manual_seed(seed)
    g = nn.Sequential(nn.Linear(4, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 2))
    d = nn.Sequential(nn.Linear(2, 48), nn.LeakyReLU(0.2), nn.Linear(48, 48), nn.LeakyReLU(0.2), nn.Linear(48, 1))
    g_opt, d_opt = (torch.optim.Adam(each.parameters(), lr=1e-3, betas=(0.0, 0.9)) for each in (g, d))
    centres = torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 2.0]])
    with doctor.watch(nn.ModuleDict({"generator": g, "critic": d}), [d_opt, g_opt]) as watch:
        for _ in range(600):
            for _ in range(3):
                real = centres[torch.randint(3, (64,), generator=generator)] + 0.2 * torch.randn(64, 2, generator=generator)
                fake = g(torch.randn(64, 4, generator=generator)).detach()
                share = torch.rand(64, 1, generator=generator)
                between = (share * real + (1 - share) * fake).requires_grad_()
                slope = torch.autograd.grad(d(between).sum(), between, create_graph=True)[0]
                d_loss = d(fake).mean() - d(real).mean() + 2 * (slope.norm(dim=1) - 1).pow(2).mean()
                d_opt.zero_grad()
                d_loss.backward()
                d_opt.step()
            g_loss = -d(g(torch.randn(64, 4, generator=generator))).mean()
            g_opt.zero_grad()
            g_loss.backward()
            g_opt.step()
            watch.loss(d_loss)
    far = torch.cdist(g(torch.randn(600, 4, generator=generator)), centres).min(1).values
    return below(far.mean(), 0.7)


@healthy(project="AntixK/PyTorch-VAE", source="github.com/AntixK/PyTorch-VAE")
def divergence_let_in_slowly(doctor: Doctor, seed: int) -> Score:
    """A convolutional VAE, means for losses, the weight of the divergence rises from 0 in the first third."""
    x, y, _ = data.shapes(1000, seed, noise=0.1)
    rows = data.split(x, y, seed)

    class Vae(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            down = nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.LeakyReLU())
            self.encoder = nn.Sequential(down, nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.LeakyReLU(), nn.Flatten())
            self.fc_mu, self.fc_var, self.back = nn.Linear(512, 8), nn.Linear(512, 8), nn.Linear(8, 512)
            up = nn.Sequential(nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.BatchNorm2d(16), nn.LeakyReLU())
            self.decoder = nn.Sequential(nn.Unflatten(1, (32, 4, 4)), up, nn.ConvTranspose2d(16, 1, 4, 2, 1))

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            h = self.encoder(x)
            mu, log_var = self.fc_mu(h), self.fc_var(h)
            return self.decoder(self.back(mu + torch.randn_like(mu) * (0.5 * log_var).exp())), mu, log_var

    model = Vae()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, _) in enumerate(data.batches(rows.x, rows.y, 48, 450, seed)):
            out, mu, log_var = model(x)
            kl = (-0.5 * (1 + log_var - mu**2 - log_var.exp()).sum(1)).mean()
            loss = F.mse_loss(out, x) + min(1.0, step / 150) * 0.0005 * kl
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    return above(data.r2(model(rows.held_x)[0], rows.held_x), 0.45)


@healthy(
    project="harveyslash/Facial-Similarity-with-Siamese-Networks-in-Pytorch",
    source="github.com/harveyslash/Facial-Similarity-with-Siamese-Networks-in-Pytorch",
)
def pairs_near_or_far(doctor: Doctor, seed: int) -> Score:
    """A siamese net with the contrastive loss of a margin; the same body reads both pictures."""
    rows = data.digits(seed)
    body = nn.Sequential(
        nn.Conv2d(1, 16, 3),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 32),
        nn.ReLU(),
        nn.Linear(32, 6),
    )
    optimizer = torch.optim.Adam(body.parameters(), lr=2e-3)

    def contrast(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        far = F.pairwise_distance(model(x), model(x.flip(0)))
        same = (y == y.flip(0)).float()
        return (same * far.pow(2) * 4 + (1 - same) * F.relu(2.0 - far).pow(2)).mean()

    doctor.task(body, data.few(rows.x, rows.y, 96, seed), contrast, optimizer)
    with doctor.watch(body, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 96, 400, seed):
            loss = contrast(body, (x, y))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    means = torch.stack([body(rows.x[rows.y == k]).mean(0) for k in range(10)])
    return above(data.accuracy(-torch.cdist(body(rows.held_x), means), rows.held_y), 0.88)


@healthy(project="guillaumegenthial/sequence_tagging", source="github.com/guillaumegenthial/sequence_tagging")
def tags_for_each_word(doctor: Doctor, seed: int) -> Score:
    """A two-way LSTM tags each word of padded sentences; the padding is ignored in the loss; most words have no tag."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(1, 50, (1500, 14), generator=generator)
    before = torch.cat([torch.zeros(1500, 1, dtype=torch.long), x[:, :-1]], 1)
    y = torch.where((x < 8) & (before < 25), 1, torch.where((x > 44) & (before % 2 == 0), 2, 0))
    padding = torch.arange(14) >= torch.randint(6, 15, (1500, 1), generator=generator)
    rows = data.split(x.masked_fill(padding, 0), y.masked_fill(padding, -100), seed)

    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.drop = nn.Embedding(50, 24, padding_idx=0), nn.Dropout(0.2)
            self.lstm, self.out = nn.LSTM(24, 32, batch_first=True, bidirectional=True), nn.Linear(64, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.drop(self.lstm(self.words(x))[0])).transpose(1, 2)

    model = Tagger()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 32, 350, seed):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    tagged = rows.held_y > 0
    return above((model(rows.held_x).argmax(1) == rows.held_y)[tagged].float().mean(), 0.8)


@healthy(project="pytorch/examples", source="github.com/pytorch/examples/tree/main/reinforcement_learning")
def actor_with_its_critic(doctor: Doctor, seed: int) -> Score:
    """Actor and critic on one body: a bandit of twelve contexts; the loss is a policy term and a Huber term."""
    generator = torch.Generator().manual_seed(seed)
    worth = torch.rand(12, 4, generator=generator)

    class Policy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.affine, self.action_head, self.value_head = nn.Linear(12, 64), nn.Linear(64, 4), nn.Linear(64, 1)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            h = F.relu(self.affine(x))
            return F.softmax(self.action_head(h), dim=-1), self.value_head(h)

    model = Policy()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(400):
            x = torch.eye(12)[torch.randint(12, (32,), generator=generator)]
            chance, value = model(x)
            move = torch.multinomial(chance.detach(), 1, generator=generator)
            reward = (x @ worth).gather(1, move) + 0.1 * torch.randn(32, 1, generator=generator)
            surprise = -(chance.gather(1, move).log() * (reward - value.detach())).mean()
            loss = surprise + F.smooth_l1_loss(value, reward)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    got = (model(torch.eye(12))[0] * worth).sum(1).mean()
    return above((got - worth.mean()) / (worth.max(1).values.mean() - worth.mean()), 0.75)
