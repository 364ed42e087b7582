"""Train a little, load the earlier state, and compare: are the answers the same as before?

They differ if training changes something that is not in `state_dict()`: layers in a plain list, statistics kept as plain tensors,
buffers registered with persistent=False.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from lettrine.health.findings import Finding
from lettrine.health.limits import CHECKUP_SAME_SINGLE
from lettrine.torch.checkup.call import NotCalled
from lettrine.torch.checkup.experiment import Result, experiment, finding, part
from lettrine.torch.checkup.names import hidden_tensors
from lettrine.torch.checkup.spread import change
from lettrine.torch.checkup.task import Task
from lettrine.torch.checkup.values import leaves

STEPS = 3


@experiment("save-load", "Save and load", passes=6, trains=True)
def save_load(task: Task) -> Result:
    """Compare the answers before some steps with those after loading the state that was saved before the steps.

    Measured: The answers before some steps, and after them with the earlier state loaded.
    Formula: change = largest abs(loaded - before) / size of the answers.
    """
    state = copy.deepcopy(task.model.state_dict())
    before = _answers(task)
    kept = {name: tensor.detach().clone() for name, tensor in _outside(task.model).items()}
    plain = {name: tensor.detach().clone() for name, tensor in hidden_tensors(task.model).values() if tensor.is_floating_point()}
    optimizer = task.fallback_optimizer()
    task.model.train()
    for number in range(STEPS):
        task.step(number, optimizer)
    moved = max((change(a, b) for a, b in zip(before, _answers(task), strict=False)), default=0.0)
    try:
        task.model.load_state_dict(state)
    except Exception as error:  # noqa: BLE001  whatever the user's code raises is told to the user
        found = _refuses(error)
        return Result(found.message, (found,))
    share = max((change(a, b) for a, b in zip(before, _answers(task), strict=False)), default=0.0)
    figures = {"moved": moved, "change": share}
    said = f"{STEPS} steps change the answers by {part(moved)}; with the earlier state loaded they differ by {part(share)}."
    if share <= CHECKUP_SAME_SINGLE:
        return Result(said, figures=figures)
    now = _outside(task.model)
    lost = tuple(name for name, value in kept.items() if name in now and not torch.equal(now[name].detach(), value))
    if not lost and not task.stateful:
        lost = _statistics(task, plain, before)
    if not lost:  # a state that is carried from batch to batch, or a counter
        return Result(f"{said} The model keeps a state that is neither a parameter nor a buffer.", figures=figures)
    found = finding(
        "save-load",
        "warning",
        lost,
        f"{lost[0]} changes in training and is not in state_dict(): saved and loaded, the model answers differently, by "
        f"{part(share)}.",
        "Saving loses what was trained, without an error.",
        f"Register {lost[0]}: layers in nn.ModuleList, single tensors as nn.Parameter or as a buffer with persistent=True.",
        value=share,
        limit=CHECKUP_SAME_SINGLE,
        source="torch.nn.Module.state_dict: parameters and persistent buffers",
    )
    return Result(said, (found,), figures, where=lost)


def _answers(task: Task) -> list[Tensor]:
    """The model's outputs in eval mode; the loss, if the model is not called directly."""
    with task.boxed(), torch.no_grad():
        task.model.eval()
        try:
            output = task.outputs(task.inputs(task.batch()))
        except NotCalled:
            return [torch.tensor(task.same_loss())]
        return [each.detach().clone() for _, each in leaves(output) if each.is_floating_point()]


def _outside(model: nn.Module) -> dict[str, Tensor]:
    """Weights that no module registers, and buffers that are not saved."""
    found = {name: each for name, each in hidden_tensors(model).values() if isinstance(each, nn.Parameter) or each.requires_grad}
    saved = model.state_dict(keep_vars=True)
    held = {id(each) for each in saved.values() if isinstance(each, Tensor)}
    found |= {name: each for name, each in model.named_buffers() if id(each) not in held}
    return {name: each for name, each in found.items() if each.is_leaf}


def _statistics(task: Task, plain: dict[str, Tensor], before: list[Tensor]) -> tuple[str, ...]:
    """Plain tensors that training changed and eval mode only reads: with their earlier values the answers are those of before."""
    now = dict(hidden_tensors(task.model).values())
    changed = {name: value for name, value in plain.items() if name in now and not torch.equal(now[name].detach(), value)}
    if not changed or any(now[name].shape != value.shape for name, value in changed.items()):
        return ()
    with torch.no_grad():
        for name, value in changed.items():
            now[name].detach().copy_(value)
    share = max((change(a, b) for a, b in zip(before, _answers(task), strict=False)), default=0.0)
    return tuple(changed) if share <= CHECKUP_SAME_SINGLE else ()


def _refuses(error: Exception) -> Finding:
    return finding(
        "save-load",
        "warning",
        (),
        f"The model does not load its own state_dict(): {type(error).__name__}: "
        f"{str(error).splitlines()[0] if str(error) else ''}",
        "A saved run cannot be resumed.",
        "Check what state_dict() and load_state_dict() handle beyond the parameters, and shapes that change in training.",
    )
