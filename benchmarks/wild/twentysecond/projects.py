"""Faults of projects: a forger sent the wrong way, rows that read each other, filters in a list, other eyes at the test."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="other-loss",
    project="Zeleni9/pytorch-wgan",
    source="github.com/Zeleni9/pytorch-wgan/pull/53",
)
def a_forger_sent_the_wrong_way(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Points round a place: the critic learns to mark the true ones high, and the forger learns to be marked low."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    place = torch.tensor([1.0, -0.5])
    forger = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2))
    critic = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
    g_optimizer = torch.optim.RMSprop(forger.parameters(), lr=1e-3)
    d_optimizer = torch.optim.RMSprop(critic.parameters(), lr=1e-3)
    with doctor.watch(nn.ModuleDict({"generator": forger, "discriminator": critic}), [g_optimizer, d_optimizer]) as watch:
        for _ in range(300):
            for _ in range(5):
                for parameter in critic.parameters():
                    parameter.data.clamp_(-0.1, 0.1)
                real = place + 0.2 * torch.randn(64, 2, generator=generator)
                fake = forger(torch.randn(64, 4, generator=generator)).detach()
                d_loss = critic(fake).mean() - critic(real).mean()
                d_optimizer.zero_grad()
                d_loss.backward()
                d_optimizer.step()
            g_loss = critic(forger(torch.randn(64, 4, generator=generator))).mean()
            g_loss = -g_loss if cured else g_loss
            g_optimizer.zero_grad()
            g_loss.backward()
            g_optimizer.step()
            watch.loss(g_loss)
    with torch.no_grad():
        far = (forger(torch.randn(1000, 4, generator=generator)).mean(0) - place).norm()
    return below(far, 0.5)


class Records(nn.Module):
    """A transformer over the fields of a record, and a word on the whole."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.embedding, self.place = nn.Embedding(12, 32), nn.Parameter(0.1 * torch.randn(8, 32))
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=batch_first)
        self.transformer_encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.transformer_encoder(self.embedding(x) + self.place).mean(1))


@fault(
    kind="batch-mixing",
    also=("underfitting",),
    where="transformer_encoder",
    project="IBM/TabFormer",
    source="github.com/IBM/TabFormer/pull/14",
)
def records_that_read_each_other(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Do the first two fields of a record say the same: the rows stand where the net looks for the places."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(12, (2400, 8), generator=generator)
    same = torch.rand(2400, generator=generator) < 0.5
    x[same, 1] = x[same, 0]
    rows = data.split(x, (x[:, 0] == x[:, 1]).long(), seed)
    model = Records(batch_first=cured)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 32, 600, seed), held=rows)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)


class Octaves(nn.Module):
    """A sound at four speeds, a filter of its own for each, how loud each comes out, and a word on all."""

    def __init__(self, listed: bool) -> None:
        super().__init__()
        filters = [nn.Conv1d(1, 2, 9, padding=4, bias=False) for _ in range(4)]
        self.conv1d = nn.ModuleList(filters) if listed else filters
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        loud = []
        for conv in self.conv1d:
            loud.append(conv(x).pow(2).mean(2))
            x = F.avg_pool1d(x, 2)
        return self.head(self.norm((torch.cat(loud, 1) + 1e-4).log()))


@fault(
    kind="unregistered",
    also=("not-optimised", "frozen-random", "never-moved"),
    where="conv1d",
    project="kymatio/murenn",
    source="github.com/kymatio/murenn/issues/42",
)
def filters_kept_in_a_list(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Eight pitches in noise by two learned filters for each octave, which stand in a list that the net does not look into."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    pitch = torch.randint(8, (1600,), generator=generator)
    speed = 0.5 * 1.15 ** pitch[:, None].float()
    start = 6.28 * torch.rand(1600, 1, generator=generator)
    x = (speed * torch.arange(64.0) + start).sin() + 0.9 * torch.randn(1600, 64, generator=generator)
    rows = data.split(x[:, None], pitch, seed)
    model = Octaves(listed=cured)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 32, 600, seed))
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)


