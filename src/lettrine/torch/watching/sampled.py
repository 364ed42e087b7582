"""One sampled step: it is observed from its beginning, measured around the optimiser's step, and gives its figures at the end."""

from __future__ import annotations

from math import nan
from typing import Any

from torch.amp import GradScaler
from torch.optim import Optimizer

from lettrine.health.evidence import Evidence
from lettrine.health.recorder import Recorder
from lettrine.torch.capture.figures import Figures, fmax
from lettrine.torch.capture.optimisers import Turns
from lettrine.torch.capture.scaling import loss_scale, scaler_calling, step_skipped
from lettrine.torch.capture.settings import setting
from lettrine.torch.fast.in_place import StepsInPlace
from lettrine.torch.watching.probes import Probes


class SampledStep:
    """The step that is being sampled. It is measured in place if possible, else copied.

    scaler: the GradScaler, if the user named it. alone: whether the gradients belong to this process alone. Then a gradient that
    shrinks between the backward pass and the step was clipped.
    listened: whether a step is being sampled.
    """

    def __init__(
        self, probes: Probes, recorder: Recorder, in_place: StepsInPlace, scaler: GradScaler | None, *, alone: bool
    ) -> None:
        self._probes, self._recorder, self._in_place = probes, recorder, in_place
        self._scaler, self._alone = scaler, alone
        self._turns = Turns(len(probes.optimisers))
        self._measured = Figures()
        self._detail = True  # whether the step also gets histograms
        self._scales = (1.0, 1.0)  # of gradients of parameters and of outputs
        self._stats: dict[str, float] = {}
        self._calls_at_start = self._calls_before = 0  # of the model, when the step began, and when the optimiser began to step
        self._blank: list[int] = []  # steps whose batch was 0 throughout,
        self._batches = 0  # of so many looked at
        self.listened = False

    @property
    def called(self) -> bool:
        """Whether the model has been called since the sampled step began."""
        return self.listened and self._probes.modules.calls != self._calls_at_start

    def begin(self, step: int) -> None:
        """Observe the step that begins now. step: its number."""
        parameters, visible = self._probes.parameters, self._probes.visible
        self.listened, self._stats, self._scales = True, {}, (1.0, 1.0)
        if not self._probes.optimisers or not parameters.captures:
            parameters.refresh()
        if not self._probes.optimisers or visible.step_compiled:
            parameters.all.take_before()
        if visible.step_compiled:
            return
        self._detail = self._recorder.detailed(step)
        if self._detail:
            parameters.witnesses.follow()
        if not visible.model_compiled:
            self._see_modules(step)

    def _see_modules(self, step: int) -> None:
        modules, losses = self._probes.modules, self._probes.losses
        self._probes.looker.arm(step, detail=self._detail)
        hooks = self._in_place.listen(copied=losses.looking(), detail=self._detail, counted=self._counted)
        modules.install(hooks)
        self._calls_at_start = modules.calls

    @property
    def _counted(self) -> str:
        """The module whose output gradient tells the targets; "" if the targets are known well enough."""
        return self._probes.modules.logits if self._probes.losses.countable else ""

    def without_python(self, step: int) -> bool:
        """If every step is sampled: measure those from `step` on without Python. Returns whether that is possible."""
        until = self._recorder.quiet_until
        if self._probes.visible.compiled or self._counted or step >= until or self._probes.looker.looking:
            return False
        return self._in_place.go_on(self._probes.model.modules(), until, {"training": self._probes.modules.training})

    def before(self, place: int, optimiser: Optimizer) -> None:
        """An optimiser is about to step, with the gradients as they are now. place: which of the optimisers."""
        parameters = self._probes.parameters
        self._calls_before = self._probes.modules.calls
        self._scaler = self._scaler or scaler_calling()
        if step_skipped(optimiser):
            return
        self._scales = gradient_scale, output_scale = loss_scale(optimiser, self._scaler)
        leftover = parameters.witnesses.leftover(place) if self._detail else nan
        self._probes.looker.stepping(optimiser, self._scales, leftover)
        if not (self._may_be_in_place() and self._in_place.before()):
            self._in_place.miss()
            parameters.refresh()
            parameters.of(place, first=self._turns.fresh).take_before_and_gradients()
        if self._detail:
            clipped = parameters.witnesses.clipped(place, output_scale / gradient_scale) if self._alone else nan
            for name, value in (("leftover_gradient", leftover), ("clipped", clipped)):
                self._stats[name] = fmax(self._stats.get(name, nan), value)

    def made_by_hand(self) -> None:
        """A step was made without an optimiser; the gradients are still there."""
        if self._detail:
            self._stats["leftover_gradient"] = self._probes.parameters.witnesses.leftover(0)

    def after(self, place: int, optimiser: Optimizer) -> bool:
        """An optimiser has stepped. Returns whether all have, so that the step is over."""
        if step_skipped(optimiser):
            if self.listened:
                self._probes.modules.forget()
            return False
        if self._in_place.opened:
            self._in_place.after()
        elif self.listened:
            if self._probes.modules.calls != self._calls_before:  # it called the model itself, by a closure
                self._probes.parameters.of(place).take_gradients()
            self._probes.parameters.of(place).take_after()
        return self._turns.complete(place)

    def figures(self, step: int, *, exact: bool) -> tuple[dict[str, Any], bool]:
        """The step is over: its figures, and whether it was measured in place. If so, the figures of modules and parameters come
        later, together with those of other steps. exact: whether the step before it was looked at, too.
        """
        in_place, search = self._in_place.opened, self._recorder.searched(step)
        found = {} if in_place else self._copied(search=search)
        capture = self._probes.modules.captures.get(self._probes.modules.logits)
        if self._probes.losses.countable and capture is not None:
            self._probes.losses.count(capture)
        first = next(iter(self._probes.modules.captures if in_place else found["outputs"]), "")
        if self._probes.modules.input_heard:
            if not self._probes.modules.input_finite():
                self._recorder.note_nonfinite(step, first, "data", exact=exact)
            self._look_for_blank(step)
        optimisers = self._probes.optimisers
        rate = setting(optimisers[0].param_groups[0], "lr") if optimisers else nan
        stats = {"learning_rate": rate, "training": self._probes.modules.training, **self._stats}
        if in_place:
            self._in_place.drop()
            self._in_place.keep(step, stats, search=search)
            return stats, True
        return {**found, **stats}, False

    def _look_for_blank(self, step: int) -> None:
        """Note batches that are 0 throughout."""
        self._batches += 1
        if self._probes.modules.input_blank():
            self._blank.append(step)
        if self._blank:
            figures = {"blank": float(len(self._blank)), "batches": float(self._batches)}
            self._recorder.note_evidence(Evidence("blank batches", (), (self._blank[0], self._blank[-1]), figures))

    def _copied(self, *, search: bool) -> dict[str, Any]:
        """The figures of modules and parameters, from the copies. search: also look for units that are copies of each other."""
        modules, parameters = self._probes.modules, self._probes.parameters
        found = self._measured.of(
            modules.called(),
            [capture for capture in parameters.captures if capture.has_before],
            scales=self._scales,
            detail=self._detail,
            search=search,
            remote=modules.remote or parameters.remote,
        )
        self._recorder.add(*modules.new_infos(), *parameters.new_infos())
        self._in_place.hand_over(self._recorder)
        if self._may_be_in_place():
            self._in_place.learn(modules.alike(), parameters.captures, self._probes.optimisers[0].param_groups)
        return found

    def _may_be_in_place(self) -> bool:
        """Whether this step needs no copies."""
        parameters = self._probes.parameters
        usual = len(self._probes.optimisers) == 1 and self._scales == (1.0, 1.0) and not parameters.gathered
        return usual and parameters.grouped()

    def forget(self) -> None:
        """Forget the copies: the next step is sampled, too."""
        self._probes.modules.forget()
        self._probes.parameters.forget()

    def end(self) -> None:
        """Observe no more."""
        self.listened = False
        self._probes.looker.disarm()
        self._probes.modules.remove()
        self.forget()
        self._in_place.drop()
