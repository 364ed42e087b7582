"""The fixture `healthy` for pytest: a test fails with the check-up's findings, not with a traceback.

    def test_training(healthy):
        healthy(model, batches, loss_fn, optimizer)

pytest finds it by itself if lettrine is installed. Tests that do not use it pay nothing: only its use imports torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from lettrine.health.findings import Report


@pytest.fixture
def healthy() -> Callable[..., Report]:
    """Check a training task. Takes the arguments of `health.checkup`, fails on more than remarks, returns the report."""

    def check(*args: Any, **options: Any) -> Report:
        from lettrine import health  # noqa: PLC0415  torch only if it is used
        from lettrine.errors import LettrineError  # noqa: PLC0415

        try:
            return health.assert_healthy(*args, **options)
        except (AssertionError, LettrineError) as error:
            said = str(error)
        pytest.fail(said, pytrace=False)  # here, so that pytest shows it once and not as one error during another

    return check
