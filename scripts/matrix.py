"""Run the watching tests on several versions of torch, each in a virtual environment of its own, and print a table.

    python scripts/matrix.py [oldest | newest | VERSION ...] [--tests tests/torch] [--to .venvs]

Without versions: the oldest that pyproject.toml allows, the one of constraints.txt, and the newest there is. Builds for the
processor alone are looked for, first where torch keeps them (download.pytorch.org), then where pip looks otherwise; a version
that would bring packages of graphics cards along is not installed. A version that is not found, or fails, makes the exit code 1.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent.parent
INDEX = "https://download.pytorch.org/whl/cpu"
CARDS = re.compile(r"\b(?:nvidia|cuda|triton|pytorch-triton)[\w.-]*", re.IGNORECASE)
SECONDS = "15"  # in which an index must answer
CONSTRAINTS = HERE / "constraints.txt"


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


def source(pip: tuple[str | Path, ...], torch: str) -> tuple[tuple[str, ...] | None, str]:
    """The options by which pip finds this torch without packages of graphics cards; None and why where it does not."""
    reasons = []
    for options, place in ((("--index-url", INDEX), "download.pytorch.org"), ((), "where pip looks otherwise")):
        tried = run(*pip, "--dry-run", "--ignore-installed", "--timeout", SECONDS, "--retries", "0", *options, torch)
        cards = sorted(set(CARDS.findall(tried.stdout.rpartition("Would install")[2])))
        if tried.returncode == 0 and not cards:
            return options, ""
        failed = [line for line in tried.stderr.splitlines() if line.startswith("ERROR: ")] or ["ERROR: pip failed"]
        reason = f"it would bring {len(cards)} packages of graphics cards" if cards else failed[-1].removeprefix("ERROR: ")
        reasons.append(f"{place}: {reason}")
    return None, "not found for the processor alone (" + "; ".join(reasons) + ")"


def made(version: str, folder: Path) -> tuple[Path | None, str]:
    """The interpreter of an environment with this torch, and its version; None and why where there is none."""
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        run(sys.executable, "-m", "venv", "--clear", folder)
        torch = "torch" if version == "newest" else f"torch=={version}"
        pins = [line for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines() if not line.startswith("torch")]
        (folder / "constraints.txt").write_text("\n".join(pins) + "\n", encoding="utf-8")
        pip = (python, "-m", "pip", "install", "--disable-pip-version-check", "-c", folder / "constraints.txt")
        options, why = source(pip, torch)
        if options is None:
            return None, why
        for what in ((*options, torch), ("-e", ".[torch,report,corpora,test]")):  # torch is there when ours is installed
            found = run(*pip, "--quiet", *what)
            if found.returncode:
                return None, (found.stderr.strip().splitlines() or ["pip failed"])[-1]
    told = run(python, "-c", "import torch; print(torch.__version__)")
    if told.returncode:
        return None, (told.stderr.strip().splitlines() or ["torch cannot be imported"])[-1]
    (folder / "ready").touch()
    return python, told.stdout.strip()


def tested(python: Path, tests: list[str]) -> str:
    """Run the tests, print those that fail, and say how it went: "passed" or "FAILED", and pytest's last line."""
    done = run(python, "-m", "pytest", "-n", "2", "-q", "-p", "no:cacheprovider", *tests)
    for line in done.stdout.splitlines():
        if line.startswith(("FAILED", "ERROR")):
            print(line, flush=True)
    last = (done.stdout.strip().splitlines() or done.stderr.strip().splitlines() or ["pytest said nothing"])[-1]
    return f"{'passed' if done.returncode == 0 else 'FAILED'}: {last}"


def main() -> None:
    """Make the environments, run the tests, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("versions", nargs="*", metavar="VERSION")
    parser.add_argument("--tests", nargs="+", default=["tests/torch"])
    parser.add_argument("--to", type=Path, default=HERE / ".venvs")
    options = parser.parse_args()
    rows = []
    for version in wanted(options.versions):
        print(f"torch {version}: making an environment and running {' '.join(options.tests)}", flush=True)
        python, found = made(version, options.to / f"torch-{version}")
        rows.append((version, "", found) if python is None else (version, found, tested(python, options.tests)))
    width = max(len(version) for version, _, _ in rows)
    for version, found, result in rows:
        print(f"torch {version:{width}}  {found:14}  {result}")
    sys.exit(any(not result.startswith("passed") for _, _, result in rows))


if __name__ == "__main__":
    main()
