"""Every figure the README quotes, measured again: `python -m benchmarks`, or `make bench`.

Runs each bench_*.py of this folder in a process of its own, one after the other; name some to run only those.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    wanted = sys.argv[1:]
    scripts = [path for path in sorted(HERE.glob("bench_*.py")) if not wanted or path.stem.removeprefix("bench_") in wanted]
    if not scripts:
        known = ", ".join(sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py")))
        print(f"no such benchmark; there are {known}", file=sys.stderr)
        return 2
    failed = []
    for script in scripts:
        print(f"== {script.stem.removeprefix('bench_')}", flush=True)
        if subprocess.run([sys.executable, str(script)], check=False).returncode:
            failed.append(script.name)
        print(flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
