"""Which of a framework's metrics is the held-out loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_WORDS: Final = frozenset({"val", "valid", "validation", "dev", "eval"})  # in the name of a held-out loss


def held_out_loss(metrics: Mapping[str, Any]) -> tuple[str, Any]:
    """Name and value of the held-out loss among metrics, such as "val_loss", "loss/valid" or "eval_loss"; ("", None) if there is
    none.
    """
    for name, value in metrics.items():
        words = "".join(each if each.isalnum() else " " for each in name.lower()).split()
        if "loss" in words and _WORDS & set(words):
            return name, value
    return "", None
