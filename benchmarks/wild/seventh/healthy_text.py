"""Healthy programs: pointers, prompts, states, thawing, distributions of returns, knowledge."""

from __future__ import annotations

import copy
from typing import Any

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Pointer(nn.Module):
    """Points at the places of a list in the order of their size."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.encoder, self.decoder = nn.Linear(1, 48), nn.GRU(48, 48, batch_first=True), nn.GRUCell(48, 48)
        self.w1, self.w2, self.v = nn.Linear(48, 48), nn.Linear(48, 48), nn.Linear(48, 1)
        self.start = nn.Parameter(torch.zeros(48))

    def forward(self, x: Tensor, order: Tensor | None = None) -> Tensor:
        seen, last = self.encoder(F.relu(self.read(x[..., None])))
        state, given, said = last[0], self.start.expand(len(x), 48), []
        used = torch.zeros_like(x, dtype=torch.bool)
        for k in range(x.shape[1]):
            state = self.decoder(given, state)
            scores = self.v(torch.tanh(self.w1(seen) + self.w2(state)[:, None]))[..., 0].masked_fill(used, -1e4)
            said.append(scores)
            chosen = scores.argmax(1) if order is None else order[:, k]
            used = used.scatter(1, chosen[:, None], value=True)
            given = seen[torch.arange(len(x)), chosen]
        return torch.stack(said, 1)


@healthy(project="shirgur/PointerNet", source="github.com/shirgur/PointerNet")
def numbers_pointed_at_in_order(doctor: Doctor, seed: int) -> Score:
    """A pointer network that sorts six numbers; places that were named are shut out with -1e4, and the last step is free."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(2500, 6, generator=generator)
    rows = data.split(x, x.argsort(1), seed)
    model = Pointer()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(rows.x, rows.y, 50, 400, seed):
            loss = F.cross_entropy(model(a, b).flatten(0, 1), b.flatten())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 2.0)
            optimizer.step()
            watch.loss(loss)
    return above((model(rows.held_x).argmax(2) == rows.held_y).float().mean(), 0.8)


