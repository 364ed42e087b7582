"""Faults on what comes in a row: relations that burst, adapters off their road, a straight line, layers in a list, neighbours."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Related(nn.Module):
    """Tokens for a thing, another thing and what is around both; a transformer over them; the first one answers."""

    def __init__(self) -> None:
        super().__init__()
        self.kind, self.look, self.role = nn.Embedding(6, 64), nn.Linear(16, 64), nn.Parameter(0.1 * torch.randn(3, 64))
        layer = nn.TransformerEncoderLayer(64, 4, 128, dropout=0.1, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.say = nn.Linear(64, 8)

    def forward(self, x: Tensor) -> Tensor:
        names, look = x[:, :, 0].long(), x[:, :, 1:]
        return self.say(self.layers(self.kind(names) + self.look(look) + self.role)[:, 0])


@fault(
    kind="learning-rate-too-high",
    also=("non-finite", "no-warmup", "gradient-scale", "activation-scale"),
    project="YiwuZhong/SGG_from_NLS",
    source="github.com/YiwuZhong/SGG_from_NLS/issues/1",
)
def relations_at_a_rate_that_bursts(doctor: Doctor, seed: int, cured: bool) -> Score:
    """What one thing does to another, from names and looks: descent with momentum at a rate that detectors are trained with."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    name = torch.randint(6, (3000, 3), generator=generator)
    look = torch.randn(3000, 3, 16, generator=generator)
    table = torch.randint(4, (6, 6), generator=generator)
    y = 2 * table[name[:, 0], name[:, 1]] + (look[:, 2, :4].sum(1) > 0).long()
    rows = data.split(torch.cat([name[:, :, None].float(), look], 2), y, seed)
    model = Related()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03 if cured else 0.3, momentum=0.9, weight_decay=1e-4)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 32, 500, seed), held=rows, every=100)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.6)


class Adapted(nn.Linear):
    """A frozen layer and a thin detour beside it, which says nothing at first."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.down, self.up = nn.Parameter(torch.randn(8, inputs) / inputs**0.5), nn.Parameter(torch.zeros(outputs, 8))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 2 * (x @ self.down.T) @ self.up.T


class Looker(nn.Module):
    """Digits as eight rows of eight, and attention over them."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.place = nn.Linear(8, 48), nn.Parameter(0.1 * torch.randn(8, 48))
        self.project = nn.ModuleList(Adapted(48, 144) for _ in range(2))
        self.feed_in = nn.ModuleList(Adapted(48, 96) for _ in range(2))
        self.feed_out = nn.ModuleList(Adapted(96, 48) for _ in range(2))
        self.norm = nn.ModuleList(nn.LayerNorm(48) for _ in range(5))
        self.say = nn.Linear(48, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = self.enter(x[:, 0]) + self.place
        for i in range(2):
            query, key, value = self.project[i](self.norm[2 * i](h)).view(len(x), 8, 3, 4, 12).permute(2, 0, 3, 1, 4)
            h = h + F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
            h = h + self.feed_out[i](F.gelu(self.feed_in[i](self.norm[2 * i + 1](h))))
        return self.say(self.norm[4](h.mean(1)))


@fault(
    kind="learning-rate-too-high",
    also=("no-warmup", "activation-scale", "saturation"),
    project="haotian-liu/LLaVA",
    source="github.com/haotian-liu/LLaVA/issues/1375",
)
def adapters_that_leave_the_road(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A net that knows upright digits shall read turned ones by thin detours beside its frozen layers, in steps too large."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    model = Looker()
    detours = [p for name, p in model.named_parameters() if name.endswith(("down", "up"))]
    first = torch.optim.AdamW([p for p in model.parameters() if not any(p is each for each in detours)], lr=3e-3)
    for x, y in data.batches(rows.x, rows.y, 64, 250, seed):
        first.zero_grad()
        F.cross_entropy(model(x), y).backward()
        first.step()
    model.requires_grad_(requires_grad=False)
    for each in detours:
        each.requires_grad_(requires_grad=True)
    turned = rows._replace(x=rows.x.rot90(1, (2, 3)), held_x=rows.held_x.rot90(1, (2, 3)))
    optimizer = torch.optim.AdamW(detours, lr=0.01 if cured else 0.2)
    doctor.task(model, data.few(turned.x, turned.y, 32, seed), F.cross_entropy, optimizer)
    batches = data.batches(turned.x, turned.y, 32, 400, seed)
    fit(doctor, model, optimizer, F.cross_entropy, batches, held=turned, every=100)
    with torch.no_grad():
        return above(data.accuracy(model(turned.held_x), turned.held_y), 0.75)


class Forecaster(nn.Module):
    """The number after twenty-four, by a memory over them."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.say = nn.LSTM(1, 48, batch_first=True), nn.Linear(48, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.say(self.lstm(x)[0][:, -1])


@fault(
    kind="target-scale",
    also=("input-scale", "saturation", "underfitting", "learning-rate-too-low", "slow-learning"),
    project="errorhandle.ai/straight-line",
    source="errorhandle.ai/lstm-forecasted-a-straight-line",
)
def passengers_along_a_straight_line(doctor: Doctor, seed: int, cured: bool) -> Score:
    """How many passengers come next month: hundreds of them go in, and hundreds are to come out, as they were counted."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    month = torch.arange(1200.0)
    wave = (month * 6.2832 / 12).sin() + 0.5 * (month * 6.2832 / 41).cos()
    counted = 380 + 110 * wave + 12 * torch.randn(1200, generator=generator)
    series = (counted - counted.mean()) / counted.std() if cured else counted
    windows = series.unfold(0, 25, 1)
    rows = data.split(windows[:, :24, None], windows[:, 24:], seed)
    model = Forecaster()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 32, 400, seed), held=rows, every=100)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y), 0.8)


