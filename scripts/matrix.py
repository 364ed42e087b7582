"""Run the watching tests on several versions of torch, each in a virtual environment of its own, and print a table.

    python scripts/matrix.py [oldest | newest | VERSION ...] [--tests tests/torch] [--to .venvs]

Without versions: the oldest that pyproject.toml allows, the one of constraints.txt, and the newest there is. Builds for the
processor alone are asked for (download.pytorch.org); what would bring packages of a graphics card along is not installed.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

HERE = Path(__file__).parent.parent
INDEX = "https://download.pytorch.org/whl/cpu"
CARDS = re.compile(r"\b(?:nvidia|cuda|triton|pytorch-triton)[\w.-]*", re.IGNORECASE)
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


def made(version: str, folder: Path) -> tuple[Path | None, str]:
    """The interpreter of an environment with this torch, and its version; None and why where there is none."""
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        run(sys.executable, "-m", "venv", "--clear", folder)
        torch = "torch" if version == "newest" else f"torch=={version}"
        pins = [line for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines() if not line.startswith("torch")]
        (folder / "constraints.txt").write_text("\n".join(pins) + "\n", encoding="utf-8")
        pip = (python, "-m", "pip", "install", "--disable-pip-version-check", "-c", folder / "constraints.txt")
        tried = run(*pip, "--dry-run", "--index-url", INDEX, torch)
        if cards := sorted(set(CARDS.findall(tried.stdout.rpartition("Would install")[2]))):
            return None, f"packages of graphics cards would come with it: {', '.join(cards)}"
        for what in (
            ("--index-url", INDEX, torch),
            ("-e", ".[torch,report,corpora,test]"),
        ):  # torch is there when ours is installed
            found = run(*pip, "--quiet", *what)
            if found.returncode:
                return None, (found.stderr.strip().splitlines() or ["pip failed"])[-1]
    told = run(python, "-c", "import torch; print(torch.__version__)")
    if told.returncode:
        return None, (told.stderr.strip().splitlines() or ["torch cannot be imported"])[-1]
    (folder / "ready").touch()
    return python, told.stdout.strip()


def main() -> None:
    """Make the environments, run the tests, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("versions", nargs="*", metavar="VERSION")
    parser.add_argument("--tests", nargs="+", default=["tests/torch"])
    parser.add_argument("--to", type=Path, default=HERE / ".venvs")
    options = parser.parse_args()
    rows = []
    for version in wanted(options.versions):
        python, found = made(version, options.to / f"torch-{version}")
        start = time.monotonic()
        if python is None:
            rows.append((version, "", found))
            continue
        tested = run(python, "-m", "pytest", "-n", "2", "-q", "-p", "no:cacheprovider", *options.tests)
        last = (tested.stdout.strip().splitlines() or [tested.stderr.strip()])[-1]
        rows.append(
            (version, found, f"{'passed' if tested.returncode == 0 else 'FAILED'}: {last} ({time.monotonic() - start:.0f} s)")
        )
        if tested.returncode:
            print("\n".join(line for line in tested.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))))
    width = max(len(version) for version, _, _ in rows)
    for version, found, result in rows:
        print(f"torch {version:{width}}  {found:14}  {result}")
    sys.exit(any(not result.startswith("passed") for _, _, result in rows))


if __name__ == "__main__":
    main()
