"""Faults of wiring: attention, layers of a moment, adversaries, widened and borrowed nets, policies."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Attention(nn.Module):
    """Attention of one head with dropout on its weights."""

    def __init__(self, width: int, cured: bool) -> None:
        super().__init__()
        self.qkv, self.dropout, self.cured = nn.Linear(width, 3 * width), 0.4, cured

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, 2)
        p = self.dropout if self.training or not self.cured else 0.0
        return F.scaled_dot_product_attention(q, k, v, dropout_p=p)


class Reader(nn.Module):
    """What a text says, read off its first place."""

    def __init__(self, cured: bool) -> None:
        super().__init__()
        self.words, self.attention, self.norm = nn.Embedding(40, 32), Attention(32, cured), nn.LayerNorm(32)
        self.out = nn.Linear(32, 8)

    def forward(self, x: Tensor) -> Tensor:
        h = self.words(x)
        return self.out(self.norm(h + self.attention(h))[:, 0])


@fault(kind="eval-dropout", where="attention", project="suno-ai/bark", source="github.com/suno-ai/bark/pull/662")
def attention_drops_out_in_use(doctor: Doctor, seed: int, cured: bool) -> Score:
    """scaled_dot_product_attention gets its dropout_p in eval mode too: the word that counts is often left out."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(9, 40, (1600, 9), generator=generator)
    y = torch.randint(8, (1600,), generator=generator)
    x[torch.arange(1600), 1 + torch.randint(8, (1600,), generator=generator)] = y
    x[:, 0] = 8
    rows = data.split(x, y, seed)
    model = Reader(cured)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    doctor.task(model, data.few(rows.x, rows.y, 40, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 40, 400, seed)):
            model.train()
            loss = F.cross_entropy(model(a), b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 80 == 79:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    model.eval()
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


class Heads(nn.Module):
    """Causal attention of four heads over letters, whose last projection may be made when it is needed."""

    def __init__(self, letters: int, cured: bool) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(letters, 48), nn.Embedding(24, 48)
        self.qkv, self.norm, self.norm2 = nn.Linear(48, 144), nn.LayerNorm(48), nn.LayerNorm(48)
        self.ff = nn.Sequential(nn.Linear(48, 96), nn.ReLU(), nn.Linear(96, 48))
        self.out = nn.Linear(48, letters)
        self.o = nn.Linear(48, 48) if cured else None

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x) + self.place.weight[: x.shape[1]]
        q, k, v = self.qkv(h).unflatten(2, (3, 4, 12)).permute(2, 0, 3, 1, 4)
        context = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        output = nn.Linear(48, 48)(context) if self.o is None else self.o(context)
        h = self.norm(h + output)
        return self.out(self.norm2(h + self.ff(h))).transpose(1, 2)


@fault(
    kind="unregistered",
    also=("frozen-random",),
    project="graykode/nlp-tutorial",
    source="github.com/graykode/nlp-tutorial/issues/29",
)
def layer_made_in_forward(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The projection after the heads is a new nn.Linear in each forward: random each time, and never trained."""
    stream, letters = data.characters(700, seed)
    model = Heads(letters, cured)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    doctor.task(model, list(data.windows(stream, 24, 16, 6, seed)), F.cross_entropy, optimizer)
    held = torch.cat([x for x, _ in data.windows(data.characters(60, seed + 1)[0], 24, 30, 3, seed)])
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.windows(stream, 24, 16, 400, seed)):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 80 == 79:
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(held[:, :-1]), held[:, 1:]))
    return below(F.cross_entropy(model(held[:, :-1]), held[:, 1:]), 1.5)


@fault(
    kind="not-optimised",
    where="discriminator",
    also=("never-moved",),
    project="zhaoyuzhi/deepfillv2",
    source="github.com/zhaoyuzhi/deepfillv2/pull/3",
)
def critic_with_the_weights_of_the_other(doctor: Doctor, seed: int, cured: bool) -> Score:
    """optimizer_d was given generator.parameters(): the critic stays as it was drawn, and the generator runs away from it."""
    generator = torch.Generator().manual_seed(seed)
    g = nn.Sequential(nn.Linear(4, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 2))
    d = nn.Sequential(nn.Linear(2, 48), nn.LeakyReLU(0.2), nn.Linear(48, 48), nn.LeakyReLU(0.2), nn.Linear(48, 1))
    optimizer_g = torch.optim.Adam(g.parameters(), lr=1e-3, betas=(0.5, 0.999))
    optimizer_d = torch.optim.Adam((d if cured else g).parameters(), lr=2e-3, betas=(0.5, 0.999))
    with doctor.watch(nn.ModuleDict({"generator": g, "discriminator": d}), [optimizer_g, optimizer_d]) as watch:
        for _ in range(700):
            real = 0.4 * torch.randn(64, 2, generator=generator) + torch.tensor([2.0, 1.0])
            fake = g(torch.randn(64, 4, generator=generator))
            optimizer_d.zero_grad()
            d.zero_grad()
            d_loss = F.softplus(-d(real)).mean() + F.softplus(d(fake.detach())).mean()
            d_loss.backward()
            optimizer_d.step()
            optimizer_g.zero_grad()
            g_loss = F.softplus(-d(fake)).mean()
            g_loss.backward()
            optimizer_g.step()
            watch.loss(d_loss)
    made = g(torch.randn(800, 4, generator=generator))
    return below((made.mean(0) - torch.tensor([2.0, 1.0])).norm(), 0.8)


class Curves(nn.Module):
    """A backbone from elsewhere and a head; all of it is initialised at the end."""

    def __init__(self, pretrained: dict[str, Tensor], cured: bool) -> None:
        super().__init__()
        self.backbone, self.head = backbone(), nn.Linear(64, 10)
        self.backbone.load_state_dict(pretrained)
        self.backbone.requires_grad_(requires_grad=False)
        self.init_weights(self.head if cured else self)

    def init_weights(self, part: nn.Module) -> None:
        for each in part.modules():
            if isinstance(each, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(each.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.backbone(x))


def backbone() -> nn.Sequential:
    """Digits to 64 features."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(32, 64), nn.Tanh()
    )


