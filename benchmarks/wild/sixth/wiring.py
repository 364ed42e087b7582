"""Faults of wiring in newer nets: graphs, adapters, experts, policies, trainers, causal convolutions."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Edges(nn.Module):
    """One round of messages in graphs of ten nodes: column 0 names where the edge of a node comes from, the rest are features."""

    def __init__(self, cured: bool) -> None:
        super().__init__()
        self.message = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU())
        self.readout = nn.Linear(16, 2)
        self.cured = cured

    def forward(self, graphs: Tensor) -> Tensor:
        batch, nodes, _ = graphs.shape
        source, features = graphs[..., 0].long(), graphs[..., 1:].reshape(batch * nodes, 3)
        if self.cured:
            source = source + nodes * torch.arange(batch)[:, None]
        sent = self.message(torch.cat([features[source.reshape(-1)], features], 1))
        return self.readout(sent.view(batch, nodes, 16).mean(1))


@fault(kind="batch-mixing", project="e3nn/e3nn", source="github.com/e3nn/e3nn/pull/389")
def edges_without_an_offset(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Graphs become one large graph, but only edge_index would be moved on: all edges come from nodes of the first."""
    generator = torch.Generator().manual_seed(seed)
    source = torch.randint(10, (1600, 10), generator=generator)
    features = torch.randn(1600, 10, 3, generator=generator)
    sent = features[torch.arange(1600)[:, None], source]
    total = (sent[..., 0] - features[..., 0]).abs().mean(1) - (sent[..., 1] + features[..., 1]).abs().mean(1)
    y = (total > total.median()).long()
    rows = data.split(torch.cat([source[..., None].float(), features], 2), y, seed)
    model = Edges(cured)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(rows.x, rows.y, 32, 400, seed):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(a), b)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)


