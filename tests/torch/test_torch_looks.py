"""The functions that are noted, and the looks made of them: the user's own modes, exceptions, copies, evaluations."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
import weakref
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from lettrine import health
from lettrine.health.evidence import Evidence
from lettrine.torch import private
from lettrine.torch.capture import evaluations, functions, held_out, keeping, looker, looks
from lettrine.torch.capture.functions import FunctionNotes
from lettrine.torch.capture.keeping import GONE
from lettrine.torch.capture.looks import Look, Stepping
from lettrine.torch.graph import readers as _readers  # noqa: F401  known before the list of readers is replaced

X = torch.linspace(-2.0, 2.0, 8 * 3).reshape(8, 3)
Y = torch.arange(8) % 2


class Sink:
    """A reader that keeps what it is shown, without the tensors."""

    looks: list[Look]
    steps: list[Stepping]
    held: list[Look]
    given: list[tuple[int, Any]]

    def look(self, look: Look) -> Iterable[Evidence]:
        Sink.looks.append(look)
        return ()

    def stepping(self, stepping: Stepping) -> Iterable[Evidence]:
        Sink.steps.append(stepping)
        return ()

    def held_out(self, look: Look) -> Iterable[Evidence]:
        Sink.held.append(look)
        return ()

    def handed(self, step: int, loss: Any) -> Iterable[Evidence]:
        Sink.given.append((step, loss.item()))
        return ()

    def finish(self) -> Iterable[Evidence]:
        yield Evidence("sunk", figures={"looks": len(Sink.looks)})


@pytest.fixture(autouse=True)
def sink(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Sink]]:
    Sink.looks, Sink.steps, Sink.held, Sink.given = [], [], [], []
    monkeypatch.setattr(looks, "READERS", [Sink])
    yield Sink
    Sink.looks, Sink.steps, Sink.held, Sink.given = [], [], [], []
    assert modes() == []
    assert not functions._MODE.listeners


def modes() -> list[Any]:
    return torch.overrides._get_current_function_mode_stack()


class Tagged(TorchFunctionMode):
    """A mode of the user's, that counts."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen += 1
        return func(*args, **(kwargs or {}))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(functional.dropout(self.first(x).relu(), 0.25))


def net() -> nn.Module:
    torch.manual_seed(11)
    return Net()


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1)


def step(model: nn.Module, optimiser: torch.optim.Optimizer) -> Tensor:
    loss = functional.cross_entropy(model(X), Y)
    loss.backward()
    optimiser.step()
    optimiser.zero_grad()
    return loss


def test_a_look_holds_the_calls_the_root_and_the_loss() -> None:
    model = net()
    optimiser = sgd(model)
    with health.watch(model, optimiser) as watch:
        watch.loss(loss := step(model, optimiser))
        step(model, optimiser)
    look = Sink.looks[0]
    assert (look.step, look.place, look.loss) == (0, 0, loss)
    assert [(call.name, call.where, call.root) for call in look.calls if call.name != "relu"] == [
        ("dropout", "Net", 0),
        ("cross_entropy", "", -1),
    ]
    assert look.outside[0].given(1, "target") is Y
    assert look.outside[0].result is loss
    assert look.roots[0].inputs[0] is X
    code, _ = look.calls[1].site or (None, 0)
    assert code is Net.forward.__code__  # not torch's own functional.dropout, which asks the mode
    assert [each.passes for each in Sink.steps] == [1, 1]
    assert Sink.given == [(0, pytest.approx(loss.item()))]
    assert watch.trace().seen("sunk")[0].figure("looks") == 2


