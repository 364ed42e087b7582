"""Outputs that are measured where they lie give the same figures as copies."""

from __future__ import annotations

import math
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from traces import same

from lettrine import health
from lettrine.health import observers
from lettrine.health.live import STEPS, LiveOutput, LivePlan
from lettrine.health.moments import native
from lettrine.health.parts import CAP, Picked
from lettrine.health.recorder import Recorder
from lettrine.health.trace import PARAMETER_STATS, Trace
from lettrine.torch.fast import switch

in_place = pytest.mark.skipif(switch.tensors() is None, reason="the fast path is off, or not built")
X, Y = torch.linspace(-2.0, 2.0, 10 * 4).reshape(10, 4), torch.arange(10) % 3


class Late(nn.Module):
    """From one step on, it overwrites what its first layer gave."""

    def __init__(self, overwrites_from: int) -> None:
        super().__init__()
        torch.manual_seed(6)
        self.first, self.second, self.act, self.last = nn.Linear(4, 6), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 3)
        self.overwrites_from, self.calls = overwrites_from, 0

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        self.calls += 1
        if self.calls > self.overwrites_from:
            hidden.mul_(0.5)
        return self.last(self.act(self.second(hidden)))


def traced(overwrites_from: int = 99, steps: int = 7) -> tuple[Trace, health.Watch]:  # type: ignore[name-defined]
    model = Late(overwrites_from)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.2)
    with health.watch(model, optimiser, every=1) as watch:
        for _ in range(steps):
            functional.cross_entropy(model(X), Y).backward()
            optimiser.step()
            optimiser.zero_grad()
    assert watch.trace().facts.errors == ()
    return watch.trace(), watch


def mixed(steps: int, *, spoiled: int = -1, rates: bool = False, clipped: bool = False) -> Trace:
    """A net with every kind of zone, trained long enough for quick steps to be handed over more than once."""
    torch.manual_seed(3)
    layers: list[nn.Module] = [
        nn.Linear(4, 9),
        nn.Tanh(),
        nn.Linear(9, 7),
        nn.ReLU(),
        nn.Linear(7, 5),
        nn.GELU(),
        nn.Linear(5, 3),
    ]
    model = nn.Sequential(*layers)
    with torch.no_grad():
        layers[0].bias[1] = 40.0  # type: ignore[index, operator]  a tanh that is always 1
        layers[2].bias[2] = -50.0  # type: ignore[index, operator]  a unit dead from the start
        layers[2].weight[4] = layers[2].weight[3]  # type: ignore[index]  and one that is another's copy
    groups = [{"params": model[:4].parameters()}, {"params": model[4:].parameters(), "lr": 0.05}]
    optimiser = torch.optim.SGD(groups, lr=0.2, momentum=0.5)
    with health.watch(model, optimiser, every=1) as watch:
        for step in range(steps):
            if rates:
                optimiser.param_groups[0]["lr"] = 0.2 / (1 + step)
            if step == spoiled:
                with torch.no_grad():
                    layers[4].weight[0, 0] = math.inf  # type: ignore[index]
            loss = functional.cross_entropy(model(X * (1 + step % 3)), Y)
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
            watch.loss(loss)
            if clipped:  # behind autograd's back: no version of the parameter tells
                for parameter in model.parameters():
                    parameter.data.clamp_(-0.3, 0.3)
    return watch.trace()


@in_place
@pytest.mark.parametrize(
    "settings",
    [{"steps": 150}, {"steps": 40, "rates": True}, {"steps": 30, "spoiled": 20}, {"steps": 20, "clipped": True}],
    ids=str,
)
def test_figures_read_in_place_are_those_of_copies(monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]) -> None:
    frames = []
    record = Recorder.record_frame
    monkeypatch.setattr(Recorder, "record_frame", lambda self, frame: (frames.append(frame.steps), record(self, frame))[1])
    ours = mixed(**settings)
    assert sum(map(len, frames)) > settings["steps"] - 8, "these steps were to be quick"
    monkeypatch.setenv(switch.VARIABLE, "0")
    copied = mixed(**settings)
    same(ours, copied, rtol=1e-12)


