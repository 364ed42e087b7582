"""Faults that a page can plant in a training while it runs, and remedies of findings that it can apply."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lettrine.training.session import Session
from lettrine.training.trials import HIGHER, LOWER, START

TOO_LARGE: Final = 100.0  # times the learning rate
TOO_SMALL: Final = 1_000.0
CONFIDENT: Final = 30.0  # times the output weights
SATURATED: Final = 20.0  # times the hidden weights
REMEDY: Final = 10.0  # times, of a remedy's change of the rate
GENTLY: Final = 3.0  # the same where the loss falls, only slowly


@dataclass(frozen=True)
class Intervention:
    """A change to a training. says: in words. options: for a new start. change: for a running one, see `Trainer.change`."""

    says: str
    options: Mapping[str, Any] = field(default_factory=dict)
    change: Callable[[Session], dict[str, Any]] | None = None


def _rate(factor: float) -> Callable[[Session], dict[str, Any]]:
    return lambda session: {"learning_rate": session.trainer.now.peak * factor}


def _scaled(beginning: str, factor: float) -> Callable[[Session], dict[str, Any]]:
    def change(session: Session) -> dict[str, Any]:
        names = [name for name in session.trainer.state.parameters if name.startswith(beginning) and name.endswith("weight")]
        return {"scale": dict.fromkeys(names, factor)}

    return change


FAULTS: Final = {
    "naive start": Intervention(
        "start with weights of size 1: confidently wrong, and saturated", {"init": "naive", "activation": "tanh"}
    ),
    "saturation": Intervention(
        f"start with tanh, and hidden weights {SATURATED:g} times too large",
        {"activation": "tanh"},
        _scaled("layers.", SATURATED),
    ),
    "confident head": Intervention(f"multiply the output weights by {CONFIDENT:g}", change=_scaled("output.", CONFIDENT)),
    "rate too high": Intervention(f"multiply the learning rate by {TOO_LARGE:g}", change=_rate(TOO_LARGE)),
    "rate too low": Intervention(f"divide the learning rate by {TOO_SMALL:,g}", change=_rate(1 / TOO_SMALL)),
    "dead start": Intervention(
        "start with all hidden weights at 0", change=_scaled("layers.", 0.0), options={"activation": "relu"}
    ),
}
"""By name, in the order of the page."""


def hidden_scaled(session: Session, times: float) -> dict[str, Any]:
    """The change that multiplies the hidden weights."""
    return _scaled("layers.", times)(session)


def cure_of(finding: str, session: Session) -> Intervention | None:
    """The remedy of a finding as a change, if a program can apply it."""
    rate = session.trainer.now.peak
    if finding in LOWER:
        return Intervention(f"learning rate {rate:.3g} → {rate / REMEDY:.3g}", change=_rate(1 / REMEDY))
    if finding in HIGHER:
        factor = GENTLY if finding == "slow-learning" else REMEDY
        return Intervention(f"learning rate {rate:.3g} → {rate * factor:.3g}", change=_rate(factor))
    if finding in START:
        return Intervention("start again from Kaiming's initialisation", {"init": "kaiming"})
    return None
