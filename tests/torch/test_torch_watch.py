"""The watch changes nothing, takes its hooks away, and measures what can be worked out on paper."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from lettrine import health
from lettrine.errors import HealthError, LettrineError
from lettrine.health.trace import Trace
from lettrine.torch.capture.catalogue import unwrapped


def hooks(model: nn.Module, *optimisers: torch.optim.Optimizer) -> int:
    """How many hooks stand on modules, parameters and optimisers."""
    names = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    count = sum(len(getattr(module, name)) for module in model.modules() for name in names)
    count += sum(len(parameter._backward_hooks or ()) for parameter in model.parameters())
    return count + sum(len(each._optimizer_step_pre_hooks) + len(each._optimizer_step_post_hooks) for each in optimisers)


class Net(nn.Module):
    """With all that has a state of its own: dropout draws random numbers, batch norm keeps statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 5)
        self.first = nn.Linear(15, 13, bias=False)
        self.norm = nn.BatchNorm1d(13)
        self.act = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.3)
        self.second = nn.Linear(13, 11)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.drop(self.act(self.norm(self.first(self.embedding(x).flatten(1))))))


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.5)


def adamw(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=0.01)


def batches(count: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(7)
    for _ in range(count):
        x = torch.randint(0, 11, (8, 3), generator=generator)
        yield x, x.sum(1) % 11


def train(model: nn.Module, optimiser: torch.optim.Optimizer, watch: Any, steps: int, *, to_none: bool) -> None:
    for x, y in batches(steps):
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=to_none)
        if watch is not None:
            watch.loss(loss)


@pytest.mark.parametrize("make", [sgd, adamw])
@pytest.mark.parametrize("every", [None, 1, 3])
@pytest.mark.parametrize("to_none", [True, False])
def test_weights_buffers_and_generator_are_bit_equal(
    make: Callable[[nn.Module], torch.optim.Optimizer], every: int | None, to_none: bool
) -> None:
    ends = []
    for watched in (False, True):
        torch.manual_seed(3)
        model = Net()
        optimiser = make(model)
        if watched:
            with health.watch(model, optimiser, every=every) as watch:
                train(model, optimiser, watch, 30, to_none=to_none)
            assert watch.trace().facts.errors == ()
            assert hooks(model, optimiser) == 0
        else:
            train(model, optimiser, None, 30, to_none=to_none)
        ends.append((model.state_dict(), optimiser.state_dict()["state"], torch.get_rng_state()))
    (first, moments, generator), (second, watched_moments, watched_generator) = ends
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(generator, watched_generator)
    for key, of_one in moments.items():
        assert all(torch.equal(of_one[name], watched_moments[key][name]) for name in of_one)


def test_losses_that_stay_nan_are_looked_at_once() -> None:
    model = Net()
    optimiser = sgd(model)
    with health.watch(model, optimiser) as watch:
        for step in range(200):
            train(model, optimiser, None, 1, to_none=True)
            watch.loss(math.nan if step >= 100 else 2.0)
    trace = watch.trace()
    assert trace.first_nonfinite is not None
    assert trace.first_nonfinite.step == 100
    assert trace.steps.tolist() == [0, 1, 2, 3, 4, 6, 9, 13, 19, 28, 42, 63, 94, 101, 151]


def test_hooks_go_after_an_exception_and_training_goes_on() -> None:
    model = Net()
    optimiser = sgd(model)
    watch = health.watch(model, optimiser, every=1)

    def interrupted() -> None:
        with watch:
            train(model, optimiser, watch, 2, to_none=True)
            model(next(batches(1))[0])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    assert hooks(model, optimiser) == 0
    assert watch.steps == 2
    train(model, optimiser, None, 2, to_none=True)
    assert watch.steps == 2
    assert watch.trace().steps.tolist() == [0, 1]


def test_hooks_stand_only_on_sampled_steps() -> None:
    model = Net()
    optimiser = sgd(model)
    with health.watch(model, optimiser, every=5) as watch:
        for number, (x, y) in enumerate(batches(11)):
            assert (hooks(model) > 0) == (number % 5 == 0), number
            functional.cross_entropy(model(x), y).backward()
            optimiser.step()
            optimiser.zero_grad()
    assert watch.trace().steps.tolist() == [0, 5, 10]