@fault(
    kind="probabilities-as-logits",
    also=("slow-learning", "underfitting"),
    project="bkitano/llama-from-scratch",
    source="github.com/bkitano/llama-from-scratch/issues/5",
)
def the_next_letter_by_shares_of_shares(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The next letter from this one by two layers and a softmax, whose shares go into a loss that takes shares of them."""
    torch.manual_seed(seed)
    stream, kinds = data.characters(150, seed)
    held, stream = stream[:1500], stream[1500:]

    class SimpleModel(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(kinds, 48)
            self.linear = nn.Sequential(nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, kinds))

        def forward(self, x: Tensor) -> Tensor:
            a = self.linear(self.embedding(x))
            return a if cured else F.softmax(a, dim=-1)

    def loss_fn(logits: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(logits.flatten(0, 1), target.flatten())

    model = SimpleModel()
    optimizer = torch.optim.Adam(model.parameters())
    doctor.task(model, list(data.windows(stream, 16, 32, 8, seed)), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.windows(stream, 16, 32, 500, seed))
    with torch.no_grad():
        said = model(held[:-1])
        share = said.softmax(1) if cured else said
        return below(F.nll_loss(share.clamp(min=1e-12).log(), held[1:]), 2.0)


class Small(nn.Module):
    """A little net that says of each pixel whether it belongs to the thing."""

    def __init__(self, norm: bool, cut: bool) -> None:
        super().__init__()
        self.norm = norm
        self.conv1, self.conv2 = nn.Conv2d(1, 12, 3, padding=1), nn.Conv2d(12, 12, 3, padding=1)
        self.bn1, self.bn2 = nn.BatchNorm2d(12), nn.BatchNorm2d(12)
        self.last = nn.Sequential(nn.Conv2d(12, 1, 1), nn.ReLU()) if cut else nn.Conv2d(12, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)) if self.norm else self.conv1(x))
        x = F.relu(self.bn2(self.conv2(x)) if self.norm else self.conv2(x))
        return self.last(x)


def overlap(said: Tensor, mask: Tensor) -> float:
    """Share of what either marks that both mark."""
    return ((said & mask).sum() / (said | mask).sum().clamp(min=1)).item()


@fault(
    kind="relu-logits",
    also=("dead-units", "target-range"),
    project="mengcius/Surface-Defect-Detection",
    source="github.com/mengcius/Surface-Defect-Detection/issues/3",
)
def scratches_marked_with_a_relu(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Where a plate is scratched: what the last layer says of a pixel is cut at nought before the sigmoid of the loss."""
    torch.manual_seed(seed)
    pictures, _, masks = data.shapes(360, seed, noise=0.3)
    rows = data.split(pictures, masks[:, None].float(), seed)
    model = Small(norm=True, cut=not cured)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    loss_fn = F.binary_cross_entropy_with_logits
    doctor.task(model, data.few(rows.x, rows.y, 12, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 12, 120, seed))
    with torch.no_grad():
        return below(loss_fn(model(rows.held_x), rows.held_y), 0.25)


@fault(
    kind="dev-scale",
    also=("held-out-labels",),
    project="jchen42703/kits19-cnn",
    source="github.com/jchen42703/kits19-cnn/issues/22",
)
def slices_standardised_for_training_alone(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Tumours in slices of a scan: brought to mean 0 and size 1 while the net learns, and left as scanned when it is tested."""
    torch.manual_seed(seed)
    pictures, _, masks = data.shapes(360, seed, noise=0.3)
    scans = 60 * pictures - 300
    rows = data.split(scans, masks[:, None].float(), seed)
    mean, std = rows.x.mean(), rows.x.std()
    rows = rows._replace(x=(rows.x - mean) / std)
    if cured:
        rows = rows._replace(held_x=(rows.held_x - mean) / std)
    model = Small(norm=False, cut=False)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    loss_fn = F.binary_cross_entropy_with_logits
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 12, 150, seed), held=rows, every=30)
    with torch.no_grad():
        return above(overlap(model(rows.held_x) > 0, rows.held_y.bool()), 0.6)


@fault(
    kind="input-scale",
    also=("target-scale", "slow-learning", "target-constant", "target-range"),
    project="pkmital/pycadl",
    source="github.com/pkmital/pycadl/pull/5",
)
def pixels_divided_twice(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits drawn from eight numbers, as likely as noise allows: their pixels are brought to 0..1, and then divided again."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    shrink = 1.0 if cured else 255.0
    x, held = rows.x.flatten(1) / shrink, rows.held_x.flatten(1) / shrink

    class Vae(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.mean, self.spread = nn.Linear(64, 64), nn.Linear(64, 8), nn.Linear(64, 8)
            self.decoder = nn.Sequential(nn.Linear(8, 64), nn.Softplus(), nn.Linear(64, 64))

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            h = F.softplus(self.encoder(x))
            mean, spread = self.mean(h), self.spread(h)
            z = mean + (0.5 * spread).exp() * torch.randn_like(mean) if self.training else mean
            return self.decoder(z), mean, spread

    model = Vae()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with doctor.watch(model, optimizer) as watch:
        for batch, _ in data.batches(x, rows.y, 64, 600, seed):
            optimizer.zero_grad()
            said, mean, spread = model(batch)
            pixels = F.binary_cross_entropy_with_logits(said, batch, reduction="none").sum(1).mean()
            loss = pixels - 0.5 * (1 + spread - mean.pow(2) - spread.exp()).sum(1).mean()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        said = model(held)[0].sigmoid()
    return above(data.r2(said, held), 0.3)
