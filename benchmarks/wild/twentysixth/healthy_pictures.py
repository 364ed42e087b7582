"""Healthy programs on pictures: a judge with kinds, masks at two sizes, an energy, a pupil, hidden parts, a table of corners."""

from __future__ import annotations

import copy

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils.parametrizations import spectral_norm


@healthy(project="POSTECH-CVLab/PyTorch-StudioGAN", source="github.com/POSTECH-CVLab/PyTorch-StudioGAN")
def a_judge_that_knows_the_kinds(doctor: Doctor, seed: int) -> Score:
    """Points at six places, as wished: a bounded judge projects on the kind, hinges on both sides, two looks for each draw."""
    torch.manual_seed(seed)
    angle = torch.arange(6) * 6.2832 / 6
    place = torch.stack([angle.cos(), angle.sin()], 1)

    class Forger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kind = nn.Embedding(6, 8)
            self.body = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))

        def forward(self, kind: Tensor) -> Tensor:
            return self.body(torch.cat([torch.randn(len(kind), 8), self.kind(kind)], 1))

    class Judge(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            one, two = spectral_norm(nn.Linear(2, 64)), spectral_norm(nn.Linear(64, 64))
            self.body = nn.Sequential(one, nn.LeakyReLU(0.1), two, nn.LeakyReLU(0.1))
            self.say, self.kind = spectral_norm(nn.Linear(64, 1)), spectral_norm(nn.Embedding(6, 64))

        def forward(self, x: Tensor, kind: Tensor) -> Tensor:
            h = self.body(2 * x)
            return self.say(h)[:, 0] + (h * self.kind(kind)).sum(1)

    forger, judge = Forger(), Judge()
    slow = copy.deepcopy(forger).requires_grad_(requires_grad=False)
    optimizers = [torch.optim.Adam(each.parameters(), lr=lr, betas=(0.0, 0.9)) for each, lr in ((forger, 1e-3), (judge, 3e-3))]
    with doctor.watch(nn.ModuleDict({"forger": forger, "judge": judge}), optimizers) as watch:
        for step in range(1100):
            kind = torch.randint(6, (64,))
            real = place[kind] + 0.05 * torch.randn(64, 2)
            with torch.no_grad():
                forged = forger(kind)
            judged = F.relu(1 - judge(real, kind)).mean() + F.relu(1 + judge(forged, kind)).mean()
            optimizers[1].zero_grad()
            judged.backward()
            optimizers[1].step()
            if step % 2:
                loss = -judge(forger(kind), kind).mean()
                optimizers[0].zero_grad()
                loss.backward()
                optimizers[0].step()
                watch.loss(loss)
                with torch.no_grad():
                    for late, now in zip(slow.parameters(), forger.parameters(), strict=True):
                        late.lerp_(now, 0.02)
    with torch.no_grad():
        kind = torch.arange(6).repeat(50)
        return above(((slow(kind) - place[kind]).norm(dim=1) < 0.35).float().mean(), 0.7)


@healthy(project="MIC-DKFZ/nnUNet", source="github.com/MIC-DKFZ/nnUNet")
def masks_at_two_sizes(doctor: Doctor, seed: int) -> Score:
    """Ground, lines and rounds, pixel by pixel: losses at full and half size, a rate that falls, heavy momentum."""
    torch.manual_seed(seed)
    x, kind, mask = data.shapes(600, seed)
    rows = data.split(x, mask * (kind[:, None, None] // 2 + 1), seed)

    def twice(inputs: int, outputs: int) -> nn.Module:
        layers = []
        for each in (inputs, outputs):
            layers += [nn.Conv2d(each, outputs, 3, padding=1), nn.InstanceNorm2d(outputs, affine=True), nn.LeakyReLU(0.01)]
        return nn.Sequential(*layers)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.three = twice(1, 12), twice(12, 24), twice(24, 32)
            self.up2, self.up1 = nn.ConvTranspose2d(32, 24, 2, 2), nn.ConvTranspose2d(24, 12, 2, 2)
            self.back2, self.back1 = twice(48, 24), twice(24, 12)
            self.small, self.full = nn.Conv2d(24, 3, 1, bias=False), nn.Conv2d(12, 3, 1, bias=False)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            one = self.one(x)
            two = self.two(F.max_pool2d(one, 2))
            h = self.back2(torch.cat([self.up2(self.three(F.max_pool2d(two, 2))), two], 1))
            return self.full(self.back1(torch.cat([self.up1(h), one], 1))), self.small(h)

    def missed(said: Tensor, y: Tensor) -> Tensor:
        share, true = said.softmax(1), F.one_hot(y, 3).permute(0, 3, 1, 2).float()
        both, all_ = (share * true).sum((0, 2, 3)), (share + true).sum((0, 2, 3))
        return F.cross_entropy(said, y) - (2 * both / (all_ + 1e-5))[1:].mean()

    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.99, nesterov=True, weight_decay=3e-5)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, 350, 0.9)
    with doctor.watch(model, optimizer) as watch:
        for seen, y in data.batches(rows.x, rows.y, 8, 350, seed):
            full, half = model(seen)
            loss = 2 / 3 * missed(full, y) + 1 / 3 * missed(half, y[:, ::2, ::2])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 12)
            optimizer.step()
            schedule.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        said, true = model(rows.held_x)[0].argmax(1), rows.held_y
        return above(((said == true) & (true > 0)).sum() / ((said > 0) | (true > 0)).sum(), 0.5)


