"""Faults of poles, graphs and tuned nets: an end that is none, the edges of one graph, too long a step."""

from __future__ import annotations

import copy

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Poles:
    """Sixteen poles that fall; pushed to the left or the right, each stands as long as it leans by less than 1."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.state = self.fresh(16)

    def fresh(self, count: int) -> Tensor:
        return 0.4 * torch.rand(count, 2, generator=self.generator) - 0.2

    def step(self, action: Tensor) -> tuple[Tensor, Tensor]:
        lean, speed = self.state.unbind(1)
        speed = speed + 0.1 * lean + 0.08 * (2 * action - 1) + 0.02 * torch.randn(len(lean), generator=self.generator)
        after = torch.stack([lean + 0.3 * speed, speed], 1)
        return after, after[:, 0].abs() > 1

    def move_on(self, after: Tensor, done: Tensor) -> None:
        self.state = torch.where(done[:, None], self.fresh(len(after)), after)


@fault(
    kind="other-loss",
    project="navneet-nmk/pytorch-rl",
    source="github.com/navneet-nmk/pytorch-rl/issues/2",
)
def a_fall_that_is_not_the_end(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A pole kept up by what each push is worth: a fall counts as if the pole stood on, so that no push is worth more."""
    torch.manual_seed(seed)
    poles = Poles(seed)
    q_net = nn.Sequential(nn.Linear(2, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 2))
    target_net = copy.deepcopy(q_net)
    optimizer = torch.optim.Adam(q_net.parameters(), lr=1e-3)
    memory: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    with doctor.watch(q_net, optimizer) as watch:
        for step in range(900):
            with torch.no_grad():
                best = q_net(poles.state).argmax(1)
            chance = max(0.1, 1 - step / 400)
            action = torch.where(torch.rand(16) < chance, torch.randint(2, (16,)), best)
            after, done = poles.step(action)
            memory.append((poles.state, action, after, done))
            poles.move_on(after, done)
            if step < 30:
                continue
            drawn = [memory[each] for each in torch.randint(len(memory), (4,)).tolist()]
            state, action, after, done = (torch.cat(parts) for parts in zip(*drawn, strict=True))
            with torch.no_grad():
                ahead = target_net(after).amax(1)
            target = 1 + 0.95 * (ahead * (~done) if cured else ahead)
            loss = F.smooth_l1_loss(q_net(state).gather(1, action[:, None])[:, 0], target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 50 == 0:
                target_net.load_state_dict(q_net.state_dict())
    poles.state, stood, up = poles.fresh(64), torch.zeros(64), torch.ones(64, dtype=torch.bool)
    with torch.no_grad():
        for _ in range(100):
            poles.state, fell = poles.step(q_net(poles.state).argmax(1))
            up &= ~fell
            stood += up
    return above(stood.mean(), 80)


class GCNEncoder(nn.Module):
    """Two rounds of means over neighbours; the graphs of a batch are laid end to end, and the edges are those of one of them."""

    def __init__(self, moved: bool) -> None:
        super().__init__()
        self.moved = moved
        self.init_embedding = nn.Linear(3, 32)
        self.gcn_layers = nn.ModuleList([nn.Linear(32, 32), nn.Linear(32, 32)])
        self.out = nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        count, nodes, _ = x.shape
        h = F.relu(self.init_embedding(x)).flatten(0, 1)
        one = torch.cartesian_prod(torch.arange(nodes), torch.arange(nodes))
        one = one[one[:, 0] != one[:, 1]]
        edges = (one[None] + nodes * torch.arange(count)[:, None, None]).flatten(0, 1) if self.moved else one
        degree = torch.ones(count * nodes).index_add(0, edges[:, 1], torch.ones(len(edges)))
        for layer in self.gcn_layers:
            told = layer(h) / degree.sqrt()[:, None]
            h = h + F.relu(told.index_add(0, edges[:, 1], told[edges[:, 0]]) / degree.sqrt()[:, None])
        return self.out(h).view(count, nodes, 2)


@fault(
    kind="batch-mixing",
    also=("underfitting",),
    project="ai4co/rl4co",
    source="github.com/ai4co/rl4co/issues/227",
)
def edges_of_the_first_graph_alone(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Is a town east of the middle of its eight towns: 32 maps stand in a row, and the roads of the first are used."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    towns = torch.randn(1400, 8, 3, generator=generator) + 2 * torch.randn(1400, 1, 3, generator=generator)
    rows = data.split(towns, (towns[:, :, 0] > towns[:, :, 0].mean(1, keepdim=True)).long(), seed)
    model = GCNEncoder(moved=cured)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    def loss_fn(said: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(said.flatten(0, 1), target.flatten())

    doctor.task(model, data.few(rows.x, rows.y, 32, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 32, 400, seed), held=rows)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


class Bert(nn.Module):
    """A small transformer over words, first as it learns to fill gaps, then with a word on the whole."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.place = nn.Embedding(24, 32), nn.Parameter(0.1 * torch.randn(10, 32))
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.encoder(self.embedding(x) + self.place)


class Relation(nn.Module):
    """What the first word has become, and one of four relations."""

    def __init__(self, bert: Bert) -> None:
        super().__init__()
        self.bert, self.classifier = bert, nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.bert(x)[:, 0])


@fault(
    kind="learning-rate-too-high",
    also=("no-warmup", "gradient-scale"),
    project="ewrfcas/DocRED_Bert",
    source="github.com/ewrfcas/DocRED_Bert/issues/2",
)
def relations_by_too_long_a_step(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A net that has learned to fill gaps is tuned to tell four relations: with this step it soon says one thing of all."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    kind = torch.randint(4, (1600,), generator=generator)
    words = torch.randint(6, 22, (1600, 10), generator=generator)
    words[:, 0] = 1
    words[torch.arange(1600), torch.randint(1, 10, (1600,), generator=generator)] = 2 + kind
    bert, fill = Bert(), nn.Linear(32, 24)
    before = torch.optim.Adam([*bert.parameters(), *fill.parameters()], lr=1e-3)
    for batch, _ in data.batches(words, kind, 32, 100, seed):
        gap = torch.rand(batch.shape, generator=generator) < 0.2
        before.zero_grad()
        F.cross_entropy(fill(bert(batch.masked_fill(gap, 23)))[gap], batch[gap]).backward()
        before.step()
    rows = data.split(words, kind, seed)
    model = Relation(bert)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3 if cured else 0.06)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 32, 200, seed), held=rows)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)