class Wide(nn.Module):
    """Layers, sequences and weights of which only a part is looked at; the units of the widest, too."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(8)
        self.table, self.up, self.act = nn.Embedding(50, 40), nn.Linear(40, 601), nn.ReLU()
        self.down, self.tanh, self.out = nn.Linear(601, 130), nn.Tanh(), nn.Linear(130, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.tanh(self.down(self.act(self.up(self.table(x))))))


def wide(steps: int) -> tuple[Trace, int]:
    model, generator = Wide(), torch.Generator().manual_seed(1)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    with health.watch(model, optimiser, every=1) as watch:
        for _ in range(steps):
            x = torch.randint(50, (12, 37), generator=generator)
            loss = functional.cross_entropy(model(x).flatten(0, 1), x.flatten() % 5)
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
            watch.loss(loss)
    assert watch.trace().facts.errors == ()
    return watch.trace(), sum(map(Tensor.numel, model.parameters()))


@in_place
def test_of_large_tensors_the_same_part_is_read_in_place_as_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = []
    record = Recorder.record_frame
    monkeypatch.setattr(Recorder, "record_frame", lambda self, frame: (frames.append(frame.steps), record(self, frame))[1])
    ours, size = wide(12)
    assert size > 6 * CAP
    assert sum(map(len, frames)) > 8, "these steps were to be quick"
    monkeypatch.setenv(switch.VARIABLE, "0")
    same(ours, wide(12)[0], rtol=1e-12)


@in_place
def test_numbers_are_read_in_place() -> None:
    number = switch.TENSORS.number
    for kind in (torch.float32, torch.float64):
        assert number(torch.tensor(0.1, dtype=kind, requires_grad=True)) == torch.tensor(0.1, dtype=kind).item()
    pair = torch.tensor([1.5, -2.5])
    assert number(pair[1]) == -2.5, "not the first of the memory it is a part of"
    assert number(pair[:1].reshape(1, 1)) == 1.5
    assert math.isnan(number(torch.tensor(math.nan)))
    assert number(-0.75) == -0.75
    unknown = (
        pair,
        torch.empty(0),
        torch.tensor(1),
        torch.tensor(1.0).half(),
        torch.ones(()).to_sparse(),
        torch.ones((), device="meta"),
    )
    for strange in (*unknown, 1, np.float32(1.0)):
        assert number(strange) is None


def plan(sizes: tuple[int, ...], look: Any = print) -> LivePlan:
    return LivePlan(
        switch.TENSORS,
        [LiveOutput("act", Picked.of_output((2, 3)), "tanh")],
        [(f"p{size}", Picked.of_parameter((size,))) for size in sizes],
        [0] * len(sizes),
        look,
    )


def hook_of(live: LivePlan, otherwise: Any) -> Any:
    asked = torch.is_grad_enabled, torch._C._current_graph_task_id, torch._C._functorch.maybe_current_level
    return native.OutputHook(live.live, 0, otherwise, *asked)


def given(shape: tuple[int, ...] = (2, 3)) -> Tensor:
    return torch.rand(shape, requires_grad=True) * 0.5


@in_place
def test_only_what_is_all_there_is_read_in_place() -> None:
    def parameter(shape: tuple[int, ...]) -> Tensor:
        tensor = torch.rand(shape, requires_grad=True)
        tensor.grad = torch.rand(shape)
        return tensor

    def heard(parameters: list[Any], output: Any = None, backward: Any = None) -> bool:
        output = given() if output is None else output
        live.listen(detail=False)
        hook(module, (), output)
        (backward or (lambda tensor: tensor.sum().backward()))(output)
        return live.before(parameters)

    module, otherwise = nn.Tanh(), [0]
    live = plan((20,))
    hook = hook_of(live, lambda *_: otherwise.append(1))
    weight = parameter((4, 5))
    assert heard([weight])
    assert heard([weight], backward=lambda tensor: (tensor @ torch.rand(4, 3).T).sum().backward()), "a gradient that is scattered"
    assert len(otherwise) == 1, "nothing was left to others"
    sparse = parameter((4, 5))
    sparse.grad = torch.rand(4, 5).to_sparse()
    broken = (
        [],
        [parameter((4, 4))],
        [torch.rand(4, 5, requires_grad=True)],  # no gradient
        [weight.detach()],  # not trained, and no gradient
        [parameter((5, 4)).T],
        [weight.double()],
        [sparse],
        [None],
    )
    for parameters in broken:
        assert not heard(list(parameters)), parameters
    assert len(otherwise) == 1
    strange = (given((2, 4)), given((3, 2)), given((6,)), given((3, 2)).T, given().double(), given().half())
    for count, output in enumerate(strange, 2):
        assert not heard([weight], output)
        assert len(otherwise) == count, "a step in which nothing was heard is left to others"

    def twice(tensor: Tensor) -> None:
        tensor.sum().backward(retain_graph=True)
        tensor.sum().backward()

    def again(tensor: Tensor) -> None:
        hook(module, (), given())
        tensor.sum().backward()

    def with_graph(tensor: Tensor) -> None:
        torch.autograd.grad(tensor.square().sum(), tensor, create_graph=True)

    def changed(tensor: Tensor) -> None:
        tensor.register_hook(lambda gradient: 2 * gradient)  # type: ignore[no-untyped-call]
        tensor.sum().backward()

    for backward in (lambda _: None, twice, again, with_graph, changed):
        assert not heard([weight], backward=backward)
    assert heard([weight])


@in_place
def test_a_call_without_a_backward_pass_is_forgotten_and_one_without_gradients_not_heard() -> None:
    live = plan(())
    hook = hook_of(live, print)
    live.listen(detail=False)
    hook(nn.Tanh(), (), given())
    with torch.no_grad():
        hook(nn.Tanh(), (), given())
    assert live.live.heard == 1
    assert live.live.expected
    assert not live.live.again([0]), "no gradient has come"
    assert live.live.heard == 0
    output = given()
    hook(nn.Tanh(), (), output)
    assert list(output._backward_hooks) == [-1]
    output.sum().backward()
    assert live.live.again([0])
    assert live.before([])
    assert not output._backward_hooks, "no hook of ours is left on it"


@in_place
def test_tables_that_do_not_fit_are_refused() -> None:
    def live(zones: list[Any], parameters: list[int], **other: Any) -> None:
        tables = {"moments": (1, 2 + 2 * len(parameters), 8), "moved": (1, len(parameters), 8), "totals": (1, len(zones))} | other
        arrays = {name: np.empty(shape) for name, shape in tables.items()}
        earlier = np.empty(sum(parameters), "f4")
        shapes = [Picked.of_parameter((size,)) for size in parameters]
        native.Live(switch.TENSORS, shapes, [Picked.of_output((2, 3))], zones, earlier=earlier, range=print, look=print, **arrays)

    live([(0, 0.0, 1.0, True, False)], [4])
    with pytest.raises(ValueError, match="of no output"):
        live([(1, 0.0, 1.0, True, False)], [4])
    for wrong in ({"moments": (1, 3, 8)}, {"moved": (1, 2, 8)}, {"totals": (2, 1)}):
        with pytest.raises(ValueError, match="tables"):
            live([(0, 0.0, 1.0, True, False)], [4], **wrong)
    with pytest.raises(ValueError, match="in place"):
        native.Tensors(int)
    small = plan(())
    with pytest.raises(ValueError, match="no room"):
        small.live.listen(STEPS + 1, 0, [])
    with pytest.raises(ValueError, match="no such output"):
        small.live.listen(0, 0, [2])


@in_place
def test_a_parameter_taken_elsewhere_by_the_step_has_no_update() -> None:
    weight = nn.Parameter(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    weight.grad = torch.ones(4)
    live = LivePlan(switch.TENSORS, [], [("p", Picked.of_parameter((4,)))], [0], print)
    for data in (torch.tensor([1.5, 2.5, 3.5, 5.5]), torch.ones(3)):
        weight.data = torch.tensor([1.0, 2.0, 3.0, 4.0])
        live.listen(detail=False)
        assert live.before([weight])
        weight.data = data
        live.after([weight])
        live.keep(int(data.numel() == 3), {}, [0.1], None, detail=False)
    frame = live.frame()
    assert frame is not None
    moved = frame.tables["parameters"][:, 0, PARAMETER_STATS.index("update_rms")]
    assert moved[0] == pytest.approx(math.sqrt((3 * 0.25 + 2.25) / 4))
    assert math.isnan(moved[1])
    assert live.frame() is None


@in_place
def test_units_are_counted_over_the_steps_that_are_kept() -> None:
    live = LivePlan(switch.TENSORS, [LiveOutput("act", Picked.of_output((2, 3)), "relu")], [], [], print)
    hook = hook_of(live, print)

    def measured(*alive: int) -> None:
        live.listen(detail=False)
        output = given()
        with torch.no_grad():
            output.zero_()[0, list(alive)] = 1.0
        hook(nn.ReLU(), (), output)
        output.sum().backward()
        assert live.before([])
        live.after([])

    def kept(step: int) -> None:
        live.keep(step, {}, [0.1], None, detail=False)

    def counted() -> tuple[list[int], int, list[int], list[int]]:
        frame = live.frame()
        assert frame is not None
        live.restart()
        units = frame.units["act"]
        assert units.dead is not None
        assert units.streak is not None
        return frame.steps, units.steps, units.dead.tolist(), units.streak.tolist()

    measured()
    kept(0)
    measured(1)
    assert counted() == ([0], 1, [1, 1, 1], [1, 1, 1]), "asked while another step is being made"
    kept(1)
    assert counted() == ([1], 1, [1, 0, 1], [1, 0, 1]), "which has its counts later"
    measured(0)  # lost: it is never kept
    measured()
    kept(3)
    assert counted() == ([3], 1, [1, 1, 1], [1, 1, 1])


@in_place
def test_a_report_at_the_end_of_a_step_takes_none_of_its_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observers, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(observers, "LOOK_FIRST", 0.0)
    monkeypatch.setattr(observers, "LOOK_SHARE", math.inf)

    def dying(on_finding: Any = None) -> Trace:
        torch.manual_seed(3)
        model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
        with torch.no_grad():
            model[0].bias[0] = -50.0  # type: ignore[index, operator]
        optimiser = torch.optim.SGD(model.parameters(), lr=0.05)
        with health.watch(model, optimiser, on_finding=on_finding) as watch:
            for _ in range(64):
                optimiser.zero_grad()
                functional.cross_entropy(model(X), Y).backward()
                optimiser.step()
        return watch.trace()

    looked = dying(print)
    units = next(iter(looked.units.values()))
    assert (units.steps, units.dead[0], units.streak[0], units.last_dead[0]) == (12, 1.0, 12, 1)
    same(looked, dying(), rtol=1e-12)


@in_place
def test_an_output_overwritten_later_is_measured_as_it_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, _ = traced(overwrites_from=10, steps=13)  # the first steps are copied, to see what the outputs are made of
    monkeypatch.setenv(switch.VARIABLE, "0")
    copied, _ = traced(overwrites_from=10, steps=13)
    same(ours, copied, rtol=1e-12)
    means = ours.output("first", "mean")
    assert means[10] == pytest.approx(means[9], rel=0.1), "it was not halved yet"


def test_a_gradient_the_user_keeps_is_left_alone() -> None:
    model = Late(99)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.2)
    kept: list[Tensor] = []
    with health.watch(model, optimiser, every=1) as watch:
        for _ in range(5):
            hidden = model.first(X)
            hidden.retain_grad()
            functional.cross_entropy(model.last(model.act(model.second(hidden))), Y).backward()
            optimiser.step()
            optimiser.zero_grad()
            kept.append(hidden)
    assert all(hidden.grad is not None for hidden in kept)
    assert watch.trace().facts.errors == ()
    assert np.isfinite(watch.trace().gradient("first", "rms")).all()


def test_an_output_the_user_keeps_carries_no_hook_of_ours() -> None:
    model = Late(99)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.2)
    with health.watch(model, optimiser, every=1):
        for _ in range(5):
            output = model(X)
            functional.cross_entropy(output, Y).backward()
            optimiser.step()
    assert not output._backward_hooks


def test_gradients_of_gradients_leave_no_memory_behind() -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 6), nn.Softplus(), nn.Linear(6, 1))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    alive = []
    with health.watch(model, optimiser, every=1) as watch:
        for _ in range(6):
            x = X.clone().requires_grad_()
            output = model(x)
            (slope,) = torch.autograd.grad(output.sum(), x, create_graph=True)
            (output.mean() + slope.square().sum()).backward()
            optimiser.step()
            optimiser.zero_grad()
            alive.append(weakref.ref(output))
            del x, output, slope
    assert watch.trace().facts.errors == ()
    assert not any(each() is not None for each in alive)
