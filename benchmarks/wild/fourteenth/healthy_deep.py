"""Healthy programs of odd shapes: rates of dropout that are learnt, no places but slopes, numbers put in order, links, tastes."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="yaringal/ConcreteDropout", source="github.com/yaringal/ConcreteDropout")
def rates_of_dropout_that_are_learnt(doctor: Doctor, seed: int) -> Score:
    """Each layer learns how much of it is dropped, and drops it in use too: the mean of many answers counts."""
    generator = torch.Generator().manual_seed(seed)
    x, y = data.teacher(1200, 8, 1, seed, noise=0.2)
    rows = data.split(x, y, seed)

    class Dropped(nn.Module):
        def __init__(self, layer: nn.Linear) -> None:
            super().__init__()
            self.layer, self.odds = layer, nn.Parameter(torch.tensor(-2.0))

        def price(self) -> Tensor:
            rate, wide = self.odds.sigmoid(), self.layer.in_features
            spread = self.layer.weight.pow(2).sum() / (1 - rate) * 1e-6
            return spread + wide * 2e-4 * (rate * rate.log() + (1 - rate) * (1 - rate).log())

        def forward(self, a: Tensor) -> Tensor:
            u = torch.rand(a.shape, generator=generator).clamp(1e-6, 1 - 1e-6)
            gone = torch.sigmoid((self.odds + u.log() - (1 - u).log()) / 0.1)
            return self.layer(a * (1 - gone) / (1 - self.odds.sigmoid()))

    layers = [Dropped(nn.Linear(8, 64)), Dropped(nn.Linear(64, 64)), Dropped(nn.Linear(64, 2))]
    model = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(rows.x, rows.y, 50, 900, seed):
            mean, spread = model(a).chunk(2, 1)
            loss = ((-spread).exp() * (b - mean).pow(2) + spread).mean() + sum((each.price() for each in layers), torch.zeros(()))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return above(data.r2(torch.stack([model(rows.held_x)[:, :1] for _ in range(30)]).mean(0), rows.held_y), 0.7)


@healthy(project="ofirpress/attention_with_linear_biases", source="github.com/ofirpress/attention_with_linear_biases")
def no_places_but_slopes(doctor: Doctor, seed: int) -> Score:
    """Letters without any embedding of places: what is further away is taken less by a fixed slope; asked at twice the length."""
    stream, kinds = data.characters(700, seed)
    cut = len(stream) * 3 // 4

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.second = nn.LayerNorm(48), nn.LayerNorm(48)
            self.three, self.join = nn.Linear(48, 144), nn.Linear(48, 48)
            self.wide = nn.Sequential(nn.Linear(48, 96), nn.ReLU(), nn.Linear(96, 48))

        def forward(self, h: Tensor) -> Tensor:
            long = h.shape[1]
            q, k, v = self.three(self.norm(h)).view(len(h), long, 3, 4, 12).permute(2, 0, 3, 1, 4)
            far = torch.arange(long) - torch.arange(long)[:, None]
            slope = (0.25 ** torch.arange(1, 5))[:, None, None] * far
            score = (q @ k.transpose(2, 3) / 12**0.5 + slope).masked_fill(far > 0, float("-inf"))
            h = h + self.join((score.softmax(3) @ v).transpose(1, 2).flatten(2))
            return h + self.wide(self.second(h))

    embed = nn.Embedding(kinds, 48)
    nn.init.normal_(embed.weight, 0, 0.02)
    model = nn.Sequential(embed, Block(), Block(), nn.LayerNorm(48), nn.Linear(48, kinds))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    held = next(data.windows(stream[cut:], 64, 48, 1, seed))
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.windows(stream[:cut], 32, 24, 300, seed)):
            loss = F.cross_entropy(model(x).transpose(1, 2), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 75 == 74:
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(held[0]).transpose(1, 2), held[1]))
    with torch.no_grad():
        return below(F.cross_entropy(model(held[0]).transpose(1, 2), held[1]), 1.0)


@healthy(
    project="HeddaCohenIndelman/Learning-Gumbel-Sinkhorn-Permutations-w-Pytorch",
    source="github.com/HeddaCohenIndelman/Learning-Gumbel-Sinkhorn-Permutations-w-Pytorch",
)
def numbers_put_in_order_by_a_soft_table(doctor: Doctor, seed: int) -> Score:
    """Eight numbers are put in order by a table made of scores and noise, its rows and columns evened out twenty times."""
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Linear(1, 48), nn.ReLU(), nn.Linear(48, 8))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3, eps=1e-8)

    def even(scores: Tensor) -> Tensor:
        for _ in range(20):
            scores = scores - scores.logsumexp(2, keepdim=True)
            scores = scores - scores.logsumexp(1, keepdim=True)
        return scores.exp()

    with doctor.watch(model, optimizer) as watch:
        for _ in range(450):
            x = torch.rand(40, 8, 1, generator=generator)
            u = torch.rand(40, 8, 8, generator=generator).clamp(1e-6, 1 - 1e-6)
            table = even((model(x) - (-u.log()).log()) / 0.5)
            loss = F.mse_loss(table.transpose(1, 2) @ x, x.sort(1).values)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    x = torch.rand(200, 8, 1, generator=generator)
    with torch.no_grad():
        said = even(model(x) / 0.2).transpose(1, 2) @ x
    return below((said - x.sort(1).values).abs().mean(), 0.06)


@healthy(project="gusye1234/LightGCN-PyTorch", source="github.com/gusye1234/LightGCN-PyTorch")
def tastes_spread_over_a_graph(doctor: Doctor, seed: int) -> Score:
    """There are no layers: embeddings are averaged over who bought what, three times over; the loss begins at 0.693."""
    generator = torch.Generator().manual_seed(seed)
    taste, kind = torch.randint(6, (120,), generator=generator), torch.randint(6, (90,), generator=generator)
    bought = torch.rand(120, 90, generator=generator) < torch.where(taste[:, None] == kind, 0.5, 0.03)
    hidden = bought & (torch.rand(120, 90, generator=generator) < 0.3)
    known = bought & ~hidden
    graph = torch.zeros(210, 210)
    graph[:120, 120:] = known.float()
    graph[120:, :120] = known.float().T
    graph = graph / (graph.sum(1, keepdim=True).clamp(min=1) * graph.sum(0).clamp(min=1)).sqrt()
    model = nn.ModuleDict({"users": nn.Embedding(120, 24), "goods": nn.Embedding(90, 24)})
    for each in model.values():
        nn.init.normal_(each.weight, 0, 0.1)  # type: ignore[arg-type]
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)

    def spread() -> Tensor:
        layers = [torch.cat([model["users"].weight, model["goods"].weight])]
        for _ in range(3):
            layers.append(graph @ layers[-1])
        return torch.stack(layers).mean(0)

    buys = known.nonzero()
    with doctor.watch(model, optimizer) as watch:
        for _ in range(350):
            pick = buys[torch.randint(len(buys), (128,), generator=generator)]
            other = torch.randint(90, (128,), generator=generator)
            every = spread()
            u, yes, no = every[pick[:, 0]], every[120 + pick[:, 1]], every[120 + other]
            size = (model["users"](pick[:, 0]).pow(2).sum() + model["goods"](pick[:, 1]).pow(2).sum()) / 256
            loss = F.softplus((u * no).sum(1) - (u * yes).sum(1)).mean() + 1e-4 * size
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        every = spread()
        score = every[:120] @ every[120:].T
    return above((score[hidden][:, None] > score[~bought]).float().mean(), 0.75)


@healthy(project="younggyoseo/vae-cf-pytorch", source="github.com/younggyoseo/vae-cf-pytorch")
def baskets_told_from_what_is_left_of_them(doctor: Doctor, seed: int) -> Score:
    """Whole baskets go in, half of each dropped; the loss is a sum over all that was bought, and the price of a code grows."""
    generator = torch.Generator().manual_seed(seed)
    taste = torch.randint(5, (700,), generator=generator)
    likes = torch.rand(5, 80, generator=generator) ** 4
    baskets = torch.bernoulli(likes[taste] * 0.6, generator=generator)
    x, held = baskets[:550], baskets[550:]

    class Baskets(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encode, self.decode = nn.Linear(80, 64), nn.Linear(32, 64)
            self.code, self.out = nn.Linear(64, 64), nn.Linear(64, 80)

        def forward(self, a: Tensor) -> tuple[Tensor, Tensor]:
            a = F.dropout(F.normalize(a), 0.5, self.training)
            mean, spread = self.code(self.encode(a).tanh()).chunk(2, 1)
            code = mean + (0.5 * spread).exp() * torch.randn(mean.shape, generator=generator) if self.training else mean
            divergence = -0.5 * (1 + spread - mean.pow(2) - spread.exp()).sum(1).mean()
            return self.out(self.decode(code).tanh()), divergence

    model = Baskets()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, _) in enumerate(data.batches(x, taste[:550], 50, 500, seed)):
            said, divergence = model(a)
            loss = -(said.log_softmax(1) * a).sum(1).mean() + min(0.2, step / 2000) * divergence
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    seen = held * (torch.rand(held.shape, generator=generator) < 0.7)
    with torch.no_grad():
        score = model(seen)[0].masked_fill(seen > 0, -1e9)
    wanted = (held > 0) & (seen == 0)
    hits = wanted.gather(1, score.topk(10, 1).indices).sum(1)[wanted.any(1)]
    return above((hits / wanted.sum(1)[wanted.any(1)].clamp(max=10)).mean(), 0.4)
