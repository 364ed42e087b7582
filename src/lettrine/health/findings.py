"""What the health check says: findings, the outcome of every check, and the report that holds them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

SEVERITIES: Final = ("info", "warning", "critical")


@dataclass(frozen=True)
class Finding:
    """One fault, named.

    id: the check that found it, such as "saturation".
    severity: "info", "warning" or "critical".
    where: qualified names of the modules or parameters, from the input on; empty for the whole network.
    steps: first and last optimiser step at which it was seen.
    value, limit: what was measured and what it was held against; NaN where the fault is not a number.
    message: one plain sentence. why: what it does to training. remedy: what to do, with numbers.
    reference: the paper or lecture it comes from.
    """

    id: str
    severity: str
    where: tuple[str, ...]
    steps: tuple[int, int]
    value: float
    limit: float
    message: str
    why: str
    remedy: str
    reference: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Outcome:
    """What became of one check.

    status: "passed", "found", "not applicable", "not run" (something it needs was not recorded) or
        "failed" (the check itself broke: shown, never swallowed).
    reason: why it is not applicable, was not run, or failed; empty otherwise.
    """

    check: str
    status: str
    reason: str = ""
