"""transformers: `Trainer(callbacks=[HealthCallback()])`.

Callbacks do not get the loss. So it is taken from the trainer's accelerator, whatever `compute_loss` is. It is in units of one
batch, also where the trainer adds up the means of the micro-batches, as for a model that takes `num_items_in_batch` and does not
use it. Steps are the trainer's global steps; the held-out loss is "eval_loss". The trace is in each checkpoint as
health.safetensors, and a resumed training continues it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, SaveStrategy

from lettrine.health.findings import Report
from lettrine.integrations.accelerate import overhear
from lettrine.integrations.held_out import held_out_loss
from lettrine.integrations.states import read_state, write_state
from lettrine.integrations.watching import Watching
from lettrine.torch.watching.watch import Watch

_CALLERS = 6  # frames from the callback to the trainer that calls it


class HealthCallback(TrainerCallback):  # type: ignore[misc]  # Any, where transformers is not installed
    """Watches every `train`. Takes the arguments of `Watching`; with stop_on="critical" it ends the training, with a checkpoint
    if checkpoints are saved.

    watch: of the present training, or of the last one. report: of the last one; it is printed and saved in `args.output_dir`.
    """

    def __init__(self, **options: Any) -> None:
        self._watching = Watching(**options)
        self._leave: Callable[[], None] = lambda: None
        self._held_out = ""  # the metric that is the held-out loss

    @property
    def watch(self) -> Watch | None:
        return self._watching.watch

    @property
    def report(self) -> Report | None:
        return self._watching.report

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any, optimizer: Any, **_: Any
    ) -> None:
        earlier = read_state(_checkpoint(args, state)) if state.global_step else None
        scaler, trainer = getattr(optimizer, "scaler", None), _calling()
        self._watching.begin(model, optimizer, earlier or {"step": state.global_step}, scaler=scaler)
        self._leave()
        if trainer is not None and (watch := self.watch) is not None:

            def hand(loss: Any) -> None:
                parts = trainer.current_gradient_accumulation_steps
                whole = parts == 1 or watch.adds_up(parts)  # else their sum is the loss; the losses of a step are averaged
                watch.loss(loss if whole else loss * parts)

            self._leave = overhear(trainer.accelerator, hand)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self._watching.should_stop:
            control.should_training_stop = True
            control.should_save = control.should_save or args.save_strategy != SaveStrategy.NO

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, metrics: Any = None, **_: Any
    ) -> None:
        name, loss = held_out_loss(metrics or {})
        self._held_out = self._held_out or name
        if self.watch is not None and self.report is None and name and name == self._held_out:
            self.watch.dev_loss(loss)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.watch is not None and state.is_world_process_zero:
            write_state(self.watch.state_dict(), _checkpoint(args, state))

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._leave()
        self._watching.end(args.output_dir, told=state.is_world_process_zero)


def _checkpoint(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"


def _calling() -> Trainer | None:
    """The trainer that calls this callback; no event names it."""
    frame = sys._getframe(1)  # noqa: SLF001  the one way to see a caller
    for _ in range(_CALLERS):
        if isinstance(found := frame.f_locals.get("self"), Trainer) or frame.f_back is None:
            return found if isinstance(found, Trainer) else None
        frame = frame.f_back
    return None
