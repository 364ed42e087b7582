"""Modules the watch has never seen: each gives figures or none, never an error, never a changed result."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import prune
from torch.utils.checkpoint import checkpoint

from lettrine import health
from lettrine.health.trace import Trace

X = torch.linspace(-2.0, 2.0, 6 * 4).reshape(6, 4)
IMAGES = torch.linspace(-1.0, 1.0, 3 * 2 * 8 * 8).reshape(3, 2, 8, 8)
INDICES = torch.tensor([[0, 1], [2, 3], [4, 0]])


class Recursive(nn.Module):
    """Calls itself, as a net over trees does."""

    def __init__(self) -> None:
        super().__init__()
        self.join = nn.Linear(4, 4)

    def forward(self, x: Tensor, depth: int = 3) -> Tensor:
        return self.join(x) if depth == 0 else torch.tanh(self.join(self(x, depth - 1)))


class Shared(nn.Module):
    """Two layers with one weight, and one layer used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.act = nn.Linear(4, 4), nn.Linear(4, 4), nn.ReLU()
        self.b.weight = self.a.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.b(self.act(self.a(self.act(self.a(x))))))


class Nested(nn.Module):
    """Gives tuples of mappings of lists, with integers, a complex tensor, None and a string among them."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> tuple[dict[str, Any], list[Any]]:
        y = self.inner(x)
        return {"count": torch.arange(3), "wave": torch.fft.fft(y), "y": [y, None, "text"]}, [y.sum(), 7]


class Fourier(nn.Module):
    """A complex weight and complex outputs inside a real net."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, dtype=torch.cfloat))
        self.filter = Filter(self.weight)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.fft.irfft(self.filter(torch.fft.rfft(x)), n=4))


class Filter(nn.Module):
    def __init__(self, weight: nn.Parameter) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


