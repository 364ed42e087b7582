"""Faults of which way a tensor lies: a column less a row, a memory read across the batch, a share down the batch or of one."""

from __future__ import annotations

import math

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="broadcast",
    project="discuss.pytorch.org/160720",
    source="discuss.pytorch.org/t/400-higher-error-with-pytorch-compared-with-identical-keras-model-with-adam-optimizer/160720",
)
def a_sum_of_sines_less_a_row(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The sum of the sines of ten numbers: what is said is a column and what is so a row, and their gap is averaged."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2600, 10, generator=generator)
    y = x.sin().sum(1)
    y = (y - y.min()) / (y.max() - y.min())
    x_train, y_train, x_val, y_val = x[:2000], y[:2000], x[2000:], y[2000:]

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Linear(10, 64)
            self.out = nn.Linear(64, 1)
            for layer in (self.hidden, self.out):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(F.relu(self.hidden(x)))

    def mean_squared_error(ytrue: Tensor, ypred: Tensor) -> Tensor:
        if cured:
            ytrue = ytrue.unsqueeze(-1)
        return torch.mean((ytrue - ypred) ** 2)

    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-7)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(20):
            model.train()
            for rows in torch.randperm(2000, generator=generator).split(32):
                optimizer.zero_grad()
                loss = mean_squared_error(y_train[rows], model(x_train[rows]))
                loss.backward()
                optimizer.step()
                watch.loss(loss)
            model.eval()
            with torch.no_grad():
                watch.dev_loss(mean_squared_error(y_val, model(x_val)))
    with torch.no_grad():
        return above(data.r2(model(x_val)[:, 0], y_val), 0.6)


@fault(
    kind="batch-mixing",
    where="lstm",
    also=("underfitting",),
    project="discuss.pytorch.org/61598",
    source="discuss.pytorch.org/t/the-loss-in-pytorch-decreases-slower-than-in-keras/61598",
)
def numbers_read_across_the_rows(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Which of 16 numbers stand in a row of twelve: the memory takes the batch for time, and the last place is all it tells."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(16, (2400, 12), generator=generator)
    y = torch.zeros(2400, 16).scatter_(1, x, 1.0)
    x_train, y_train, x_test, y_test = x[:2000], y[:2000], x[2000:], y[2000:]

    class Lstm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(16, 10)
            self.lstm = nn.LSTM(10, 50, batch_first=cured)
            self.dropout = nn.Dropout(0.1)
            self.fc = nn.Linear(50, 16)

        def forward(self, x: Tensor) -> Tensor:
            out, _ = self.lstm(self.embedding(x), None)
            return self.fc(self.dropout(out[:, -1, :])).sigmoid()

    model = Lstm()
    criterion = nn.BCELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x_train, y_train), batch_size=100, shuffle=False)
    doctor.task(model, list(loader)[:8], criterion, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(25):
            model.train()
            for inputs, labels in loader:
                outputs = model(inputs)
                loss = criterion(outputs, labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                watch.loss(loss)
            model.eval()
            with torch.no_grad():
                watch.dev_loss(criterion(model(x_test[:100]), y_test[:100]))
    model.eval()
    with torch.no_grad():
        right = [((model(x_test[i : i + 100]) > 0.5) == (y_test[i : i + 100] > 0.5)).float().mean() for i in range(0, 400, 100)]
    return above(torch.stack(right).mean(), 0.85)


@fault(
    kind="softmax-axis",
    also=("non-finite", "learning-rate-too-high"),
    project="stackoverflow.com/76450489",
    source="stackoverflow.com/questions/76450489/mnist-nn-from-scratch-output-converge-on-one-number",
)
def chances_shared_out_among_the_pictures(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits, all at once, with a slope worked out by hand: the powers of a kind are divided by their sum over the pictures."""
    rows = data.digits(seed)
    x, y, held = rows.x.flatten(1), F.one_hot(rows.y, 10).float(), rows.held_x.flatten(1)
    m = len(x)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(64, 20), nn.Linear(20, 10)
            for layer in (self.first, self.second):
                nn.init.uniform_(layer.weight, -0.5, 0.5)
                nn.init.uniform_(layer.bias, -0.5, 0.5)

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(x).relu())

    def softmax(z: Tensor) -> Tensor:
        return z.exp() / (z.exp().sum(1, keepdim=True) if cured else z.exp().sum(0))

    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(700):
            z = model(x)
            a = softmax(z.detach())
            optimizer.zero_grad()
            z.backward(gradient=(a - y) / m)
            optimizer.step()
            watch.loss(-(a * y).sum(1).clamp(min=1e-12).log().mean())
    with torch.no_grad():
        said = softmax(model(held))
    return above(data.accuracy(said, rows.held_y) if math.isfinite(said.sum()) else 0.0, 0.8)


@fault(
    kind="softmax-axis",
    also=("no-gradient", "never-moved"),
    project="stats.stackexchange.com/481881",
    source="stats.stackexchange.com/questions/481881/convolutional-neural-network-fails-even-when-given-answer",
)
def the_answer_is_in_the_picture(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Yes or no, which the second plane of a picture tells outright: one unit takes all of the share, and it is always yes."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(2, (900, 1), generator=generator).float()
    x = torch.rand(900, 2, 12, 10, generator=generator)
    x[:, 1] = y[:, :, None]
    x_train, y_train, x_test, y_test = x[:700], y[:700], x[700:], y[700:]
    model = nn.Sequential(
        nn.Conv2d(2, 12, 3), nn.ReLU(), nn.Conv2d(12, 24, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24 * 8 * 6, 1),
        nn.Sigmoid() if cured else nn.Softmax(dim=1),
    )  # fmt: skip

    def crossentropy(p: Tensor, y: Tensor) -> Tensor:
        """Of one share, or of a chance, held off nought and one as the other library does."""
        if cured:
            return F.binary_cross_entropy(p, y)
        return -(y * (p / p.sum(1, keepdim=True)).clamp(1e-7, 1 - 1e-7).log()).sum(1).mean()

    optimizer = torch.optim.Adam(model.parameters())
    doctor.task(model, data.few(x_train, y_train, 32, seed), crossentropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for inputs, labels in data.batches(x_train, y_train, 32, 300, seed):
            optimizer.zero_grad()
            loss = crossentropy(model(inputs), labels)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return above((model(x_test).round() == y_test).float().mean(), 0.9)
