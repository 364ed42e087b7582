"""Networks and batches of many forms: everything is afterwards as it was; under autocast too, and on CUDA where there is one."""

from __future__ import annotations

from typing import Any, Final

import pytest

torch = pytest.importorskip("torch")

from checkup_tasks import Language, Last, adam, mlp, pairs, tokens  # noqa: E402
from test_checkup_sandbox import assert_same  # noqa: E402
from torch import nn  # noqa: E402

from lettrine import health  # noqa: E402
from lettrine.torch.checkup import EXPERIMENTS  # noqa: E402

functional = nn.functional
cross_entropy = functional.cross_entropy
Made = tuple[nn.Module, list[Any], Any]


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


class Named(nn.Module):
    """Takes its inputs by name."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(10, 5), nn.Linear(10, 5)

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return self.a(left) + self.b(right)


class Graph(nn.Module):
    """Two rounds of messages along edges; one answer a node."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 16), nn.Linear(16, 3)

    def forward(self, x: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        for layer in (self.a, self.b):
            h = layer(x)
            x = h.index_add(0, edges[1], h[edges[0]])
        return x


def perceptron() -> Made:
    return mlp(), pairs(), cross_entropy


def named() -> Made:
    batches = [({"left": x[:, :10], "right": x[:, 10:]}, y) for x, y in pairs()]
    return Named(), batches, cross_entropy


def whole() -> Made:
    batches = [{"left": x[:, :10], "right": x[:, 10:], "y": y} for x, y in pairs()]
    return Named(), batches, lambda model, batch: cross_entropy(model(batch["left"], batch["right"]), batch["y"])


def recurrent() -> Made:
    return Last(batch_first=True), [(drawn(16, 9, 6), torch.arange(16) % 5) for _ in range(3)], cross_entropy


def transformer() -> Made:
    batches = [(each[:, :-1], each[:, 1:]) for each in tokens()]
    return Language(), batches, lambda o, t: cross_entropy(o.flatten(0, 1), t.flatten())


def convolutions() -> Made:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.1), nn.Flatten(), nn.Linear(288, 4))
    return model, [(drawn(8, 3, 8, 8) + 0.1 * i, (torch.arange(8) + i) % 4) for i in range(4)], cross_entropy


def graph() -> Made:
    edges = torch.stack([torch.arange(12), torch.arange(1, 13) % 12])
    return Graph(), [((drawn(12, 6) + i, edges), torch.arange(12) % 3) for i in range(3)], cross_entropy


FORMS: Final = (perceptron, named, whole, recurrent, transformer, convolutions, graph)


def state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    return {
        "model": {key: each.clone() for key, each in model.state_dict().items()},
        "places": [(id(each), each.data_ptr(), each.grad is None, each.requires_grad) for each in model.parameters()],
        "modes": [each.training for each in model.modules()],
        "hooks": [len(each._forward_hooks) + len(each._forward_pre_hooks) for each in model.modules()],
        "optimizer": optimizer.state_dict(),
        "steps": len(optimizer._optimizer_step_pre_hooks),
        "random": torch.get_rng_state(),
    }


def check(form: Any, device: str = "cpu", autocast: Any = None) -> None:
    torch.manual_seed(1)
    model, batches, loss_fn = form()
    model.to(device)
    if device != "cpu" and loss_fn is not cross_entropy:
        batches = [
            {key: each.to(device) for key, each in batch.items()} if isinstance(batch, dict) else batch for batch in batches
        ]
    optimizer = adam(model)
    before = state(model, optimizer)
    report = health.checkup(model, batches, loss_fn, optimizer, minutes=0.06, autocast=autocast, progress=False)
    assert_same(before, state(model, optimizer))
    assert [each for each in report.outcomes if each.status == "failed"] == []
    assert len(report.outcomes) == len(EXPERIMENTS)
    assert sum(each.status in ("passed", "found") for each in report.outcomes) >= 4


@pytest.mark.parametrize("form", FORMS)
def test_everything_is_as_it_was(form: Any) -> None:
    check(form)


@pytest.mark.parametrize("form", [perceptron, recurrent, convolutions])
def test_under_autocast(form: Any) -> None:
    check(form, autocast=torch.bfloat16)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("form", FORMS)
def test_on_cuda(form: Any) -> None:
    before = torch.cuda.get_rng_state()
    check(form, "cuda")
    assert torch.equal(before, torch.cuda.get_rng_state())
