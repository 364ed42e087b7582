"""The definition of an experiment: one decorated function of a sandboxed task.

    @experiment("independence", "Independence of examples", passes=8)
    def independence(task: Task) -> Result: ...

It may change the task in any way; the task is restored afterwards. It returns its measurements and findings. If the experiment
does not apply to a task it raises Skip("not applicable", why); if the time is too short it raises Skip("not run", why).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from lettrine.errors import HealthError
from lettrine.health.findings import Finding
from lettrine.torch.checkup.task import Task


@dataclass(frozen=True)
class Result:
    """said: what was measured, in one sentence. figures, words: the same as numbers and texts by name."""

    said: str
    findings: tuple[Finding, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
    where: tuple[str, ...] = ()


Function: TypeAlias = Callable[[Task], Result]


@dataclass(frozen=True)
class Experiment:
    """A registered experiment. passes: least number of forward and backward passes, to tell whether it fits into the time."""

    id: str
    title: str
    function: Function
    passes: float
    trains: bool = False


EXPERIMENTS: Final[dict[str, Experiment]] = {}
"""All known experiments by id, the most telling first."""


def experiment(name: str, title: str, *, passes: float, trains: bool = False) -> Callable[[Function], Function]:
    """Register an experiment. trains: it needs a loss that is finite. Raises HealthError for an id that is taken."""

    def register(function: Function) -> Function:
        if name in EXPERIMENTS:
            raise HealthError(f"experiment {name!r} exists already; choose another id")
        EXPERIMENTS[name] = Experiment(name, title, function, passes, trains)
        return function

    return register


def finding(
    kind: str,
    severity: str,
    where: tuple[str, ...],
    message: str,
    why: str,
    remedy: str,
    *,
    value: float = float("nan"),
    limit: float = float("nan"),
    source: str = "",
) -> Finding:
    """A finding of the check-up. It has no steps: it concerns the task as a whole."""
    return Finding(kind, severity, where, (0, 0), float(value), float(limit), message, why, remedy, source)


def part(share: float) -> str:
    """A share of the outputs' size as text: in per cent, or as a power of ten if that would be 0."""
    if share == 0:
        return "nothing"
    if not 1e-4 <= share < 10:
        return f"{share:.0e} of their size"
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"


def changed(share: float) -> str:
    """How much outputs changed that should stay the same, as text."""
    return f"changed by at most {part(share)}" if share else "stayed the same to the last bit"