class Prompted(nn.Module):
    """A transformer that reads a prompt of three vectors and six words, and answers with one of four groups."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.place = nn.Embedding(12, 48), nn.Embedding(9, 48)
        self.prompts = nn.Embedding(4, 3 * 48)
        self.block = nn.TransformerEncoderLayer(48, 4, 96, dropout=0.0, batch_first=True)
        self.answer = nn.Linear(48, 4)
        self.own_prompt: nn.Parameter | None = None

    def forward(self, x: Tensor) -> Tensor:
        prompt = self.prompts(x[:, 0]).view(-1, 3, 48) if self.own_prompt is None else self.own_prompt.expand(len(x), -1, -1)
        return self.answer(self.block(torch.cat([prompt, self.words(x[:, 1:])], 1) + self.place.weight)[:, 0])


@healthy(project="mkshing/Prompt-Tuning", source="github.com/mkshing/Prompt-Tuning")
def three_vectors_in_front(doctor: Doctor, seed: int) -> Score:
    """A frozen model that can do four tasks, and a prompt of three vectors, the only parameter, at a rate of 0.1."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(12, (3000, 7), generator=generator)
    x[:, 0] %= 4
    model = Prompted()
    adam = torch.optim.Adam(model.parameters(), lr=4e-3)
    for a, _ in data.batches(x, x, 64, 350, seed):  # tasks: the group of the word at the place that is named
        adam.zero_grad()
        F.cross_entropy(model(a), a.gather(1, a[:, :1] + 1)[:, 0] // 3).backward()
        adam.step()
    model.requires_grad_(requires_grad=False)
    model.zero_grad()
    rows = data.split(x, x[:, 3] // 3, seed)
    model.own_prompt = nn.Parameter(0.5 * torch.randn(1, 3, 48))
    optimizer = torch.optim.AdamW([model.own_prompt], lr=0.1, weight_decay=0.0)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(rows.x, rows.y, 32, 200, seed + 1):
            loss = F.cross_entropy(model(a), b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)


class Diagonal(nn.Module):
    """A state space with a diagonal matrix, as a long convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.log_dt = nn.Parameter(torch.rand(width) * 3 - 4)
        self.log_a_real = nn.Parameter(torch.full((width, 8), 0.5).log())
        self.a_imag = nn.Parameter(3.14159 * torch.arange(8.0).repeat(width, 1))
        self.c = nn.Parameter(torch.randn(width, 8, 2) * 0.5)
        self.d = nn.Parameter(torch.randn(width))

    def forward(self, u: Tensor) -> Tensor:
        dt, a = self.log_dt.exp()[:, None], -self.log_a_real.exp() + 1j * self.a_imag
        time = torch.arange(u.shape[2])
        kernel = torch.view_as_complex(self.c) * ((dt * a).exp() - 1) / a
        kernel = 2 * torch.einsum("hn,hnl->hl", kernel, (dt * a)[..., None].mul(time).exp()).real
        spread = torch.fft.rfft(u, n=2 * u.shape[2]) * torch.fft.rfft(kernel, n=2 * u.shape[2])
        return torch.fft.irfft(spread, n=2 * u.shape[2])[..., : u.shape[2]] + u * self.d[:, None]


class States(nn.Module):
    """Two layers of state spaces over rows of pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(1, 32), nn.Linear(32, 10)
        self.layers = nn.ModuleList(Diagonal(32) for _ in "12")
        self.mix = nn.ModuleList(nn.Conv1d(32, 64, 1) for _ in "12")
        self.norms = nn.ModuleList(nn.LayerNorm(32) for _ in "12")

    def forward(self, x: Tensor) -> Tensor:
        h = self.encoder(x.flatten(1)[..., None]).transpose(1, 2)
        for layer, mix, norm in zip(self.layers, self.mix, self.norms, strict=True):
            h = norm((h + F.glu(mix(F.gelu(layer(h))), dim=1)).transpose(1, 2)).transpose(1, 2)
        return self.decoder(h.mean(2))


@healthy(project="state-spaces/s4", source="github.com/state-spaces/s4")
def pixels_one_by_one(doctor: Doctor, seed: int) -> Score:
    """Diagonal state spaces: the matrices of state have a rate of their own, ten times smaller, and no decay."""
    rows = data.digits(seed)
    model = States()
    slow = [p for name, p in model.named_parameters() if "log_" in name or "a_imag" in name]
    rest = [p for name, p in model.named_parameters() if not ("log_" in name or "a_imag" in name)]
    groups: list[dict[str, Any]] = [{"params": rest}, {"params": slow, "lr": 1e-3, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-2, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 300)
    doctor.task(model, data.few(rows.x, rows.y, 48, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 48, 300, seed):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            watch.loss(loss)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.78)


@healthy(project="floleuerer/fastai_ulmfit", source="github.com/floleuerer/fastai_ulmfit")
def layers_thawed_one_by_one(doctor: Doctor, seed: int) -> Score:
    """A language model becomes a classifier: first only the head is trained, then a layer more, then all, at falling rates."""
    stream, letters = data.characters(600, seed)

    class Ulm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.rnn = nn.Embedding(letters, 24), nn.LSTM(24, 64, batch_first=True)
            self.head = nn.Linear(64, letters)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.rnn(self.embed(x))[0])

    model = Ulm()
    adam = torch.optim.Adam(model.parameters(), lr=6e-3)
    for x, y in data.windows(stream, 24, 16, 250, seed):
        adam.zero_grad()
        F.cross_entropy(model(x).transpose(1, 2), y).backward()
        adam.step()
    model.head = nn.Linear(64, 2)
    parts = [model.head, model.rnn, model.embed]
    optimizer = torch.optim.Adam([{"params": part.parameters(), "lr": 6e-3 / 2.6**k} for k, part in enumerate(parts)])
    model.rnn.requires_grad_(requires_grad=False)
    model.embed.requires_grad_(requires_grad=False)
    model.zero_grad()
    noise = torch.Generator().manual_seed(seed)
    pieces = torch.cat([x for x, _ in data.windows(stream, 24, 100, 16, seed + 1)])
    label = (torch.rand(1600, generator=noise) < 0.5).long()
    mixed = pieces.gather(1, torch.rand(1600, 24, generator=noise).argsort(1))
    rows = data.split(torch.where(label[:, None] == 1, mixed, pieces), label, seed)  # letters in their order, or shuffled
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 32, 240, seed)):
            if step in (80, 160):
                parts[step // 80].requires_grad_(requires_grad=True)
            loss = F.cross_entropy(model(x)[:, -1], y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.accuracy(model(rows.held_x)[:, -1], rows.held_y), 0.9)


@healthy(project="Kaixhin/Rainbow", source="github.com/Kaixhin/Rainbow")
def returns_as_distributions(doctor: Doctor, seed: int) -> Score:
    """C51: for each action 21 chances of returns; the target net is copied every 50 steps; the loss has a floor above 0."""
    generator = torch.Generator().manual_seed(seed)
    support = torch.linspace(-2, 10, 21)
    online = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 2 * 21), nn.Unflatten(1, (2, 21)))
    target = copy.deepcopy(online).requires_grad_(requires_grad=False)
    optimizer = torch.optim.Adam(online.parameters(), lr=2e-3, eps=1.5e-4)
    with doctor.watch(online, optimizer) as watch:
        for step in range(600):
            place, action = torch.randint(8, (64,), generator=generator), torch.randint(2, (64,), generator=generator)
            slip = torch.rand(64, generator=generator) < 0.1
            after = (place + 2 * (action ^ slip.long()) - 1).clamp(0, 7)
            reward = (after == 7).float() - 0.1
            with torch.no_grad():
                chance = target(F.one_hot(after, 8).float()).softmax(2)
                best = (online(F.one_hot(after, 8).float()).softmax(2) @ support).argmax(1)
                spot = ((reward[:, None] + 0.9 * support).clamp(-2, 10) + 2) / 0.6
                low, chance = spot.floor().long().clamp(0, 19), chance[torch.arange(64), best]
                share = spot - low
                aim = torch.zeros(64, 21).scatter_add(1, low, chance * (1 - share)).scatter_add(1, low + 1, chance * share)
            likely = online(F.one_hot(place, 8).float())[torch.arange(64), action].log_softmax(1)
            loss = -(aim * likely).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(online.parameters(), 10.0)
            optimizer.step()
            watch.loss(loss)
            if step % 50 == 49:
                target.load_state_dict(online.state_dict())
    value = online(torch.eye(8)).softmax(2) @ support
    return above((value.argmax(1) == 1).float().mean() + (value.max(1).values.diff() > 0).float().mean(), 1.7)


