"""Run the tests of torch/ that are not slow on several versions of torch, and print a table.

    python scripts/matrix.py [oldest | newest | VERSION | PYTHON ...] [--cuda no|local|yes] [--tests tests/torch] [--to .venvs]

Without versions: the oldest that pyproject.toml allows, the one of constraints.txt, and the newest there is. The version that is
here already is tested as it is. Each other version gets a virtual environment with that torch; all else comes from this one.
PYTHON is the interpreter of an environment that has a torch already; its packages go before ours, and nothing is installed.

Builds are looked for where torch keeps those for the processor alone (download.pytorch.org), and where pip looks by itself. If
the places have different versions, the highest one counts. If it is a build for graphics cards, `--cuda` says whether that will
do. It takes 5 GB; no card is needed.

    no      never (the default)
    local   if pip has that build on this machine's disk
    yes     wherever it comes from

A version that fails makes the exit code 1. So does one that is not found, or has no room on the disk, unless `--missing skip` is
given.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from packaging.version import Version

HERE = Path(__file__).parent.parent
INDEX = "https://download.pytorch.org/whl/cpu"
CARDS = ("nvidia", "cuda", "triton", "pytorch-triton")  # how the packages of graphics cards are called
ROOM = 12e9  # bytes for a build for graphics cards, while it is unpacked
SECONDS = "15"  # in which an index must answer
CONSTRAINTS = HERE / "constraints.txt"
TORCH = "import torch; print(torch.__version__)"
NOT_FOUND = "not found"
SITE = "import sysconfig; print(sysconfig.get_path('purelib'))"


def wanted(asked: list[str]) -> list[str]:
    """The versions asked for, else the oldest, the pinned and the newest one."""
    extras = tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    oldest = next(each for each in extras["torch"] if each.startswith("torch>=")).removeprefix("torch>=")
    pinned = re.search(r"^torch==(\S+)$", CONSTRAINTS.read_text(encoding="utf-8"), re.MULTILINE)
    oldest = oldest if oldest.count(".") > 1 else f"{oldest}.0"
    versions = asked or ["oldest", pinned[1] if pinned else "newest", "newest"]
    return list(dict.fromkeys(oldest if each == "oldest" else each for each in versions))


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """A command, and what it said."""
    return subprocess.run([str(each) for each in command], cwd=HERE, capture_output=True, text=True, check=False)


def planned(pip: tuple[str | Path, ...], *what: str) -> dict[str, dict[str, Any]] | str:
    """What pip would install, by name of the package, in the form of pip's report; or why it would not."""
    tried = run(*pip, "--quiet", "--dry-run", "--ignore-installed", "--report", "-", *what)
    if tried.returncode:
        failed = [line for line in tried.stderr.splitlines() if line.startswith("ERROR: ")] or ["ERROR: pip failed"]
        return failed[-1].removeprefix("ERROR: ")
    return {each["metadata"]["name"]: each for each in json.loads(tried.stdout)["install"]}


def source(pip: tuple[str | Path, ...], torch: str, cuda: str) -> tuple[tuple[str, ...] | None, str]:
    """The options by which pip finds this torch, in a build that `cuda` allows; None and why where it does not."""
    quick = ("--index-url", INDEX, "--timeout", SECONDS, "--retries", "0")
    places = {"download.pytorch.org": quick, "where pip looks otherwise": ()}
    plans = {place: planned(pip, *options, torch) for place, options in places.items()}
    versions = {place: Version(plan["torch"]["metadata"]["version"]) for place, plan in plans.items() if isinstance(plan, dict)}
    newest, reasons = max((each.release for each in versions.values()), default=()), []
    for place, plan in plans.items():
        if isinstance(plan, str):
            reasons.append(f"{place}: {plan}")
        elif versions[place].release < newest:
            reasons.append(f"{place}: only {versions[place]}")
        else:
            cards = [each for each in plan if each.lower().startswith(CARDS)]
            local = plan["torch"]["download_info"]["url"].startswith("file:")
            if not cards or cuda == "yes" or (cuda == "local" and local):
                return places[place], ""
            reasons.append(f"{place}: {versions[place]} would bring {len(cards)} packages of graphics cards; see --cuda")
    return None, f"{NOT_FOUND} ({'; '.join(reasons)})"


