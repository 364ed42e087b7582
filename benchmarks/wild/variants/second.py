"""Programs to try remedies on. Nobody's rules are judged by them."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


def _flat(seed: int) -> data.Split:
    """Pictures of digits as rows of mean 0 and standard deviation 1."""
    rows = data.digits(seed)
    x, held = rows.x.flatten(1), rows.held_x.flatten(1)
    mean, std = x.mean(), x.std()
    return rows._replace(x=(x - mean) / std, held_x=(held - mean) / std)


def _tower(*between: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(64, 48), *between, nn.Linear(48, 10))


@fault(kind="relu-logits", project="hunkim/PyTorchZeroToAll", source="github.com/hunkim/PyTorchZeroToAll/pull/4")
def rectified_to_the_last(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A ReLU after each layer, the last one too, in front of a cross-entropy."""
    rows = _flat(seed)
    model = _tower(nn.ReLU())
    if not cured:
        model.append(nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.5)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 64, 300, seed))
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


@fault(
    kind="never-moved",
    project="discuss.pytorch.org",
    source="discuss.pytorch.org/t/84911",
    also=("not-optimised", "frozen-random"),
)
def the_only_layer_held_is_frozen(doctor: Doctor, seed: int, cured: bool) -> Score:
    """All but the norms was frozen, the head too, and the optimizer holds the head."""
    rows = _flat(seed)
    model = nn.Sequential(nn.Linear(64, 48), nn.BatchNorm1d(48), nn.Tanh(), nn.Linear(48, 10))
    for each in (model[0], model[3]):
        each.requires_grad_(requires_grad=cured)
    optimizer = torch.optim.SGD(model.parameters() if cured else model[3].parameters(), lr=0.05)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 32, 200, seed))
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


@fault(kind="target-rows", project="stack overflow", source="stackoverflow.com/questions/38648195")
def many_labels_by_one_softmax(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Each picture has several labels (more than 4, odd, a multiple of 3), and the answers go through one softmax."""
    rows = _flat(seed)

    def labels(y: Tensor) -> Tensor:
        return torch.stack([y > 4, y % 2 == 1, y % 3 == 0], 1).float()

    rows = rows._replace(y=labels(rows.y), held_y=labels(rows.held_y))
    model = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    loss_fn = F.binary_cross_entropy_with_logits if cured else F.cross_entropy
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 32, 300, seed))
    return above(((model(rows.held_x) > 0) == (rows.held_y > 0.5)).float().mean(), 0.9)


class _Post(nn.Module):
    """Many post-norm blocks over the rows of a picture."""

    def __init__(self, first: bool) -> None:
        super().__init__()
        self.read, self.place = nn.Linear(8, 32), nn.Parameter(0.02 * torch.randn(8, 32))
        block = nn.TransformerEncoderLayer(32, 4, 128, dropout=0.0, batch_first=True, norm_first=first)
        self.blocks = nn.TransformerEncoder(block, 10, enable_nested_tensor=False)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.read(x.reshape(-1, 8, 8)) + self.place).mean(1))


@fault(kind="no-warmup", project="pytorch/pytorch", source="github.com/pytorch/pytorch/issues/55270")
def many_post_norm_blocks_at_once(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Ten transformer blocks with their norms behind, at a full rate from the first step; norms in front cure it."""
    rows = _flat(seed)
    model = _Post(first=cured)
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 32, 260, seed))
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.7)


