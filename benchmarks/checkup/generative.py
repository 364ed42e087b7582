"""Healthy models of the kinds that tutorials show, in plain PyTorch: pictures that are made, coded or compared."""

from __future__ import annotations

from typing import Any

import torch
from benchmarks.checkup.data import pictures, table
from benchmarks.checkup.making import F, Made, adamw, model
from torch import Tensor, nn


class VAE(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = (
            nn.Sequential(nn.Linear(256, 64), nn.ReLU()),
            nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 256)),
        )
        self.mean, self.log_variance = nn.Linear(64, 8), nn.Linear(64, 8)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = self.encode(x.flatten(1))
        mean, log_variance = self.mean(h), self.log_variance(h)
        z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        return self.decode(z), mean, log_variance


def evidence_bound(out: tuple[Tensor, Tensor, Tensor], x: Tensor) -> Tensor:
    decoded, mean, log_variance = out
    rebuilt = F.binary_cross_entropy_with_logits(decoded, x.flatten(1), reduction="sum")
    return (rebuilt - 0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum()) / len(x)


@model("variational autoencoder")
def _() -> Made:
    net = VAE()
    return net, [((0.3 * x + 0.5).clamp(0, 1),) * 2 for x, _ in pictures(16, 1)], evidence_bound, adamw(net)


@model("autoencoder")
def _() -> Made:
    net = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.ConvTranspose2d(8, 1, 4, 2, 1))
    return net, [(x, x) for x, _ in pictures(16, 1)], F.mse_loss, adamw(net, 3e-3)


class Denoiser(nn.Module):
    """A toy diffusion model: it draws time and noise itself and returns its loss."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(17, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 16))
        nn.init.zeros_(self.net[-1].weight)

    def forward(self, x: Tensor) -> Tensor:
        t, noise = torch.rand(len(x), 1), torch.randn_like(x)
        noisy = (1 - t).sqrt() * x + t.sqrt() * noise
        return F.mse_loss(self.net(torch.cat([noisy, t], 1)), noise)


@model("diffusion, its loss inside")
def _() -> Made:
    net = Denoiser()
    return net, [x for x, _ in table()], lambda model, batch: model(batch), adamw(net)


def _generator() -> nn.Module:
    return nn.Sequential(
        nn.ConvTranspose2d(16, 32, 4, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
        nn.ConvTranspose2d(32, 16, 4, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.ConvTranspose2d(16, 1, 4, 2, 1), nn.Tanh(),
    )  # fmt: skip


def _critic() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(16, 32, 4, 2, 1, bias=False), nn.BatchNorm2d(32),
        nn.LeakyReLU(0.2), nn.Conv2d(32, 1, 4), nn.Flatten(0),
    )  # fmt: skip


@model("GAN, generator's step")
def _() -> Made:
    net, critic = _generator(), _critic()
    g = torch.Generator().manual_seed(9)
    batches = [torch.randn(8, 16, 1, 1, generator=g) for _ in range(12)]

    def loss(model: nn.Module, z: Tensor) -> Tensor:
        answers = critic(model(z))
        return F.binary_cross_entropy_with_logits(answers, torch.ones_like(answers))

    return net, batches, loss, torch.optim.Adam(net.parameters(), 2e-4, (0.5, 0.999))


@model("GAN, discriminator's step")
def _() -> Made:
    net, maker = _critic(), _generator()
    g = torch.Generator().manual_seed(10)
    batches = [(x, torch.randn(len(x), 16, 1, 1, generator=g)) for x, _ in pictures(16, 1)]

    def loss(model: nn.Module, batch: Any) -> Tensor:
        real, fake = model(batch[0]), model(maker(batch[1]).detach())
        right = F.binary_cross_entropy_with_logits(real, torch.ones_like(real))
        return right + F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))

    return net, batches, loss, torch.optim.Adam(net.parameters(), 2e-4, (0.5, 0.999))


@model("contrastive pictures, two views")
def _() -> Made:
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, 2), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 16)
    )
    batches = [
        (x, x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(i))) for i, (x, _) in enumerate(pictures(24))
    ]

    def loss(model: nn.Module, views: Any) -> Tensor:
        a, b = F.normalize(model(views[0]), dim=1), F.normalize(model(views[1]), dim=1)
        return F.cross_entropy(a @ b.T / 0.2, torch.arange(len(a)))

    return net, batches, loss, adamw(net)


class Siamese(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tower = nn.Sequential(nn.Conv2d(3, 16, 3, 2), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.out = nn.Linear(64, 1)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.out((self.tower(a) - self.tower(b)).abs()).squeeze(1)


@model("twins that compare pictures")
def _() -> Made:
    net = Siamese()
    batches = [((x, x.roll(1, 0)), (y == y.roll(1)).float()) for x, y in pictures(24, classes=3)]
    return net, batches, F.binary_cross_entropy_with_logits, adamw(net)


class Quantised(nn.Module):
    """Vector quantisation with a straight-through gradient and a codebook loss."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.codes, self.decode = nn.Linear(16, 8), nn.Embedding(12, 8), nn.Linear(8, 16)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.encode(x)
        nearest = self.codes(torch.cdist(z, self.codes.weight).argmin(1))
        commit = F.mse_loss(nearest, z.detach()) + 0.25 * F.mse_loss(z, nearest.detach())
        return self.decode(z + (nearest - z).detach()), commit


