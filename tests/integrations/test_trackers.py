"""Figures of a real training in real trackers, without a network: what is read back from them is what the report says."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_trainings import SIZE, examples, network, same_weights
from torch import nn
from torch.nn import functional

from lettrine import health
from lettrine.health.findings import Report

STEPS = 30
KEYS = {"health/loss", "health/2.weight/update_data", "health/0/output_std", "health/0/grad_std", "health/1/dead"}


def train(log_to: Any, *, steps: int = STEPS) -> tuple[nn.Module, Report]:
    """Watched, with an optimiser that holds no more than half of the network: that is found."""
    model = network()
    optimiser = torch.optim.SGD(model[2].parameters(), lr=0.1)
    x, y = examples(SIZE * steps)
    with health.watch(model, optimiser, log_to=log_to) as watch:
        for place in range(0, len(x), SIZE):
            optimiser.zero_grad()
            loss = functional.cross_entropy(model(x[place : place + SIZE]), y[place : place + SIZE])
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    report = watch.report()
    assert report.findings
    return model, report


def truth(report: Report) -> dict[str, dict[int, float]]:
    """By key and step."""
    found: dict[str, dict[int, float]] = {}
    for step, key, value in report.scalars():
        found.setdefault(key, {})[step] = value
    return found


def assert_told(report: Report, points: dict[str, list[tuple[int, float]]]) -> None:
    """points: what the tracker has, by key. At most 50 series, each step as it was."""
    known = truth(report)
    assert set(points) >= KEYS
    assert len(points) <= 51, "50, and the number of findings"
    assert points["health/findings"] == [(int(report.trace.steps[-1]), len(report.findings))]
    for key in KEYS:
        assert [step for step, _ in points[key]] == report.trace.steps.tolist(), key
        np.testing.assert_allclose([value for _, value in points[key]], [known[key][step] for step, _ in points[key]], rtol=1e-5)


def test_plain_functions_need_no_more_than_they_did() -> None:
    seen: dict[str, list[tuple[int, float]]] = {}
    model, report = train(lambda values, step: [seen.setdefault(key, []).append((step, value)) for key, value in values.items()])
    assert set(seen) >= KEYS
    unwatched, _ = train(None)
    assert same_weights(model, unwatched)
    assert "health/findings" not in seen
    assert report.trace.facts.errors == ()


def test_a_tracker_that_breaks_at_the_end_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        told = 0

        def __call__(self, *_: Any) -> None:
            self.told += 1

        def finish(self, _: Report) -> None:
            raise ConnectionError("gone")

    broken = Broken()
    _, report = train(broken)
    assert broken.told == len(report.trace.steps)
    assert "ConnectionError: gone" in caplog.text


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    from lettrine.integrations.tensorboard import TensorBoard

    with SummaryWriter(str(tmp_path)) as writer:
        _, report = train(TensorBoard(writer))
    kept = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0, "histograms": 0, "tensors": 0})
    kept.Reload()
    tags = kept.Tags()
    assert_told(report, {key: [(each.step, each.value) for each in kept.Scalars(key)] for key in tags["scalars"]})
    histogram = kept.Histograms("health/0/outputs")
    true = report.trace.output_histograms["0"]
    assert [each.step for each in histogram] == true.steps.tolist()
    assert histogram[0].histogram_value.num == true.counts[0].sum()
    assert histogram[0].histogram_value.max == true.high[0]
    texts = {tag: kept.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in tags["tensors"]}
    assert texts["health/verdict/text_summary"] == report.verdict
    assert report.findings[0].id in texts["health/findings/table/text_summary"]
    assert (tmp_path / "health.html").stat().st_size > 10_000


def test_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow = pytest.importorskip("mlflow")
    from lettrine.integrations.mlflow import MLflow

    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    with mlflow.start_run() as run:
        _, report = train(MLflow())
    client = mlflow.MlflowClient()
    kept = client.get_run(run.info.run_id)
    points = {
        key: [(each.step, each.value) for each in client.get_metric_history(run.info.run_id, key)] for key in kept.data.metrics
    }
    assert_told(report, points)
    assert kept.data.tags["health/verdict"] == report.verdict
    folder = Path(kept.info.artifact_uri.removeprefix("file://")) / "health"
    assert json.loads((folder / "findings.json").read_text())["data"][0][1] == report.findings[0].id
    assert (folder / "health.html").stat().st_size > 10_000


def test_trackio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    trackio = pytest.importorskip("trackio")
    from lettrine.integrations.trackio import Trackio

    trackio.init(project="letters", name="one", embed=False, auto_log_gpu=False, auto_log_cpu=False)
    _, report = train(Trackio())
    trackio.finish()
    rows = trackio.SQLiteStorage.get_logs("letters", "one")
    points: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        for key, value in row.items():
            if key.startswith("health/") and isinstance(value, int | float):
                points.setdefault(key, []).append((row["step"], value))
    assert_told(report, points)
    last = rows[-1]
    assert last["health/verdict"] == report.verdict
    assert report.findings[0].id in json.dumps(last["health/findings/table"])
    assert any(row.get("health/0/outputs", {}).get("_type") == "trackio.histogram" for row in rows)
    assert any(path.stat().st_size > 10_000 for path in tmp_path.rglob("*") if path.is_file())


def records(data: bytes, block: int = 2**15) -> Iterator[bytes]:
    """What a file of an offline run holds: LevelDB's log, in blocks, behind a header of 7 bytes."""
    place, part = 7, b""
    while place + 7 <= len(data):
        if block - place % block < 7:
            place += block - place % block
            continue
        size, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        part += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last part
            yield part
            part = b""


def test_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("WANDB_MODE", "offline"), ("WANDB_DIR", str(tmp_path)), ("WANDB_SILENT", "true")):
        monkeypatch.setenv(name, value)
    wandb = pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2

    from lettrine.integrations.wandb import WeightsAndBiases

    with wandb.init(project="letters", dir=str(tmp_path)) as run:
        run.log({"own": 1.0})
        _, report = train(WeightsAndBiases(run))
        tags = run.tags
    assert report.verdict in tags
    points: dict[str, list[tuple[int, float]]] = {}
    texts = ""
    kept: list[Any] = []
    until = time.monotonic() + 20
    while not (kept and kept[-1].WhichOneof("record_type") == "exit") and time.monotonic() < until:  # another process writes
        time.sleep(0.1)
        kept = [wandb_internal_pb2.Record.FromString(data) for data in records(next(tmp_path.rglob("*.wandb")).read_bytes())]
    for record in kept:
        texts += str(record) if record.WhichOneof("record_type") == "artifact" else ""
        row = {(item.key or item.nested_key[0]): json.loads(item.value_json) for item in record.history.item}
        for key, value in row.items():
            if key.startswith("health/") and key != "health/step" and isinstance(value, int | float):
                points.setdefault(key, []).append((row["health/step"], value))
    assert_told(report, points)
    assert "health.html" in texts
    assert list(tmp_path.rglob("*table*.json"))
