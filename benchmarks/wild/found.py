"""One finding, by whoever looked on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Found:
    """One finding: folded if it was put under another as a symptom of that."""

    id: str
    severity: str
    where: tuple[str, ...] = ()
    message: str = ""
    remedy: str = ""
    folded: bool = False

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
