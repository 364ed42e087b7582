"""What a watch has seen: the trace, joined with those of other ranks, and the state that a resumed run needs."""

from __future__ import annotations

from contextlib import suppress
from math import nan
from typing import Any, Final

from torch import Tensor

from lettrine.errors import HealthError
from lettrine.health.carried import RESUMED
from lettrine.health.evidence import Evidence
from lettrine.health.joining import joined
from lettrine.health.limits_wiring import STEPLESS_ROUNDS
from lettrine.health.recorder import Recorder
from lettrine.health.trace import Trace
from lettrine.torch.capture.copies import local, measurable
from lettrine.torch.capture.graphs import ADVICE
from lettrine.torch.capture.guard import Guard
from lettrine.torch.capture.sharding import shards
from lettrine.torch.capture.weight_copies import WeightCopies
from lettrine.torch.capture.weight_loads import WeightLoads
from lettrine.torch.devices import double
from lettrine.torch.distributed import Ranks
from lettrine.torch.kept import packed, unpacked
from lettrine.torch.private import version
from lettrine.torch.watching.losses import HandedLosses
from lettrine.torch.watching.probes import Probes
from lettrine.torch.watching.stepless import no_step
from lettrine.torch.watching.steps import Steps

MOST_STEPS: Final = 2**53  # beyond it, the curves do not hold the step exactly


_VALUES: Final = 64  # of each parameter, that show whether it has changed


