"""Faults of the last layer: cut at nought, shared out among one, shares of what is not shared, a sigmoid for pixels."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Net(nn.Module):
    """Two convolutions and two layers; a ReLU after each layer, the last one too."""

    def __init__(self, cut: bool) -> None:
        super().__init__()
        self.cut = cut
        self.conv1, self.conv2 = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1)
        self.fc1, self.fc2 = nn.Linear(128, 64), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2).flatten(1)
        x = self.fc2(F.relu(self.fc1(x)))
        return F.relu(x) if self.cut else x


@fault(
    kind="relu-logits",
    also=("dead-units",),
    project="stackoverflow/58050105",
    source="coderoad.ru/58050105 (Why does accuracy decrease when ReLU is used after linear layers)",
)
def a_relu_after_every_layer(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits by a small convolutional net that goes wrong when its last layer, too, is followed by a ReLU."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    model = Net(cut=not cured)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, rows.y, 50, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 50, 300, seed), held=rows)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.92)


@fault(
    kind="relu-logits",
    also=("non-finite", "dead-units", "target-range"),
    project="dev59.com/vgg16-pneumonia",
    source="dev59.com/ALLma4cB1Zd3GeqPZl6h (Keras CNN loss becomes nan at some point in training)",
)
def a_new_last_layer_that_is_cut(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A net that knows five digits is kept as it is, and a layer learns to tell an 8 from a 9: its shares are cut at nought."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    body = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 24, 3, padding=1), nn.ReLU(), nn.Flatten()
    )
    before = nn.Sequential(body, nn.Linear(384, 5))
    known = rows.y < 5
    optimizer: torch.optim.Optimizer = torch.optim.Adam(before.parameters(), lr=3e-3)
    for x, y in data.batches(rows.x[known], rows.y[known], 32, 120, seed):
        optimizer.zero_grad()
        F.cross_entropy(before(x), y).backward()
        optimizer.step()
    for parameter in body.parameters():
        parameter.requires_grad = False

    model = nn.Sequential(body, nn.Linear(384, 2), nn.Softmax(1) if cured else nn.ReLU())
    optimizer = torch.optim.Adam(model[1].parameters(), lr=1e-3)
    new, held = rows.y >= 8, rows.held_y >= 8
    targets = F.one_hot(rows.y[new] - 8, 2).float()

    def crossentropy(said: Tensor, target: Tensor) -> Tensor:
        share = said / said.sum(1, keepdim=True)
        return -(target * share.clamp(1e-7, 1 - 1e-7).log()).sum(1).mean()

    doctor.task(model, data.few(rows.x[new], targets, 16, seed), crossentropy, optimizer)
    fit(doctor, model, optimizer, crossentropy, data.batches(rows.x[new], targets, 16, 200, seed))
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x[held]), rows.held_y[held] - 8), 0.85)


@fault(
    kind="softmax-axis",
    also=("no-gradient", "never-moved", "target-range"),
    project="boohere.com/80265",
    source="boohere.com/detail/80265 (softmax with categorical_crossentropy on one output always answers class 0)",
)
def one_neuron_shares_with_itself(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Is a tumour benign: one output, and a softmax over it, which is 1 whatever the output is."""
    torch.manual_seed(seed)
    rows = data.table("breast_cancer", seed)
    y, held_y = rows.y[:, None].float(), rows.held_y[:, None]
    model = nn.Sequential(
        nn.Linear(30, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 1), nn.Sigmoid() if cured else nn.Softmax(dim=1)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    doctor.task(model, data.few(rows.x, y, 32, seed), F.binary_cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.binary_cross_entropy, data.batches(rows.x, y, 32, 300, seed))
    with torch.no_grad():
        said = model(rows.held_x) > 0.5
    return above((said == held_y.bool()).float().mean(), 0.9)


@fault(
    kind="target-rows",
    also=("other-loss", "target-range", "underfitting"),
    project="stackoverflow/44164749",
    source="newbetuts.com/44164749-how-does-keras-handle-multilabel-classification",
)
def several_tags_by_shares_of_one(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Ten tags, some four of them on each article: a softmax gives them shares that sum to 1, so hardly one comes to a half."""
    torch.manual_seed(seed)
    x, scores = data.teacher(1600, 20, 10, seed)
    rows = data.split(x, (scores > 0.2).float(), seed)
    model = nn.Sequential(
        nn.Linear(20, 96), nn.ReLU(), nn.Dropout(0.1), nn.Linear(96, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 10),
        nn.Sigmoid() if cured else nn.Softmax(dim=1),
    )  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    doctor.task(model, data.few(rows.x, rows.y, 50, seed), F.binary_cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.binary_cross_entropy, data.batches(rows.x, rows.y, 50, 500, seed))
    with torch.no_grad():
        said = model(rows.held_x) >= 0.5
    hit = (said & rows.held_y.bool()).sum()
    return above(2 * hit / (said.sum() + rows.held_y.sum()), 0.7)


@fault(
    kind="target-range",
    also=("input-scale", "target-scale", "saturation", "initial-loss", "other-loss"),
    project="stackoverflow/52441877",
    source="stackoverflow.com/questions/52441877/how-does-binary-cross-entropy-loss-work-on-autoencoders",
)
def pixels_up_to_255_out_of_a_sigmoid(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits squeezed to 16 numbers and back: the pixels are as stored, and the way back ends in a sigmoid."""
    torch.manual_seed(seed)
    rows = data.digits(seed, scale=16.0 if cured else 16.0 / 255)
    x, held = rows.x.flatten(1), rows.held_x.flatten(1)
    model = nn.Sequential(
        nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 16), nn.ReLU(), nn.Linear(16, 48), nn.ReLU(), nn.Linear(48, 64), nn.Sigmoid()
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    def crossentropy(said: Tensor, target: Tensor) -> Tensor:
        said = said.clamp(1e-7, 1 - 1e-7)
        return -(target * said.log() + (1 - target) * (1 - said).log()).mean()

    doctor.task(model, data.few(x, x, 32, seed), crossentropy, optimizer)
    fit(doctor, model, optimizer, crossentropy, data.batches(x, x, 32, 500, seed))
    with torch.no_grad():
        return below(F.mse_loss(model(held), held / (1 if cured else 255)), 0.05)