def test_the_graph_is_whole_when_it_is_looked_at() -> None:
    class Digger(Sink):
        def look(self, look: Look) -> Iterable[Evidence]:
            softmax = look.loss.grad_fn.next_functions[0][0]
            yield Evidence("dim", figures={"dim": float(private.saved(softmax, "dim")), "freed": 0.0})

    looks.READERS[:] = [Digger]
    model = net()
    optimiser = sgd(model)
    with health.watch(model, optimiser) as watch:
        loss = step(model, optimiser)
    assert watch.trace().seen("dim")[0].figure("dim") == 1.0
    assert private.saved(loss.grad_fn.next_functions[0][0], "result") is None  # freed by now, and that is no error


def test_the_modes_of_the_user_come_and_go_as_without_us() -> None:
    model = net()
    optimiser = sgd(model)
    with health.watch(model, optimiser):
        with Tagged() as around:  # entered before the model is called, left before the backward pass
            loss = functional.cross_entropy(model(X), Y)
            assert modes()[-1] is around
        assert around not in modes()
        seen = around.seen
        with Tagged() as later:
            loss.backward()
            assert modes()[-1] is later
            optimiser.step()
            assert modes() == [later]
        assert around.seen == seen
        optimiser.zero_grad()
    assert len(Sink.looks) == 1
    assert seen > 0


def towards_numbers(model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    target = (Y * 2.0).unsqueeze(1).expand(-1, 2).clone()
    functional.mse_loss(model(X), target).backward()
    optimiser.step()
    optimiser.zero_grad()


def test_calls_before_the_model_are_noted_where_targets_are_numbers() -> None:
    model = net()
    optimiser = sgd(model)
    with health.watch(model, optimiser):
        towards_numbers(model, optimiser)
        towards_numbers(model, optimiser)
        step(model, optimiser)
    first, second, third = Sink.looks[:3]
    assert first.earlier == ()  # nothing was known of the loss
    assert {"mul", "unsqueeze", "expand", "clone"} <= {each.name for each in second.earlier}
    assert [each.name for each in second.outside] == ["mse_loss"]
    assert second.outside[0].given(1, "target") is second.earlier[-1].result
    assert not {"mul", "clone"} & {each.name for each in third.earlier}


def test_classes_are_not_waited_for() -> None:
    model = net()
    optimiser = sgd(model)
    with health.watch(model, optimiser):
        step(model, optimiser)
        assert modes() == []
        step(model, optimiser)
    assert [each.earlier for each in Sink.looks] == [(), ()]


def test_calls_before_the_model_are_noted_for_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "MOST", 10)
    model = net()
    optimiser = sgd(model)
    with health.watch(model, optimiser):
        towards_numbers(model, optimiser)
        assert len(modes()) == 1
        for _ in range(11):
            X.exp()
        nn.Identity()(X)  # a mode cannot leave within a call that it sees; it does when the next module is called
        assert modes() == []
        towards_numbers(model, optimiser)
    assert Sink.looks[1].earlier == ()
    assert [each.name for each in Sink.looks[1].outside] == ["mse_loss"]


def test_fused_kernels_before_the_model_stay_the_same() -> None:
    """Attention in eval mode rounds in another way while a mode is on the stack."""
    torch.manual_seed(0)
    teacher = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    x = torch.randn(3, 5, 8)
    with torch.no_grad():
        alone = teacher(x)
    model = net()
    optimiser = sgd(model)
    if private.compiles():
        torch.compiler.reset()
    with health.watch(model, optimiser):
        towards_numbers(model, optimiser)
        assert len(modes()) == 1
        with torch.no_grad():
            beside = teacher(x)
        assert modes() == []
    assert torch.equal(alone, beside)


def test_devices_as_contexts_come_and_go() -> None:
    model = net()
    optimiser = sgd(model)
    with health.watch(model, optimiser):
        with torch.device("cpu"):
            loss = functional.cross_entropy(model(X), Y)
        assert len(modes()) == 1
        with torch.device("cpu"):
            loss.backward()
        optimiser.step()
        assert modes() == []
    assert [look.loss for look in Sink.looks] == [loss]