class Inside(nn.Module):
    """An argmax module gives integers, an empty one has neither parameters nor children."""

    def __init__(self) -> None:
        super().__init__()
        self.score, self.pick, self.head = nn.Linear(4, 3), ArgMax(), nn.Embedding(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        scores = self.score(x)
        return self.head(self.pick(scores)) * scores.sum(1, keepdim=True)


class ArgMax(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.argmax(1)


class Frozen(nn.Module):
    """A frozen front and a trained head."""

    def __init__(self) -> None:
        super().__init__()
        self.front, self.head = nn.Sequential(nn.Linear(4, 6), nn.ReLU()), nn.Linear(6, 2)
        self.front.requires_grad_(requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            hidden = self.front(x)
        return self.head(hidden)


class Checkpointed(nn.Module):
    """A block whose forward pass is done again during the backward pass."""

    def __init__(self, *, reentrant: bool) -> None:
        super().__init__()
        self.reentrant = reentrant
        self.first, self.last = nn.Linear(4, 5), nn.Linear(5, 2)
        self.block = nn.Sequential(nn.Linear(5, 5), nn.Tanh(), nn.Dropout(0.5))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(checkpoint(self.block, self.first(x), use_reentrant=self.reentrant))


class Functional(nn.Module):
    """Activations called as functions, and pooling between."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.head = nn.Conv2d(2, 3, 3), nn.Conv2d(3, 4, 2), nn.Linear(4 * 2 * 2, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(functional.relu(self.conv1(x)), 2)
        return self.head(functional.gelu(self.conv2(x)).flatten(1))


class InPlaceEverywhere(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.act = nn.Linear(4, 4), nn.Linear(4, 4), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        y += x
        return functional.relu_(self.b(self.act(y))) * 2.0


class Views(nn.Module):
    """Chunks of one output written to in place."""

    def __init__(self) -> None:
        super().__init__()
        self.both, self.split = nn.Linear(4, 6), Split()

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.split(self.both(x))
        return left.sigmoid() * right


class Split(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        left, right = x.split(3, dim=1)
        return left, right


class Returns(nn.Module):
    """Returns its own parameter, and its own input."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.own, self.same = nn.Parameter(torch.ones(4)), Own(), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.same(x) * self.own(self.weight)


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.full((4,), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        return self.value if x.requires_grad else x


class Keywords(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 2)

    def forward(self, *, x: Tensor) -> Tensor:
        return self.inner(input=x)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(4, 2, batch_first=True)
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.attend(x[None], x[None], x[None])
        return self.layer(y)[0]


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.cell, self.head = nn.LSTM(4, 5, 2), nn.GRUCell(5, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.lstm(x[:, None])
        state = torch.zeros(1, 5)
        for one in y:
            state = self.cell(one, state)
        return self.head(state)


def lazy() -> nn.Module:
    return nn.Sequential(nn.LazyConv2d(3, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))


def parametrised() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))
    nn.utils.parametrizations.weight_norm(model[0])
    nn.utils.parametrizations.spectral_norm(model[2])
    return model


class Product(nn.Module):
    """A layer of its own kind."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2, 5))

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight)


def parametrised_own() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.utils.parametrizations.spectral_norm(Product()))


def pruned() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    prune.random_unstructured(model[0], "weight", 0.5)
    return model


def scalar(output: Any) -> Tensor:
    """Some loss of whatever a net gives."""
    if isinstance(output, Tensor):
        return output.abs().mean()
    if isinstance(output, dict):
        return scalar(list(output.values()))
    return torch.stack([scalar(each) for each in output if isinstance(each, Tensor | list | tuple | dict)]).sum()


def penalty(model: nn.Module) -> Tensor:
    """A gradient penalty: gradients of gradients."""
    x = X.clone().requires_grad_()
    (slope,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
    return model(X).mean() + slope.pow(2).sum()


def per_example(model: nn.Module) -> Tensor:
    """Gradients of each example by torch.func, and then an ordinary pass."""
    weights = {name: parameter.detach() for name, parameter in model.named_parameters()}

    def one(given: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(model, given, (x,)).sum()

    each = torch.func.vmap(torch.func.grad(one), in_dims=(None, 0))(weights, X)
    return model(X).mean() + each["0.weight"].mean()


NETS: dict[str, tuple[Callable[[], nn.Module], Callable[[nn.Module], Any]]] = {
    "recursion": (Recursive, lambda m: m(X)),
    "shared weights": (Shared, lambda m: m(X)),
    "nested tuples": (Nested, lambda m: (m(X)[0]["y"][0], m(X)[1][0])),
    "complex": (Fourier, lambda m: m(X)),
    "integers": (Inside, lambda m: m(X)),
    "frozen": (Frozen, lambda m: m(X)),
    "checkpoint": (lambda: Checkpointed(reentrant=False), lambda m: m(X)),
    "checkpoint reentrant": (lambda: Checkpointed(reentrant=True), lambda m: m(X)),
    "functional": (Functional, lambda m: m(IMAGES)),
    "in place": (InPlaceEverywhere, lambda m: m(X)),
    "views": (Views, lambda m: m(X)),
    "returns itself": (Returns, lambda m: m(X)),
    "keywords": (Keywords, lambda m: m(x=X)),
    "attention": (Attention, lambda m: m(X)),
    "recurrent": (Recurrent, lambda m: m(X)),
    "lazy": (lazy, lambda m: m(IMAGES)),
    "parametrised": (parametrised, lambda m: m(X)),
    "own layer, parametrised": (parametrised_own, lambda m: m(X)),
    "pruned": (pruned, lambda m: m(X)),
    "no parameters inside": (lambda: nn.Sequential(nn.Identity(), nn.Linear(4, 2), nn.Sequential()), lambda m: m(X)),
    "a single layer": (lambda: nn.Linear(4, 2), lambda m: m(X)),
    "one example": (lambda: nn.Linear(4, 2), lambda m: m(X[0])),
    "an empty batch": (lambda: nn.Sequential(nn.Linear(4, 2), nn.ReLU()), lambda m: m(X[:0]).sum() + m(X)),
    "sparse": (lambda: nn.Sequential(nn.Embedding(7, 3, sparse=True), nn.Flatten()), lambda m: m(INDICES)),
    "embedding bag": (lambda: nn.EmbeddingBag(7, 3, sparse=True), lambda m: m(INDICES)),
    "float64": (lambda: nn.Linear(4, 2).double(), lambda m: m(X.double())),
    "bfloat16": (lambda: nn.Sequential(nn.Linear(4, 2), nn.Tanh()).bfloat16(), lambda m: m(X.bfloat16())),
    "channels last": (
        lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU()).to(memory_format=torch.channels_last),
        lambda m: m(IMAGES.to(memory_format=torch.channels_last)),
    ),
    "a list of modules": (lambda: nn.ModuleList([nn.Linear(4, 3), nn.Linear(3, 2)]), lambda m: m[1](m[0](X))),
    "double backward": (lambda: nn.Sequential(nn.Linear(4, 3), nn.Softplus(), nn.Linear(3, 1)), penalty),
    "function transforms": (lambda: nn.Sequential(nn.Linear(4, 3), nn.Tanh()), per_example),
    "transposed convolution": (lambda: nn.ConvTranspose2d(2, 3, 2), lambda m: m(IMAGES)),
}


def train(name: str, *, watched: bool, steps: int = 4) -> tuple[nn.Module, Trace | None, Tensor]:
    torch.manual_seed(5)
    make, call = NETS[name]
    model = make()
    if name == "lazy":
        with torch.no_grad():
            call(model)
    sparse = name in ("sparse", "embedding bag")
    optimiser: torch.optim.Optimizer = (
        torch.optim.SparseAdam(model.parameters()) if sparse else torch.optim.SGD(model.parameters(), lr=0.1)
    )
    watch = health.watch(model, optimiser, every=1).start() if watched else None
    for _ in range(steps):
        loss = scalar(call(model))
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        if watch is not None:
            watch.loss(loss)
    if watch is None:
        return model, None, torch.get_rng_state()
    watch.close()
    watch.report()
    return model, watch.trace(), torch.get_rng_state()


@pytest.mark.parametrize("name", NETS)
@pytest.mark.filterwarnings("ignore:.*(Lazy modules|lazy)")
def test_any_net_is_watched_without_error_and_unchanged(name: str) -> None:
    plain, _, generator = train(name, watched=False)
    model, trace, watched_generator = train(name, watched=True)
    assert trace is not None
    assert trace.facts.errors == ()
    assert torch.equal(generator, watched_generator)
    ours, theirs = model.state_dict(), plain.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert len(trace.steps) == 4
    assert all(np.isfinite(row).any() for rows in trace.outputs.values() for row in rows)
    assert not any(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules() if name != "pruned")


def traced(name: str) -> Trace:
    trace = train(name, watched=True)[1]
    assert trace is not None
    return trace


def infos(trace: Trace) -> dict[str, Any]:
    return {info.name: info for info in trace.modules}


def test_functional_activations_are_found_and_named_after_what_they_feed() -> None:
    trace = traced("functional")
    known = infos(trace)
    assert list(known) == ["conv1", "conv2.input", "conv2", "head.input", "head"]
    relu, gelu = known["conv2.input"], known["head.input"]
    assert (relu.role, relu.activation, relu.fed_by, relu.units) == ("activation", "relu", "conv1", 3)
    assert (gelu.activation, gelu.fed_by) == ("gelu", "conv2")
    assert known["conv2"].fed_by == "conv2.input"
    assert known["head"].fed_by == "head.input"
    # Between the ReLU and conv2 there is a pooling: what is measured is the ReLU's own output, 6 x 6, and its gradient.
    torch.manual_seed(5)
    model = Functional()
    hidden = functional.relu(model.conv1(IMAGES))
    assert trace.output("conv2.input", "mean")[0] == pytest.approx(hidden.mean().item(), rel=1e-5)
    hidden = hidden.detach().requires_grad_()
    scalar(model.head(functional.gelu(model.conv2(functional.max_pool2d(hidden, 2))).flatten(1))).backward()
    assert trace.gradient("conv2.input", "rms")[0] == pytest.approx(hidden.grad.square().mean().sqrt().item(), rel=1e-5)


def test_modules_used_twice_are_measured_over_both_calls() -> None:
    trace = traced("shared weights")
    torch.manual_seed(5)
    model = Shared()
    one = model.a(X)
    two = model.a(torch.relu(one))
    both = torch.cat([one, two])
    assert trace.output("a", "mean")[0] == pytest.approx(both.mean().item(), rel=1e-5)
    assert trace.output("a", "std")[0] == pytest.approx(both.std().item(), rel=1e-5)
    one.retain_grad()
    two.retain_grad()
    scalar(torch.relu(model.b(torch.relu(model.a(torch.relu(one)))))).backward()
    assert [info.name for info in trace.parameters] == ["a.weight", "a.bias", "b.bias"], "a shared weight is one parameter"


def test_units_of_calls_of_other_widths_lie_side_by_side() -> None:
    """As in the blocks of a resnet: one ReLU behind three channels of many places, and five channels of few."""
    torch.manual_seed(0)
    first, second, act = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 5, 3, stride=4), nn.ReLU()
    with torch.no_grad():
        for conv, bias in ((first, [9.0, -9.0, 0.0]), (second, [90.0, 90.0, 90.0, 90.0, -900.0])):
            conv.bias.copy_(torch.tensor(bias))
        first.weight[2].zero_()
        first.weight[2, 0, 1, 1] = 1.0  # lives where the image is above 0: only in later examples
    model = nn.Sequential(first, act, second, act, nn.Flatten(), nn.Linear(20, 2))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.0)
    with health.watch(model, optimiser, every=1) as watch:
        for _ in range(3):
            loss = model(IMAGES).square().mean()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    trace = watch.report().trace
    (info,) = (module for module in trace.modules if module.kind == "ReLU")
    assert info.units == 3 + 5
    assert trace.units[info.name].dead.tolist() == [0, 1, 0, 0, 0, 0, 0, 1]
    assert trace.output(info.name, "dead").tolist() == [2 / 8] * 3
    assert trace.maps[info.name]["last"].shape[1] == 8


def test_in_place_activations_leave_the_layer_before_them_its_own_figures() -> None:
    trace = traced("in place")
    torch.manual_seed(5)
    model = InPlaceEverywhere()
    before = model.a(X)
    before.retain_grad()
    assert trace.output("a", "min")[0] == pytest.approx(before.min().item(), rel=1e-5)
    assert before.min().item() < 0
    assert trace.output("act", "min")[0] == 0.0
    scalar(functional.relu(model.b(functional.relu(before + X))) * 2.0).backward()
    assert trace.gradient("a", "rms")[0] == pytest.approx(before.grad.square().mean().sqrt().item(), rel=1e-5)


@pytest.mark.parametrize("name", ["checkpoint", "checkpoint reentrant"])
def test_checkpointed_blocks_are_measured_once(name: str) -> None:
    trace = traced(name)
    assert {"first", "block.0", "block.1", "last"} <= set(trace.outputs)
    torch.manual_seed(5)
    model = Checkpointed(reentrant=False)
    hidden = model.block[0](model.first(X))
    assert trace.output("block.0", "std")[0] == pytest.approx(hidden.std().item(), rel=1e-5)
    if name == "checkpoint":
        assert np.isfinite(trace.gradient("block.0", "std")).all()


def test_lstm_and_attention_give_the_figures_of_their_first_tensor() -> None:
    trace = traced("recurrent")
    assert infos(trace)["lstm"].role == "recurrent"
    assert infos(trace)["lstm"].units == 5
    torch.manual_seed(5)
    model = Recurrent()
    assert trace.output("lstm", "std")[0] == pytest.approx(model.lstm(X[:, None])[0].std().item(), rel=1e-5)
    assert np.isfinite(trace.gradient("lstm", "std")).all()
    attention = traced("attention")
    assert infos(attention)["attend"].role == "attention"
    assert np.isfinite(attention.gradient("attend", "std")).all()


def test_parametrised_weights_belong_to_their_layer() -> None:
    trace = traced("parametrised")
    assert [info.name for info in trace.modules] == ["0", "1", "2"]
    assert infos(trace)["0"].kind == "Linear"
    assert {info.module for info in trace.parameters if info.name.startswith("0.")} == {"0"}


def test_frozen_parts_and_what_no_optimiser_holds() -> None:
    trace = traced("frozen")
    by_name = {info.name: info for info in trace.parameters}
    assert not by_name["front.0.weight"].trainable
    assert by_name["front.0.weight"].optimised
    assert np.isnan(trace.parameter("front.0.weight", "gradient_std")).all()
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    optimiser = torch.optim.SGD(model[1].parameters(), lr=0.1)
    with health.watch(model, optimiser) as watch:
        model(X).sum().backward()
        optimiser.step()
    assert [info.optimised for info in watch.trace().parameters] == [False, False, True, True]
    assert np.isfinite(watch.trace().parameter("0.weight", "gradient_std")).all()


def test_a_lazy_model_is_watched_from_its_first_step() -> None:
    model = lazy()
    optimisers: list[torch.optim.Optimizer] = []
    with health.watch(model) as watch:
        scalar(model(IMAGES)).backward()
        optimisers.append(torch.optim.SGD(model.parameters(), lr=0.1))
        optimisers[0].step()
        watch.step()
        optimisers[0].zero_grad()
        scalar(model(IMAGES)).backward()
        optimisers[0].step()
        watch.step()
    trace = watch.trace()
    assert trace.facts.errors == ()
    assert infos(trace)["0"].kind == "Conv2d"
    assert np.isfinite(trace.parameter("4.weight", "update_data")[1])


def test_copies_and_pickles_of_a_watched_model_are_whole_and_silent() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh())
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    with health.watch(model, optimiser, every=1) as watch:
        for make in (copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))):
            twin = make(model)
            assert torch.equal(twin(X), model(X))
            twin(X).sum().backward()
        copy.deepcopy(optimiser)
        model(X).sum().backward()
        optimiser.step()
    trace = watch.trace()
    assert trace.facts.errors == ()
    twin(X).sum().backward()
    assert len(watch.trace().steps) == 1


def test_a_copy_of_a_model_that_keeps_its_watch_has_none() -> None:
    model = nn.Linear(3, 2)
    with health.watch(model, torch.optim.SGD(model.parameters(), lr=0.1)) as model.watch:
        for make in (copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))):
            copied = make(model)
            assert copied.watch is None
            assert torch.equal(copied.weight, model.weight)


def test_large_tensors_are_looked_at_in_part() -> None:
    model = nn.Sequential(nn.Linear(300, 900), nn.ReLU(), nn.Linear(900, 2))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.randn(128, 300, generator=torch.Generator().manual_seed(1))
    with health.watch(model, optimiser) as watch:
        with torch.no_grad():
            hidden = model[0](x)
        model(x).square().mean().backward()
        full = model[0].weight.grad.norm().item()
        optimiser.step()
    trace = watch.trace()
    assert trace.facts.errors == ()
    assert trace.output("0", "std")[0] == pytest.approx(hidden.std().item(), rel=0.03)
    assert trace.parameter("0.weight", "gradient_norm")[0] == pytest.approx(full, rel=0.05)
    assert sum(call.output.array.size for capture in watch._probes.modules.captures.values() for call in capture.calls) < 40_000


def test_one_batch_repeated_is_seen():
    torch.manual_seed(0)
    inputs, targets = torch.randn(40, 6), torch.randint(5, (40,))
    for repeated in (True, False):
        model = nn.Linear(6, 5)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        with health.watch(model, optimizer) as seen:
            for step in range(4):
                part = slice(0, 8) if repeated else slice(8 * step, 8 * step + 8)
                loss = nn.functional.cross_entropy(model(inputs[part]), targets[part])
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                seen.loss(loss)
        assert ("batches" in seen.trace().facts.notes) == repeated
