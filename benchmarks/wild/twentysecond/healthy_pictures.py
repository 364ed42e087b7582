"""Healthy programs on pictures and clouds: sums, cuts, one net tuned for others, noise taken off, outlines, a forger."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Block(nn.Module):
    """Two convolutions added to what came in; where the size changes, what came in is thinned and filled up with noughts."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.step = out // into
        self.conv1, self.bn1 = nn.Conv2d(into, out, 3, self.step, 1, bias=False), nn.BatchNorm2d(out)
        self.conv2, self.bn2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        h = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.step > 1:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, h.shape[1] - x.shape[1]))
        return F.relu(h + x)


@healthy(project="akamaster/pytorch_resnet_cifar10", source="github.com/akamaster/pytorch_resnet_cifar10")
def digits_by_three_sums(doctor: Doctor, seed: int) -> Score:
    """Digits by a small residual net with momentum, decay and a rate that falls twice."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    rows = rows._replace(x=(rows.x - 0.3) / 0.38, held_x=(rows.held_x - 0.3) / 0.38)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), Block(8, 8), Block(8, 16),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
    )  # fmt: skip
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [4, 6])
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for epoch in range(8):
            model.train()
            for x, y in data.batches(rows.x, rows.y, 64, 21, seed + epoch):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
                watch.loss(loss)
            scheduler.step()
            model.eval()
            with torch.no_grad():
                watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)


@healthy(project="zhunzhong07/Random-Erasing", source="github.com/zhunzhong07/Random-Erasing")
def digits_with_a_piece_written_over(doctor: Doctor, seed: int) -> Score:
    """Digits of which half have a square of noise somewhere in training, and none at the test."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10),
    )  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 32, 220, seed)):
            model.train()
            place, at = torch.arange(8), torch.randint(8, (2, len(x), 1))
            across, down = (place - at[0]).abs() < 2, (place - at[1]).abs() < 2
            cut = down[:, None, :, None] & across[:, None, None, :] & (torch.rand(len(x), 1, 1, 1) < 0.5)
            loss = F.cross_entropy(model(torch.where(cut, torch.rand_like(x), x)), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 55 == 54:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    model.eval()
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.92)


@healthy(project="Spandan-Madan/Pytorch_fine_tuning_Tutorial", source="github.com/Spandan-Madan/Pytorch_fine_tuning_Tutorial")
def a_net_for_five_digits_tuned_for_five_others(doctor: Doctor, seed: int) -> Score:
    """What was learned of 0 to 4 serves for 5 to 9: the body learns at a tenth of the rate of the new last layer."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    body = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 24, 3, padding=1), nn.ReLU(), nn.Flatten()
    )
    before = nn.Sequential(body, nn.Linear(384, 5))
    known, held = rows.y < 5, rows.held_y >= 5
    optimizer = torch.optim.Adam(before.parameters(), lr=3e-3)
    for x, y in data.batches(rows.x[known], rows.y[known], 32, 100, seed):
        optimizer.zero_grad()
        F.cross_entropy(before(x), y).backward()
        optimizer.step()
    model = nn.Sequential(body, nn.Linear(384, 5))
    optimizer = torch.optim.Adam([{"params": body.parameters(), "lr": 3e-4}, {"params": model[1].parameters(), "lr": 3e-3}])
    x, y = rows.x[~known], rows.y[~known] - 5
    doctor.task(model, data.few(x, y, 32, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(x, y, 32, 150, seed))
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x[held]), rows.held_y[held] - 5), 0.92)


@healthy(project="cszn/DnCNN", source="github.com/cszn/DnCNN")
def digits_by_the_noise_in_them(doctor: Doctor, seed: int) -> Score:
    """Digits under heavy noise: the net tells the noise, which is taken away, and half the squares of a picture are summed."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    layers: list[nn.Module] = [nn.Conv2d(1, 20, 3, padding=1), nn.ReLU()]
    for _ in range(2):
        layers += [nn.Conv2d(20, 20, 3, padding=1, bias=False), nn.BatchNorm2d(20), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Conv2d(20, 1, 3, padding=1))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    with doctor.watch(model, optimizer) as watch:
        for x, _ in data.batches(rows.x, rows.y, 32, 250, seed):
            noise = 0.4 * torch.randn_like(x)
            optimizer.zero_grad()
            loss = (model(x + noise) - noise).pow(2).sum() / (2 * len(x))
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        noisy = rows.held_x + 0.4 * torch.randn_like(rows.held_x)
        return above(data.r2((noisy - model(noisy)).flatten(), rows.held_x.flatten()), 0.65)


