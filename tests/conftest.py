"""Shared by all tests: where the published word list is, and a small one."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from lettrine.text.corpora import load_corpus

# A script starts its background jobs with Ctrl-C ignored, and so would be all that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A machine that is busy elsewhere is no failure. On top of Hypothesis's own profile: in continuous integration that is
# another one, which also tries the same examples each time.
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")

NAMES = Path(__file__).parents[1].parent / "shared" / "data" / "names.txt"


@pytest.fixture(scope="session")
def names() -> Path:
    """The published names.txt; a test that asks for it carries the marker needs_names."""
    if not NAMES.exists():
        pytest.skip(f"the published word list is not at {NAMES}")
    return NAMES


@pytest.fixture(scope="session")
def few_words() -> list[str]:
    """Three hundred given names."""
    return list(load_corpus("first-names").words[:300])


def skip_unless_ci(reason: str) -> None:
    """Skip on a machine that lacks something; fail where continuous integration promised it."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason}, but continuous integration must have it")
    pytest.skip(reason)