class Paper(nn.Module):
    """y = v * tanh(w * x) with w = 2, 0 and v = 3, 1: everything can be worked out by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.act, self.outer = nn.Linear(1, 2, bias=False), nn.Tanh(), nn.Linear(2, 1, bias=False)
        with torch.no_grad():
            self.inner.weight.copy_(torch.tensor([[2.0], [0.0]]))
            self.outer.weight.copy_(torch.tensor([[3.0, 1.0]]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.outer(self.act(self.inner(x)))


INPUTS = torch.tensor([[0.0], [0.5], [5.0]])


def paper_trace(steps: int = 1) -> Trace:
    model = Paper()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.25)
    with health.watch(model, optimiser) as watch:
        for _ in range(steps):
            loss = model(INPUTS).sum()
            watch.loss(loss)
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
    return watch.trace()


def test_figures_worked_on_paper() -> None:
    trace = paper_trace()
    assert trace.facts.errors == ()
    assert [info.name for info in trace.modules] == ["inner", "act", "outer"]
    assert [info.fed_by for info in trace.modules] == ["", "inner", "act"]
    assert [info.role for info in trace.modules] == ["linear", "activation", "output"]
    # inner gives 0, 1, 10 in its first unit and 0 in the second.
    outputs = [0.0, 1.0, 10.0, 0.0, 0.0, 0.0]
    mean = sum(outputs) / 6
    assert trace.output("inner", "mean")[0] == pytest.approx(mean)
    assert trace.output("inner", "std")[0] == pytest.approx(math.sqrt(sum((v - mean) ** 2 for v in outputs) / 5))
    assert trace.output("inner", "zero")[0] == pytest.approx(4 / 6)
    assert trace.output("act", "saturated")[0] == pytest.approx(1 / 6)  # tanh 10 alone
    assert trace.output("act", "max")[0] == pytest.approx(math.tanh(10.0))
    # The gradient of the loss with respect to each output of outer is 1, of act 3 and 1, of inner these times 1 - tanh^2.
    assert trace.gradient("outer", "mean")[0] == 1.0
    assert trace.gradient("act", "mean")[0] == pytest.approx(2.0)
    slopes = [3.0, 3 * (1 - math.tanh(1.0) ** 2), 3 * (1 - math.tanh(10.0) ** 2), 1.0, 1.0, 1.0]
    assert trace.gradient("inner", "mean")[0] == pytest.approx(sum(slopes) / 6)
    # Weights of outer: gradient = sum over the batch of act's outputs, step = -lr * gradient.
    gradient = [math.tanh(1.0) + math.tanh(10.0), 0.0]
    spread = abs(gradient[0]) / math.sqrt(2)  # std of two values a, 0
    assert trace.parameter("outer.weight", "gradient_std")[0] == pytest.approx(spread)
    assert trace.parameter("outer.weight", "gradient_norm")[0] == pytest.approx(gradient[0])
    assert trace.parameter("outer.weight", "std")[0] == pytest.approx(math.sqrt(2.0))  # of 3 and 1
    assert trace.parameter("outer.weight", "gradient_data")[0] == pytest.approx(spread / math.sqrt(2.0))
    assert trace.parameter("outer.weight", "update_data")[0] == pytest.approx(0.25 * spread / math.sqrt(2.0))
    assert trace.parameter("outer.weight", "learning_rate")[0] == 0.25
    inner = [0.5 * slopes[1] + 5 * slopes[2], 0.5 + 5.0]
    total = math.sqrt(gradient[0] ** 2 + inner[0] ** 2 + inner[1] ** 2)
    assert trace.step_stats["gradient_norm"][0] == pytest.approx(total, rel=1e-6)
    assert trace.step_stats["loss"][0] == pytest.approx(3 * (math.tanh(1.0) + math.tanh(10.0)), rel=1e-6)
    assert trace.step_stats["learning_rate"][0] == 0.25
    assert trace.step_stats["leftover_gradient"][0] == 0.0
    assert trace.step_stats["clipped"][0] == 0.0
    assert trace.step_stats["training"][0] == 1.0


@pytest.mark.parametrize("early", [True, False])
def test_loss_belongs_to_the_same_step_before_and_after_the_optimiser(early: bool) -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    expected = []
    with health.watch(model, optimiser) as watch:
        for _ in range(40):
            loss = model(torch.ones(2, 1)).mean()
            expected.append(loss.item())
            if early:
                watch.loss(loss)
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
            if not early:
                watch.loss(loss)
    trace = watch.trace()
    assert trace.loss.step.tolist() == list(range(40))
    assert trace.loss.mean.tolist() == pytest.approx(expected)
    assert trace.step_stats["loss"].tolist() == pytest.approx([expected[step] for step in trace.steps])


def test_what_the_loss_tells() -> None:
    model = Net()
    optimiser = sgd(model)
    with health.watch(model, optimiser, every=1) as watch:
        train(model, optimiser, watch, 40, to_none=True)
    facts = watch.trace().facts
    assert facts.classes == 11
    assert facts.notes == {"reduction": "mean"}
    assert facts.loss_chain[:3] == ("NllLoss", "LogSoftmax", "Addmm")
    counts = torch.bincount(torch.cat([y for _, y in batches(40)][1:]), minlength=11)  # the logits are known from the second on
    shares = counts[counts > 0] / counts.sum()
    entropy = float(-(shares * shares.log()).sum())
    assert facts.chance == pytest.approx(min(math.log(11), entropy + 10 / (2 * int(counts.sum()))), rel=1e-5)
    assert (facts.optimiser, facts.momentum, facts.batch_size, facts.norm_momentum) == ("SGD", 0.5, 8, 0.1)


@pytest.mark.parametrize(("places", "classes"), [(9, 7), (700, 31), (3, 9000)])
def test_targets_are_recovered_from_logits_of_any_size_and_shape(places: int, classes: int) -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, classes))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    targets = torch.randint(0, 5, (4, places), generator=torch.Generator().manual_seed(2))
    targets[0, 0] = -100  # left out of the loss
    x = torch.randn(4, places, 4, generator=torch.Generator().manual_seed(3))
    with health.watch(model, optimiser, every=1) as watch:
        for _ in range(5):
            loss = functional.cross_entropy(model(x).transpose(1, 2), targets)
            watch.loss(loss)
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
    facts = watch.trace().facts
    assert facts.errors == ()
    assert facts.classes == classes
    assert watch.trace().steps.tolist() == list(range(5))
    counts = watch._probes.losses._counts
    assert counts[5:].sum() == 0
    assert counts[:5].min() > 0
    if classes == 9000:  # the first of the five steps shows that not all of the gradients will be copied
        assert counts.sum() == 4 * (targets >= 0).sum()
    assert math.isfinite(facts.chance) == (classes < 9000)


def test_probabilities_taken_for_logits_show_in_the_chain() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Softmax(dim=1))
    optimiser = sgd(model)
    with health.watch(model, optimiser) as watch:
        for _ in range(3):
            loss = functional.cross_entropy(model(torch.randn(6, 3)), torch.arange(6) % 4)
            watch.loss(loss)
            loss.backward()
            optimiser.step()
    assert watch.trace().facts.loss_chain[:3] == ("NllLoss", "LogSoftmax", "Softmax")


@pytest.mark.parametrize("clear", [True, False])
@pytest.mark.parametrize("clip", [True, False])
def test_missing_zero_grad_and_clipping_are_seen(clear: bool, clip: bool) -> None:
    model = Net()
    optimiser = sgd(model)
    with health.watch(model, optimiser) as watch:
        for x, y in batches(3):
            functional.cross_entropy(model(x), y).backward()
            if clip:
                nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
            optimiser.step()
            if clear:
                optimiser.zero_grad(set_to_none=False)
    stats = watch.trace().step_stats
    assert stats["leftover_gradient"].tolist() == ([0, 0, 0] if clear else [0, 1, 1])
    assert stats["clipped"].tolist() == [float(clip)] * 3
    if clip:
        assert stats["gradient_norm"] == pytest.approx([1e-3] * 3, rel=1e-3)


@pytest.mark.filterwarnings("ignore:Using backward.. with create_graph=True")
@pytest.mark.parametrize("way", ["put in place", "added", "graph"])
def test_gradients_that_nobody_added_up_are_no_leftover(way: str) -> None:
    """`torch.autograd.grad` adds to nothing: what lies in `.grad` then is of the step before, and is thrown away."""
    model = Net()
    optimiser = sgd(model)
    parameters = list(model.parameters())
    with health.watch(model, optimiser) as watch:
        for x, y in batches(3):
            loss = functional.cross_entropy(model(x), y)
            if way == "graph":  # adds up, and in a new tensor each time
                loss.backward(create_graph=True)
            else:
                for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
                    earlier = parameter.grad if way == "added" else None
                    parameter.grad = gradient if earlier is None else gradient + earlier
            optimiser.step()
    parameters[0].grad = None
    assert watch.trace().step_stats["leftover_gradient"].tolist() == ([0, 0, 0] if way == "put in place" else [0, 1, 1])


def test_zero_grad_between_forward_and_backward_is_legal() -> None:
    model = Net()
    optimiser = sgd(model)
    with health.watch(model, optimiser) as watch:
        for x, y in batches(3):
            loss = functional.cross_entropy(model(x), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    assert watch.trace().step_stats["leftover_gradient"].tolist() == [0, 0, 0]


def test_nothing_recorded_is_an_error_that_says_what_to_do() -> None:
    model = Net()
    with health.watch(model, sgd(model)) as watch:
        model(next(batches(1))[0])
    with pytest.raises(HealthError, match="no optimiser step was seen"):
        watch.report()


def test_an_error_of_the_health_code_never_reaches_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Net()
    optimiser = sgd(model)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("on purpose")

    with health.watch(model, optimiser, every=1) as watch:
        train(model, optimiser, watch, 3, to_none=True)
        monkeypatch.setattr("lettrine.torch.capture.modules.ModuleProbe._take", broken)
        train(model, optimiser, watch, 20, to_none=True)
        assert hooks(model, optimiser) == 0, "after some errors the watch leaves the training alone"
    errors = watch.trace().facts.errors
    assert len(errors) == 1
    assert "on purpose" in errors[0]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: health.watch(3), "expected a torch Module"),
        (lambda: health.watch(nn.Linear(1, 1), "adam"), "expected a torch Optimizer"),
        (lambda: health.watch(torch.jit.trace(nn.Linear(1, 1), torch.ones(1, 1))), "scripted"),
        (lambda: health.watch(nn.Linear(1, 1), every=-1), "every got -1"),
    ],
)
@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_what_cannot_be_watched_is_refused_in_words(make: Callable[[], object], told: str) -> None:
    with pytest.raises(LettrineError, match=told):
        make()


def test_a_compiled_model_is_refused_where_its_parts_are_needed() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(HealthError, match="uncompiled"):
        unwrapped(torch.compile(model, backend="eager"))
    model.compile(backend="eager")
    with pytest.raises(HealthError, match="uncompiled"):
        unwrapped(model)
    assert unwrapped(model, hookless=True) is model


def test_own_steps_without_an_optimiser() -> None:
    model = Paper()
    with health.watch(model) as watch:
        for _ in range(2):
            model(INPUTS).sum().backward()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.sub_(0.25 * parameter.grad)
            watch.step()
            model.zero_grad()
    ours, theirs = watch.trace(), paper_trace(2)
    for name in ("inner.weight", "outer.weight"):
        assert ours.parameter(name, "update_data") == pytest.approx(theirs.parameter(name, "update_data"))
    assert all(info.optimised is None for info in ours.parameters)
    assert all(info.optimised for info in theirs.parameters)


def test_a_report_is_made_again_only_if_something_new_was_recorded() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    with health.watch(model, optimiser) as watch:
        for _ in range(60):
            x = torch.randn(16, 6)
            loss = functional.cross_entropy(model(x), x[:, :3].argmax(1))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
        watch.dev_loss(1.0)
        first = watch.report()
        assert watch.report() is first
        watch.dev_loss(0.9)
        assert watch.report() is not first
    closed = watch.report()
    assert watch.report() is closed
