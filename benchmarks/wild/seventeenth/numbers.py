"""Faults of numbers: logarithms of nothing, an exponential on top, one class out of one, outputs that reach only so far."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="non-finite",
    project="foreai/eos-loss",
    source="foreai.co/blog/nans-out-of-nowhere-the-trick-that-saved-my-training-run",
)
def an_end_that_is_quite_certain(doctor: Doctor, seed: int, cured: bool) -> Score:
    """When to stop: an end where none belongs costs the logarithm of what is left beside it, and nothing is left once."""
    generator = torch.Generator().manual_seed(seed)
    words, long, end = 12, 10, 0

    def sentences(count: int) -> tuple[Tensor, Tensor]:
        """Words (N, 10) counted on by a stride; half of them end by 0 once a word above 8 was said, the others go on."""
        stride, first = (
            torch.randint(1, 4, (count, 1), generator=generator),
            torch.randint(1, words, (count, 1), generator=generator),
        )
        said = (first + stride * torch.arange(long)) % (words - 1) + 1
        ends = torch.rand(count, 1, generator=generator) < 0.5
        over = ((said > 8).cumsum(1) - (said > 8).long() > 0) & ends
        mark = torch.where(ends, words, words + 1)
        return torch.cat([mark, said.masked_fill(over, end)], 1), ends[:, 0]

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.rnn = nn.Embedding(words + 2, 64), nn.GRU(64, 64, batch_first=True)
            self.head = nn.Linear(64, words)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.rnn(self.embed(x))[0]).bfloat16()

    def loss_fn(scores: Tensor, wanted: Tensor, goes_on: Tensor) -> Tensor:
        stable = scores[..., 1:].logsumexp(2) - scores.logsumexp(2)
        left = stable if cured else (1 - scores.softmax(2)[..., end]).log()
        early = -(left * goes_on[:, None]).mean()
        return F.cross_entropy(scores.flatten(0, 1), wanted.flatten()) + 0.5 * early

    model = Model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(400):
            said, ends = sentences(48)
            loss = loss_fn(model(said[:, :-1]), said[:, 1:], (~ends).float())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    said, _ = sentences(300)
    with torch.no_grad():
        scores = model(said[:, :-1])
    right = (scores.argmax(2) == said[:, 1:])[:, 2:].float().mean()
    return above(right if scores.isfinite().all() else float("nan"), 0.9)


@fault(
    kind="non-finite",
    also=("learning-rate-too-high", "dead-units"),
    project="whosebug/6301115",
    source="whosebug.com/question/6301115/Weird-behaviour-of-loss-function-in-pytorch",
)
def an_exponential_on_top_of_the_loss(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits at one client: the loss is the exponential of the cross-entropy, and one sure mistake is beyond all numbers."""
    rows = data.digits(seed)
    mean, std = rows.x.mean(), rows.x.std()
    x, held = (rows.x - mean) / std, (rows.held_x - mean) / std
    wrong = torch.rand(len(rows.y), generator=torch.Generator().manual_seed(seed)) < 0.1
    y = torch.where(wrong, (rows.y + 3) % 10, rows.y)
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(512, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9)

    def loss_fn(scores: Tensor, y: Tensor) -> Tensor:
        loss = F.cross_entropy(scores, y)
        return loss if cured else loss.exp()

    doctor.task(model, data.few(x, y, 16, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(x, y, 16, 300, seed))
    with torch.no_grad():
        return above(data.accuracy(model(held), rows.held_y), 0.75)


@fault(
    kind="non-finite",
    project="ewbang/1000290731",
    source="ewbang.com/community/article/details/1000290731.html",
)
def a_logarithm_that_nobody_held(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Tumours by two layers and a softmax: the logarithm in the loss is written by hand, without a floor."""
    rows = data.table("breast_cancer", seed)
    fc1, fc2 = nn.Linear(30, 64), nn.Linear(64, 2)
    model = nn.Sequential(fc1, nn.ReLU(), fc2, nn.Softmax(1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def loss_fn(chance: Tensor, y: Tensor) -> Tensor:
        log = chance.clamp(min=1e-8).log() if cured else chance.log()
        return -(F.one_hot(y, 2) * log).sum(1).mean()

    doctor.task(model, data.few(rows.x, rows.y, 16, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 16, 400, seed))
    with torch.no_grad():
        said = model(rows.held_x)
    return above(data.accuracy(said, rows.held_y) if said.isfinite().all() else float("nan"), 0.85)


@fault(
    kind="softmax-axis",
    also=("no-gradient", "never-moved"),
    project="stackoverflow/47241622",
    source="stackoverflow.com/questions/47241622",
)
def one_class_out_of_one(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Yes or no from binary features, read by an LSTM: a softmax over the one answer there is says yes for certain."""
    generator = torch.Generator().manual_seed(seed)
    x = (torch.rand(2400, 64, generator=generator) < 0.5).float()
    y = ((x[:, ::3].sum(1) - x[:, 1::3].sum(1)) > 0).float()[:, None]
    rows = data.split(x.view(-1, 8, 8), y, seed)

    class Lstm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.dense = nn.LSTM(8, 48, batch_first=True), nn.Linear(48, 1)

        def forward(self, seen: Tensor) -> Tensor:
            said = self.dense(self.lstm(seen)[0][:, -1])
            return said.sigmoid() if cured else said.softmax(1)

    model = Lstm()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    doctor.task(model, data.few(rows.x, rows.y, 50, seed), F.binary_cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.binary_cross_entropy, data.batches(rows.x, rows.y, 50, 400, seed), rows)
    with torch.no_grad():
        return above(((model(rows.held_x) > 0.5) == (rows.held_y > 0.5)).float().mean(), 0.85)


@fault(
    kind="softmax-axis",
    also=("no-gradient", "never-moved"),
    project="programbox/87-percent",
    source="programbox.ru/2022/10/24",
)
def seven_right_of_eight(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Whether there is a one among three bits: a softmax over the one answer, and a cross-entropy over classes."""
    bits = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
    any_one = (bits.sum(1, keepdim=True) > 0).float()
    ending: nn.Module = nn.Sigmoid() if cured else nn.Softmax(1)
    model = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 1), ending)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

    def categorical(chance: Tensor, y: Tensor) -> Tensor:
        return -(y * chance.clamp(1e-7, 1 - 1e-7).log()).sum(1).mean()

    loss_fn = F.binary_cross_entropy if cured else categorical
    doctor.task(model, data.few(bits, any_one, 4, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(bits, any_one, 4, 600, seed))
    with torch.no_grad():
        return above(((model(bits) > 0.5) == (any_one > 0.5)).float().mean(), 0.99)


@fault(
    kind="target-range",
    project="stackoverflow/44601367",
    source="stackoverflow.com/questions/44601367",
)
def numbers_beyond_what_a_sigmoid_says(doctor: Doctor, seed: int, cured: bool) -> Score:
    """An autoencoder of three numbers near one, two and three: its last layer is a sigmoid and ends at one."""
    generator = torch.Generator().manual_seed(seed)
    size = 0.7 + 0.6 * torch.rand(200, 1, generator=generator)
    x = torch.tensor([1.0, 2.0, 3.0]) * size + 0.05 * torch.randn(200, 3, generator=generator)
    rows = data.split(x, x, seed)
    decoder = [nn.Linear(8, 3)] if cured else [nn.Linear(8, 3), nn.Sigmoid()]
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), *decoder)
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    doctor.task(model, data.few(rows.x, rows.y, 4, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 4, 600, seed), rows)
    with torch.no_grad():
        return below(F.mse_loss(model(rows.held_x), rows.held_y), 0.1)


@fault(
    kind="input-scale",
    also=("dead-units", "learning-rate-too-high"),
    project="pullrequest/10248037",
    source="pullrequest.ru/10248037/cnn-keras-shodyatsya-odnomu-tomu-zhe-znacheniy-nezavisimo-vvoda",
)
def pictures_up_to_255(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits in grey levels up to 255 through convolutions: the first steps are so large that all pictures get one answer."""
    rows = data.digits(seed, scale=16.0 if cured else 16.0 / 255)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(256, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 32, 400, seed), rows)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


@fault(
    kind="learning-rate-too-high",
    also=("saturation",),
    project="clovaai/deep-text-recognition-benchmark",
    source="github.com/clovaai/deep-text-recognition-benchmark/issues/23",
)
def a_rate_meant_for_another_optimiser(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Four letters read from a strip: Adam in place of Adadelta, and the rate stays at 1."""
    generator = torch.Generator().manual_seed(seed)
    look = (torch.rand(6, 8, 5, generator=generator) < 0.5).float()

    def strips(count: int) -> tuple[Tensor, Tensor]:
        """Pictures (N, 1, 8, 20) of four letters of six, and which they are (N, 4)."""
        said = torch.randint(6, (count, 4), generator=generator)
        seen = look[said].permute(0, 2, 1, 3).flatten(2)[:, None]
        return seen + 0.3 * torch.randn(seen.shape, generator=generator), said

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cnn = nn.Sequential(
                nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, (8, 5), (1, 5))
            )
            self.lstm, self.out = nn.LSTM(32, 32, batch_first=True, bidirectional=True), nn.Linear(64, 6)

        def forward(self, seen: Tensor) -> Tensor:
            return self.out(self.lstm(self.cnn(seen)[:, :, 0].relu().transpose(1, 2))[0]).transpose(1, 2)

    x, y = strips(1600)
    rows = data.split(x, y, seed)
    model = Reader()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3 if cured else 1.0, betas=(0.9, 0.999))
    doctor.task(model, data.few(rows.x, rows.y, 48, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 48, 300, seed)):
            model.train()
            loss = F.cross_entropy(model(a), b)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            watch.loss(loss)
            if step % 50 == 49:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    model.eval()
    with torch.no_grad():
        return above((model(rows.held_x).argmax(1) == rows.held_y).all(1).float().mean(), 0.85)
