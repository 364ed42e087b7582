"""Healthy programs on pictures: restarts, one cycle, a taught transformer, masks, joints, places, triplets, parts."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


def small(kinds: int = 10) -> nn.Sequential:
    """Two convolutions with norms, and a layer."""
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(12, 24, 3, padding=1),
        nn.BatchNorm2d(24), nn.ReLU(), nn.Flatten(), nn.Linear(384, kinds),
    )  # fmt: skip


@healthy(project="mpyrozhok/adamwr", source="github.com/mpyrozhok/adamwr")
def digits_with_a_rate_that_starts_anew(doctor: Doctor, seed: int) -> Score:
    """Digits by AdamW with a rate that falls along a cosine and starts anew, each time for twice as long."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    model = small()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=42, T_mult=2)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 32, 42 * 7, seed):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            scheduler.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.92)


@healthy(project="titu1994/keras-one-cycle", source="github.com/titu1994/keras-one-cycle")
def digits_in_one_cycle(doctor: Doctor, seed: int) -> Score:
    """Digits by momentum: the rate climbs to its top and falls to almost nothing, and the momentum goes the other way."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.95, nesterov=True, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.15, total_steps=250, final_div_factor=1e4)
    doctor.task(model, data.few(rows.x, rows.y, 48, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 48, 250, seed)):
            model.train()
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            scheduler.step()
            watch.loss(loss)
            if step % 50 == 49:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    model.eval()
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.92)


class Taught(nn.Module):
    """A transformer over sixteen patches with a word for the class and a word for what the teacher says."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Linear(4, 32)
        self.words = nn.Parameter(0.02 * torch.randn(1, 2, 32))
        self.place = nn.Parameter(0.02 * torch.randn(1, 18, 32))
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True, norm_first=True, activation="gelu")
        self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm, self.head, self.head_dist = nn.LayerNorm(32), nn.Linear(32, 10), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        cut = F.unfold(x, 2, stride=2).transpose(1, 2)
        h = torch.cat([self.words.expand(len(x), -1, -1), self.patches(cut)], 1) + self.place
        h = self.norm(self.blocks(h))
        return torch.stack([self.head(h[:, 0]), self.head_dist(h[:, 1])])


