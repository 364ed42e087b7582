"""When a watch looks: hooks of the optimisers tell the steps, and some of them are sampled.

In a sampled step the modules get hooks, and everything is measured around the optimiser's step. Between sampled steps only the
hook after the step remains. It does next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch.amp import GradScaler
from torch.optim import Optimizer

from lettrine.health.recorder import Recorder
from lettrine.torch.capture.closures import after_closure
from lettrine.torch.capture.compiled import untraced
from lettrine.torch.capture.guard import Guard
from lettrine.torch.capture.losses import FULL
from lettrine.torch.fast.counting import step_counter
from lettrine.torch.fast.in_place import StepsInPlace
from lettrine.torch.watching.by_hand import ByHand
from lettrine.torch.watching.probes import Probes
from lettrine.torch.watching.sampled import SampledStep
from lettrine.torch.watching.successors import Successors
from lettrine.torch.watching.waiting import LastSampled


class Steps:
    """Follows the steps of a training and samples some of them.

    tensors: reads tensors in place; None if the fast path is off. scaler, alone: as in `SampledStep`.
    inform: called with the number of a sampled step when it is complete. lost: called with a loss that has to be more than noted.

    first: the number of the first step. counter: counts the steps, and notes losses. now: the present step. last: the last
    sampled one.
    """

    def __init__(
        self,
        probes: Probes,
        recorder: Recorder,
        guard: Guard,
        tensors: Any,
        scaler: GradScaler | None,
        inform: Callable[[int], None],
        lost: Callable[[Any], None],
        *,
        alone: bool,
    ) -> None:
        self._probes, self._recorder, self._guard, self._inform = probes, recorder, guard, inform
        self._optimisers, self._visible = probes.optimisers, probes.visible
        self._after_handles: list[Any] = []
        self._before_handles: list[Any] = []
        self.first = 0
        self.counter = step_counter(tensors, partial(self._stepped, 0), partial(guard, lost), FULL)
        before, paused = partial(guard, self._before, 0), partial(guard, self._paused)
        self.in_place = StepsInPlace(tensors, self.counter, guard, before, paused)
        self.now = SampledStep(probes, recorder, self.in_place, scaler, alone=alone)
        self.last = LastSampled(recorder, probes.losses)
        self._by_hand = ByHand(probes)
        self.successors = Successors(self._optimisers, self.counter, partial(guard, self._succeed))

    def begin_at(self, step: int) -> None:
        """Count from this number on."""
        self.first = self.counter.step = self.counter.next = step

    def listen(self) -> None:
        """Begin to follow steps, and sample the first one."""
        self._hook_after()
        self.successors.listen()
        self._guard(self.sample)
        if not self._visible.model_compiled:
            self._probes.entrances.listen()

    def _hook_after(self) -> None:
        for place, optimiser in enumerate(self._optimisers):
            hook = self.in_place.hooks[1] if len(self._optimisers) == 1 else partial(self._stepped, place)
            self._after_handles.append(optimiser.register_step_post_hook(untraced(hook)))

    def _succeed(self, optimiser: Optimizer) -> None:
        """The one optimiser steps no more, and this one, of the same parameters, does."""
        self.in_place.stop()
        self._unhook_after()
        self._unhook_before()
        self._optimisers[0] = optimiser
        self._probes.parameters.renew()
        self._hook_after()
        self.now.end()
        self.sample_at_once()

    def _unhook_after(self) -> None:
        for handle in self._after_handles:
            handle.remove()
        self._after_handles.clear()

    def _unhook_before(self) -> None:
        for handle in self._before_handles:
            handle.remove()
        self._before_handles.clear()

    def close(self) -> None:
        """Follow no more steps, and take all hooks off."""
        self._unhook_after()
        self.successors.close()
        self._guard(self.gather)
        self._rest()
        self._probes.entrances.close()
        self._probes.looker.close()

    def sample(self) -> None:
        """Sample the step that begins now."""
        if not self.now.listened and not self._visible.step_compiled:
            for place, optimiser in enumerate(self._optimisers):
                before = self.in_place.hooks[0] if len(self._optimisers) == 1 else partial(self._guard, self._before, place)
                hook = after_closure(before, self._probes.looker.aside)
                self._before_handles.append(optimiser.register_step_pre_hook(hook if self._visible.step_seen else untraced(hook)))
        self.counter.counting = self.counter.noting = False
        if not self._optimisers:
            self._guard(self._by_hand.begin)
        self.now.begin(self.counter.step)
        if self._recorder.schedule.every == 1:
            self.counter.noting = self.now.without_python(self.counter.step)

    def sample_at_once(self) -> None:
        """Sample the present step, whatever the schedule says: something has happened."""
        self._probes.looker.again()
        self.counter.next = self.counter.step
        self.sample()

    def _rest(self) -> None:
        """Until the schedule asks for a sampled step, only count steps and note losses."""
        # A fused optimiser skips its step if a GradScaler says so.
        self.counter.counting = not any(getattr(each, "_step_supports_amp_scaling", False) for each in self._optimisers)
        self.counter.noting = not self.last.awaiting
        self._unhook_before()
        self.now.end()

    def _before(self, place: int, optimiser: Optimizer, *_: Any) -> None:
        """An optimiser is about to make a sampled step. place: which of the optimisers."""
        if self._visible.see_step() and len(self._optimisers) == 1 and self._after_handles:
            self._after_handles.pop().remove()  # it is not compiled: its hook needs no detour
            self._after_handles.append(optimiser.register_step_post_hook(self.in_place.hooks[1]))
        self._probes.looker.pause()
        self.gather()
        if self.in_place.full:
            self.record_last()
            self.in_place.hand_over(self._recorder)
        self.now.before(place, optimiser)

    def _stepped(self, place: int, optimiser: Optimizer, *_: Any) -> None:
        """An optimiser has stepped, and the step has to be more than counted."""
        if self.now.listened or len(self._optimisers) > 1 or hasattr(optimiser, "found_inf"):
            self._guard(self._after, place, optimiser)
        else:
            self.counter.step += 1
            if self.counter.step >= self.counter.next:
                self._guard(self.sample)

    def _after(self, place: int, optimiser: Optimizer) -> None:
        if self.now.after(place, optimiser):
            self._end()

    def _end(self) -> None:
        """A step is over."""
        sampled = self.now.listened
        if sampled:
            self._take_figures()
        self.counter.step += 1
        if self.counter.step < self.counter.next:
            if sampled:
                self._rest()
            return
        if sampled:
            self.now.forget()
        self.sample()

    def _take_figures(self) -> None:
        """A sampled step is over."""
        step = self.counter.step
        self.record_last()
        self._inform(step)
        figures, in_place = self.now.figures(step, exact=step <= self.last.recorded + 1)
        self.last.hold(step, figures, in_place=in_place)
        self._recorder.noted(step)
        self.counter.next = self._recorder.schedule.after(step)
        self._visible.end_step(called=self.now.called)
        self._probes.note_entrances()

    def end_own(self) -> None:
        """A step is over, and no optimiser of the watch made it."""
        if not self._optimisers:
            self._visible.see_step()
        if self.now.listened:
            if not self._optimisers:
                self._guard(self._by_hand.end, self.counter.step)
                self.now.made_by_hand()
            self._probes.parameters.all.take_after()
            self.end_pass()
        else:
            self._end()

    def end_pass(self) -> None:
        """A forward and a backward pass were made, without a step."""
        self._probes.parameters.all.take_gradients()
        self._end()

    @property
    def stands_at_first(self) -> bool:
        """Whether the first step is still being sampled, since none was made."""
        return self.counter.step == self.first and self.now.listened

    def end_unmade(self) -> None:
        """The first step has never come: see what there was of it."""
        self._probes.parameters.all.take_before()
        self.end_pass()

    def end_compiled(self, loss: Any) -> None:
        """This loss, the second one, shows that the whole step is compiled."""
        self._rest()
        self._probes.losses.add(self.first + 1, loss)
        self.counter.step = self.first + 2
        self.sample()

    def gather(self) -> None:
        """Take in the steps made without Python since the last call. The loss of the last one may still come."""
        made = self.in_place.ran(self.counter.step)
        if not made:
            return
        self.record_last()
        self._probes.losses.note(self.counter.losses())
        losses = self._probes.losses.means(made[0][0], made[-1][0])
        for step, stats in made:
            if step in losses:
                stats["loss"] = losses[step]
        self.last.hold(*made[-1], in_place=True)

    def _paused(self) -> None:
        """The run of steps without Python is over."""
        self.gather()
        self._probes.modules.forget()
        self.sample()

    def take_loss(self) -> None:
        """All losses of the last sampled step are known."""
        self.counter.noting = not self.now.listened or self.in_place.running
        self._probes.losses.note(self.counter.losses())
        self.last.take_loss()

    def record_last(self) -> None:
        """Record the last sampled step."""
        if self.last.awaiting:
            self.take_loss()
        self.last.record()

    def settle(self) -> None:
        """Record all that was seen so far."""
        self._guard(self.gather)
        self.record_last()
        self.in_place.hand_over(self._recorder)
        self._probes.losses.note(self.counter.losses())
        self._probes.losses.drain()
        self._probes.looker.finish()
        for told in (self.successors.evidence(), self._by_hand.evidence()):
            if told is not None:
                self._recorder.note_evidence(told)
