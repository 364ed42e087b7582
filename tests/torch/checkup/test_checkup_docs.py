"""The page of the check-up: every block of Python runs, and every experiment has its row."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from lettrine import health  # noqa: E402
from lettrine.torch.checkup import EXPERIMENTS  # noqa: E402

PAGE = (Path(__file__).parents[3] / "docs" / "checkup.md").read_text()


def test_every_block_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = ["first-loss", "parameters", "independence", "causality", "step", "data", "inputs"]
    whole = health.checkup
    monkeypatch.setattr(health, "checkup", lambda *args, **options: whole(*args, **options, only=quick), raising=False)
    names: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 6
    for block in blocks:
        exec(compile(block, "docs/checkup.md", "exec"), names)  # noqa: S102


def test_every_experiment_has_its_row() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \|", PAGE, re.MULTILINE)
    assert rows == list(EXPERIMENTS)
