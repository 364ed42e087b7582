"""More modules the watch has never seen, and what people do to modules while they train: never an error, never a changed bit."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lettrine import health

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit"),
    pytest.mark.filterwarnings("ignore:Initializing zero-element tensors"),
]

X = torch.linspace(-2.0, 2.0, 6 * 4).reshape(6, 4)
Watch = Any
Step = Callable[[int, nn.Module, torch.optim.Optimizer], Tensor]


def net(*, last: int = 2) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, last))


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


@dataclass
class Answer:
    """What a module of transformers gives."""

    logits: Tensor
    hidden: tuple[Tensor, ...]


class Named(NamedTuple):
    logits: Tensor
    extra: Tensor


class Gives(nn.Module):
    """A net whose output is wrapped in something."""

    def __init__(self, wrap: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.inner, self.wrap = Wrapping(wrap), wrap

    def forward(self, x: Tensor) -> Any:
        return self.inner(x)


class Wrapping(nn.Module):
    def __init__(self, wrap: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.layer, self.wrap = nn.Linear(4, 2), wrap

    def forward(self, x: Tensor) -> Any:
        return self.wrap(self.layer(x))


class Wrapper:
    """Not a module, but called like one, as DataParallel's poorer cousins are."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __call__(self, x: Tensor) -> Tensor:
        return self.module(x)


class Raising(nn.Module):
    """Fails now and then, as data that is not what it should be makes nets do."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.calls = nn.Linear(4, 2), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        y = self.layer(x)
        if self.calls % 2:
            raise ValueError("on purpose")
        return y


class Mixed(nn.Module):
    """Scripted parts inside a net that is not."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = torch.jit.script(nn.Sequential(nn.Linear(4, 5), nn.ReLU())), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x))


