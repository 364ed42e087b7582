"""Training on two processes over gloo: watched on both, weights bit-equal to the unwatched run, one report of both on rank 0."""

from __future__ import annotations

import runpy
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, distributed, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from two_ranks import Both, two_ranks

from lettrine import health
from lettrine.health.archive import trace_from_arrays, trace_to_arrays
from lettrine.torch import distributed as of_ranks
from lettrine.torch.watching.watch import Watch

STEPS = 40


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    with two_ranks(tmp_path_factory.mktemp("ranks")) as calling:
        yield calling


def net(inputs: int = 6) -> nn.Sequential:
    torch.manual_seed(4)
    return nn.Sequential(nn.Linear(inputs, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))


def average(model: nn.Module) -> None:
    """What DistributedDataParallel does with gradients."""
    for parameter in model.parameters():
        assert parameter.grad is not None
        distributed.all_reduce(parameter.grad)
        parameter.grad /= 2


def train(
    rank: int,
    model: nn.Module,
    called: Callable[[int], Callable[[Tensor], Tensor]],
    *,
    seed: int | None = None,
    rows: int = 16,
    between: Callable[[int], object] = lambda _: None,
    lr: float = 0.02,
) -> Watch:
    """The usual loop. called: what is called at a step. between: called after the backward pass of a step."""
    chance = torch.Generator().manual_seed(rank if seed is None else seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=lr)
    with health.watch(model, optimiser) as watch:
        for step in range(STEPS):
            x = torch.randn(rows, 6, generator=chance)
            loss = functional.cross_entropy(called(step)(x), x[:, :3].argmax(dim=1))
            optimiser.zero_grad()
            loss.backward()
            between(step)
            optimiser.step()
            watch.loss(loss)
    return watch


def work(rank: int) -> dict[str, Any]:
    """Four steps, watched and not."""
    x, y = torch.linspace(-2.0, 2.0, 16 * 3).reshape(16, 3), torch.arange(16) % 2
    ends, found = {}, {}
    for watched in (True, False):
        torch.manual_seed(4)
        inner = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2))
        model = DistributedDataParallel(inner)
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
        watch = health.watch(model, optimiser, every=1)
        with watch if watched else nullcontext():
            for _ in range(4):
                loss = functional.cross_entropy(model(x[rank::2]), y[rank::2])
                loss.backward()
                optimiser.step()
                optimiser.zero_grad()
                if watched:
                    watch.loss(loss)
        ends[watched] = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
        if watched:
            trace = watch.trace()
            assert trace.facts.errors == (), trace.facts.errors
            assert [info.name for info in trace.modules] == ["0", "1", "2", "3"]
            found = {
                "norm": trace.step_stats["gradient_norm"],
                "clipped": trace.step_stats["clipped"],
                "leftover": trace.step_stats["leftover_gradient"],
                "update": trace.parameter("0.weight", "update_data"),
                "output": trace.output("3", "mean"),
                "ranks": len(trace.ranks),
            }
    assert all(torch.equal(ends[True][name], ends[False][name]) for name in ends[True])
    return found


def test_two_processes(both: Both) -> None:
    first, second = both(work)
    # What was averaged over the processes is the same on both; what each saw of its own half is not.
    for name in ("norm", "update", "leftover"):
        np.testing.assert_array_equal(first[name], second[name])
    assert np.isfinite(first["update"]).all()
    assert first["leftover"][:3].tolist() == [0] * 3  # steps with details
    assert np.isnan(first["clipped"]).all(), "averaging shrinks gradients too"
    assert not np.array_equal(first["output"], second["output"])
    assert (first["ranks"], second["ranks"]) == (2, 0), "rank 0 tells of both, the other of itself"


