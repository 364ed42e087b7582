"""Watching for millions of steps: memory stays flat, the trace bounded, the report small.

The recorder alone is taken through 2 million steps here; the watch of a real training and the torch probe through fewer, and
through 2 million with LETTRINE_LONG_STEPS=2000000, as `make long` does.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "report"))
from chromium_pipe import Page, chromium

import lettrine
from lettrine.engine.base import Optimiser
from lettrine.engine.choice import native_built
from lettrine.health import measure
from lettrine.health.archive import trace_to_arrays
from lettrine.health.checks import examine
from lettrine.health.curves import BUCKETS
from lettrine.health.details import DETAILS
from lettrine.health.recorder import Recorder
from lettrine.health.rows import RECORDS
from lettrine.health.trace import RECENT, ModuleInfo, ParameterInfo, Trace
from lettrine.training.api import Shape
from lettrine.training.settings import Settings

LONG = int(os.environ.get("LETTRINE_LONG_STEPS", "0"))
MEGABYTE = 1 << 20
REPORT = 5 * MEGABYTE  # of report.html
TRACE = 16 * MEGABYTE  # of a trace in a checkpoint, for the networks here
GROWTH = 24 * MEGABYTE  # of the process, from an early moment to the end: what allocators keep is more than what is held


def memory() -> int:
    """Bytes this process holds."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def size_of(trace: Trace) -> int:
    arrays, values = trace_to_arrays(trace)
    return sum(value.nbytes for value in arrays.values()) + len(json.dumps(values))


def check_bounded(trace: Trace) -> None:
    assert len(trace.steps) <= RECORDS
    assert len(trace.loss.step) <= BUCKETS
    assert len(trace.recent.step) <= RECENT
    assert all(len(histogram.steps) <= DETAILS for histogram in trace.output_histograms.values())
    assert size_of(trace) < TRACE


def tell(steps: int, grown: int, report: Path) -> None:
    megabytes = grown / MEGABYTE
    print(f"\n{steps:,} steps: {megabytes:.1f} MB more since a quarter, a report of {report.stat().st_size:,} bytes")  # noqa: T201


class Feeder:
    """A recorder given what a network of six layers gives, without the network."""

    LAYERS = 6

    def __init__(self) -> None:
        self.recorder = Recorder()
        self.due = 0
        self.generator = np.random.default_rng(0)
        self.names = [f"layers.{i}" for i in range(self.LAYERS)]
        self.recorder.add(*(ModuleInfo(name, "Tanh", "activation", "tanh", 50, "", i) for i, name in enumerate(self.names)))
        self.recorder.add(*(ParameterInfo(f"{name}.weight", name, (50, 50)) for name in self.names))

    def feed(self, start: int, stop: int) -> None:
        losses = self.generator.normal(2.0, 0.1, stop - start).tolist()
        for step, loss in enumerate(losses, start):
            self.recorder.record_loss(step, loss)
            if step >= self.due:
                self.due = self.recorder.schedule.after(step)
                self.sample(step, loss)
            if step % 10_000 == 0:
                self.recorder.record_dev(step, loss)

    def sample(self, step: int, loss: float) -> None:
        detail = self.recorder.detailed(step)
        arrays = [self.generator.standard_normal((32, 50)).astype(np.float32) for _ in self.names]
        weights = [self.generator.standard_normal((50, 50)).astype(np.float32) for _ in self.names]
        outputs = measure.outputs([measure.OutputArrays(np.tanh(a), -1, "tanh") for a in arrays], detail=detail)
        gradients = measure.gradients(arrays, detail=detail)
        parameters = measure.parameters([measure.ParameterArrays(w, w * 0.999, w, 0.1) for w in weights])
        self.recorder.record(
            step,
            outputs=dict(zip(self.names, outputs, strict=True)),
            gradients=dict(zip(self.names, gradients, strict=True)),
            parameters=dict(zip([f"{name}.weight" for name in self.names], parameters, strict=True)),
            loss=loss,
            learning_rate=0.1,
        )


def test_two_million_steps_leave_a_recorder_as_it_was() -> None:
    feeder = Feeder()
    feeder.feed(0, 1_200_000)  # by then it holds as much as it ever will
    early, early_size = memory(), size_of(feeder.recorder.trace())
    feeder.feed(1_200_000, 2_000_000)
    grown = memory() - early
    trace = feeder.recorder.trace()
    check_bounded(trace)
    assert grown < GROWTH, f"{grown / MEGABYTE:.1f} MB"
    assert size_of(trace) < 2 * early_size
    assert trace.steps[0] == 0
    assert trace.steps[-1] > 1_998_000
    assert trace.loss.step[0] == 0
    # Every loss is in the curve: the means of its runs, weighted by their lengths, give the mean of all.
    lengths = np.diff(np.append(trace.loss.step, 2_000_000))
    assert float((trace.loss.mean * lengths).sum() / lengths.sum()) == pytest.approx(2.0, abs=1e-3)
    report = examine(trace, title="long")
    assert not trace.facts.errors
    assert not [outcome for outcome in report.outcomes if outcome.status == "failed"]
    pytest.importorskip("vl_convert")
    assert len(report._repr_html_()) < REPORT


