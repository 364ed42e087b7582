"""`torch.jit.script` of a model that is watched."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lettrine import health

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit")  # torch says that scripts are old
X = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))
Y = X[:, :2].argmax(1)


class Hidden(nn.Module):
    """It cannot be scripted."""

    def forward(self, x: Tensor) -> Tensor:
        return x * len(vars(self)) ** 0  # type: ignore[no-any-return]


def net(*more: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2), *more)


def train(model: nn.Module, between=lambda _: None, *, every=1):
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    with health.watch(model, optimiser, every=every) as watch:
        for _ in range(8):
            loss = functional.cross_entropy(model(X), Y)
            between(model)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    return watch.trace()


def hooks(model: nn.Module) -> list[list[int]]:
    places = [each for module in model.modules() for each in (module._forward_hooks, module._forward_pre_hooks)]
    return [list(each) for each in places]


@pytest.mark.parametrize("every", [1, None])
def test_a_script_is_whole_and_leaves_the_watch_as_it_was(every) -> None:
    def script(model: nn.Module) -> None:
        before = hooks(model)
        assert any(before) or every is None
        scripted = torch.jit.script(model)
        assert hooks(model) == before
        assert not any(hooks(scripted))
        assert torch.equal(scripted(X), model(X))
        with pytest.raises(RuntimeError, match=r"vars|redefine"):
            torch.jit.script(nn.Sequential(model, Hidden()))
        assert hooks(model) == before

    alone, scripted = net(), net()
    expected, trace = train(alone, lambda model: model(X), every=every), train(scripted, script, every=every)
    assert trace.facts.errors == ()
    assert [each.tolist() for each in scripted.parameters()] == [each.tolist() for each in alone.parameters()]
    assert trace.gradient("2", "std").tolist() == expected.gradient("2", "std").tolist()


def test_hooks_of_the_user_are_scripted_still() -> None:
    def doubled(self, given: tuple[Tensor], output: Tensor) -> Tensor:  # noqa: ARG001
        return 2 * output

    model, made = net(), []
    model[2].register_forward_hook(doubled)
    train(model, lambda model: made.append((torch.jit.script(model)(X), model(X))))
    assert all(torch.allclose(*pair) for pair in made)
