"""Put a freshly compiled module where this Python imports it from, and print where that is. Called by `make native`."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

MODULE = "lettrine._native"


def main(build: Path) -> None:
    """build: the folder cmake built in. Ends with a message if there is nothing to put, or no place for it."""
    made = sorted(build.glob("_native.*.so"))
    if not made:
        sys.exit(f"no compiled module in {build}; expected _native.*.so, which cmake --build makes there")
    found = importlib.util.find_spec(MODULE)
    if found is None or found.origin is None:
        sys.exit(f"{MODULE} was not built when .venv was made; expected a C++ compiler then: make clean test")
    place = Path(found.origin)
    # A new file, not new bytes in the old one: a process that has loaded it keeps what it loaded.
    partial = place.with_suffix(".partial")
    shutil.copy2(made[-1], partial)
    partial.replace(place)
    script = f"import {MODULE} as module; print(module.__file__)"
    print(subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout, end="")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
