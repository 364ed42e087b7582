"""Networks that are compared with their own input, beside denoisers and autoencoders."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from trainings import checked  # noqa: E402

from lettrine import health  # noqa: E402
from lettrine.health.findings import Finding  # noqa: E402


class Denoiser(nn.Module):
    """Takes numbers and a time."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(9, width), nn.Linear(width, 8)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return self.last(functional.silu(self.first(torch.cat([x, time], 1))))


def trained(form: str) -> dict[str, Finding]:
    torch.manual_seed(3)
    plain = form == "autoencoder"
    net = nn.Sequential(nn.Linear(8, 64), nn.SiLU(), nn.Linear(64, 8)) if plain else Denoiser(4 if form == "narrow" else 64)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
    with health.watch(net, optimiser) as watch:
        for _ in range(60):
            clean, noise, time = torch.randn(64, 8).sign(), torch.randn(64, 8), torch.rand(64, 1)
            noisy = (1 - time) * clean + time * noise
            answer = net(noisy) if plain else net(noisy, time)
            target = {"noise": noise, "clean": clean}.get(form, noisy)
            loss = (answer - target).square().mean() if form != "function" else functional.mse_loss(answer, target)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    return {each.id: each for each in checked(watch.report()).findings if each.severity != "info"}


@pytest.mark.parametrize("form", ["by hand", "function"])
def test_a_denoiser_compared_with_its_input(form: str) -> None:
    found = trained(form)["leak"]
    assert "compared with input 0 of the network itself" in found.message
    assert "noise" in found.remedy


@pytest.mark.parametrize("form", ["noise", "clean", "autoencoder", "narrow"])
def test_what_is_no_copy(form: str) -> None:
    assert "leak" not in trained(form)


def nodes(answer: str, given: Tensor, y: Tensor, rows: Tensor | None = None) -> dict[str, Finding]:
    """A network that answers at each node; rows: those that the loss asks for."""
    torch.manual_seed(3)
    classes = not y.is_floating_point()
    net: nn.Module = nn.Sequential(nn.Linear(given.shape[-1], 32), nn.Tanh(), nn.Linear(32, 3 if classes else 1))
    if answer == "squeezed":
        net = nn.Sequential(nn.Flatten(), nn.Linear(given[0].numel(), 4), nn.Linear(4, y.shape[1]), nn.Unflatten(1, (-1, 1)))
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
    with health.watch(net, optimiser) as watch:
        for _ in range(60):
            said, asked = net(given), y
            said, asked = (said, asked) if rows is None else (said[rows], asked[rows])
            loss = functional.cross_entropy(said, asked) if classes else functional.mse_loss(said, asked)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    return {each.id: each for each in checked(watch.report()).findings if each.severity != "info"}


def test_the_answer_among_the_features_of_each_node() -> None:
    x = torch.randn(40, 12, 5)
    y = x[..., :2].sum(2, keepdim=True)
    assert "x[:, :, 5]" in nodes("each", torch.cat([x, y], 2), y)["leak"].message
    assert "leak" not in nodes("each", torch.cat([x, y * (torch.rand(40, 12, 1) < 0.5)], 2), y)  # filled in where it is missing
    assert "leak" not in nodes("squeezed", torch.cat([x, y], 2), y)  # an autoencoder


def test_labels_among_the_features_of_some_nodes_of_a_graph() -> None:
    x, y, some = torch.randn(200, 5), torch.randint(3, (200,)), torch.rand(200) < 0.5
    told = functional.one_hot(y, 3).float()
    assert "x[:, 5]" in nodes("each", torch.cat([x, told], 1), y, some)["leak"].message
    assert "leak" not in nodes("each", torch.cat([x, told * ~some[:, None]], 1), y, some)  # of the other nodes