class Adapted(nn.Module):
    """A trained net that is left as it is, and patches of low rank beside its two layers."""

    def __init__(self, cured: bool) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, 96), nn.Linear(96, 10)
        shapes = {"first_a": (8, 64), "first_b": (96, 8), "second_a": (8, 96), "second_b": (10, 8)}
        self.lora = nn.ParameterDict({name: nn.Parameter(torch.zeros(shape)) for name, shape in shapes.items()})
        if cured:
            for name in ("first_a", "second_a"):
                nn.init.kaiming_uniform_(self.lora[name], a=5**0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        h = F.relu(self.first(x) + 2 * (x @ self.lora["first_a"].T @ self.lora["first_b"].T))
        return self.second(h) + 2 * (h @ self.lora["second_a"].T @ self.lora["second_b"].T)


@fault(
    kind="never-moved",
    where="lora",
    also=("no-gradient", "symmetry"),
    project="Guitaricet/relora",
    source="github.com/Guitaricet/relora/issues/18",
)
def both_patches_are_zero(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A and B of each patch start at 0: the gradient of each is a multiple of the other, and that is 0 for ever."""
    rows = data.digits(seed)
    model = Adapted(cured)
    before = torch.optim.Adam([*model.first.parameters(), *model.second.parameters()], lr=2e-3)
    for x, y in data.batches(rows.x, rows.y, 50, 250, seed):
        before.zero_grad()
        F.cross_entropy(model(x), y).backward()
        before.step()
    for layer in (model.first, model.second):
        layer.requires_grad_(requires_grad=False)
    model.zero_grad()
    optimizer = torch.optim.AdamW(model.lora.parameters(), lr=1e-2)
    x, held = rows.x.flip(3), rows.held_x.flip(3)  # the new task: digits in a mirror
    doctor.task(model, data.few(x, rows.y, 50, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(x, rows.y, 50, 300, seed + 1):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(a), b)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.accuracy(model(held), rows.held_y), 0.85)


class Experts(nn.Module):
    """Each row goes to the one expert the router likes best."""

    def __init__(self, cured: bool) -> None:
        super().__init__()
        self.router = nn.Linear(6, 4)
        self.experts = nn.ModuleList(nn.Linear(6, 1) for _ in range(4))
        self.cured = cured

    def forward(self, x: Tensor) -> Tensor:
        scores = self.router(x)
        if self.cured:
            gate, chosen = scores.softmax(1).topk(1, dim=1)
        else:
            best, chosen = scores.topk(1, dim=1)
            gate = best.softmax(1)
        said = torch.cat([expert(x) for expert in self.experts], 1)
        return gate * said.gather(1, chosen)


@fault(
    kind="no-gradient",
    where="router",
    also=("softmax-axis", "never-moved", "frozen-random"),
    project="davidmrau/mixture-of-experts",
    source="github.com/davidmrau/mixture-of-experts/issues/27",
)
def softmax_of_the_only_expert(doctor: Doctor, seed: int, cured: bool) -> Score:
    """With one expert per row the softmax is over one number: the gate is 1, and the router never learns."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2400, 6, generator=generator)
    part = (x[:, 0] > 0).long() * 2 + (x[:, 1] > 0).long()
    maps = torch.randn(4, 6, generator=generator) * torch.tensor([1.0, 1.0, 1.5, 1.5, 1.5, 1.5])
    y = (x * maps[part]).sum(1, keepdim=True) + 2.5 * part[:, None] - 4
    rows = data.split(x, y / y.std(), seed)
    model = Experts(cured)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    doctor.task(model, data.few(rows.x, rows.y, 60, seed), F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(rows.x, rows.y, 60, 700, seed):
            optimizer.zero_grad()
            loss = F.mse_loss(model(a), b)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.r2(model(rows.held_x), rows.held_y), 0.69)


def denoiser() -> nn.Sequential:
    """Noise in an action of two numbers, given what is seen (3) and how far the noise has gone (1)."""
    return nn.Sequential(nn.Linear(6, 64), nn.Mish(), nn.Linear(64, 64), nn.Mish(), nn.Linear(64, 2))


@fault(
    kind="not-optimised",
    where="noise_pred_net",
    also=("never-moved",),
    project="siddancha/streaming-flow-policy",
    source="github.com/siddancha/streaming-flow-policy/pull/15",
)
def adam_of_the_other_policy(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Two policies in one notebook: the loop trains the diffusion policy, its Adam was given the weights of the flow policy."""
    generator = torch.Generator().manual_seed(seed)
    nets = nn.ModuleDict({"flow_net": denoiser(), "noise_pred_net": denoiser()})
    policy = nets["noise_pred_net"]
    optimizer = torch.optim.AdamW(nets["noise_pred_net" if cured else "flow_net"].parameters(), lr=3e-3, weight_decay=1e-6)
    losses = []
    with doctor.watch(nets, optimizer) as watch:
        for _ in range(500):
            seen = torch.randn(64, 3, generator=generator)
            action = torch.stack([torch.tanh(seen[:, 0] + seen[:, 1]), torch.sin(2 * seen[:, 2])], 1)
            t = torch.rand(64, 1, generator=generator) * 0.9 + 0.1
            noise = torch.randn(64, 2, generator=generator)
            noisy = (1 - t) * action + t * noise
            loss = F.mse_loss(policy(torch.cat([noisy, seen, t], 1)), noise)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            losses.append(loss.item())
    return below(sum(losses[-50:]) / 50, 0.35)


class Lit(nn.Module):
    """A module with its training step, as a trainer wants it."""

    def __init__(self, cured: bool) -> None:
        super().__init__()
        self.bert = nn.Sequential(nn.Embedding(80, 32), nn.Linear(32, 32), nn.Tanh())
        self.w = nn.Linear(32, 2)
        self.logged: list[Tensor] = []
        self.cured = cured

    def forward(self, x: Tensor) -> Tensor:
        return self.w(self.bert(x).mean(1))

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor | None:
        loss = F.cross_entropy(self(batch[0]), batch[1])
        self.logged.append(loss.detach())
        return loss if self.cured else None


@fault(
    kind="never-moved",
    also=("no-gradient", "gradients-cleared"),
    project="graviraja/MLOps-Basics",
    source="github.com/graviraja/MLOps-Basics/issues/14",
)
def step_that_returns_nothing(doctor: Doctor, seed: int, cured: bool) -> Score:
    """training_step logs its loss and forgets to return it; the trainer takes None as: no backward for this batch."""
    generator = torch.Generator().manual_seed(seed)
    words = torch.randint(80, (1500, 9), generator=generator)
    grammatical = torch.randn(80, generator=generator)[words].sum(1)
    rows = data.split(words, (grammatical > 0).long(), seed)
    model = Lit(cured)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    with doctor.watch(model, optimizer) as watch:
        for batch in data.batches(rows.x, rows.y, 32, 250, seed):
            result = model.training_step(batch)
            optimizer.zero_grad()
            if result is not None:
                result.backward()
            optimizer.step()
            watch.loss(model.logged[-1])
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)


class Convolved(nn.Module):
    """Next letter by dilated convolutions."""

    def __init__(self, letters: int, cured: bool) -> None:
        super().__init__()
        self.embed, self.out = nn.Embedding(letters, 32), nn.Conv1d(48, letters, 1)
        self.layers = nn.ModuleList(nn.Conv1d(32 if k == 0 else 48, 48, 3, dilation=2**k) for k in range(3))
        self.cured = cured

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x).transpose(1, 2)
        for k, layer in enumerate(self.layers):
            reach = 2 * 2**k
            h = F.relu(layer(F.pad(h, (reach, 0) if self.cured else (reach // 2, reach // 2))))
        return self.out(h)


@fault(kind="future-leak", also=("leak",), project="tensorflow/models", source="github.com/tensorflow/models/issues/10062")
def causal_convolution_padded_on_both_sides(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A causal convolution padded with "same": half of what a step sees comes after it, the answer among it."""
    stream, letters = data.characters(700, seed)
    model = Convolved(letters, cured)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    doctor.task(model, list(data.windows(stream, 24, 16, 6, seed)), F.cross_entropy, optimizer)
    held = torch.cat([x for x, _ in data.windows(data.characters(60, seed + 1)[0], 25, 30, 3, seed)])
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.windows(stream, 24, 16, 450, seed)):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 90 == 89:
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(held[:, :-1]), held[:, 1:]))
    with torch.no_grad():  # as it is used: nothing is known yet of what comes
        used = [F.cross_entropy(model(held[:, :cut])[:, :, -1], held[:, cut]) for cut in (10, 15, 20)]
    return below(torch.stack(used).mean(), 0.6)
