"""Faults of what is handed on: places made and not added, a memory of faces not read, another bend, a reward out of sight."""

from __future__ import annotations

import math

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="underfitting",
    also=("slow-learning",),
    project="Lightning-AI/pytorch-lightning",
    source="github.com/Lightning-AI/pytorch-lightning/pull/20099",
)
def places_made_and_never_added(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The next of 12 words, which is the one that stood four before it: the net makes waves for places and leaves them out."""
    generator = torch.Generator().manual_seed(seed)

    def texts(count: int) -> Tensor:
        """Words that come back after four, one in ten changed (N, 21)."""
        said = torch.randint(12, (count, 21), generator=generator)
        for at in range(4, 21):
            again = torch.rand(count, generator=generator) < 0.9
            said[:, at] = torch.where(again, said[:, at - 4], said[:, at])
        return said

    class PositionalEncoding(nn.Module):
        waves: Tensor

        def __init__(self, width: int) -> None:
            super().__init__()
            turn = torch.arange(20.0)[:, None] * torch.exp(-torch.arange(0, width, 2) * math.log(10000.0) / width)
            self.register_buffer("waves", torch.stack([turn.sin(), turn.cos()], 2).flatten(1))

        def forward(self, x: Tensor) -> Tensor:
            return x + self.waves[: x.shape[1]]

    class Transformer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.pos_encoder = nn.Embedding(12, 48), PositionalEncoding(48)
            layer = nn.TransformerEncoderLayer(48, 4, 96, dropout=0.05, batch_first=True)
            self.transformer, self.decoder = nn.TransformerEncoder(layer, 2), nn.Linear(48, 12)

        def forward(self, inputs: Tensor) -> Tensor:
            x = self.embedding(inputs)
            if cured:
                x = self.pos_encoder(x)
            mask = nn.Transformer.generate_square_subsequent_mask(inputs.shape[1])
            return F.log_softmax(self.decoder(self.transformer(x, mask=mask)), dim=-1)

    model = Transformer()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    test = texts(300)
    with doctor.watch(model, optimizer) as watch:
        for step in range(400):
            model.train()
            text = texts(32)
            output = model(text[:, :-1])
            loss = F.nll_loss(output.flatten(0, 1), text[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 50 == 49:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.nll_loss(model(test[:, :-1]).flatten(0, 1), test[:, 1:].flatten()))
    model.eval()
    with torch.no_grad():
        return above(data.accuracy(model(test[:, :-1])[:, 8:], test[:, 9:]), 0.75)


@fault(
    kind="collapsed-embedding",
    also=("learning-rate-too-high", "dead-units", "underfitting"),
    project="VisualComputingInstitute/triplet-reid",
    source="github.com/VisualComputingInstitute/triplet-reid/issues/30",
)
def faces_from_a_net_that_was_not_read(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits beside their like, the hardest of each batch: the net that knew much is not read in, and all fall on one point."""
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)

    def trunk() -> nn.Sequential:
        layers: list[nn.Module] = [nn.Flatten()]
        for before in (64, *[96] * 13):
            layers += [nn.Linear(before, 96), nn.ReLU()]
        return nn.Sequential(*layers)

    known = trunk()
    for layer in known:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
    head = nn.Linear(96, 10)
    first = torch.optim.Adam([*known.parameters(), *head.parameters()], lr=1e-3)
    for a, b in data.batches(rows.x, rows.y, 64, 600, seed):
        first.zero_grad()
        F.cross_entropy(head(known(a)), b).backward()
        first.step()
    checkpoint = known.state_dict()

    model = nn.Sequential(trunk(), nn.Linear(96, 16))
    if cured:
        model[0].load_state_dict(checkpoint)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-4)

    def gaps(x: Tensor, y: Tensor) -> Tensor:
        """How much farther the farthest of its kind is than the nearest of another."""
        made = model(x)
        far = (made[:, None] - made[None]).pow(2).sum(2).clamp(min=1e-12).sqrt()
        same = y[:, None] == y[None]
        return far.masked_fill(~same, 0.0).amax(1) - far.masked_fill(same, 1e9).amin(1)

    held = torch.cat([torch.nonzero(rows.held_y == k)[:6, 0] for k in range(10)])
    with doctor.watch(model, optimizer) as watch:
        for _ in range(250):
            chosen = torch.randperm(10, generator=generator)[:8]
            batch = []
            for k in chosen:
                at = torch.nonzero(rows.y == k)[:, 0]
                batch.append(at[torch.randperm(len(at), generator=generator)[:6]])
            index = torch.cat(batch)
            loss = F.softplus(gaps(rows.x[index], rows.y[index])).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return above((gaps(rows.held_x[held], rows.held_y[held]) < -0.1).float().mean(), 0.5)