def fault(rank: int, kind: str) -> health.Report:  # noqa: C901  a list of faults
    """One training with one fault."""
    model = net()
    wrapped = DistributedDataParallel(model)
    kwargs: dict[str, Any] = {}
    called: Callable[[int], Any] = lambda _: wrapped  # noqa: E731
    if kind == "converted":
        wrapped.double().float()
    elif kind == "around":  # every other step calls the bare model
        called = lambda step: wrapped if step % 2 else model  # noqa: E731
    elif kind in ("lost", "clipped", "rate", "reduced", "averaged", "by hand"):
        called = lambda _: model  # noqa: E731

        def between(step: int) -> None:
            if kind == "averaged":  # local SGD: parameters instead of gradients
                if step % 2 == 0:
                    for parameter in model.parameters():
                        distributed.all_reduce(parameter.data)
                        parameter.data /= 2
                return
            average(model)
            if kind == "lost" and rank and step % 4 == 3:
                model[2].weight.grad.zero_()
            if kind == "clipped" and not rank:
                nn.utils.clip_grad_norm_(model.parameters(), 0.01)
            if kind == "reduced" and rank:  # gradients are kept where their parameters are stepped, as ZeRO does
                for parameter in model.parameters():
                    parameter.grad.zero_()

        kwargs["between"] = between
        kwargs["lr"] = 0.02 if kind != "rate" or not rank else 0.01
        if kind == "reduced":
            kwargs["lr"] = 0.0
    elif kind == "seeds":
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.01 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(rank)))
        called = lambda _: model  # noqa: E731
        kwargs["between"] = lambda _: average(model)
    elif kind == "same data":
        kwargs["seed"] = 0
    elif kind == "rows":
        kwargs["rows"] = 16 + 8 * rank
    elif kind == "mode":
        model.insert(1, nn.Dropout(0.5))
        model.train(not rank)
    elif kind == "dtype":
        called = lambda _: lambda x: wrapped(x).float()  # noqa: E731
        with torch.autocast("cpu", torch.bfloat16, enabled=bool(rank)):
            return train(rank, model, called).report()
    return train(rank, model, called, **kwargs).report()


FAULTS = {
    "converted": ("gradients-not-synchronised", "critical", "never synchronised"),
    "around": ("gradients-not-synchronised", "critical", "sometimes not synchronised"),
    "lost": ("gradients-not-synchronised", "critical", "different gradients of 2.weight and the same of all others"),
    "clipped": ("gradients-not-synchronised", "critical", "point the same way"),
    "averaged": ("gradients-not-synchronised", "info", "averaged from time to time"),
    "rate": ("replicas-apart", "critical", "The ranks have drifted apart"),
    "seeds": ("replicas-apart", "critical", "to different weights"),
    "same data": ("same-data", "warning", "Ranks 0 and 1 get the same data"),
    "rows": ("ranks-unlike", "info", "16 on rank 0, 24 on rank 1"),
    "mode": ("ranks-unlike", "warning", "1 on rank 0, 0 on rank 1"),
    "dtype": ("ranks-unlike", "warning", "float32 on rank 0, bfloat16 on rank 1"),
    "healthy": (),
    "by hand": (),
    "reduced": (),
}
OF_RANKS = {"gradients-not-synchronised", "replicas-apart", "same-data", "ranks-unlike"}


@pytest.mark.parametrize("kind", FAULTS)
def test_what_only_several_ranks_show(both: Both, kind: str) -> None:
    report, alone = both(fault, kind)
    found = [each for each in report.findings if each.id in OF_RANKS]
    assert [each.id for each in found] == list(FAULTS[kind][:1]), [each.message for each in found]
    if found:
        assert found[0].severity == FAULTS[kind][1]
        assert FAULTS[kind][2] in found[0].message
    assert not OF_RANKS & {each.id for each in alone.findings}, "one rank alone cannot know"
    assert not report.trace.facts.errors + alone.trace.facts.errors


def independent(rank: int, kind: str) -> health.Report:
    """Trainings of one process group that have nothing to do with each other."""
    model = net()
    if kind == "seeds":
        torch.manual_seed(rank)
        for layer in (model[0], model[2], model[4]):
            layer.reset_parameters()
    rate = 0.02 if kind == "seeds" else 0.02 / (1 + rank)
    watch = train(rank, model, lambda _: model, seed=0 if kind == "rates" else None, lr=rate)
    distributed.barrier()  # nothing else holds them together
    return watch.report()


@pytest.mark.parametrize("kind", ["seeds", "rates", "rates and data"])
def test_trainings_that_are_independent_are_no_forgotten_wrapper(both: Both, kind: str) -> None:
    report, _ = both(independent, kind)
    assert not OF_RANKS & {each.id for each in report.findings}
    outcomes = {each.check: each for each in report.outcomes}
    assert outcomes["gradients-not-synchronised"].status == outcomes["same-data"].status == "not applicable"


