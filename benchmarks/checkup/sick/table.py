"""One row a case, sick and cured, and the totals."""

from __future__ import annotations

from typing import Any

import torch
from benchmarks.checkup.sick import CASES

from lettrine import health
from lettrine.torch.checkup import task


def table(part: str, options: dict[str, Any]) -> None:
    """Print one row a case, sick and cured, and the totals."""
    named = first = other = clean = count = 0
    for each in CASES:
        if part.lower() not in f"{each.name} {each.kind}".lower():
            continue
        count += 1
        loud, seconds = {}, {}
        for cured in (False, True):
            torch.manual_seed(1)
            begun = task.clock()
            report = health.checkup(*each.build(cured), **options)
            seconds[cured] = task.clock() - begun
            loud[cured] = [found for found in report.findings if found.severity != "info"]
            failed = [f"FAILED {o.check}: {o.reason}" for o in report.outcomes if o.status == "failed"]
            for text in failed:
                print(f"    {text}")
        right = [place for place, found in enumerate(loud[False]) if found.id == each.kind and _there(each.where, found.where)]
        named += bool(right)
        first += right[:1] == [0]
        other += bool(loud[False]) and not right
        clean += not loud[True]
        verdict = "named first" if right[:1] == [0] else "named" if right else "OTHER" if loud[False] else "MISSED"
        rest = [f"{found.id} {', '.join(found.where[:2])}" for place, found in enumerate(loud[False]) if place not in right]
        alarms = "; ".join(f"{found.id}: {found.message}" for found in loud[True])
        print(f"{each.name:<56} {each.kind:<22} {verdict:<12} {seconds[False]:5.1f} s  {'; '.join(rest)}", flush=True)
        if alarms:
            print(f"    CURED, AND STILL: {alarms}", flush=True)
    print(
        f"\n{count} faults: {named} named at the right place, {first} first; {other} called something else; {clean} of "
        f"{count} cures silent"
    )


def _there(wanted: str, where: tuple[str, ...]) -> bool:
    return not wanted or any(wanted in name for name in where)