@fault(
    kind="frozen-random",
    where="decoder",
    also=("underfitting", "activation-scale"),
    project="sjenni/LearningToSpotArtifacts",
    source="github.com/sjenni/LearningToSpotArtifacts/issues/1",
)
def codes_of_another_bend(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits with holes in their codes: what was learned with one bend between the layers is held, and used with another."""
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)
    x, held = rows.x.flatten(1), rows.held_x.flatten(1)

    class Coder(nn.Module):
        def __init__(self, bend: nn.Module) -> None:
            super().__init__()
            self.encoder = nn.Sequential(nn.Linear(64, 96), bend, nn.Linear(96, 48), bend)
            self.repair = nn.Sequential(nn.Linear(48, 96), nn.ReLU(), nn.Linear(96, 48))
            nn.init.zeros_(self.repair[2].weight)
            nn.init.zeros_(self.repair[2].bias)
            self.decoder = nn.Sequential(nn.Linear(48, 96), bend, nn.Linear(96, 96), bend, nn.Linear(96, 64), nn.Sigmoid())

        def forward(self, x: Tensor, kept: Tensor) -> Tensor:
            code = self.encoder(x) * kept
            return self.decoder(code + (1 - kept) * self.repair(code))

    before = Coder(nn.Tanh())
    optimizer = torch.optim.Adam([*before.encoder.parameters(), *before.decoder.parameters()], lr=2e-3)
    for a, _ in data.batches(x, rows.y, 64, 900, seed):
        optimizer.zero_grad()
        F.mse_loss(before.decoder(before.encoder(a)), a).backward()
        optimizer.step()

    model = Coder(nn.Tanh() if cured else nn.LeakyReLU(0.2))
    model.load_state_dict(before.state_dict())
    for part in (model.encoder, model.decoder):
        part.requires_grad_(requires_grad=False)
    optimizer = torch.optim.Adam(model.repair.parameters(), lr=1e-3)
    with doctor.watch(model, optimizer) as watch:
        for a, _ in data.batches(x, rows.y, 64, 500, seed):
            kept = (torch.rand(64, 48, generator=generator) < 0.85).float()
            loss = F.mse_loss(model(a, kept), a)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        kept = (torch.rand(len(held), 48, generator=generator) < 0.85).float()
        return above(data.r2(model(held, kept), held), 0.7)


@fault(
    kind="other-loss",
    also=("underfitting",),
    project="tubenews.eu/94902",
    source="tubenews.eu/?p=94902 (Deep Reinforcement Learning: The Actor-Critic Method)",
)
def a_landing_too_far_to_be_seen(doctor: Doctor, seed: int, cured: bool) -> Score:
    """To land from a height of eight: what comes a step later counts for half, and so the end of the way counts for nothing."""
    generator = torch.Generator().manual_seed(seed)
    gamma = 0.95 if cured else 0.5

    class ActorCritic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(10, 48), nn.Tanh())
            self.actor, self.critic = nn.Linear(48, 2), nn.Linear(48, 1)

        def forward(self, height: Tensor) -> tuple[Tensor, Tensor]:
            h = self.body(F.one_hot(height, 10).float())
            return self.actor(h).log_softmax(1), self.critic(h)[:, 0]

    def step(height: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Down or up by one, where a way down costs some fuel; at nought it has landed."""
        new = (height + 1 - 2 * action).clamp(max=9)
        landed = (new == 0).float()
        return new, landed - 0.015 * action, landed

    model = ActorCritic()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    height = torch.randint(1, 10, (32,), generator=generator)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(1200):
            log_probs, value = model(height)
            action = torch.multinomial(log_probs.exp().detach(), 1, generator=generator)[:, 0]
            new, reward, landed = step(height, action)
            with torch.no_grad():
                target = reward + gamma * model(new)[1] * (1 - landed)
            advantage = target - value
            entropy = -(log_probs.exp() * log_probs).sum(1).mean()
            policy_loss = -(log_probs.gather(1, action[:, None])[:, 0] * advantage.detach()).mean()
            loss = policy_loss + 0.5 * advantage.pow(2).mean() - 0.01 * entropy
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            watch.loss(loss)
            height = torch.where(landed > 0, torch.randint(1, 10, (32,), generator=generator), new)
    height, done = torch.full((200,), 8), torch.zeros(200)
    for _ in range(30):
        with torch.no_grad():
            height, _, landed = step(height, torch.multinomial(model(height)[0].exp(), 1, generator=generator)[:, 0])
        done, height = done.maximum(landed), torch.where(landed > 0, 8, height)
    return above(done.mean(), 0.9)