class Fast(nn.Module):
    """An encoder layer that takes its fused path whenever nothing needs a gradient, watched or not."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), 2, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.encode(x[None])[0]


class Buffered(nn.Module):
    """Keeps a running figure in a buffer, puts a new tensor in its place, and counts in plain Python."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.count = nn.Linear(4, 2), 0
        self.register_buffer("mean", torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        self.count += 1
        self.mean = 0.9 * self.mean + 0.1 * y.detach().mean(0)
        return y - self.mean


class Tied(nn.Module):
    """Embedding and output share one weight, and the weight is used a third time by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.out = nn.Embedding(7, 4), nn.Linear(4, 7, bias=False)
        self.out.weight = self.table.weight

    def forward(self, x: Tensor) -> Tensor:
        h = self.table(torch.arange(6) % 7) + x
        return self.out(h) + functional.linear(h, self.table.weight)


class Nothing(nn.Module):
    """No parameter at all, in front of one that has some."""

    def forward(self, _: Tensor) -> None:
        return None


class WithNothing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.nothing, self.layer, self.empty = Nothing(), nn.Linear(4, 2), nn.Linear(4, 0)

    def forward(self, x: Tensor) -> Tensor:
        self.nothing(x)
        return torch.cat([self.layer(x), self.empty(x)], 1)


class Custom(torch.autograd.Function):
    """A gradient of one's own, which gives none to one of its inputs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(min=0.0) * scale

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return gradient * (x > 0), None


class Straight(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.scale = nn.Linear(4, 2), nn.Parameter(torch.tensor(2.0))

    def forward(self, x: Tensor) -> Tensor:
        return Custom.apply(self.layer(x), self.scale)


def loss_of(output: Any) -> Tensor:
    """A loss of whatever came out."""
    if isinstance(output, Tensor):
        return output.square().mean()
    if isinstance(output, Answer | Named):
        return output.logits.square().mean()
    if isinstance(output, dict):
        return loss_of(output["logits"])
    if isinstance(output, Iterator | list | tuple | set | frozenset):
        return torch.stack([loss_of(each) for each in output]).sum()
    return loss_of(output())


def plainly(_: int, model: nn.Module, optimiser: torch.optim.Optimizer) -> Tensor:
    optimiser.zero_grad()
    loss = loss_of(model(X))
    loss.backward()
    optimiser.step()
    return loss


def by_closure(_: int, model: nn.Module, optimiser: torch.optim.Optimizer) -> Tensor:
    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = loss_of(model(X)) + 1e-3 * sum(p.square().sum() for p in model.parameters())
        loss.backward()
        return loss

    return optimiser.step(closure)


def reloaded(step: int, model: nn.Module, optimiser: torch.optim.Optimizer) -> Tensor:
    """Model and optimiser are put back to an earlier state, by way of a file, in the middle."""
    loss = plainly(step, model, optimiser)
    if step == 1:
        file = io.BytesIO()
        torch.save({"model": model.state_dict(), "optimiser": optimiser.state_dict()}, file)
        plainly(step, model, optimiser)
        file.seek(0)
        state = torch.load(file, weights_only=True)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
    return loss


def replaced(step: int, model: nn.Module, optimiser: torch.optim.Optimizer) -> Tensor:
    """A module is taken out and another put in its place, with new parameters for the optimiser."""
    if step == 2:
        model[2] = nn.Linear(5, 3)
        optimiser.add_param_group({"params": model[2].parameters(), "lr": 0.01})
    return plainly(step, model, optimiser)


def grown(step: int, model: nn.Module, optimiser: torch.optim.Optimizer) -> Tensor:
    """Modules and parameters are added, others taken away."""
    if step == 2:
        model.append(nn.ReLU())
        model.append(nn.Linear(2, 2))
        optimiser.add_param_group({"params": model[4].parameters()})
    if step == 3:
        del model[1]
    return plainly(step, model, optimiser)


def thawed(step: int, model: nn.Module, optimiser: torch.optim.Optimizer) -> Tensor:
    """Frozen, thawed and frozen again."""
    model[0].requires_grad_(step % 2 == 0)
    return plainly(step, model, optimiser)


def recast(step: int, model: nn.Module, optimiser: torch.optim.Optimizer) -> Tensor:
    """The very parameters' data are swapped for others, as `.to` and some averaging schemes do."""
    if step == 2:
        for parameter in model.parameters():
            parameter.data = parameter.data.clone() * 0.5
    return plainly(step, model, optimiser)


def hooked(step: int, model: nn.Module, optimiser: torch.optim.Optimizer) -> Tensor:
    """The user's own hooks: one that changes an output, one that changes a gradient, one that fails now and then."""

    def fail(*_: Any) -> None:
        if step == 2:
            raise RuntimeError("a hook of the user's, on purpose")

    handles = [
        model[0].register_forward_hook(lambda _m, _i, output: output * 1.5),
        model[0].weight.register_hook(lambda gradient: gradient * 0.5),
        model[1].register_forward_pre_hook(fail),
        model[2].register_full_backward_hook(lambda _m, gradients, _o: gradients),
    ]
    try:
        return plainly(step, model, optimiser)
    except RuntimeError:
        return torch.tensor(float("nan"))
    finally:
        for handle in handles:
            handle.remove()


def failing(step: int, model: nn.Module, optimiser: torch.optim.Optimizer) -> Tensor:
    try:
        return plainly(step, model, optimiser)
    except ValueError:
        return plainly(step, model, optimiser)


def wrapped(_: int, model: nn.Module, optimiser: torch.optim.Optimizer) -> Tensor:
    optimiser.zero_grad()
    loss = loss_of(Wrapper(model)(X))
    loss.backward()
    optimiser.step()
    return loss


def mapped(_: int, model: nn.Module, optimiser: torch.optim.Optimizer) -> Tensor:
    """An ensemble by vmap over stacked copies, beside the net itself."""
    parameters = dict(model.named_parameters())
    stacked = {name: torch.stack([value, 0.5 * value]) for name, value in parameters.items()}
    outputs = torch.func.vmap(lambda given: torch.func.functional_call(model, given, (X,)))(stacked)
    optimiser.zero_grad()
    loss = loss_of(outputs) + loss_of(model(X))
    loss.backward()
    optimiser.step()
    return loss


def differentiated(_: int, model: nn.Module, optimiser: torch.optim.Optimizer) -> Tensor:
    """Forward-mode and second derivatives by torch.func, beside ordinary training."""
    _, slope = torch.func.jvp(model, (X,), (torch.ones_like(X),))
    curvature = torch.func.hessian(lambda x: model(x).sum())(X[0])
    optimiser.zero_grad()
    loss = loss_of(model(X)) + slope.square().mean() + curvature.square().mean()
    loss.backward()
    optimiser.step()
    return loss


def inferred(step: int, model: nn.Module, optimiser: torch.optim.Optimizer) -> Tensor:
    """Between steps the net is asked in eval mode, without gradients, and under inference_mode."""
    model.eval()
    with torch.no_grad():
        model(X)
    with torch.inference_mode():
        model(X)
    model.train()
    return plainly(step, model, optimiser)


def averaged(step: int, model: nn.Module, optimiser: torch.optim.Optimizer) -> Tensor:
    """A moving average kept by deep copy, as torch.optim.swa_utils does."""
    loss = plainly(step, model, optimiser)
    copy.deepcopy(model)
    torch.optim.swa_utils.AveragedModel(model)
    return loss


def normed() -> nn.Module:
    model = net()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        nn.utils.weight_norm(model[0])  # the old way: a forward pre-hook that computes the weight
        nn.utils.spectral_norm(model[2])
    return model


def scripted() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return Mixed()


ODD: dict[str, tuple[Callable[[], nn.Module], Step]] = {
    "a dataclass": (lambda: Gives(lambda y: Answer(y, (y, y))), plainly),
    "a named tuple": (lambda: Gives(lambda y: Named(y, y.detach())), plainly),
    "a generator": (lambda: Gives(lambda y: (each for each in y.split(1, 1))), plainly),
    "a function": (lambda: Gives(lambda y: lambda: y), plainly),
    "a set": (lambda: Gives(lambda y: frozenset(y.split(1, 1))), plainly),
    "a dict of None": (lambda: Gives(lambda y: {"past": None, "logits": y}), plainly),
    "old weight and spectral norm": (normed, plainly),
    "scripted parts": (scripted, plainly),
    "an attention that has a fast path": (Fast, inferred),
    "a buffer replaced": (Buffered, plainly),
    "one weight three times": (Tied, plainly),
    "modules that give nothing": (WithNothing, plainly),
    "a gradient of one's own": (Straight, plainly),
    "a closure": (net, by_closure),
    "states loaded midway": (net, reloaded),
    "a module replaced": (net, replaced),
    "modules added and removed": (net, grown),
    "frozen and thawed": (net, thawed),
    "data swapped": (net, recast),
    "hooks of the user's": (net, hooked),
    "a forward that fails": (Raising, failing),
    "a wrapper that is no module": (net, wrapped),
    "vmap over copies": (net, mapped),
    "forward mode and hessians": (net, differentiated),
    "inference in between": (net, inferred),
    "averaging": (net, averaged),
    "dropout": (lambda: nn.Sequential(nn.Linear(4, 5), nn.Dropout(0.5), nn.AlphaDropout(0.2), nn.Linear(5, 2)), inferred),
}
OPTIMISERS: dict[str, Callable[[nn.Module], torch.optim.Optimizer]] = {
    "sgd": sgd,
    "adam": lambda model: torch.optim.AdamW(model.parameters(), lr=0.01),
    "lbfgs": lambda model: torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=4, line_search_fn="strong_wolfe"),
    "foreach": lambda model: torch.optim.Adam(model.parameters(), foreach=True, amsgrad=True),
    "rprop": lambda model: torch.optim.Rprop(model.parameters()),
}
CASES = [(name, "sgd") for name in ODD] + [
    ("a closure", "lbfgs"),
    ("a closure", "adam"),
    ("states loaded midway", "adam"),
    ("a module replaced", "adam"),
    ("modules added and removed", "foreach"),
    ("frozen and thawed", "rprop"),
]


def train(name: str, optimiser_name: str, *, every: int | None) -> tuple[list[Any], Watch]:
    """Everything that training changes, and the watch."""
    torch.manual_seed(5)
    make, step = ODD[name]
    model = make()
    optimiser = OPTIMISERS[optimiser_name](model)
    watch = None if every is None else health.watch(model, optimiser, every=every).start()
    losses = []
    for place in range(5):
        loss = step(place, model, optimiser)
        losses.append(loss.detach().clone())
        if watch is not None:
            watch.loss(loss)
    if watch is not None:
        watch.close()
        str(watch.report())
    gradients = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    memory = [value for own in optimiser.state.values() for value in own.values() if isinstance(value, Tensor)]
    return [*losses, *model.state_dict().values(), *gradients, *memory, torch.get_rng_state()], watch


@pytest.mark.parametrize("every", [1, 0])
@pytest.mark.parametrize(("name", "optimiser"), CASES)
def test_odd_nets_train_as_if_nobody_looked(name: str, optimiser: str, every: int) -> None:
    plain, _ = train(name, optimiser, every=None)
    watched, watch = train(name, optimiser, every=every)
    assert watch.trace().facts.errors == ()
    assert watch.steps >= 4
    assert len(plain) == len(watched)
    for ours, theirs in zip(watched, plain, strict=True):
        assert (ours is None) == (theirs is None)
        assert ours is None or torch.equal(ours.nan_to_num(7.0), theirs.nan_to_num(7.0))


def test_every_case_learns_something() -> None:
    for name, optimiser in CASES:
        torch.manual_seed(5)
        fresh = ODD[name][0]().state_dict()
        trained, _ = train(name, optimiser, every=None)
        arrays = [each for each in trained if each is not None]
        same = [any(value.shape == each.shape and torch.equal(value, each) for each in arrays) for value in fresh.values()]
        assert not all(same), f"{name}: weights that stay as they are show nothing"
