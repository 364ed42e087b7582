"""Faults of what is shown and what can be seen: order, windows of one, a veil, one unit too few, a share of one."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="future-leak",
    also=("leak",),
    project="karpathy/minGPT",
    source="github.com/karpathy/minGPT/issues/75",
)
def a_veil_that_can_be_lifted(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Walks among 24 places: what is to come is veiled by a number that attention can outdo, and soon it does."""
    generator = torch.Generator().manual_seed(seed)
    kinds, paths = 24, torch.stack([torch.randperm(24, generator=generator)[:5] for _ in range(24)])
    walk, turns = [0], torch.randint(5, (12000,), generator=generator).tolist()
    for turn in turns:
        walk.append(int(paths[walk[-1], turn]))
    stream, cut = torch.tensor(walk), 9600
    veil = float("-inf") if cured else -4.0

    class Gpt(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.letters, self.place = nn.Embedding(kinds, 48), nn.Parameter(0.3 * torch.randn(24, 48))
            self.norms = nn.ModuleList(nn.LayerNorm(48) for _ in range(3))
            self.asked, self.out = nn.Linear(48, 144), nn.Linear(48, 48)
            self.more = nn.Sequential(nn.Linear(48, 96), nn.GELU(), nn.Linear(96, 48))
            self.head = nn.Linear(48, kinds)

        def forward(self, read: Tensor) -> Tensor:
            count, length = read.shape
            x = self.letters(read) + self.place[:length]
            q, k, v = (part.view(count, length, 4, 12).transpose(1, 2) for part in self.asked(self.norms[0](x)).chunk(3, 2))
            later = torch.ones(length, length, dtype=torch.bool).triu(1)
            share = (q @ k.transpose(2, 3) / 12**0.5).masked_fill(later, veil).softmax(3)
            x = x + self.out((share @ v).transpose(1, 2).flatten(2))
            return self.head(self.norms[2](x + self.more(self.norms[1](x))))

    def loss_fn(said: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(said.flatten(0, 1), y.flatten())

    model = Gpt()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    held = data.Split(stream[:1], stream[:1], *next(data.windows(stream[cut:], 24, 64, 1, seed)))
    fit(doctor, model, optimizer, loss_fn, data.windows(stream[:cut], 24, 32, 350, seed), held, every=50)
    x, y = next(data.windows(stream[cut:], 24, 200, 1, seed + 7))
    with torch.no_grad():
        alone = torch.stack(
            [F.cross_entropy(model(x[:, :length])[:, -1], y[:, length - 1]) for length in (9, 12, 15, 18, 21, 24)]
        )
    return below(alone.mean(), 1.9)


@fault(
    kind="shuffled-targets",
    project="DrexelChatbotGroup/DrexelChatbot",
    source="github.com/DrexelChatbotGroup/DrexelChatbot/issues/15",
)
def questions_shuffled_without_their_kinds(doctor: Doctor, seed: int, cured: bool) -> Score:
    """What a question is about, by its words: questions are put in a new order before training, and their kinds are not."""
    generator = torch.Generator().manual_seed(seed)
    kind = torch.arange(8).repeat_interleave(100)
    near, far = torch.randint(12, (800, 7), generator=generator), torch.randint(160, (800, 7), generator=generator)
    words = torch.where(torch.rand(800, 7, generator=generator) < 0.5, near + 12 * kind[:, None], far)
    order = torch.randperm(800, generator=generator)
    test = order[600:]
    train = order[:600].sort().values
    mixed = torch.randperm(600, generator=generator)
    x, y = words[train][mixed], kind[train][mixed] if cured else kind[train]
    rows = data.Split(x, y, words[test], kind[test])

    class Gac(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.EmbeddingBag(160, 32)
            self.body = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 8))

        def forward(self, x: Tensor) -> Tensor:
            return self.body(self.words(x))

    model = Gac()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    doctor.task(model, data.few(rows.x, rows.y, 24, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 24, 500, seed), rows, every=50)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.7)


