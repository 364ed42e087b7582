"""What a watch has seen: the trace, brought together with those of other ranks, and what a resumed run needs of it."""

from __future__ import annotations

from contextlib import suppress
from math import nan
from typing import Any, Final

from torch import Tensor

from lettrine.errors import HealthError
from lettrine.health.evidence import Evidence
from lettrine.health.joining import joined
from lettrine.health.limits_wiring import STEPLESS_ROUNDS
from lettrine.health.recorder import Recorder
from lettrine.health.trace import Trace
from lettrine.torch.capture.copies import local, measurable
from lettrine.torch.capture.sharding import shards
from lettrine.torch.distributed import Ranks
from lettrine.torch.kept import packed, unpacked
from lettrine.torch.private import version
from lettrine.torch.watching.losses import HandedLosses
from lettrine.torch.watching.probes import Probes
from lettrine.torch.watching.stepless import no_step
from lettrine.torch.watching.steps import Steps

MOST_STEPS: Final = 2**53  # beyond, a step's number is no longer exact in the curves


_VALUES: Final = 64  # of each parameter, that show whether it has changed


class Record:
    """What was seen by one watch. classes: as `health.watch` takes it."""

    def __init__(self, recorder: Recorder, probes: Probes, steps: Steps, losses: HandedLosses, classes: int) -> None:
        self._recorder, self._probes, self._steps, self._losses, self._classes = recorder, probes, steps, losses, classes
        self._earlier: Trace | None = None  # of the run that this one goes on with
        self._ranks: Ranks | None = None  # those that train together with this process
        self._gathered = 0
        self._weights: list[tuple[int, float]] = []  # versions of the parameters at the beginning, and sums of some values

    @property
    def version(self) -> tuple[int, int]:
        """Another one whenever the trace is another one."""
        return self._recorder.version, self._gathered

    @property
    def rank(self) -> int:
        """Of this process among those that train together; 0 where it trains alone."""
        return 0 if self._ranks is None else self._ranks.rank

    def begin_at(self, step: int) -> None:
        """The run goes on from this step on, where it is not 0."""
        self._steps.begin_at(step)
        if step:
            self._recorder.note_evidence(Evidence("resumed"))

    def note_trained(self) -> None:
        """Say so if an optimiser has stepped before: what it holds was trained already. And remember the weights as they are."""
        self._weights = self._weights or self._versions()
        if any(state for optimiser in self._probes.optimisers for state in optimiser.state.values()):
            self._recorder.note_evidence(Evidence("resumed"))

    def join_ranks(self) -> None:
        """Find the other processes of this training, if there are any."""
        self._ranks = self._ranks or Ranks.of(self._probes.model)
        if self._ranks is not None:
            for each in shards(self._probes.model):
                self._recorder.note_evidence(each)

    def add_dev_loss(self, loss: float) -> None:
        """The loss on held-out data, as it is now."""
        self._recorder.record_dev(self._steps.counter.step, loss)

    def own(self) -> Trace:
        """What this process has seen, before a resume too. Raises HealthError if no step was sampled."""
        self.conclude()
        self._steps.settle()
        self._recorder.facts = self._probes.facts(self._recorder.facts, self._classes)
        trace = self._recorder.trace() if self._earlier is None else joined(self._earlier, self._recorder.trace())
        if not len(trace.steps):
            reason = f"; the first error was: {trace.facts.errors[0]}" if trace.facts.errors else ""
            raise HealthError(
                "nothing was recorded: no optimiser step was seen between start and close. Give watch the optimizer that "
                "steps, and the model that is called, not one compiled from it; a network that is only evaluated cannot be "
                f"judged{self._moved_by_another()}{reason}"
            )
        return trace

    def conclude(self) -> None:
        """If a training has gone on for long without a step, that is what is wrong with it: see what there is to see."""
        if not self._steps.stands_at_first:
            return
        if self._weights == self._versions():
            evidence = no_step(self._probes, self._losses.stepless)
            if evidence is not None and evidence.figure("rounds") >= STEPLESS_ROUNDS:
                self._recorder.note_evidence(evidence)
                self._steps.end_unmade()
        elif self._steps.successors.fleeting:
            self._steps.end_unmade()

    def _moved_by_another(self) -> str:
        """That the weights have changed although the optimizer given to the watch never stepped; "" if they have not."""
        if not self._probes.optimisers or not self._weights or self._weights == self._versions():
            return ""
        return (
            ". The weights have changed all the same, as by an optimizer that is made anew inside the loop: make it once, before "
            "the loop, and give that one to watch"
        )

    def _versions(self) -> list[tuple[int, float]]:
        return [(version(each), _some(each)) for each in self._probes.model.parameters()]

    def trace(self) -> Trace:
        """On rank 0, after `gather`, what all ranks have seen; else the same as `own`."""
        own = self.own()
        return own if self._ranks is None else self._ranks.united(own)

    def hurry(self) -> None:
        """The training ended with an exception: do not wait long for other ranks, which may never come."""
        if self._ranks is not None:
            self._ranks.hurried = True

    def agreed(self, *, wanted: bool) -> bool:
        """Whether the training is to stop, where this process wants it or not: all ranks do at the same step, or none."""
        if self._ranks is None:
            return wanted
        return self._ranks.agreed(self._steps.counter.step, self._recorder.schedule, wanted=wanted)

    def gather(self) -> None:
        """Bring together what all ranks have seen."""
        if self._ranks is None:
            return
        own = None
        if self.rank:
            with suppress(HealthError):  # it has seen nothing
                own = self.own()
        self._ranks.tell(own)
        self._gathered += 1

    def state(self) -> dict[str, Any]:
        """What a resumed run needs to go on."""
        state: dict[str, Any] = {"step": self._steps.counter.step}
        with suppress(HealthError):  # nothing was seen yet
            state["trace"] = packed(self.own())
        return state

    def load(self, state: Any) -> None:
        """Go on from what `state` gave. Raises HealthError for anything else."""
        step = state.get("step") if isinstance(state, dict) else None
        if not isinstance(step, int) or not 0 <= step <= MOST_STEPS:
            raise HealthError(
                f"load_state_dict was called with a {type(state).__name__} that holds no step; expected what state_dict gave, "
                "before start"
            )
        self._earlier = unpacked(state["trace"]) if "trace" in state else None
        self.begin_at(step)


def _some(parameter: Tensor) -> float:
    """The sum of a few values: a step through `parameter.data` leaves the version as it was."""
    values = local(parameter)
    return float(values.detach().reshape(-1)[:_VALUES].double().nansum()) if measurable(values) and values.is_cpu else nan
