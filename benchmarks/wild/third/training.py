"""Faults of optimisation and of the start."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(kind="eps-underflow", also=("non-finite",), project="CambioML/pykoi", source="github.com/CambioML/pykoi/pull/69")
def reward_model_in_half(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A model kept in float16; Adam's 1e-8 is 0 there, and the first weights without a gradient turn into nan."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(40, (1200, 10), generator=generator)
    worth = torch.randn(40, generator=generator)
    rows = data.split(x, worth[x].mean(1) * 3, seed)

    class Reward(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.score = nn.Embedding(60, 32), nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))

        def forward(self, x: Tensor) -> Tensor:
            return self.score(self.embed(x).mean(1))[:, 0]

    model = Reward().half()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-4 if cured else 1e-8)
    with doctor.watch(model, optimizer) as watch:
        for (a, good), (b, other) in zip(
            data.batches(rows.x, rows.y, 32, 400, seed), data.batches(rows.x, rows.y, 32, 400, seed + 1), strict=True
        ):
            sign = torch.sign(good - other).half()
            loss = -F.logsigmoid(sign * (model(a) - model(b))).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    score = model(rows.held_x).float()
    pairs = ((score[:150] - score[150:300]) * (rows.held_y[:150] - rows.held_y[150:300]) > 0).float()
    return above(pairs.mean(), 0.85)


@fault(
    kind="learning-rate-too-low", also=("slow-learning",), project="OpenLMLab/LOMO", source="github.com/OpenLMLab/LOMO/issues/50"
)
def rate_of_adam_given_to_sgd(doctor: Doctor, seed: int, cured: bool) -> Score:
    """An optimiser that steps by plain gradients gets 5e-5, the rate one is used to from AdamW."""
    stream, letters = data.characters(700, seed)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.place = nn.Embedding(letters, 48), nn.Parameter(torch.randn(24, 48) * 0.02)
            layer = nn.TransformerEncoderLayer(48, 4, 96, dropout=0.0, batch_first=True, norm_first=True)
            self.blocks, self.out = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(48, letters)

        def forward(self, x: Tensor) -> Tensor:
            mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
            return self.out(self.blocks(self.embed(x) + self.place, mask=mask))

    def loss_fn(output: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(output.flatten(0, 1), y.flatten())

    model = Model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3 if cured else 5e-5)
    doctor.task(model, list(data.windows(stream, 24, 16, 6, seed)), loss_fn, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.windows(stream, 24, 16, 400, seed):
            loss = loss_fn(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            watch.loss(loss)
    x, y = next(data.windows(data.characters(60, seed + 1)[0], 24, 200, 1, seed))
    return above(-loss_fn(model(x), y), -1.9)


@fault(
    kind="slow-learning",
    also=("learning-rate-too-low",),
    remark=True,
    project="lucasjinreal/keras_frcnn",
    source="github.com/lucasjinreal/keras_frcnn/issues/76",
)
def ten_days_at_a_small_rate(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Adam at 1e-5 from scratch: nothing is wrong but that it takes for ever; the loss still falls in a line at the end."""
    x, y, _ = data.shapes(1000, seed, noise=0.15)
    rows = data.split(x, y, seed)
    body = nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Flatten())
    model = nn.Sequential(body, nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 4))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3 if cured else 1e-5)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 32, 600, seed)):
            loss = F.cross_entropy(model(a), b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 100 == 99:
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)


@fault(kind="underfitting", remark=True, project="somepago/saint", source="github.com/somepago/saint/issues/23")
def layers_without_a_bend(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The MLP is a stack of linear layers with nothing between them: one linear map, however deep."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(2000, 6, generator=generator) * 2 - 1
    y = ((x[:, 0] * x[:, 1] > 0) ^ (x[:, 2].abs() > 0.5)).long()
    rows = data.split(x, y, seed)
    bend = nn.ReLU if cured else nn.Identity
    model = nn.Sequential(nn.Linear(6, 64), bend(), nn.Linear(64, 64), bend(), nn.Linear(64, 32), bend(), nn.Linear(32, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 64, 800, seed):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


@fault(
    kind="no-warmup",
    also=("learning-rate-too-high",),
    project="lucidrains/vit-pytorch",
    source="github.com/lucidrains/vit-pytorch/issues/56",
)
def deep_post_norm_at_full_rate(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Twelve post-norm blocks over the rows of a digit, Adam at its full rate from the first step."""
    rows = data.digits(seed)

    class Vit(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patch, self.place = nn.Linear(8, 32), nn.Parameter(torch.randn(8, 32) * 0.02)
            layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
            self.blocks, self.head = nn.TransformerEncoder(layer, 12, enable_nested_tensor=False), nn.Linear(32, 10)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.blocks(self.patch(x[:, 0]) + self.place).mean(1))

    model = Vit()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    warm = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 300) if cured else 1.0)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 32, 450, seed):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            warm.step()
            watch.loss(loss)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.7)


@fault(
    kind="gradient-scale",
    also=("activation-scale",),
    project="SilasMarvin/dnns-from-scratch-in-zig",
    source="github.com/SilasMarvin/dnns-from-scratch-in-zig/pull/7",
)
def nine_layers_of_small_weights(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Weights of deviation 0.05 in nine layers: each makes signal and gradient smaller, and the first ones see nothing."""
    x, y = data.teacher(2000, 16, 3, seed)
    rows = data.split(x, y.argmax(1), seed)
    inner = [layer for _ in range(7) for layer in (nn.Linear(64, 64), nn.ReLU())]
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), *inner, nn.Linear(64, 3))
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.zeros_(layer.bias)
            if cured:
                nn.init.kaiming_normal_(layer.weight)
            else:
                nn.init.normal_(layer.weight, std=0.05)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    doctor.task(model, data.few(rows.x, rows.y, 50, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 50, 500, seed):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.7)