@model("vector-quantised autoencoder")
def _() -> Made:
    net = Quantised()
    return net, [(x, x) for x, _ in table()], lambda out, x: F.mse_loss(out[0], x) + out[1], adamw(net, 3e-3)


def _noise_told(net: nn.Module, noisy_of: Any) -> Made:
    """A network of diffusers that guesses the noise; the schedule of the noise is the library's own."""
    from diffusers import DDPMScheduler

    schedule = DDPMScheduler(num_train_timesteps=100)

    def loss(model: nn.Module, batch: Any) -> Tensor:
        x, noise, t = batch
        guessed = noisy_of(model, schedule.add_noise(x, noise, t), t).sample
        return F.mse_loss(guessed[:, : x.shape[1]], noise)

    g = torch.Generator().manual_seed(11)
    batches = [
        (x, torch.randn(x.shape, generator=g), torch.randint(100, (len(x),), generator=g)) for x, _ in pictures(16, rows=4)
    ]
    return net, batches, loss, adamw(net, 5e-4)


@model("diffusers UNet2DModel", "diffusers")
def _() -> Made:
    from diffusers import UNet2DModel

    net = UNet2DModel(
        sample_size=16, in_channels=3, out_channels=3, block_out_channels=(16, 32), layers_per_block=1, norm_num_groups=8,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    return _noise_told(net, lambda model, x, t: model(x, t))


@model("diffusers UNet2DConditionModel", "diffusers")
def _() -> Made:
    from diffusers import UNet2DConditionModel

    net = UNet2DConditionModel(
        sample_size=16, in_channels=3, out_channels=3, block_out_channels=(16, 32), layers_per_block=1, norm_num_groups=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16, attention_head_dim=4,
    )  # fmt: skip
    words = torch.randn(1, 5, 16, generator=torch.Generator().manual_seed(12))
    return _noise_told(net, lambda model, x, t: model(x, t, words.expand(len(x), -1, -1)))


@model("diffusers DiTTransformer2DModel", "diffusers")
def _() -> Made:
    from diffusers import DiTTransformer2DModel

    net = DiTTransformer2DModel(
        num_attention_heads=2, attention_head_dim=16, in_channels=3, out_channels=6, num_layers=2, sample_size=16, patch_size=4,
        num_embeds_ada_norm=100, norm_num_groups=8,
    )  # fmt: skip
    return _noise_told(net, lambda model, x, t: model(x, t, class_labels=torch.zeros(len(x), dtype=torch.long)))


@model("diffusers AutoencoderKL", "diffusers")
def _() -> Made:
    from diffusers import AutoencoderKL

    net = AutoencoderKL(
        block_out_channels=(16, 32), down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4, norm_num_groups=8,
    )  # fmt: skip

    def loss(model: nn.Module, x: Tensor) -> Tensor:
        code = model.encode(x).latent_dist
        return F.mse_loss(model.decode(code.sample()).sample, x) + 1e-6 * code.kl().mean()

    return net, [x for x, _ in pictures(16, rows=4)], loss, adamw(net, 5e-4)