@healthy(project="facebookresearch/deit", source="github.com/facebookresearch/deit")
def digits_by_a_transformer_with_a_teacher(doctor: Doctor, seed: int) -> Score:
    """Digits: one word learns the label with a tenth of doubt, the other what a convolutional teacher holds for it."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    teacher = small()
    before = torch.optim.Adam(teacher.parameters(), lr=3e-3)
    for x, y in data.batches(rows.x, rows.y, 32, 80, seed):
        before.zero_grad()
        F.cross_entropy(teacher(x), y).backward()
        before.step()
    teacher.eval()
    model = Taught()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    warmth = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 40))
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 32, 300, seed):
            with torch.no_grad():
                hard = teacher(x).argmax(1)
            own, told = model(x)
            loss = 0.5 * F.cross_entropy(own, y, label_smoothing=0.1) + 0.5 * F.cross_entropy(told, hard)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            warmth.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x).mean(0), rows.held_y), 0.82)


class UNet(nn.Module):
    """Down once and up again, with a way across."""

    def __init__(self, out: int) -> None:
        super().__init__()
        self.down, self.deep, self.deeper = (nn.Conv2d(*shape, 3, padding=1) for shape in ((1, 12), (12, 24), (24, 24)))
        self.norm = nn.BatchNorm2d(24)
        self.up, self.last = nn.Conv2d(36, 12, 3, padding=1), nn.Conv2d(12, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = F.relu(self.down(x))
        deep = F.relu(self.norm(self.deep(F.max_pool2d(first, 2))))
        deep = F.interpolate(F.relu(self.deeper(deep)), scale_factor=2, mode="bilinear", align_corners=True)
        return self.last(F.relu(self.up(torch.cat([first, deep], 1))))


@healthy(project="usuyama/pytorch-unet", source="github.com/usuyama/pytorch-unet")
def a_mask_for_each_of_four_things(doctor: Doctor, seed: int) -> Score:
    """Which of four things is where, each on a mask of its own: half shares of pixels, half overlap."""
    torch.manual_seed(seed)
    pictures, kinds, masks = data.shapes(360, seed, noise=0.2)
    own = F.one_hot(kinds, 4)[:, :, None, None] * masks[:, None]
    rows = data.split(pictures, own.float(), seed)
    model = UNet(4)

    def loss_fn(said: Tensor, mask: Tensor) -> Tensor:
        share = said.sigmoid()
        both, each = (share * mask).sum((0, 2, 3)), share.sum((0, 2, 3)) + mask.sum((0, 2, 3))
        return 0.5 * F.binary_cross_entropy_with_logits(said, mask) + 0.5 * (1 - (2 * both + 1) / (each + 1)).mean()

    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    doctor.task(model, data.few(rows.x, rows.y, 12, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 12, 300, seed), held=rows, every=75)
    with torch.no_grad():
        said, mask = model(rows.held_x) > 0, rows.held_y.bool()
    return above((said & mask).sum() / (said | mask).sum(), 0.4)


@healthy(project="bearpaw/pytorch-pose", source="github.com/bearpaw/pytorch-pose")
def two_joints_as_warm_spots(doctor: Doctor, seed: int) -> Score:
    """Where the two ends of a limb are: a map for each with one small warm spot, by squares over all its cold pixels too."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    ends = torch.rand(500, 2, 2, generator=generator) * 11 + 2
    grid = torch.stack(torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij"))
    far = (grid[None, None] - ends[:, :, :, None, None]).pow(2).sum(2)
    maps = (-far / 2).exp()
    picture = (maps[:, :1] - 0.7 * maps[:, 1:]) + 0.1 * torch.randn(500, 1, 16, 16, generator=generator)
    rows = data.split(picture, maps, seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(),
        nn.Conv2d(16, 2, 1),
    )  # fmt: skip
    optimizer = torch.optim.RMSprop(model.parameters(), lr=2.5e-3)
    doctor.task(model, data.few(rows.x, rows.y, 12, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 12, 220, seed), held=rows)
    with torch.no_grad():
        said = model(rows.held_x).flatten(2).argmax(2)
    near = (said - rows.held_y.flatten(2).argmax(2)).eq(0).float().mean()
    return above(near, 0.55)


@healthy(project="uber-research/CoordConv", source="github.com/uber-research/CoordConv")
def where_the_dot_is(doctor: Doctor, seed: int) -> Score:
    """The place of a dot by convolutions that are given two maps of where each pixel is."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    at = torch.randint(0, 16, (900, 2), generator=generator)
    picture = torch.zeros(900, 1, 16, 16)
    picture[torch.arange(900), 0, at[:, 0], at[:, 1]] = 1.0
    line = torch.linspace(-1, 1, 16)
    maps = torch.stack(torch.meshgrid(line, line, indexing="ij"))[None].expand(900, -1, -1, -1)
    rows = data.split(torch.cat([picture, maps], 1), at.float() / 15, seed)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 1), nn.ReLU(), nn.Conv2d(16, 16, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(),
        nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(16, 2),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 32, 350, seed), held=rows)
    with torch.no_grad():
        return below(F.mse_loss(model(rows.held_x), rows.held_y).sqrt(), 0.12)


@healthy(project="eladhoffer/TripletNet", source="github.com/eladhoffer/TripletNet")
def nearer_to_its_own_kind(doctor: Doctor, seed: int) -> Score:
    """Digits placed by three at a time: a share of how far the like and the unlike are, which is to be nought and one."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 24, 3, padding=1), nn.ReLU(), nn.Flatten(),
        nn.Linear(384, 16),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    members = [torch.nonzero(rows.y == kind)[:, 0] for kind in range(10)]

    def some(kinds: Tensor) -> Tensor:
        return torch.stack([members[kind][torch.randint(len(members[kind]), (), generator=generator)] for kind in kinds.tolist()])

    with doctor.watch(model, optimizer) as watch:
        for _ in range(220):
            kind = torch.randint(10, (24,), generator=generator)
            other = (kind + torch.randint(1, 10, (24,), generator=generator)) % 10
            anchor, like, unlike = model(rows.x[torch.cat([some(kind), some(kind), some(other)])]).chunk(3)
            far = torch.stack([(anchor - like).norm(dim=1), (anchor - unlike).norm(dim=1)], 1)
            loss = F.mse_loss(far.softmax(1), torch.tensor([0.0, 1.0]).expand(24, 2))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        known, place = model(rows.x), model(rows.held_x)
    return above((rows.y[torch.cdist(place, known).argmin(1)] == rows.held_y).float().mean(), 0.9)


@healthy(project="timesler/facenet-pytorch", source="github.com/timesler/facenet-pytorch")
def a_known_net_for_new_faces(doctor: Doctor, seed: int) -> Score:
    """A net that knows five digits gets a new last layer for five others, and all of it is tuned with a rate that falls twice."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    model = small(5)
    known, held = rows.y < 5, rows.held_y >= 5
    before = torch.optim.Adam(model.parameters(), lr=3e-3)
    for x, y in data.batches(rows.x[known], rows.y[known], 32, 80, seed):
        before.zero_grad()
        F.cross_entropy(model(x), y).backward()
        before.step()
    model[-1] = nn.Linear(384, 5)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [5, 10])
    x, y = rows.x[~known], rows.y[~known] - 5
    doctor.task(model, data.few(x, y, 32, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for epoch in range(12):
            model.train()
            for batch, target in data.batches(x, y, 32, 20, seed + epoch):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(batch), target)
                loss.backward()
                optimizer.step()
                watch.loss(loss)
            scheduler.step()
            model.eval()
            with torch.no_grad():
                watch.dev_loss(F.cross_entropy(model(rows.held_x[held]), rows.held_y[held] - 5))
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x[held]), rows.held_y[held] - 5), 0.92)


@healthy(project="hszhao/semseg", source="github.com/hszhao/semseg")
def parts_with_a_word_from_half_way(doctor: Doctor, seed: int) -> Score:
    """Thing or ground in each pixel: a fifth has no label, a head half way counts 0.4, the rate falls as a power."""
    torch.manual_seed(seed)
    pictures, _, masks = data.shapes(360, seed, noise=0.3)
    rows = data.split(pictures, masks, seed)
    unknown = torch.rand(rows.y.shape, generator=torch.Generator().manual_seed(seed)) < 0.2
    labels = rows.y.masked_fill(unknown, 255)
    body = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
    deep = nn.Sequential(
        nn.Conv2d(16, 16, 3, padding=2, dilation=2, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.Dropout2d(0.1)
    )
    model = nn.ModuleDict({"body": body, "deep": deep, "aux": nn.Conv2d(16, 2, 1), "cls": nn.Conv2d(16, 2, 1)})
    optimizer = torch.optim.SGD(
        [
            {"params": [*body.parameters(), *deep.parameters()], "lr": 0.02},
            {"params": [*model["aux"].parameters(), *model["cls"].parameters()], "lr": 0.2},
        ],
        lr=0.02, momentum=0.9, weight_decay=1e-4,
    )  # fmt: skip
    scheduler = torch.optim.lr_scheduler.PolynomialLR(optimizer, 200, 0.9)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, labels, 12, 200, seed):
            half = model["body"](x)
            main = F.cross_entropy(model["cls"](model["deep"](half)), y, ignore_index=255)
            loss = main + 0.4 * F.cross_entropy(model["aux"](half), y, ignore_index=255)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        said, mask = model["cls"](model["deep"](model["body"](rows.held_x))).argmax(1).bool(), rows.held_y.bool()
    return above((said & mask).sum() / (said | mask).sum(), 0.65)