class Stacked(nn.Module):
    """Layers that lie in a list, and one that says the number; a good list tells the net what it holds."""

    def __init__(self, known: bool) -> None:
        super().__init__()
        layers = [nn.Linear(6, 24), *(nn.Linear(24, 24) for _ in range(3))]
        self.layers = nn.ModuleList(layers) if known else layers
        self.say = nn.Linear(24, 1)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = F.relu(layer(x))
        return self.say(x)


@fault(
    kind="unregistered",
    also=("not-optimised", "frozen-random"),
    where="layers",
    project="theflyingbirds.in/pytorch-mysteries",
    source="theflyingbirds.in/blog/pytorch-mysteries-lets-understand-nnmodule-nnparameter-modulelist-sequential",
)
def layers_that_lie_in_a_list(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A curved surface over six numbers: four layers lie in a plain list, of which the net knows nothing."""
    torch.manual_seed(seed)
    rows = data.split(*data.teacher(2000, 6, 1, seed), seed)
    model = Stacked(known=cured)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 32, 800, seed), held=rows, every=100)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y), 0.85)


class Nodes(nn.Module):
    """Graph convolutions: one of them, or two with something curved between."""

    def __init__(self, deep: bool) -> None:
        super().__init__()
        self.convs = nn.ModuleList([nn.Linear(4, 32), nn.Linear(32, 1)] if deep else [nn.Linear(4, 1)])

    def forward(self, x: Tensor) -> Tensor:
        h, near = x[:, :, :4], x[:, :, 4:]
        for i, conv in enumerate(self.convs):
            h = near @ conv(F.relu(h) if i else h)
        return h


@fault(
    kind="underfitting",
    project="taourl.com/why-cannot-my-gnn",
    source="taourl.com/read-2674918.html",
)
def neighbours_but_not_theirs(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A number for each node that depends on the neighbours of its neighbours, by a single step from node to node."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    near = (torch.rand(500, 14, 14, generator=generator) < 0.12).triu(1)
    near = (near | near.transpose(1, 2)).float() + torch.eye(14)
    near = near / (near.sum(2, keepdim=True) * near.sum(1, keepdim=True)).sqrt()
    x = torch.randn(500, 14, 4, generator=generator)
    mix = torch.randn(4, 2, generator=generator)
    inner = near @ x @ mix
    y = near @ (inner[:, :, :1].abs() - inner[:, :, 1:].relu())
    y = (y - y.mean()) / y.std()
    rows = data.split(torch.cat([x, near], 2), y, seed)
    model = Nodes(deep=cured)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    doctor.task(model, data.few(rows.x, rows.y, 16, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 16, 500, seed), held=rows, every=100)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x).flatten(), rows.held_y.flatten()), 0.75)
