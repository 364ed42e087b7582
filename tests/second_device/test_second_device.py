"""Everything that is for a GPU, on a device that is not the processor as far as torch can tell. It takes no GPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")


@pytest.mark.timeout(600)
def test_all_cases_on_a_second_device() -> None:
    cases = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(Path(__file__).with_name("cases.py"))]
    done = subprocess.run(cases, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