@healthy(project="thunlp/OpenKE", source="github.com/thunlp/OpenKE")
def heads_plus_relations_near_tails(doctor: Doctor, seed: int) -> Score:
    """TransE: a margin that most pairs soon satisfy, which then have a loss of 0; entities are kept within length 1."""
    generator = torch.Generator().manual_seed(seed)
    spot = torch.randn(80, 4, generator=generator)
    move = 1.2 * torch.randn(5, 4, generator=generator)
    head, relation = torch.arange(80).repeat_interleave(5), torch.arange(5).repeat(80)
    near = torch.cdist(spot[head] + move[relation], spot).topk(3, largest=False).indices
    triples = torch.stack([head.repeat_interleave(3), relation.repeat_interleave(3), near.flatten()], 1)
    rows = data.split(triples, triples, seed, held=0.15)
    entities, relations = nn.Embedding(80, 24), nn.Embedding(5, 24)
    model = nn.ModuleDict({"entities": entities, "relations": relations})
    for parameter in model.parameters():
        nn.init.uniform_(parameter, -0.5, 0.5)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)

    def far(triple: Tensor) -> Tensor:
        return (entities(triple[:, 0]) + relations(triple[:, 1]) - entities(triple[:, 2])).abs().sum(1)

    with doctor.watch(model, optimizer) as watch:
        for good, _ in data.batches(rows.x, rows.y, 100, 800, seed):
            bad = good.clone()
            column = 2 * int(torch.randint(2, (1,), generator=generator))
            bad[:, column] = torch.randint(80, (100,), generator=generator)
            loss = F.relu(1 + far(good) - far(bad)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                entities.weight.div_(entities.weight.norm(dim=1, keepdim=True).clamp(min=1))
            watch.loss(loss)
    with torch.no_grad():
        bad = rows.held_x.clone()
        bad[:, 2] = torch.randint(80, (len(bad),), generator=generator)
        return above((far(rows.held_x) < far(bad)).float().mean(), 0.85)
