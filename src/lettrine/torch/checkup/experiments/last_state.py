"""A recurrent layer that also runs over the padding: would the network learn better from the state after the last real place?

After dozens of padded places the state has forgotten the text. Some networks learn to keep it, so a trial decides: outputs in
padded places, and the last state, are replaced by those of the last real place.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite, nan
from typing import Any

import torch
from torch import Tensor, nn

from lettrine.health.checks import Skip
from lettrine.health.limits import CHECKUP_STUCK, TRIAL_STEPS
from lettrine.torch.capture.catalogue import named_modules
from lettrine.torch.checkup.call import Call, NotCalled
from lettrine.torch.checkup.experiment import Result, experiment, finding
from lettrine.torch.checkup.padded import padding_of
from lettrine.torch.checkup.task import Task, takes_closure
from lettrine.torch.checkup.trials import SEEDS, compare, steps_for


@experiment("last-state", "State after the padding", passes=2 * len(SEEDS) * TRIAL_STEPS // 2, trains=True)
def last_state(task: Task) -> Result:
    """If a recurrent layer runs over padding, train with its state after the last real place instead.

    Measured: How much lower the loss gets when outputs in padded places, and the last state, are those of the last real place.
    Formula: gain = loss as it is - loss with the state kept, in standard errors over three seeds.
    """
    if task.optimizer is not None and takes_closure(task.optimizer):
        raise Skip("not applicable", "an optimiser that searches along a line takes steps of any length")
    try:
        padded = padding_of(task.inputs(task.batch()))
    except NotCalled:
        padded = None
    if padded is None:
        raise Skip("not applicable", "no padding was seen in the inputs")
    with task.boxed(), torch.no_grad(), _held(task) as names:
        task.loss(task.batch())
    if not names:
        raise Skip("not applicable", "no recurrent layer runs over the padding")
    name = next(iter(names))
    steps = steps_for(task, 2)
    said = f"{name} also runs over the padding at the end of each example"
    if not steps:
        raise Skip("not run", f"{said}. There was no time for a trial; give minutes=…")
    trial = compare(task, _held, steps)
    figures = {"without": trial.without, "with": trial.with_remedy, "error": trial.error}
    said += f". With its state after the last real place, {trial.said}."
    if not trial.helps:
        return Result(said, figures=figures, where=(name,))
    reference = task.known.get("reference_of_several", nan)
    stuck = not isfinite(reference) or trial.without > CHECKUP_STUCK * reference
    found = finding(
        "padding",
        "warning" if stuck else "info",
        (name,),
        said,
        "After so many padded places its state has forgotten the places before them.",
        "Read it at the last real place: output[torch.arange(len(x)), lengths - 1], or hand it over packed "
        "(torch.nn.utils.rnn.pack_padded_sequence).",
        value=trial.without,
        limit=trial.with_remedy,
        source="torch.nn.utils.rnn.pack_padded_sequence",
    )
    return Result(said, (found,), figures, where=(name,))


@contextmanager
def _held(task: Task) -> Iterator[dict[str, None]]:
    """Keep the state of recurrent layers through padding at the end; yields the names of these layers."""
    names: dict[str, None] = {}
    pads: list[Tensor] = []

    def begin(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        padded = padding_of(Call(args, kwargs))
        pads[:] = [padded.pads] if padded is not None and not bool(padded.pads[:, 0].any()) else []

    def hold(name: str) -> Any:
        def hook(module: nn.RNNBase, _: Any, output: Any) -> Any:
            made = output[0]
            if not pads or not isinstance(made, Tensor) or made.ndim != 3:
                return None
            rows_first = made if module.batch_first else made.transpose(0, 1)
            if rows_first.shape[:2] != pads[0].shape:
                return None
            names[name] = None
            last = (~pads[0]).sum(1) - 1  # (B,)
            places = torch.arange(pads[0].shape[1], device=made.device).minimum(last[:, None])  # (B, T)
            kept = rows_first.gather(1, places[..., None].expand_as(rows_first))
            state, cell = output[1] if isinstance(output[1], tuple) else (output[1], None)
            state = torch.cat([state[:-1], kept[:, -1][None]])
            kept = kept if module.batch_first else kept.transpose(0, 1)
            return kept, state if cell is None else (state, cell)

        return hook

    layers = [(name, each) for name, each in named_modules(task.model) if isinstance(each, nn.RNNBase)]
    plain = [(name, each) for name, each in layers if not each.bidirectional and not getattr(each, "proj_size", 0)]
    handles = [task.model.register_forward_pre_hook(begin, with_kwargs=True)]
    handles += [each.register_forward_hook(hold(name)) for name, each in plain]
    try:
        yield names
    finally:
        for handle in handles:
            handle.remove()
