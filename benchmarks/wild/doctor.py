"""Who looks on while a case trains: nobody, lettrine's watch, its check-up, a watch with the task, or the rules of others.

A case asks its doctor for a watch around its training loop and, where it can, hands over the same task for experiments:

    doctor.task(model, batches, loss_fn, optimizer)
    with doctor.watch(model, optimizer) as watch: ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any, Final

from benchmarks.wild.baselines import Umlaut
from benchmarks.wild.found import Found
from benchmarks.wild.mortem import Mortem
from torch import nn
from torch.optim import Optimizer

BASELINES: Final = ("umlaut", "torchmortem")
MODES: Final = ("none", "watch", "checkup", "both", *BASELINES)


class Examined(BaseException):
    """Ends a case after its check-up; no `except Exception` of a program catches it."""


class Nobody:
    """Takes what a watch takes."""

    def loss(self, loss: Any) -> None: ...

    def dev_loss(self, loss: Any) -> None: ...


class Doctor:
    """Hands out the watch of its mode and collects what it finds."""

    def __init__(self, mode: str = "none") -> None:
        if mode not in MODES:
            raise ValueError(f"mode got {mode!r}; expected one of {', '.join(MODES)}")
        self.mode = mode
        self.found: list[Found] = []
        self.failed: list[str] = []
        self.verdict = ""
        self.seconds = 0.0
        self.handed: tuple[nn.Module, list[Any], Callable[..., Any]] | None = None  # the task, for a watch that takes it
        self.asked = False  # whether the case came to what this mode looks at

    @contextmanager
    def watch(self, model: nn.Module, optimizer: Optimizer | Iterable[Optimizer]) -> Iterator[Any]:
        """Watch what happens inside, as a user would."""
        if self.mode in ("watch", "both"):
            from lettrine import health  # noqa: PLC0415  cases are verified without it

            self.asked = True
            task = self.handed[1:] if self.handed is not None and self.handed[0] is model else None
            with health.watch(model, optimizer, task=task) as watch:
                yield watch
            self._keep(watch.report())
        elif self.mode in BASELINES:
            self.asked = True
            with {"umlaut": Umlaut, "torchmortem": Mortem}[self.mode](model, optimizer) as other:
                yield other
            self.found = other.findings()
        else:
            yield Nobody()

    def task(
        self, model: nn.Module, batches: list[Any], loss_fn: Callable[..., Any], optimizer: Optimizer | list[Optimizer] | None
    ) -> None:
        """Hand the task to the check-up, if that is what this doctor does; the case ends here then. A watch with a task tries it
        when the training is over.
        """
        self.handed = (model, batches, loss_fn) if self.mode == "both" else None
        if self.mode != "checkup":
            return
        from lettrine import health  # noqa: PLC0415

        self.asked = True
        start = perf_counter()
        self._keep(health.checkup(model, batches, loss_fn, optimizer))
        self.seconds = perf_counter() - start
        raise Examined

    def _keep(self, report: Any) -> None:
        self.found = [Found(each.id, each.severity, tuple(each.where), each.message, each.remedy) for each in report.findings]
        listed = {each.id for each in self.found}
        for outcome in report.outcomes:
            if outcome.status == "failed":
                self.failed.append(f"{outcome.check}: {outcome.reason}")
            elif outcome.status == "found" and outcome.check not in listed:
                self.found.append(Found(outcome.check, "info", message=outcome.reason, folded=True))
        self.verdict = str(getattr(report, "verdict", "healthy" if report.healthy else report.worst))
