"""scripts/matrix.py: which build of torch it takes, of those that pip finds."""

from __future__ import annotations

from typing import Any

import pytest
from scripts import matrix


def plan(version: str, cards: int, url: str) -> dict[str, Any]:
    """What pip would install, as `matrix.planned` tells it."""
    others = {f"nvidia-{number}": {} for number in range(cards)}
    return {"torch": {"metadata": {"version": version}, "download_info": {"url": url}}, **others}


OLD, NEW = plan("2.13.0+cpu", 0, "file:///old.whl"), plan("2.14.1", 15, "file:///new.whl")
FAR = plan("2.14.1", 15, "https://new.whl")
FIRST, SECOND = ("--index-url", matrix.INDEX, "--timeout", matrix.SECONDS, "--retries", "0"), ()


@pytest.mark.parametrize(
    ("first", "second", "cuda", "options", "why"),
    [
        (plan("2.14.1+cpu", 0, "https://cpu.whl"), NEW, "yes", FIRST, ""),  # of two builds of one version, that without cards
        (OLD, NEW, "local", SECOND, ""),  # an older build is not the newest
        (OLD, NEW, "no", None, "only 2.13.0+cpu; where pip looks otherwise: 2.14.1 would bring 15 packages"),
        ("no answer", NEW, "local", SECOND, ""),
        ("no answer", FAR, "local", None, "download.pytorch.org: no answer"),
        ("no answer", FAR, "yes", SECOND, ""),
        ("no answer", "nothing there", "yes", None, "nothing there"),
    ],
)
def test_the_newest_build_is_taken_if_it_is_allowed(monkeypatch, first, second, cuda, options, why):
    monkeypatch.setattr(matrix, "planned", lambda *what: first if "--index-url" in what else second)
    found, said = matrix.source(("pip",), "torch", cuda)
    assert found == options
    assert why in said
    assert said.startswith(matrix.NOT_FOUND) is (options is None)
