"""`python -m benchmarks.checkup`: the check-up on healthy public models, and on sick and cured small tasks.

python -m benchmarks.checkup                    # both tables
python -m benchmarks.checkup --healthy gpt      # healthy models whose name has this in it
python -m benchmarks.checkup --sick
python -m benchmarks.checkup --cpu --threads 1  # on a busy machine: processor time

Public models need their libraries; beside a torch without CUDA: pip install --no-deps torchvision timm torch_geometric diffusers.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import time
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from benchmarks.checkup import generative, healthy, sequences, tables  # noqa: F401  each fills MODELS
from benchmarks.checkup.making import MODELS

from lettrine import health
from lettrine.health.evidence import EXPERIMENT
from lettrine.torch.checkup import task

OPERATORS = torch.library.Library("torchvision", "FRAGMENT")  # lives as long as what it declares


def declare_operators() -> None:
    """Make torchvision importable beside a torch that it was not compiled for: its networks are plain Python, and only the names
    of two operators must be known.
    """
    if importlib.util.find_spec("torchvision") is None or hasattr(torch.ops.torchvision, "nms"):
        return
    for name in ("nms", "qnms"):
        OPERATORS.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--healthy", nargs="?", const="", default=None)
    parser.add_argument("--sick", nargs="?", const="", default=None)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--only", default="")
    parser.add_argument("--cpu", action="store_true", help="count processor time, on a machine that is busy with other things")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    declare_operators()
    if given.cpu:
        task.clock = task.monotonic = time.process_time  # type: ignore[assignment]
    options: dict[str, Any] = {"minutes": given.minutes, "progress": False}
    if given.only:
        options["only"] = given.only.split(",")
    both = given.healthy is None and given.sick is None
    if both or given.healthy is not None:
        stay_silent(given.healthy or "", options)
    if both or given.sick is not None:
        from benchmarks.checkup.sick.table import table

        table(given.sick or "", options)


def stay_silent(part: str, options: dict[str, Any]) -> None:
    times: list[float] = []
    alarms = remarks = 0
    cost: dict[str, list[float]] = {}
    missing: dict[str, int] = {}
    for name, (library, build) in sorted(
        MODELS.items(),
        key=lambda item: (
            ("torch", "torch_geometric", "transformers").index(item[1][0])
            if item[1][0] in ("torch", "torch_geometric", "transformers")
            else 9
        ),
    ):
        if part.lower() not in name.lower():
            continue
        if importlib.util.find_spec(library) is None:
            missing[library] = missing.get(library, 0) + 1
            continue
        torch.manual_seed(0)
        try:
            made = build()
        except Exception as error:  # noqa: BLE001  another version of the library may lack a model
            print(f"{name:<52} could not be built: {type(error).__name__}: {str(error)[:120]}", flush=True)
            continue
        begun = task.clock()
        try:
            report = health.checkup(*made, **options)
        except Exception as error:  # noqa: BLE001
            print(f"{name:<52} RAISED {type(error).__name__}: {str(error)[:300]}", flush=True)
            alarms += 1
            continue
        seconds = task.clock() - begun
        times.append(seconds)
        loud = [each for each in report.findings if each.severity != "info"]
        failed = [each for each in report.outcomes if each.status == "failed"]
        quiet = [each for each in report.findings if each.severity == "info"]
        alarms += bool(loud or failed)
        remarks += len(quiet)
        for each in report.trace.evidence:
            if each.kind.startswith(EXPERIMENT):
                cost.setdefault(each.kind.removeprefix(EXPERIMENT), []).append(each.figure("seconds"))
        said = [f"{each.severity.upper()} {each.id}: {each.message}" for each in loud] + [
            f"FAILED {each.check}: {each.reason}" for each in failed
        ]
        ran = sum(each.status in ("passed", "found") for each in report.outcomes)
        not_run = sum(each.status == "not run" for each in report.outcomes)
        notes = f"  ({', '.join(each.id for each in quiet)})" if quiet else ""
        print(f"{name:<52} {seconds:6.1f} s  {ran:>2} ran {not_run:>2} not  {'; '.join(said) or 'silent'}{notes}", flush=True)
    if times:
        print(
            f"\n{len(times)} models, {alarms} alarmed, {remarks} remarks; median {statistics.median(times):.1f} s, longest "
            f"{max(times):.1f} s"
        )
        print("seconds an experiment, median and longest: ", end="")
        print(", ".join(f"{name} {statistics.median(each):.2f} {max(each):.1f}" for name, each in cost.items()))
    for library, count in missing.items():
        print(f"{count} models of {library} left out: not installed")


if __name__ == "__main__":
    main()
