"""Faults of scale and of first weights: the momentum of another library, weights of zero, pixels divided by too little."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="norm-statistics",
    project="r9y9/tacotron_pytorch",
    source="github.com/r9y9/tacotron_pytorch/issues/19",
)
def momentum_of_another_library(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Batch norm's momentum is 0.99 as in TensorFlow, so the averages are those of the last three speakers."""
    generator = torch.Generator().manual_seed(seed)
    letters = torch.randint(12, (700, 16), generator=generator)
    sound = torch.randn(12, 10, generator=generator)
    spoken = F.avg_pool1d(F.pad(sound[letters].transpose(1, 2), (1, 1)), 3, 1) * 1.7
    voice = (0.3 + 1.2 * torch.rand(700, 4, generator=generator)) * torch.randn(700, 4, generator=generator).sign()
    y = spoken * (1 + 0.5 * voice[:, :1, None]) + voice[:, 1:2, None]
    said = torch.cat([F.one_hot(letters, 12).float().transpose(1, 2), voice[:, :, None].expand(-1, -1, 16)], 1)
    loud = torch.exp(1.1 * torch.randn(700, 1, 1, generator=generator))
    rows = data.split(loud * said, loud * y, seed)

    class Bank(nn.Module):
        """Convolutions of three widths beside each other, each with its own norm."""

        def __init__(self, inputs: int) -> None:
            super().__init__()
            momentum = 0.01 if cured else 0.99
            self.convs = nn.ModuleList(nn.Conv1d(inputs, 16, width, padding=width // 2, bias=False) for width in (1, 3, 5))
            self.norms = nn.ModuleList(nn.BatchNorm1d(16, momentum=momentum, eps=1e-3) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(torch.cat([norm(conv(x)) for conv, norm in zip(self.convs, self.norms, strict=True)], 1))

    model = nn.Sequential(Bank(16), Bank(48), Bank(48), nn.Conv1d(48, 10, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, rows.y, 3, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 3, 700, seed), rows, every=100)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y), 0.7)


@fault(
    kind="symmetry",
    also=("underfitting", "slow-learning", "dead-units"),
    project="rasmusbergpalm/DeepLearnToolbox",
    source="github.com/rasmusbergpalm/DeepLearnToolbox/issues/31",
)
def belief_net_from_zeros(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The sigmoid layers that are to be unfolded from a belief net all begin with weights and biases of 0."""
    rows = data.digits(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 60), nn.Sigmoid(), nn.Linear(60, 60), nn.Sigmoid(), nn.Linear(60, 10))
    for each in model.modules():
        if isinstance(each, nn.Linear):
            if cured:
                nn.init.normal_(each.weight, std=1.5 / each.in_features**0.5)
            else:
                nn.init.zeros_(each.weight)
            nn.init.zeros_(each.bias)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.5)
    doctor.task(model, data.few(rows.x, rows.y, 100, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 100, 500, seed), rows)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)


@fault(
    kind="input-scale",
    also=("activation-scale", "initial-loss", "learning-rate-too-high", "dead-units", "non-finite"),
    project="batuhan3526/ResNet50_on_Cifar_100_Without_Transfer_Learning",
    source="github.com/batuhan3526/ResNet50_on_Cifar_100_Without_Transfer_Learning/issues/1",
)
def mean_and_deviation_over_255(doctor: Doctor, seed: int, cured: bool) -> Score:
    """ToTensor has brought pixels to 0..1; the mean and deviation they are standardised by are divided by 255 once more."""
    x, y, _ = data.shapes(1000, seed, noise=0.1)
    generator = torch.Generator().manual_seed(seed + 5)
    light = 0.2 + 0.5 * torch.rand(1000, 3, 1, 1, generator=generator)
    pixels = (0.25 + light * x).clamp(0, 1)
    scale = 1.0 if cured else 255.0
    mean, deviation = torch.tensor([[0.507, 0.487, 0.441], [0.267, 0.256, 0.276]])[:, :, None, None] / scale
    rows = data.split((pixels - mean) / deviation, y, seed)
    conv = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    conv += [nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    model = nn.Sequential(*conv, nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 32, 260, seed), rows, every=50)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.8)
