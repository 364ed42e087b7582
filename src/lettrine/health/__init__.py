"""Is this network healthy? Measurements, a trace of them, checks, findings.

It knows nothing about language models: the same checks work for the engines of lettrine and for any torch module.

    from lettrine import health

    with health.watch(model, optimizer) as watch: ...
    report = health.check_initial(model, (inputs, targets), loss_fn)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lettrine.errors import MissingExtraError
from lettrine.health.checks import CHECKS, Skip, check, examine
from lettrine.health.findings import Finding, Outcome, Report
from lettrine.health.recorder import Recorder
from lettrine.health.schedule import Schedule
from lettrine.health.trace import Trace

if TYPE_CHECKING:
    from lettrine.torch.autowatch import autowatch as autowatch
    from lettrine.torch.checkup import assert_healthy as assert_healthy
    from lettrine.torch.checkup import checkup as checkup
    from lettrine.torch.initial import check_initial as check_initial
    from lettrine.torch.lr_range import lr_range as lr_range
    from lettrine.torch.scales import initial as initial
    from lettrine.torch.watch import watch as watch

__all__ = [  # noqa: RUF022  the order in which they are met
    "watch",
    "autowatch",
    "checkup",
    "assert_healthy",
    "check_initial",
    "initial",
    "lr_range",
    "Report",
    "Finding",
    "Outcome",
    "check",
    "Skip",
    "CHECKS",
    "examine",
    "Trace",
    "Recorder",
    "Schedule",
]

_TORCH = {
    "watch": "lettrine.torch.watch",
    "autowatch": "lettrine.torch.autowatch",
    "checkup": "lettrine.torch.checkup",
    "assert_healthy": "lettrine.torch.checkup",
    "check_initial": "lettrine.torch.initial",
    "initial": "lettrine.torch.scales",
    "lr_range": "lettrine.torch.lr_range",
}


def __getattr__(name: str) -> Any:
    """Import what needs torch at its first use, so that lettrine's own engines are checked without torch."""
    if name not in _TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(_TORCH[name]), name)
    except MissingExtraError as error:
        raise MissingExtraError(f"health.{name}", error.extra) from None
