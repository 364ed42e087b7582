"""For all tests of the torch room."""

from __future__ import annotations

import pytest
import torch

from lettrine.torch import private


@pytest.fixture(autouse=True)
def nothing_compiled() -> None:
    """Each test begins as a process that has compiled nothing: where something was, fewer things are looked at."""
    if private.compiles():
        torch.compiler.reset()