def said(python: str | Path, code: str) -> str:
    """What a line of Python prints there; "" if it fails."""
    return run(python, "-c", code).stdout.strip()


def made(version: str, folder: Path, cuda: str) -> tuple[Path | None, str]:
    """The interpreter of an environment with this torch, and its version; None and why if there is none."""
    python, here = folder / "bin" / "python", said(sys.executable, TORCH)
    if version == here.partition("+")[0]:
        return Path(sys.executable), here
    if not (folder / "ready").exists():
        run(sys.executable, "-m", "venv", "--clear", folder)
        sites = [said(sys.executable, SITE)]
        if Path(version).is_file():
            sites.insert(0, said(version, SITE))
        elif why := installed(python, "torch" if version == "newest" else f"torch=={version}", cuda):
            return None, why
        lines = [f"import site; site.addsitedir({each!r})\n" for each in sites]
        (Path(said(python, SITE)) / "beside.pth").write_text("".join(lines), encoding="utf-8")
    if not (found := said(python, TORCH)):
        return None, "torch cannot be imported"
    (folder / "ready").touch()
    return python, found


def installed(python: Path, torch: str, cuda: str) -> str:
    """Install this torch; "" or why it could not be installed."""
    pip = (python, "-m", "pip", "install", "--disable-pip-version-check")  # without our pins, which would hold an older torch
    options, why = source(pip, torch, cuda)
    if options is None:
        return why
    if cuda != "no" and shutil.disk_usage(python.parent).free < ROOM:
        return f"{NOT_FOUND} (less than {ROOM / 1e9:.0f} GB are free for it)"
    found = run(*pip, "--quiet", "--no-compile", *options, torch)
    return (found.stderr.strip().splitlines() or ["pip failed"])[-1] if found.returncode else ""


def tested(python: Path, tests: list[str]) -> str:
    """Run the tests but the slow ones, print those that fail, and say how it went: "passed" or "FAILED", and the last line."""
    done = run(python, "-m", "pytest", "-n", "2", "--dist", "worksteal", "-q", "-p", "no:cacheprovider", "-m", "not slow", *tests)
    for line in done.stdout.splitlines():
        if line.startswith(("FAILED", "ERROR")):
            print(line, flush=True)
    last = (done.stdout.strip().splitlines() or done.stderr.strip().splitlines() or ["pytest said nothing"])[-1]
    return f"{'passed' if done.returncode == 0 else 'FAILED'}: {last}"


def main() -> None:
    """Make the environments, run the tests, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("versions", nargs="*", metavar="VERSION")
    parser.add_argument("--cuda", choices=("no", "local", "yes"), default="no")
    parser.add_argument("--missing", choices=("fail", "skip"), default="fail")
    parser.add_argument("--tests", nargs="+", default=["tests/torch"])
    parser.add_argument("--to", type=Path, default=HERE / ".venvs")
    options = parser.parse_args()
    rows, well = [], True
    for version in wanted(options.versions):
        print(f"torch {version}: running its tests", flush=True)
        name = "torch-" + re.sub(r"[^\w.]+", "-", version).strip("-")
        python, found = made(version, options.to / name, options.cuda)
        result = found if python is None else tested(python, options.tests)
        rows.append((version, found if python else "", result))
        well &= result.startswith("passed") or (options.missing == "skip" and result.startswith(NOT_FOUND))
    width = max(len(version) for version, _, _ in rows)
    for version, found, result in rows:
        print(f"torch {version:{width}}  {found:14}  {result}")
    sys.exit(not well)


if __name__ == "__main__":
    main()
