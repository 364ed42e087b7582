"""How a check is registered: one decorated function.

    @check("quiet-output", needs=("outputs",))
    def quiet_output(trace: Trace) -> Iterator[Finding]:
        for name in trace.outputs:
            spread = trace.output(name, "std")[-1]
            if spread < 1e-6:
                yield Finding("quiet-output", "warning", (name,), …)

`examine` runs it with all others. It yields findings, or nothing if all is well. `needs` names what must have been
recorded; without it the outcome is "not run". A check that does not concern a network raises Skip("not applicable", why).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from lettrine.arguments import checked
from lettrine.errors import HealthError
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace

Function: TypeAlias = Callable[[Trace], Iterable[Finding]]


class Skip(Exception):  # noqa: N818  # not an error: an answer
    """Raised by a check that gives no verdict: status "not applicable" or "not run", and why."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True)
class Check:
    """A registered check; see `check`."""

    id: str
    function: Function
    needs: tuple[str, ...] = ()
    symptom: str = ""


SYMPTOMS: Final = ("", "remark", "harm", "silent")
CHECKS: Final[dict[str, Check]] = {}
"""All known checks by id, in the order of registration."""

NEEDS: Final[dict[str, tuple[Callable[[Trace], bool], str]]] = {
    "outputs": (lambda trace: bool(trace.outputs), "no module's output was recorded"),
    "gradients": (lambda trace: bool(trace.gradients), "no gradient of an output was recorded"),
    "parameters": (lambda trace: bool(trace.parameter_stats), "no parameter was recorded"),
    "norms": (lambda trace: bool(trace.norms), "no batch norm was recorded"),
    "units": (lambda trace: bool(trace.units), "no units were recorded"),
    "loss": (lambda trace: len(trace.loss.step) > 0, "no loss was recorded; call watch.loss(loss) once a step"),
    "dev": (lambda trace: len(trace.dev.step) > 0, "no loss on held-out data was recorded; call watch.dev_loss(loss)"),
}
"""What a check may need: a test whether it was recorded, and the message if not."""


@checked
def check(name: str, *, needs: tuple[str, ...] = (), symptom: str = "") -> Callable[[Function], Function]:
    """Register a check under an id; the decorated function stays as it is and can be called alone.

    symptom: for a finding that is not a fault by itself. `examine` then weighs it by the course of learning. If learning went
    well, "remark" keeps it as a remark and "silent" drops it; with "harm" it stays a remark unless harm was measured or it is
    critical.

    Raises HealthError for an id that is taken, a need that is not in NEEDS or a symptom that is not in SYMPTOMS.
    """
    if symptom not in SYMPTOMS:
        raise HealthError(f"check {name!r} got symptom {symptom!r}; expected among {', '.join(map(repr, SYMPTOMS))}")
    for need in needs:
        if need not in NEEDS:
            raise HealthError(f"check {name!r} needs {need!r}; expected among {', '.join(NEEDS)}")

    def register(function: Function) -> Function:
        if name in CHECKS:
            raise HealthError(f"check {name!r} exists already; choose another id, or remove it from CHECKS first")
        CHECKS[name] = Check(name, function, needs, symptom)
        return function

    return register