@healthy(project="wgrathwohl/JEM", source="github.com/wgrathwohl/JEM")
def scores_that_are_an_energy(doctor: Doctor, seed: int) -> Score:
    """Digits by ten scores whose sum of powers is low for what is no digit: walks from a store of old ones find what that is."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    model = nn.Sequential(nn.Linear(64, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-4, betas=(0.9, 0.999))
    store = torch.rand(1000, 64)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x.flatten(1), rows.y, 64, 400, seed):
            at = torch.randint(1000, (64,))
            fake = torch.where(torch.rand(64, 1) < 0.05, torch.rand(64, 64), store[at])
            for _ in range(8):
                fake = fake.detach().requires_grad_()
                (slope,) = torch.autograd.grad(model(fake).logsumexp(1).sum(), fake)
                fake = fake + 0.5 * slope + 0.01 * torch.randn_like(fake)
            store[at] = fake.detach().clamp(-0.5, 1.5)
            said, free = model(x + 0.03 * torch.randn_like(x)), model(store[at])
            up, down = said.logsumexp(1), free.logsumexp(1)
            loss = F.cross_entropy(said, y) - 0.1 * (up.mean() - down.mean()) + 0.01 * (up.pow(2) + down.pow(2)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x.flatten(1)), rows.held_y), 0.87)


@healthy(project="megvii-research/mdistiller", source="github.com/megvii-research/mdistiller")
def a_pupil_told_twice(doctor: Doctor, seed: int) -> Score:
    """What a frozen teacher says of the right digit and of the others, apart; the second part counts more, and not at first."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(64, 256), nn.ReLU(), nn.Dropout(0.2), nn.Linear(256, 10))
    first = torch.optim.Adam(teacher.parameters(), lr=2e-3)
    for x, y in data.batches(rows.x, rows.y, 64, 200, seed):
        first.zero_grad()
        F.cross_entropy(teacher(x), y).backward()
        first.step()
    teacher.eval().requires_grad_(requires_grad=False)
    pupil = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 10))
    model = nn.ModuleDict({"teacher": teacher, "pupil": pupil})
    optimizer = torch.optim.SGD(pupil.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [250, 330], 0.1)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 64, 400, seed)):
            said, taught = pupil(x), teacher(x)
            right = F.one_hot(y, 10).bool()
            one, two = (each.div(4).softmax(1)[right].clamp(1e-6, 1 - 1e-6) for each in (said, taught))
            sure = (two * (two / one).log() + (1 - two) * ((1 - two) / (1 - one)).log()).mean()
            hidden = 1000.0 * right
            other = F.kl_div((said / 4 - hidden).log_softmax(1), (taught / 4 - hidden).softmax(1), reduction="batchmean")
            loss = F.cross_entropy(said, y) + min(step / 50, 1.0) * 16 * (sure + 2 * other)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            watch.loss(loss)
    pupil.eval()
    with torch.no_grad():
        return above(data.accuracy(pupil(rows.held_x), rows.held_y), 0.9)