def test_the_default_device_stays_lowest() -> None:
    model = net()
    optimiser = sgd(model)
    torch.set_default_device("cpu")
    try:
        with health.watch(model, optimiser):
            loss = functional.cross_entropy(model(X), Y)
            torch.set_default_device("cpu")  # takes off the lowest mode, which must be its own
            loss.backward()
            optimiser.step()
    finally:
        torch.set_default_device(None)
    assert [look.loss for look in Sink.looks] == [loss]


def test_two_watches_at_once() -> None:
    one, two = net(), net()
    first, second = sgd(one), sgd(two)
    with health.watch(one, first), health.watch(two, second):
        (functional.cross_entropy(one(X), Y) + functional.cross_entropy(two(X), Y)).backward()
        first.step()
        assert len(functions._MODE.listeners) == 1
        second.step()
        assert modes() == []
    assert [look.model for look in Sink.looks] == [one, two]
    assert all("cross_entropy" in [call.name for call in look.outside] for look in Sink.looks)


def test_an_exception_in_the_model_leaves_nothing_behind() -> None:
    class Fails(Net):
        fail = True

        def forward(self, x: Tensor) -> Tensor:
            hidden = self.first(x)
            if self.fail:
                raise RuntimeError("mine")
            return self.last(hidden)

    model = Fails()
    optimiser = sgd(model)
    with health.watch(model, optimiser):
        with pytest.raises(RuntimeError, match="mine"):
            model(X)
        model.fail = False
        step(model, optimiser)
    assert [(call.name, call.where) for call in Sink.looks[0].calls] == [("cross_entropy", "")]
    with suppress(RuntimeError), health.watch(model, optimiser):
        model.fail = True
        model(X)
    assert modes() == []
    assert not nn.modules.module._global_forward_hooks


def test_copies_and_pickles_made_during_a_look() -> None:
    model = net()
    optimiser = sgd(model)
    with health.watch(model, optimiser):
        loss = functional.cross_entropy(model(X), Y)
        twin, loaded = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
        twin(X).sum().backward()  # another's backward pass: the model's own is what is looked at
        loss.backward()
        optimiser.step()
    twin(loaded(X).detach()[:, :1].expand(8, 3))
    assert [look.loss for look in Sink.looks] == [loss]


def test_evaluations_with_gradients_are_not_heaped_up() -> None:
    model = net()
    optimiser = sgd(model)
    alive = []
    with health.watch(model, optimiser):
        step(model, optimiser)
        model.eval()
        for _ in range(5):
            output = model(X)
            alive.append(weakref.ref(output))
        del output
        gc.collect()
        assert sum(each() is not None for each in alive) == 1
        model.train()
        step(model, optimiser)
    assert [len(look.roots) for look in Sink.looks] == [1, 1]
    assert {call.root for call in Sink.looks[1].calls} == {0, -1}


def test_many_calls_before_one_backward_pass() -> None:
    model = net()
    optimiser = sgd(model)
    with health.watch(model, optimiser):
        sum(functional.cross_entropy(model(X), Y) for _ in range(looker.ROOTS + 3)).backward()
        optimiser.step()
    look = Sink.looks[0]
    assert len(look.roots) == looker.ROOTS
    assert {call.root for call in look.calls} == {-1, *range(looker.ROOTS)}


def test_passes_of_one_step() -> None:
    model = net()
    optimiser = sgd(model)
    with health.watch(model, optimiser):
        for _ in range(3):
            (functional.cross_entropy(model(X), Y) / 3).backward()
        optimiser.step()
        optimiser.zero_grad()
        step(model, optimiser)
    assert [(look.step, look.place) for look in Sink.looks] == [(0, 0), (0, 1), (0, 2), (1, 0)]
    assert [each.passes for each in Sink.steps] == [3, 1]
    assert [call.name for call in Sink.looks[1].outside] == ["cross_entropy", "div"] or [
        call.name for call in Sink.looks[1].outside
    ] == ["cross_entropy", "__truediv__"]


