"""Faults of wiring: a decoder nobody trains, an encoder cut off, a backbone that was not loaded."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="not-optimised",
    where="decoder",
    also=("frozen-random", "never-moved"),
    project="cabralpinto/modular-diffusion",
    source="github.com/cabralpinto/modular-diffusion/issues/17",
)
def only_the_encoder_was_added(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Diffusion of embedded rows of signs: the optimizer has the net and the encoder, and the decoder stays as it was drawn."""
    generator = torch.Generator().manual_seed(seed)

    def rows(count: int) -> Tensor:
        """Rows (N, 8) that count up by one or by three."""
        step = torch.where(torch.rand(count, 1, generator=generator) < 0.5, 1, 3)
        return (torch.randint(30, (count, 1), generator=generator) + step * torch.arange(8)) % 30

    class Diffusion(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Embedding(30, 4)
            self.net = nn.Sequential(nn.Linear(33, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 32))
            self.decoder = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 30))

        def forward(self, signs: Tensor, time: Tensor) -> Tensor:
            clean = F.normalize(self.encoder(signs), dim=2) * 2
            noisy = (1 - time)[..., None] * clean + time[..., None] * torch.randn(clean.shape, generator=generator)
            guess = self.net(torch.cat([noisy.flatten(1), time], 1)).view_as(clean)
            out: Tensor = F.mse_loss(guess, clean) + F.cross_entropy(self.decoder(guess).flatten(0, 1), signs.flatten())
            return out

    model = Diffusion()
    trained = [*model.net.parameters(), *model.encoder.parameters(), *(model.decoder.parameters() if cured else ())]
    optimizer = torch.optim.Adam(trained, lr=3e-3)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(700):
            loss = model(rows(64), torch.rand(64, 1, generator=generator))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    signs = rows(400)
    with torch.no_grad():
        said = model.decoder(F.normalize(model.encoder(signs), dim=2) * 2)
    return above(data.accuracy(said, signs), 0.9)


@fault(
    kind="no-gradient",
    where="encoder",
    also=("never-moved", "frozen-random", "not-optimised"),
    project="lebrice/Sequoia",
    source="github.com/lebrice/Sequoia/pull/77",
)
def head_that_learns_from_detached_features(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A policy looks at pictures and is paid for the right one of four moves; its features are detached before the head."""
    x, y, _ = data.shapes(1200, seed, noise=0.3)
    generator = torch.Generator().manual_seed(seed)

    class Policy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            conv = [nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(12, 16, 3, padding=1), nn.ReLU()]
            self.encoder = nn.Sequential(*conv, nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(64, 8))
            self.head = nn.Linear(8, 4)

        def forward(self, picture: Tensor) -> Tensor:
            features = self.encoder(picture)
            return self.head(features if cured else features.detach()).log_softmax(1)

    model = Policy()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    usual = 0.25
    with doctor.watch(model, optimizer) as watch:
        for at, _ in data.batches(torch.arange(900), y[:900], 48, 500, seed):
            log = model(x[at])
            move = torch.multinomial(log.detach().exp(), 1, generator=generator)
            pay = (move[:, 0] == y[at]).float()
            loss = -((pay - usual) * log.gather(1, move)[:, 0]).mean() + 0.01 * (log.exp() * log).sum(1).mean()
            usual = 0.95 * usual + 0.05 * pay.mean().item()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return above(data.accuracy(model(x[900:]), y[900:]), 0.75)


@fault(
    kind="frozen-random",
    where="backbone",
    also=("not-optimised",),
    project="bubbliiiing/segformer-pytorch",
    source="github.com/bubbliiiing/segformer-pytorch/issues/9",
)
def weights_whose_names_match_nothing(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A backbone's weights have another prefix and are loaded without strictness: none is taken, and it is frozen."""
    x, _, mask = data.shapes(900, seed, noise=0.4)

    def layers() -> nn.Sequential:
        conv = [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, stride=2), nn.ReLU()]
        return nn.Sequential(*conv, nn.Conv2d(8, 8, 3, padding=1, stride=2), nn.ReLU(), nn.Conv2d(8, 6, 3, padding=1))

    class Segment(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.head = layers(), nn.Sequential(nn.ReLU(), nn.Conv2d(6, 16, 1))

        def forward(self, picture: Tensor) -> Tensor:
            return F.pixel_shuffle(self.head(self.backbone(picture)), 4)

    first = nn.Sequential(layers(), nn.ReLU(), nn.ConvTranspose2d(6, 8, 4, stride=4), nn.ReLU(), nn.Conv2d(8, 1, 1))
    teacher = torch.optim.Adam(first.parameters(), lr=3e-3)
    for a, b in data.batches(x, mask[:, None].float(), 24, 250, seed):
        teacher.zero_grad()
        F.binary_cross_entropy_with_logits(first(a), b, pos_weight=torch.tensor(3.0)).backward()
        teacher.step()
    saved = {f"{'backbone.' if cured else 'encoder.'}{name}": weight for name, weight in first[0].state_dict().items()}
    model = Segment()
    model.load_state_dict(saved, strict=False)
    model.backbone.requires_grad_(requires_grad=False)
    x, _, mask = data.shapes(500, seed + 50, noise=0.4)
    rows = data.split(x, mask[:, None].float(), seed)
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=5e-3)
    loss_fn = nn.BCEWithLogitsLoss()
    doctor.task(model, data.few(rows.x, rows.y, 16, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 16, 250, seed), rows, every=50)
    with torch.no_grad():
        said, truth = model(rows.held_x) > 0, rows.held_y > 0.5
    return above((said & truth).sum() / (said | truth).sum(), 0.5)