@healthy(project="facebookresearch/ijepa", source="github.com/facebookresearch/ijepa")
def the_hidden_part_as_a_thought(doctor: Doctor, seed: int) -> Score:
    """Half of a digit is hidden: what a late copy thinks of it is foretold from the rest; a plain layer tells the digits then."""
    torch.manual_seed(seed)
    rows = data.digits(seed)

    def pieces(x: Tensor) -> Tensor:
        return F.unfold(x, 2, stride=2).transpose(1, 2)

    def blocks(depth: int) -> nn.Module:
        layer = nn.TransformerEncoderLayer(48, 4, 96, dropout=0.0, batch_first=True, norm_first=True)
        return nn.TransformerEncoder(layer, depth, norm=nn.LayerNorm(48), enable_nested_tensor=False)

    place = nn.Parameter(0.2 * torch.randn(16, 48), requires_grad=False)
    enter, wanted = nn.Linear(4, 48), nn.Parameter(torch.zeros(48))
    model = nn.ModuleDict({"enter": enter, "encoder": blocks(2), "foretell": blocks(1), "leave": nn.Linear(48, 48)})
    late = copy.deepcopy(nn.ModuleList([enter, model["encoder"]])).requires_grad_(requires_grad=False)
    optimizer = torch.optim.AdamW([*model.parameters(), wanted], lr=1e-3, weight_decay=0.04)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, _) in enumerate(data.batches(rows.x, rows.y, 64, 200, seed)):
            order = torch.randperm(16)
            shown, hidden = order[:9], order[9:]
            seen = pieces(x)
            with torch.no_grad():
                goal = F.layer_norm(late[1](late[0](seen) + place)[:, hidden], (48,))
            h = model["encoder"](enter(seen[:, shown]) + place[shown])
            asked = (wanted + place[hidden]).expand(64, -1, -1)
            said = model["leave"](model["foretell"](torch.cat([h + place[shown], asked], 1))[:, 9:])
            loss = F.smooth_l1_loss(said, goal)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            with torch.no_grad():
                for old, new in zip(late.parameters(), [*enter.parameters(), *model["encoder"].parameters()], strict=True):
                    old.lerp_(new, 0.04 * (1 - step / 200))
    with torch.no_grad():
        known, held = (late[1](late[0](pieces(x)) + place).flatten(1) for x in (rows.x, rows.held_x))
    plain = nn.Linear(known.shape[1], 10)
    second = torch.optim.Adam(plain.parameters(), lr=3e-3)
    for _ in range(150):
        second.zero_grad()
        F.cross_entropy(plain(known), rows.y).backward()
        second.step()
    with torch.no_grad():
        return above(data.accuracy(plain(held), rows.held_y), 0.85)


@healthy(project="ashawkey/torch-ngp", source="github.com/ashawkey/torch-ngp")
def a_picture_in_a_table_of_corners(doctor: Doctor, seed: int) -> Score:
    """Shades of one picture from where they are: grids of growing fineness share a hashed table, and a small net reads it."""
    torch.manual_seed(seed)

    def shade(at: Tensor) -> Tensor:
        x, y = at.unbind(1)
        return ((9 * x).sin() * (7 * y + 4 * x).cos() + ((x - 0.6).hypot(y - 0.4) < 0.2).float())[:, None]

    class Corners(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(8 * 1024, 2)
            nn.init.uniform_(self.table.weight, -1e-4, 1e-4)
            self.read = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 1))

        def forward(self, at: Tensor) -> Tensor:
            found = []
            for level in range(8):
                spot = at * int(4 * 1.5**level)
                low = spot.floor().long()
                part = spot - low
                value = torch.zeros(len(at), 2)
                for dx, dy in ((0, 0), (0, 1), (1, 0), (1, 1)):
                    number = ((low[:, 0] + dx) ^ ((low[:, 1] + dy) * 2654435761)) % 1024 + 1024 * level
                    near = (part[:, 0] if dx else 1 - part[:, 0]) * (part[:, 1] if dy else 1 - part[:, 1])
                    value = value + near[:, None] * self.table(number)
                found.append(value)
            return self.read(torch.cat(found, 1))

    model = Corners()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, betas=(0.9, 0.99), eps=1e-15)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.995)
    at, new = torch.rand(6000, 2), torch.rand(1000, 2)
    held = data.Split(at, shade(at), new, shade(new))

    def batches() -> object:
        for x, y in data.batches(held.x, held.y, 256, 350, seed):
            yield x, y
            schedule.step()

    fit(doctor, model, optimizer, F.mse_loss, batches(), held=held, every=70)
    with torch.no_grad():
        return above(data.r2(model(held.held_x), held.held_y), 0.9)
