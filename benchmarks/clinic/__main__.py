"""python -m benchmarks.clinic [--doctor lettrine] [--seeds 0 1] [--part all|tuned|held-out|newcomer|quick] [--only TEXT] …"""

from __future__ import annotations

import argparse
import json
import time
from math import isnan
from pathlib import Path

import torch
from benchmarks.clinic.doctors import DOCTORS, examined
from benchmarks.clinic.newcases import CASES
from benchmarks.clinic.score import Result, confusion, rendered, summary


def main() -> None:
    parser = argparse.ArgumentParser(description="Healthy and sick networks, and what a health check makes of them.")
    parser.add_argument("--doctor", choices=["all", *DOCTORS], default="all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--part", choices=["all", "tuned", "held-out", "newcomer", "quick"], default="all")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--verbose", action="store_true", help="print every finding of every case")
    options = parser.parse_args()
    torch.set_num_threads(1)
    chosen = [
        case
        for case in CASES
        if options.only in case.name
        and (options.part == "all" or (case.quick if options.part == "quick" else case.part == options.part))
    ]
    figures = {}
    for doctor in DOCTORS if options.doctor == "all" else [options.doctor]:
        began = time.perf_counter()
        results = []
        for case in chosen:
            for seed in options.seeds:
                start = time.perf_counter()
                results.append(Result(case, seed, tuple(examined(case, seed, doctor))))
                if options.verbose:
                    print(f"{case.name} seed {seed} ({time.perf_counter() - start:.1f} s)")
                    for each in results[-1].answers:
                        print(f"    {each.severity:8} {each.id:22} {list(each.where)[:4]} {each.message}")
        print(f"== {doctor}, {time.perf_counter() - began:.0f} s")
        print(rendered(results))
        known = {name: None if isnan(value) else value for name, value in summary(results).items()}
        figures[doctor] = {**known, "confusion": confusion(results), "runs": len(results)}
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
