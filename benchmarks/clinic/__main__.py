"""python -m benchmarks.clinic [--doctor lettrine] [--seeds 0 1] [--part all|tuned|held-out|newcomer|quick] [--only TEXT] …

With --followed, sick patients are trained again as the remedies of their findings say; the command ends with 1 if one does harm.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from itertools import product
from math import isnan
from pathlib import Path

import torch
from benchmarks.clinic.doctors import DOCTORS, examined
from benchmarks.clinic.followed import followed
from benchmarks.clinic.newcases import CASES
from benchmarks.clinic.plants import Case
from benchmarks.clinic.score import Result, confusion, rendered, summary


def main() -> int:
    parser = argparse.ArgumentParser(description="Healthy and sick networks, and what a health check makes of them.")
    parser.add_argument("--doctor", choices=["all", *DOCTORS], default="all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--part", choices=["all", "tuned", "held-out", "newcomer", "quick"], default="all")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--verbose", action="store_true", help="print every finding of every case")
    parser.add_argument("--followed", action="store_true", help="train again as the remedies say, and compare held-out losses")
    options = parser.parse_args()
    torch.set_num_threads(1)
    chosen = [
        case
        for case in CASES
        if options.only in case.name
        and (options.part == "all" or (case.quick if options.part == "quick" else case.part == options.part))
    ]
    if options.followed:
        return tried([case for case in chosen if case.fault], options.seeds)
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
    return 0


def tried(cases: list[Case], seeds: list[int]) -> int:
    """Print what following each remedy did to the held-out loss; 1 if one does harm."""
    outcomes: Counter[str] = Counter()
    for case, seed in product(cases, seeds):
        for each in followed(case, seed):
            outcomes[each.outcome] += 1
            what = f"{each.finding:24} {each.case:40} {seed:5} {each.how:11}"
            print(f"{what} {each.before:10.4g} -> {each.after:10.4g} {each.outcome}", flush=True)
    print(f"{outcomes.total()} remedies: {', '.join(f'{count} {outcome}' for outcome, count in outcomes.items())}")
    return int(outcomes["HARMS"] > 0)


if __name__ == "__main__":
    raise SystemExit(main())