def unlike(rank: int, kind: str) -> health.Report | None:
    """Trainings in which one rank is not as the other."""
    inner = net()
    if kind == "alone":
        inner = nn.Sequential(inner)  # ranks tell watches of one model apart by their order, of which one has none here
    model = DistributedDataParallel(inner)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = health.watch(model, optimiser)
    if kind != "alone" or not rank:
        watch.start()
    chance = torch.Generator().manual_seed(rank)
    for step in range(110):
        x = torch.randn(16, 6, generator=chance)
        loss = functional.cross_entropy(model(x), x[:, :3].argmax(dim=1))
        loss = loss * float("nan") if kind == "nan" and rank and step == 20 else loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        watch.loss(loss)
        if kind == "on demand" and step == 60:
            watch.gather()
            if not rank:
                assert len(watch.trace().ranks[1].recent.step) == 61, "what the other rank had seen by then"
    if kind == "late" and rank:
        return None  # its watch is never closed
    watch.close()
    return None if rank else watch.report()


@pytest.mark.parametrize("kind", ["alone", "nan", "late", "on demand"])
def test_one_report_of_ranks_that_are_not_alike(both: Both, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_ranks, "WAIT", 0.3)
    report, _ = both(unlike, kind)
    outcome = next(each for each in report.outcomes if each.check == "replicas-apart")
    if kind == "alone":
        assert report.verdict == "healthy as far as seen"
        assert (outcome.status, outcome.reason) == ("not run", "rank 1 was not watched")
    elif kind == "late":
        assert report.verdict == "not judged"
        assert report.unjudged == ("rank 1 was watched, but did not tell what it saw",)
    elif kind == "nan":
        assert report.findings[0].message.startswith("Rank 1: The loss was not finite at step 20.")
        assert report.worst == "critical"
    else:
        assert outcome.status == "passed"
        assert [len(each.recent.step) for each in report.trace.ranks] == [110, 110]
        arrays, values = trace_to_arrays(report.trace)
        again = trace_from_arrays(arrays, values)
        assert health.examine(again).outcomes == report.outcomes, "the trace can be kept and judged again"


def stopping(rank: int, sick: int, every: int | None) -> int:
    """The step at which a rank left its loop, -1 for none; one of them hears of a loss that is not finite."""
    model = DistributedDataParallel(net())
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    with health.watch(model, optimiser, every=every, stop_on="critical") as watch:
        for step in range(120):
            model(torch.randn(4, 6)).square().mean().backward()
            optimiser.step()
            optimiser.zero_grad()
            watch.loss(float("nan") if rank == sick and step >= 30 else 1.0)
            if watch.should_stop:
                return step
    return -1


@pytest.mark.parametrize(("sick", "every"), [(0, None), (1, 7), (2, 7)])
def test_all_ranks_stop_at_the_same_step_or_none(both: Both, sick: int, every: int | None) -> None:
    first, second = both(stopping, sick, every)
    assert first == second, "one that went on alone would wait for ever"
    assert (first > 30) if sick < 2 else (first == -1)


def on_many(_: int, words: list[str]) -> tuple[list[float], dict[str, Tensor]]:
    """The example of the docs, on however many ranks there are."""
    path = Path(__file__).parents[2] / "examples" / "char_mlp_on_many.py"
    losses, model = runpy.run_path(str(path))["train"](words, steps=8, batch=32, dtype=torch.float64)
    return losses, model.state_dict()


def test_charmlp_on_two_processes_learns_what_it_learns_on_one(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["anna", "bob", "carla", "dora", "emil", "fritz", "gustav", "hanna", "ida", "jan"] * 3
    (losses, weights), (other, _) = both(on_many, words)
    monkeypatch.setattr(distributed, "is_initialized", lambda: False)
    alone, same = on_many(0, words)
    assert losses == other
    assert len(set(losses)) == 8
    np.testing.assert_allclose(losses, alone, rtol=1e-12)
    for name, value in weights.items():
        torch.testing.assert_close(value, same[name], rtol=1e-7, atol=1e-10)
