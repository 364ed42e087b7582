"""Blind test of the health check on programs of others: `python -m benchmarks.wild --look first --mode watch`.

Each case runs in a process of its own under a time limit. `--verify` trains without any doctor and shows that healthy
programs learn and faults hurt. `--mode both` watches with the task, `health.watch(…, task=…)`, whose report is of both.
`--mode followed` does what the remedies of the watch say and shows whether it helps, on the programs of `remedies.TRIED` unless
others are named.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from benchmarks.wild.case import LOOKS, Case, load
from benchmarks.wild.doctor import MODES, Doctor, Examined
from benchmarks.wild.found import Found
from benchmarks.wild.judge import VERDICTS, loud, names, row
from benchmarks.wild.remedies import TRIED, VARIANTS

LIMIT_S: Final = 600  # a check-up of a minute may take three on a busy machine
HERE: Final = Path(__file__).parents[2]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.wild", description="programs of others, judged blind")
    parser.add_argument("--look", choices=(*LOOKS, VARIANTS), default="", help="only this look")
    parser.add_argument("--mode", choices=(*MODES, "followed"), default="watch")
    parser.add_argument("--case", nargs="*", default=[], help="only cases whose name contains one of these")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write all findings here")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--verify", action="store_true", help="train without a doctor; show that each label is true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.mode == "followed":
        load(VARIANTS)
    cases = load(options.look)
    if options.one and options.mode == "followed":
        print(json.dumps(follow_here(cases, options.one, options.seed)))
        return 0
    if options.one:
        print(json.dumps(run_here(cases[options.one], options.mode, options.seed)))
        return 0
    chosen = [case for name, case in cases.items() if not options.case or any(part in name for part in options.case)]
    if not chosen:
        print("no such case", file=sys.stderr)
        return 2
    if options.mode == "followed":
        usual = {name for names in TRIED.values() for name in names} if not (options.look or options.case) else set(cases)
        return tried([case for case in chosen if case.kinds and case.name in usual], options.seed, options.json)
    mode = "none" if options.verify or options.mode == "none" else options.mode
    show, answers = (_verified if mode == "none" else _judged), []
    with ThreadPoolExecutor(options.jobs) as pool:
        for case, answer in zip(chosen, pool.map(lambda case: examine(case, mode, options.seed), chosen), strict=True):
            answers.append(answer)
            print(show(case, answer), flush=True)
    if options.json:
        options.json.write_text(json.dumps(answers, indent=1))
    if mode == "none":
        doubtful = sum(_label_holds(case, answer).isupper() for case, answer in zip(chosen, answers, strict=True))
        print(f"{len(chosen)} cases, {len({case.project for case in chosen})} projects, {doubtful} labels not borne out")
        return int(doubtful > 0)
    totals(answers)
    return 0


def run_here(case: Case, mode: str, seed: int) -> dict[str, Any]:
    """Train one case under a doctor, in this process."""
    import torch  # noqa: PLC0415  the parent needs none

    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    doctor, score, start = Doctor(mode), None, time.perf_counter()
    with contextlib.suppress(Examined):
        score = case.program(doctor, seed)
    seconds = time.perf_counter() - start
    return {
        "found": [each.to_dict() for each in doctor.found],
        "failed": doctor.failed,
        "asked": doctor.asked,
        "verdict": doctor.verdict,
        "score": None if score is None else [score.value, score.bar, score.higher, score.good],
        "seconds": seconds,
    }


def examine(case: Case, mode: str, seed: int) -> dict[str, Any]:
    """Run one case in a process of its own, and judge what was found."""
    answer = _run(case, mode, seed)
    found = [Found(**{**item, "where": tuple(item["where"])}) for item in answer.get("found", [])]
    failed = answer.get("failed", []) + ([f"broke: {answer['error']}"] if "error" in answer else [])
    told = {key: answer.get(key) for key in ("score", "verdict")}
    return {**row(case, found, answer["seconds"], failed), **told, "asked": bool(answer.get("asked"))}


def _run(case: Case, mode: str, seed: int) -> dict[str, Any]:
    command = [
        sys.executable,
        "-m",
        "benchmarks.wild",
        "--one",
        case.name,
        "--look",
        case.look,
        "--mode",
        mode,
        "--seed",
        str(seed),
    ]
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    start = time.perf_counter()
    try:
        done = subprocess.run(
            command, cwd=HERE, env=os.environ | threads, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return {"error": f"longer than {LIMIT_S} s", "seconds": float(LIMIT_S)}
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        last = done.stderr.strip().splitlines()[-1:] or ["nothing was printed"]
        return {"error": last[0], "seconds": time.perf_counter() - start}
    return json.loads(lines[-1])


def follow_here(cases: dict[str, Case], name: str, seed: int) -> dict[str, Any]:
    """Train one case as its remedies say, in this process."""
    import torch  # noqa: PLC0415
    from benchmarks.wild.followed import followed  # noqa: PLC0415  needs torch

    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    twin = next((case for case in cases.values() if case.cure_of == name), None)
    return {"followed": [each.row for each in followed(cases[name], twin, seed)]}


def tried(cases: list[Case], seed: int, file: Path | None) -> int:
    """Print what following each remedy did to the program's own score; 1 if one does harm."""
    rows: list[dict[str, Any]] = []
    for case in cases:
        answer = _run(case, "followed", seed)
        for each in answer.get("followed", []):
            rows.append(each)
            said = "HARMS" if each["harms"] else "helps" if each["gain"] > 0 else "no change"
            mark, line = ">=" if each["higher"] else "<=", f"{each['finding']:24} {each['case']:38} {each['how']:11}"
            print(f"{line} {each['before']:10.4g} -> {each['after']:10.4g} {mark} {each['bar']:<8.4g} {said}", flush=True)
        if "error" in answer:
            print(f"{case.name}: {answer['error']}", flush=True)
    harmful = sum(each["harms"] for each in rows)
    kinds = Counter(each["finding"] for each in rows)
    twice = sum(count > 1 for count in kinds.values())
    print(f"\n{len(rows)} remedies of {len(kinds)} findings, {twice} on two programs; {harmful} harm")
    if file:
        file.write_text(json.dumps(rows, indent=1))
    return int(harmful > 0)