def test_a_backward_pass_that_no_tensor_was_asked_for() -> None:
    model = net()
    optimiser = sgd(model)
    with health.watch(model, optimiser):
        torch.autograd.backward(functional.cross_entropy(model(X), Y))
        optimiser.step()
    assert [look.loss for look in Sink.looks] == [None]


def test_passes_in_eval_mode() -> None:
    model = net()
    optimiser = sgd(model)
    with health.watch(model, optimiser, every=1_000) as watch:
        step(model, optimiser)
        for number in range(6):
            step(model, optimiser)
            model.eval()
            with torch.no_grad():
                watch.dev_loss(functional.cross_entropy(model(X), Y))
            model.train()
            assert (len(model._forward_hooks) > 0) == (number < evaluations.EVALUATIONS), number  # both have seen enough
    # The first came between sampled steps, before anything said that there would be any.
    assert [[call.name for call in look.calls if call.name != "relu"] for look in Sink.held] == [["dropout"], ["dropout"]]
    assert Sink.held[0].roots[0].inputs[0] is X
    assert not model._forward_pre_hooks


def test_another_thread_has_a_stack_of_its_own() -> None:
    model = net()
    optimiser = sgd(model)
    with health.watch(model, optimiser):
        thread = threading.Thread(target=lambda: model(X).sum().backward())
        thread.start()
        thread.join()
        optimiser.step()
        optimiser.zero_grad()
        step(model, optimiser)
    assert Sink.looks[-1].loss is not None


def test_large_tensors_are_not_kept_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "LARGE", 20)
    notes = FunctionNotes({}, lambda _: None)
    notes.begin()
    large, small = torch.ones(5, 5), torch.ones(4)
    result = [torch.stack([large, large]), small.exp()]
    notes.end()
    stacked, raised = notes.calls[-2:]
    assert stacked.given(0, "tensors")[1] is large
    del large, result
    assert stacked.args == ([GONE, GONE],)
    assert stacked.result is GONE
    assert torch.equal(raised.result, small.exp())


def test_nothing_is_noted_where_something_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (looker, held_out):
        monkeypatch.setattr(module, "compiles", lambda: True)
    model = net()
    optimiser = sgd(model)
    with health.watch(model, optimiser) as watch:
        functional.cross_entropy(model(X), Y)
        assert modes() == []
        step(model, optimiser)
    look = Sink.looks[0]
    assert (look.calls, look.loss) == ((), None)
    assert len(look.roots) == 2
    report = watch.report()
    unseen = {outcome.check: outcome.reason for outcome in report.unseen}
    assert "torch.compile was used in the same process" in " ".join(unseen.values()), "the report says so"


@pytest.mark.parametrize("compiled", [False, True])
def test_whether_something_is_compiled(*, compiled: bool) -> None:
    torch.compiler.reset()
    if compiled:
        torch.compile(lambda x: x + 1, backend="eager")
    assert private.compiles() is compiled
    torch.compiler.reset()


def test_a_torch_without_private_names_costs_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private, "_push", lambda _: None)
    monkeypatch.setattr(private, "_pop", lambda: None)
    monkeypatch.setattr(private, "_depth", lambda: 0)
    assert private._asked("_C._no_such_name", lambda: 5)() == 5
    model = net()
    optimiser = sgd(model)
    with health.watch(model, optimiser) as watch:
        step(model, optimiser)
    assert watch.trace().facts.errors == ()
    assert [look.loss for look in Sink.looks] == [None]


def test_weights_are_bit_equal_looked_at_or_not() -> None:
    ends = []
    for watched in (False, True):
        model = net()
        optimiser = sgd(model)
        if watched:
            with health.watch(model, optimiser) as watch:
                for _ in range(5):
                    step(model, optimiser)
            assert watch.trace().facts.errors == ()
        else:
            for _ in range(5):
                step(model, optimiser)
        ends.append([parameter.detach().clone() for parameter in model.parameters()])
    assert all(map(torch.equal, *ends))