@fault(kind="held-out-labels", project="ultralytics/ultralytics", source="github.com/ultralytics/ultralytics/issues/13936")
def a_class_without_a_folder(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The held-out folder lacks a class, and those behind it are numbered one lower."""
    rows = _flat(seed)
    kept = rows.held_y != 1
    labels = rows.held_y[kept]
    held = rows._replace(held_x=rows.held_x[kept], held_y=labels if cured else labels - (labels > 1).long())
    model = _tower(nn.ReLU())
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 32, 300, seed), held, every=30)
    return above(data.accuracy(model(held.held_x), held.held_y), 0.9)


@fault(kind="gradient-scale", project="stack overflow", source="stackoverflow.com/questions/39217567")
def eight_layers_of_sigmoids(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Eight narrow layers of sigmoids: nothing of the error reaches the first ones."""
    rows = _flat(seed)
    bend = nn.Tanh if cured else nn.Sigmoid
    inner = [part for _ in range(7) for part in (nn.Linear(48, 48), bend())]
    model = _tower(bend(), *inner)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 32, 300, seed))
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.6)


@fault(
    kind="majority-class",
    project="ThilinaRajapakse/simpletransformers",
    source="github.com/ThilinaRajapakse/simpletransformers/issues/18",
)
def one_answer_for_nineteen_in_twenty(doctor: Doctor, seed: int, cured: bool) -> Score:
    """One label in twenty is the rare one; the score is the mean recall of both."""
    generator = torch.Generator().manual_seed(seed)
    y = (torch.rand(8_000, generator=generator) < 0.05).long()
    x = torch.randn(8_000, 10, generator=generator)
    x[:, 0] += 1.2 * y
    rows = data.split(x, y, seed)
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 2))
    weight = torch.tensor([1.0, 19.0]) if cured else None
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    fit(
        doctor,
        model,
        optimizer,
        lambda out, y: F.cross_entropy(out, y, weight=weight),
        data.batches(rows.x, rows.y, 64, 600, seed),
    )
    right = model(rows.held_x).argmax(1) == rows.held_y
    return above((right[rows.held_y == 1].float().mean() + right[rows.held_y == 0].float().mean()) / 2, 0.65)


@fault(kind="majority-class", project="amanshenoy/multilogue-net", source="github.com/amanshenoy/multilogue-net/issues/8")
def yes_to_nobody(doctor: Doctor, seed: int, cured: bool) -> Score:
    """One output and a logistic loss for a rare yes; the cure weighs it by pos_weight. The score is the mean recall of both."""
    generator = torch.Generator().manual_seed(seed + 5)
    x = torch.randn(9_000, 6, generator=generator)
    y = (torch.sigmoid(1.1 * x[:, 0] - 0.6 * x[:, 1] - 3.4) > torch.rand(9_000, generator=generator)).float()
    rows = data.split(x, y, seed)
    model = nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, 1), nn.Flatten(0))
    weight = torch.tensor(18.0) if cured else None
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    def logistic(out: Tensor, y: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(out, y, pos_weight=weight)

    fit(doctor, model, optimizer, logistic, data.batches(rows.x, rows.y, 64, 600, seed))
    right = (model(rows.held_x) > 0) == (rows.held_y > 0.5)
    return above((right[rows.held_y > 0.5].float().mean() + right[rows.held_y < 0.5].float().mean()) / 2, 0.65)


@fault(
    kind="initial-loss",
    project="lucidrains/CoCa-pytorch",
    source="github.com/lucidrains/CoCa-pytorch/issues/10",
    also=("activation-scale",),
)
def contrast_of_layer_normed_features(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Features of a layer norm, of length 8 and not 1, in the contrast of two views at a temperature of 0.07."""
    rows = _flat(seed)
    model = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 64), nn.LayerNorm(64))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9)

    def both(x: Tensor) -> Tensor:
        one, two = (model(x + 0.8 * torch.randn_like(x)) for _ in range(2))
        if cured:
            one, two = F.normalize(one, dim=1), F.normalize(two, dim=1)
        return one @ two.T / 0.07

    with doctor.watch(model, optimizer) as watch:
        for x, _ in data.batches(rows.x, rows.y, 64, 200, seed):
            optimizer.zero_grad()
            loss = F.cross_entropy(both(x), torch.arange(len(x)))
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return above(sum(data.accuracy(both(x), torch.arange(64)) for x in rows.held_x.split(64)[:6]) / 6, 0.6)