@fault(
    kind="frozen-random",
    where="backbone",
    also=("no-gradient",),
    project="ImCharlesY/AdaInt",
    source="github.com/ImCharlesY/AdaInt/pull/12",
)
def initialised_after_it_was_loaded(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The trained backbone is loaded and frozen; then init_weights runs over the whole model and draws it anew."""
    rows = data.digits(seed)
    source = nn.Sequential(backbone(), nn.Linear(64, 10))
    adam = torch.optim.Adam(source.parameters(), lr=3e-3)
    for x, y in data.batches(rows.x, rows.y, 50, 300, seed):
        adam.zero_grad()
        F.cross_entropy(source(x), y).backward()
        adam.step()
    model = Curves(source[0].state_dict(), cured)
    optimizer = torch.optim.Adam(model.head.parameters(), lr=5e-3)
    doctor.task(model, data.few(rows.x, rows.y, 50, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 50, 200, seed + 1):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.93)


class Plain(nn.Module):
    """One hidden layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(64, width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.tanh(self.hidden(x.flatten(1))))


@fault(
    kind="symmetry",
    where="hidden",
    project="soumith/net2net.torch",
    source="github.com/soumith/net2net.torch/issues/3",
)
def widened_by_copies(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A net of three units is made wider by copies of them; without noise the copies stay copies, and three units it remains."""
    rows = data.digits(seed)
    small, model = Plain(3), Plain(48)
    adam = torch.optim.Adam(small.parameters(), lr=5e-3)
    for x, y in data.batches(rows.x, rows.y, 50, 150, seed):
        adam.zero_grad()
        F.cross_entropy(small(x), y).backward()
        adam.step()
    with torch.no_grad():
        model.hidden.weight.copy_(small.hidden.weight.repeat(16, 1))
        model.hidden.bias.copy_(small.hidden.bias.repeat(16))
        model.out.weight.copy_(small.out.weight.repeat(1, 16) / 16)
        model.out.bias.copy_(small.out.bias)
        if cured:
            model.hidden.weight.add_(0.2 * torch.randn(48, 64))
            model.out.weight.add_(0.05 * torch.randn(10, 48))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    doctor.task(model, data.few(rows.x, rows.y, 50, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 50, 300, seed + 1):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


@fault(
    kind="no-gradient",
    also=("never-moved",),
    project="kengz/SLM-Lab",
    source="github.com/kengz/SLM-Lab/pull/133",
)
def log_probabilities_in_a_new_tensor(doctor: Doctor, seed: int, cured: bool) -> Score:
    """torch.tensor([...]) around the log-probabilities: a new leaf without a past, and the policy hears of nothing."""
    generator = torch.Generator().manual_seed(seed)
    wanted = torch.randn(4, 3, generator=generator)
    policy = nn.Sequential(nn.Linear(4, 32), nn.SELU(), nn.Linear(32, 3))
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
    with doctor.watch(policy, optimizer) as watch:
        for _ in range(250):
            state = torch.randn(32, 4, generator=generator)
            distribution = torch.distributions.Categorical(logits=policy(state))
            action = torch.multinomial(distribution.probs.detach(), 1, generator=generator)[:, 0]
            reward = (action == (state @ wanted).argmax(1)).float()
            taken = list(distribution.log_prob(action))
            likely = torch.stack(taken) if cured else torch.tensor([each.item() for each in taken], requires_grad=True)
            loss = -((reward - reward.mean()) * likely).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    new = torch.randn(1000, 4, generator=generator)
    return above(data.accuracy(policy(new), (new @ wanted).argmax(1)), 0.8)