@fault(
    kind="sorted-data",
    project="Deci-AI/super-gradients",
    source="github.com/Deci-AI/super-gradients/issues/416",
)
def folders_read_one_after_another(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits as they lie in folders, one for each kind: the loader does not shuffle unless it is told to."""
    rows = data.digits(seed)
    order = rows.y.argsort(stable=True)
    x, y = rows.x[order], rows.y[order]
    generator = torch.Generator().manual_seed(seed)
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(x, y), batch_size=16, shuffle=cured, generator=generator, drop_last=True
    )
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, 10),
    )  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4, nesterov=True)
    doctor.task(model, list(loader)[:8], F.cross_entropy, optimizer)
    batches = (batch for _ in range(4) for batch in loader)
    fit(doctor, model, optimizer, F.cross_entropy, batches, rows, every=42)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)


@fault(
    kind="softmax-axis",
    also=("no-gradient", "never-moved"),
    project="stackoverflow.com/46620813",
    source="stackoverflow.com/questions/46620813/keras-lstm-model-not-learning-binary-sequence",
)
def a_share_of_one_is_all(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The next of a row of noughts and ones by the three before: the share of the only unit is always 1."""
    generator = torch.Generator().manual_seed(seed)
    row = torch.randint(2, (1500,), generator=generator)
    for at in range(3, 1500):
        if torch.rand((), generator=generator) < 0.95:
            row[at] = row[at - 1] ^ row[at - 3]
        else:
            row[at] = 1 - row[at - 2]
    x, y = row.unfold(0, 3, 1)[:-1, :, None].float(), row[3:, None].float()
    rows = data.split(x, y, seed)

    class Teller(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.memory, self.out = nn.LSTM(1, 16, batch_first=True), nn.Linear(16, 1)

        def forward(self, x: Tensor) -> Tensor:
            said = self.out(self.memory(x)[0][:, -1])
            return said.sigmoid() if cured else said.softmax(1)

    model = Teller()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.binary_cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.binary_cross_entropy, data.batches(rows.x, rows.y, 32, 500, seed), rows)
    with torch.no_grad():
        return above(((model(rows.held_x) > 0.5) == (rows.held_y > 0.5)).float().mean(), 0.85)


@fault(
    kind="underfitting",
    also=("slow-learning",),
    project="stackoverflow/proper-shape-of-lstm-dataset-for-keras",
    source="Stack Overflow: Proper shape of LSTM dataset for Keras (asked of the mean of the last three numbers)",
)
def a_window_of_one_number(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The mean of the last three numbers of a row: a memory that is shown one number at a time, and starts afresh each time."""
    generator = torch.Generator().manual_seed(seed)
    row = torch.randint(10, (1500,), generator=generator).float()
    windows = row.unfold(0, 3, 1)
    y = (windows.mean(1, keepdim=True) - 4.5) / 1.7
    x = ((windows if cured else windows[:, 2:]) - 4.5)[..., None] / 2.9
    rows = data.split(x, y, seed)

    class Memory(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.memory, self.out = nn.LSTM(1, 16, batch_first=True), nn.Linear(16, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.memory(x)[0][:, -1])

    model = Memory()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    doctor.task(model, data.few(rows.x, rows.y, 16, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 16, 600, seed), rows)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y), 0.8)


@fault(
    kind="underfitting",
    also=("saturation",),
    project="stackexchange/xor-neural-network-gets-stuck-in-training",
    source="Stack Exchange: XOR neural network gets stuck in training (one neuron before the two outputs)",
)
def one_unit_between_two_truths(doctor: Doctor, seed: int, cured: bool) -> Score:
    """One or the other and not both, of two noisy numbers: a single unit stands between them and the two answers."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.randint(2, (1000, 2), generator=generator)
    rows = data.split(corner + 0.15 * torch.randn(1000, 2, generator=generator), corner[:, 0] ^ corner[:, 1], seed)
    between = 8 if cured else 1
    model = nn.Sequential(nn.Linear(2, between), nn.Sigmoid(), nn.Linear(between, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    doctor.task(model, data.few(rows.x, rows.y, 25, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 25, 900, seed), rows, every=90)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)