class Record:
    """What one watch has seen. classes: as in `health.watch`. copies, loads: of the weights."""

    def __init__(
        self, recorder: Recorder, probes: Probes, steps: Steps, losses: HandedLosses, guard: Guard, classes: int
    ) -> None:
        self._recorder, self._probes, self._steps, self._losses, self._classes = recorder, probes, steps, losses, classes
        self._guard = guard
        self._earlier: Trace | None = None  # of the run that this one resumes
        self._ranks: Ranks | None = None  # the processes that train together with this one
        self._gathered = 0
        self.copies = WeightCopies((probes.model, *probes.looker.roots), guard, lambda: steps.counter.step)
        self.loads = WeightLoads(probes.model, guard, lambda: steps.counter.step)
        self._weights: list[tuple[int, float]] = []  # versions of the parameters at the beginning, and sums of some values

    @property
    def version(self) -> tuple[int, int]:
        """It changes whenever the trace changes."""
        return self._recorder.version, self._gathered

    @property
    def rank(self) -> int:
        """The rank of this process; 0 if it trains alone."""
        return 0 if self._ranks is None else self._ranks.rank

    def begin_at(self, step: int) -> None:
        """The run resumes at this step, if it is not 0."""
        self._steps.begin_at(step)
        if step:
            self._recorder.note_evidence(Evidence(RESUMED))

    def note_trained(self) -> None:
        """Note whether an optimiser has stepped before: then its weights are trained. Remember the versions of the weights."""
        self._weights = self._weights or self._versions()
        if any(state for optimiser in self._probes.optimisers for state in optimiser.state.values()):
            self._recorder.note_evidence(Evidence(RESUMED))

    def join_ranks(self) -> None:
        """Find the other processes of this training, if there are any."""
        self._ranks = self._ranks or Ranks.of(self._probes.model)
        if self._ranks is not None:
            for each in shards(self._probes.model):
                self._recorder.note_evidence(each)

    def add_dev_loss(self, loss: float) -> None:
        """Take the present loss on held-out data."""
        self._recorder.record_dev(self._steps.counter.step, loss)
        self.copies.evaluated()

    def own(self) -> Trace:
        """The trace of this process, also from before a resume. Raises HealthError if no step was sampled."""
        self.conclude()
        self._steps.settle()
        self._guard(self._note_copies)
        self._recorder.facts = self._probes.facts(self._recorder.facts, self._classes)
        from lettrine.health.checks.accumulated import in_true_units  # noqa: PLC0415  recording needs no check

        trace = in_true_units(self._recorder.trace())
        trace = trace if self._earlier is None else joined(self._earlier, trace)
        if not len(trace.steps):
            reason = f"; the first error was: {trace.facts.errors[0]}" if trace.facts.errors else ""
            captured = f". Besides, {ADVICE}" if self._probes.visible.captured else ""
            raise HealthError(
                "nothing was recorded: no optimiser step was seen between start and close. Give watch the optimizer that "
                "steps, or call step() on the watch after each step that is made by hand; give it the model that is called, not "
                "one compiled from it; a network that is only evaluated cannot be judged, and an agent that still fills its "
                "memory only once it learns"
                f"{self._moved_by_another()}{captured}{reason}"
            )
        return trace

    def loss_factor(self) -> float | None:
        """By what losses are multiplied to be in true units; None while no sampled step is recorded."""
        from lettrine.health.checks.accumulated import per_loss  # noqa: PLC0415

        self._probes.looker.finish()
        trace = self._recorder.trace()
        return per_loss(trace) if len(trace.steps) else None

    def conclude(self) -> None:
        """If a training has gone on for long without a step, that is what is wrong with it: see what there is to see."""
        if not self._steps.stands_at_first:
            return
        if self._probes.optimisers and self._probes.visible.blind:
            self._note_compiled()
        elif self._weights == self._versions():
            evidence = no_step(self._probes, self._losses.stepless)
            if evidence is not None and evidence.figure("rounds") >= STEPLESS_ROUNDS:
                self._recorder.note_evidence(evidence)
                self._steps.end_unmade()
        elif self._steps.successors.fleeting:
            self._steps.end_unmade()

    def _note_copies(self) -> None:
        for evidence in (self.copies.evidence(), self.loads.evidence()):
            if evidence is not None:
                self._recorder.note_evidence(evidence)

    def _note_compiled(self) -> None:
        """All steps were made in compiled code, and no loss tells of them: note what is known of them."""
        changed = sum(before != now for before, now in zip(self._weights, self._versions(), strict=False))
        figures = {"changed": float(changed), "parameters": float(len(self._weights))}
        self._recorder.note_evidence(Evidence("compiled loop", (), (0, 0), figures))
        self._probes.visible.give_up()
        self._steps.end_unmade()

    def _moved_by_another(self) -> str:
        """A sentence if the weights have changed although the optimizer of the watch never stepped; "" if they have not."""
        if not self._probes.optimisers or not self._weights or self._weights == self._versions():
            return ""
        return (
            ". The weights have changed all the same, as by an optimizer that is made anew inside the loop: make it once, before "
            "the loop, and give that one to watch"
        )

    def _versions(self) -> list[tuple[int, float]]:
        return [(version(each), _some(each)) for each in self._probes.model.parameters()]

    def trace(self) -> Trace:
        """On rank 0, after `gather`, the trace of all ranks; else the same as `own`."""
        own = self.own()
        return own if self._ranks is None else self._ranks.united(own)

    def hurry(self) -> None:
        """The training ended with an exception: do not wait long for other ranks; they may never come."""
        if self._ranks is not None:
            self._ranks.hurried = True

    def agreed(self, *, wanted: bool) -> bool:
        """Whether the training stops. wanted: whether this process wants it. All ranks stop at the same step, or none does."""
        if self._ranks is None:
            return wanted
        return self._ranks.agreed(self._steps.counter.step, self._recorder.schedule, wanted=wanted)

    def gather(self) -> None:
        """Join the traces of all ranks."""
        if self._ranks is None:
            return
        own = None
        if self.rank:
            with suppress(HealthError):  # it has seen nothing
                own = self.own()
        self._ranks.tell(own)
        self._gathered += 1

    def state(self) -> dict[str, Any]:
        """The state that a resumed run needs."""
        state: dict[str, Any] = {"step": self._steps.counter.step}
        with suppress(HealthError):  # nothing was seen yet
            state["trace"] = packed(self.own())
        return state

    def load(self, state: Any) -> None:
        """Resume from the result of `state`. Raises HealthError for anything else."""
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
    return float(double(values.detach().reshape(-1)[:_VALUES]).nansum()) if measurable(values) and values.is_cpu else nan