@healthy(project="ternaus/TernausNet", source="github.com/ternaus/TernausNet")
def outlines_by_overlap(doctor: Doctor, seed: int) -> Score:
    """Where a thing is: a net with one way across, and a loss of the pixels less the logarithm of how far they overlap."""
    torch.manual_seed(seed)
    pictures, _, masks = data.shapes(360, seed, noise=0.4)
    rows = data.split(pictures, masks[:, None].float(), seed)

    class Across(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down, self.deep = nn.Conv2d(1, 12, 3, padding=1), nn.Conv2d(12, 24, 3, padding=1)
            self.up, self.last = nn.ConvTranspose2d(24, 12, 2, stride=2), nn.Conv2d(24, 1, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            first = F.relu(self.down(x))
            deep = F.relu(self.deep(F.max_pool2d(first, 2)))
            return self.last(torch.cat([first, F.relu(self.up(deep))], 1))

    def loss_fn(said: Tensor, mask: Tensor) -> Tensor:
        both = (said.sigmoid() * mask).sum()
        overlap = (both + 1e-6) / (said.sigmoid().sum() + mask.sum() - both + 1e-6)
        return F.binary_cross_entropy_with_logits(said, mask) - 0.3 * overlap.log()

    model = Across()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    doctor.task(model, data.few(rows.x, rows.y, 12, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 12, 150, seed), held=rows, every=30)
    with torch.no_grad():
        said, mask = model(rows.held_x) > 0, rows.held_y.bool()
    return above((said & mask).sum() / (said | mask).sum(), 0.7)


@healthy(project="wolny/pytorch-3dunet", source="github.com/wolny/pytorch-3dunet")
def slices_normed_in_groups(doctor: Doctor, seed: int) -> Score:
    """Outlines in slices that are each brought to mean 0 and size 1, in training and at the test, with norms over groups."""
    torch.manual_seed(seed)
    pictures, _, masks = data.shapes(320, seed, noise=0.3)
    scans = 40 * (1 + torch.rand(320, 1, 1, 1)) * pictures - 300
    scans = (scans - scans.mean((1, 2, 3), keepdim=True)) / scans.std((1, 2, 3), keepdim=True)
    rows = data.split(scans, masks[:, None].float(), seed)
    model = nn.Sequential(
        nn.GroupNorm(1, 1), nn.Conv2d(1, 12, 3, padding=1, bias=False), nn.GroupNorm(4, 12), nn.ELU(),
        nn.Conv2d(12, 12, 3, padding=1, bias=False), nn.GroupNorm(4, 12), nn.ELU(), nn.Conv2d(12, 1, 1),
    )  # fmt: skip

    def dice(said: Tensor, mask: Tensor) -> Tensor:
        said = said.sigmoid()
        return 1 - 2 * (said * mask).sum() / (said.pow(2).sum() + mask.pow(2).sum()).clamp(min=1e-6)

    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, weight_decay=1e-5)
    doctor.task(model, data.few(rows.x, rows.y, 4, seed), dice, optimizer)
    fit(doctor, model, optimizer, dice, data.batches(rows.x, rows.y, 4, 200, seed), held=rows)
    with torch.no_grad():
        said, mask = model(rows.held_x) > 0, rows.held_y.bool()
    return above((said & mask).sum() / (said | mask).sum(), 0.7)


@healthy(project="AlexiaJM/RelativisticGAN", source="github.com/AlexiaJM/RelativisticGAN")
def a_cloud_forged_to_look_truer_than_the_true(doctor: Doctor, seed: int) -> Score:
    """Points on a slanted cloud: the judge says how much truer a point looks than the mean of the others, and both learn that."""
    torch.manual_seed(seed)
    lean = torch.tensor([[0.6, 0.3], [0.0, 0.2]])
    place = torch.tensor([0.5, -0.5])
    forger = nn.Sequential(nn.Linear(4, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 2))
    judge = nn.Sequential(nn.Linear(2, 48), nn.LeakyReLU(0.2), nn.Linear(48, 48), nn.LeakyReLU(0.2), nn.Linear(48, 1))
    g_optimizer = torch.optim.Adam(forger.parameters(), lr=3e-4, betas=(0.5, 0.999))
    d_optimizer = torch.optim.Adam(judge.parameters(), lr=1e-3, betas=(0.5, 0.999))

    def contest(higher: Tensor, lower: Tensor) -> Tensor:
        up = F.softplus(-(higher - lower.mean()))
        return 0.5 * (up + F.softplus(lower - higher.mean())).mean()

    with doctor.watch(nn.ModuleDict({"generator": forger, "discriminator": judge}), [g_optimizer, d_optimizer]) as watch:
        for _ in range(1200):
            real, fake = place + torch.randn(64, 2) @ lean, forger(torch.randn(64, 4))
            d_loss = contest(judge(real), judge(fake.detach()))
            d_optimizer.zero_grad()
            d_loss.backward()
            d_optimizer.step()
            g_loss = contest(judge(fake), judge(real))
            g_optimizer.zero_grad()
            g_loss.backward()
            g_optimizer.step()
            watch.loss(g_loss)
    with torch.no_grad():
        far = (forger(torch.randn(2000, 4)).mean(0) - place).norm()
    return below(far, 0.35)


@healthy(project="1Konny/Beta-VAE", source="github.com/1Konny/Beta-VAE")
def digits_from_numbers_that_cost_more_and_more(doctor: Doctor, seed: int) -> Score:
    """Digits from eight numbers: what these say costs nothing at first, and its full price after two hundred steps."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    x, held = rows.x.flatten(1), rows.held_x.flatten(1)

    class Vae(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16))
            self.decoder = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64))

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            mean, spread = self.encoder(x).chunk(2, 1)
            z = mean + (0.5 * spread).exp() * torch.randn_like(mean) if self.training else mean
            return self.decoder(z), mean, spread

    model = Vae()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    with doctor.watch(model, optimizer) as watch:
        for step, (batch, _) in enumerate(data.batches(x, rows.y, 64, 700, seed)):
            optimizer.zero_grad()
            said, mean, spread = model(batch)
            pixels = F.binary_cross_entropy_with_logits(said, batch, reduction="sum") / len(batch)
            told = -0.5 * (1 + spread - mean.pow(2) - spread.exp()).sum(1).mean()
            loss = pixels + min(1.0, step / 200) * told
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        return above(data.r2(model(held)[0].sigmoid(), held), 0.3)