def _verified(case: Case, answer: dict[str, Any]) -> str:
    """A line with the score of a case beside its bar, and whether that bears its label out."""
    value, bar, higher, _ = answer["score"] or (float("nan"), float("nan"), True, False)
    label, mark = case.kinds[0] if case.kinds else "healthy", ">=" if higher else "<="
    said = _label_holds(case, answer)
    return f"{case.name:38} {label:24} {value:10.4g} {mark} {bar:<8.4g} {answer['seconds']:5.1f} s  {said}"


def _label_holds(case: Case, answer: dict[str, Any]) -> str:
    """What the score says of the label; in capitals where it contradicts it."""
    if answer["checks_failed"]:
        return answer["checks_failed"][0].upper()
    good = bool(answer["score"] and answer["score"][3])
    if case.kinds:
        return "hurts" if not good else f"certain: {case.certain}" if case.certain else "DOES NOT HURT"
    return "learns" if good else "DOES NOT LEARN"


def _judged(case: Case, answer: dict[str, Any]) -> str:
    """A line with what was found in a case and how that is judged."""
    found = [Found(**{**each, "where": tuple(each["where"])}) for each in answer["found"]]
    told = ", ".join(_told(each, case) for each in found if not each.folded) or "-"
    mark = " (first)" if answer["first_listed"] else ""
    trouble = f"  [{'; '.join(answer['checks_failed'])}]" if answer["checks_failed"] else ""
    label = f"{'/'.join(case.kinds)}{'@' if case.where else ''}{case.where}" or "healthy"
    return f"{case.name:38} {label:34} {answer['judged']}{mark}: {told}{trouble}"


def totals(answers: list[dict[str, Any]]) -> None:
    """Print the table: faults by what became of them, sound programs, every false alarm in full."""
    faults = [answer for answer in answers if answer["kinds"]]
    print(f"\n{'':18}" + "".join(f"{verdict:>14}" for verdict in VERDICTS) + f"{'first-listed':>14}")
    counts = Counter(answer["judged"] for answer in faults)
    first = sum(answer["first_listed"] for answer in faults)
    print(f"{len(faults):4} faults       " + "".join(f"{counts[verdict]:14}" for verdict in VERDICTS) + f"{first:14}")
    for title, sound in (
        ("healthy", [answer for answer in answers if not answer["kinds"] and not answer["cure_of"]]),
        ("cured", [answer for answer in answers if answer["cure_of"]]),
    ):
        alarmed = [answer for answer in sound if answer["judged"] == "FALSE ALARM"]
        print(f"{len(sound):4} {title:12} {len(sound) - len(alarmed):5} silent {len(alarmed):5} FALSE ALARM")
        for answer in alarmed:
            loud_ones = [each for each in answer["found"] if each["severity"] != "info" and not each["folded"]]
            for each in loud_ones:
                print(f"     {answer['case']}: {each['severity']} {each['id']}: {each['message']} -> {each['remedy']}")
    unasked = [answer["case"] for answer in answers if not answer.get("asked", True)]
    if unasked:
        print(f"{len(unasked)} cases hand this doctor nothing: {', '.join(unasked)}")
    broken = [answer["case"] for answer in answers if answer["checks_failed"]]
    if broken:
        print(f"broke in {len(broken)}: {', '.join(broken)}")


def _told(found: Found, case: Case) -> str:
    place = f" {found.where[0]}" if found.where else ""
    star = "*" if case.kinds and names(found, case) else ""
    return f"{star}{found.id}{place}" if loud(found) else f"({star}{found.id})"


if __name__ == "__main__":
    raise SystemExit(main())