@pytest.mark.skipif(not native_built(), reason="no compiler built the native engine here")
def test_a_long_training_keeps_its_memory_and_its_report_small(tmp_path: Path, few_words) -> None:
    steps = LONG or 30_000
    held: list[tuple[int, int]] = []

    def listen(now) -> None:
        if not held or now.step - held[-1][0] >= steps // 20:
            held.append((now.step, memory()))

    settings = Settings(
        steps=steps, batch=8, learning_rate=0.01, schedule="constant", engine="native", optimiser=Optimiser("sgd")
    )
    run = lettrine.train(
        few_words, out=tmp_path / "run", shape=Shape(3, 4, (8, 8), norm="batch"), settings=settings, on_progress=listen
    )
    assert run.results.steps == steps
    check_bounded(run.health.trace)
    grown = held[-1][1] - held[len(held) // 4][1]
    # The loss of every step is kept, in 8 bytes, and written with each checkpoint; nothing else may grow.
    assert grown < GROWTH + 3 * 8 * steps, f"{grown / MEGABYTE:.1f} MB"
    assert run.save_page().stat().st_size < REPORT
    assert (tmp_path / "run" / "history.safetensors").stat().st_size < TRACE + 8 * steps
    tell(steps, grown, tmp_path / "run" / "report.html")


def test_a_long_torch_training_keeps_its_memory(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from lettrine import health  # noqa: PLC0415

    steps = LONG or 3_000
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 12), torch.nn.Tanh(), torch.nn.Linear(12, 5))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    x, y = torch.randn(8, 6, generator=generator), torch.randint(0, 5, (8,), generator=generator)
    held: list[int] = []
    with health.watch(model, optimiser) as watch:
        for step in range(steps):
            optimiser.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimiser.step()
            watch.loss(loss)
            if step % (steps // 20) == 0:
                held.append(memory())
    torch.set_num_threads(threads)
    report = watch.report()
    check_bounded(report.trace)
    grown = held[-1] - held[len(held) // 4]
    assert grown < GROWTH, f"{grown / MEGABYTE:.1f} MB"
    assert not report.trace.facts.errors
    assert report.save(tmp_path / "report.html").stat().st_size < REPORT
    tell(steps, grown, tmp_path / "report.html")


@pytest.mark.skipif(not LONG or chromium() is None, reason="make long: eight hours of a training that is looked at")
def test_a_long_training_that_is_looked_at_keeps_the_memory_of_both_sides(tmp_path: Path, few_words) -> None:
    pytest.importorskip("uvicorn")
    from lettrine.live.showing import Live  # noqa: PLC0415

    held: list[tuple[int, int, int, int]] = []
    live = Live(port=0)
    with Page(tmp_path / "profile") as page:
        page.call("Performance.enable")
        page.call("Page.navigate", url=live.address)

        def listen(now) -> None:
            live.offer(now.trace, {"step": now.step, "steps": now.steps}, lambda: {"lines": now.simple})
            if not held or now.step - held[-1][0] >= LONG // 20:
                page.call("HeapProfiler.collectGarbage")
                figures = {each["name"]: each["value"] for each in page.call("Performance.getMetrics")["metrics"]}
                held.append((now.step, memory(), int(figures["JSHeapUsedSize"]), int(figures["Nodes"])))
                page.events.clear()

        settings = Settings(
            steps=LONG, batch=8, learning_rate=0.01, schedule="constant", engine="native", optimiser=Optimiser("sgd")
        )
        lettrine.train(few_words, shape=Shape(3, 4, (8, 8), norm="batch"), settings=settings, on_progress=listen, page=False)
        pictures = page.evaluate("document.querySelectorAll('#pictures svg').length")
        live.close()
    early, late = held[len(held) // 4], held[-1]
    grown, heap = late[1] - early[1], late[2] - early[2]
    print(f"\n{LONG:,} steps seen: {grown / MEGABYTE:.1f} MB more here, {heap / MEGABYTE:.1f} MB there, {late[3]:,} nodes")  # noqa: T201
    assert pictures > 5
    assert grown < GROWTH + 3 * 8 * LONG
    assert heap < GROWTH
    assert late[3] < 2 * early[3] + 5_000
