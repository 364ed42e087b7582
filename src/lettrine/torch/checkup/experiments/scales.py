"""Inputs or targets of a large scale, or inputs of a tiny one: would the network learn faster with them standardised? A trial
decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from lettrine.health.checks import Skip
from lettrine.health.limits import CHECKUP_SCALE, TRIAL_STEPS
from lettrine.torch.checkup.call import NotCalled, inputs_changed
from lettrine.torch.checkup.experiment import Result, experiment, finding
from lettrine.torch.checkup.spread import Called, record_calls
from lettrine.torch.checkup.task import Task
from lettrine.torch.checkup.trials import SEEDS, Trial, compare, steps_for
from lettrine.torch.checkup.values import leaves
from lettrine.torch.devices import double
from lettrine.torch.graph.data.looked_up import looked_up

EPSILON: Final = 1e-6
UNEVEN: Final = 10.0  # ratio of the largest to the smallest feature from which each is standardised on its own
LEAST: Final = 16  # least number of values to know the spread of a feature


@dataclass(frozen=True)
class Scale:
    """Mean and spread of the values of one kind. path: of the input; "" for the targets. own: those of each feature, if features
    have different units; 0 and 1 for those that are left as they are. within: whether the model standardises it itself.
    """

    path: str
    mean: float
    std: float
    own: tuple[Tensor, Tensor] | None = None
    within: bool = False

    @property
    def far(self) -> bool:
        """Whether scaling is worth a trial."""
        return self.unusual and not self.within

    @property
    def unusual(self) -> bool:
        """Large values, or inputs that hardly vary."""
        small = self.path != "" and 0 < max(abs(self.mean), self.std) < 1 / CHECKUP_SCALE
        return max(abs(self.mean), self.std) > CHECKUP_SCALE or small


@experiment("scales", "Scale of inputs and targets", passes=2 * len(SEEDS) * TRIAL_STEPS // 2, trains=True)
def scales(task: Task) -> Result:
    """Measure the scales; if one is far off, train with and without standardising it.

    Measured: Standard deviation and mean of inputs and targets, and how much lower the loss gets when they are standardised.
    Formula: gain = loss as it is - loss standardised, in standard errors over three seeds.
    """
    sizes = [*_input_scales(task), *_target_scales(task)]
    if not sizes:
        raise Skip("not applicable", "no floating-point inputs or targets")
    figures: dict[str, float] = {}
    for each in sizes:
        figures |= {f"mean {each.path or 'targets'}": each.mean, f"std {each.path or 'targets'}": each.std}
    widest = max(sizes, key=lambda each: max(abs(each.mean), each.std))
    name = f"input {widest.path}" if widest.path else "targets"
    said = f"The widest are the {name}: mean {widest.mean:.3g}, std {widest.std:.3g}."
    if any(each.unusual and each.within for each in sizes):
        said += " The model standardises its inputs itself."
    found = []
    far = [each for each in sizes if each.far]
    for each in far:
        steps = steps_for(task, 2, 0.5)
        if not steps:
            raise Skip("not run", f"{said} There was no time to try scaling; give minutes=…")
        trial = compare(task, _scaled(each), steps)
        figures |= _figures(each.path or "targets", trial)
        said += f" Standardised, {trial.said}."
        if trial.helps:
            found.append(_finding(each, trial))
    if not found and len(far) > 1 and (steps := steps_for(task, 2, 0.5)):
        trial = compare(task, lambda task: _all_scaled(task, far), steps)
        figures |= _figures("all", trial)
        said += f" All of them standardised, {trial.said}."
        found += [_finding(each, trial, together=True) for each in far if trial.helps]
    return Result(said, tuple(found), figures)


def _figures(name: str, trial: Trial) -> dict[str, float]:
    return {f"without {name}": trial.without, f"with {name}": trial.with_remedy, f"error {name}": trial.error}


def _input_scales(task: Task) -> Iterator[Scale]:
    try:
        call = task.inputs(task.batch())
    except NotCalled:
        return
    with torch.no_grad():
        _, calls = record_calls(task.model, lambda: task.outputs(call))
    tables = [(path, each) for path, each in leaves(call.given) if _is_table(each)]
    within = len(tables) == 1 and _standardises(calls)
    for path, each in tables:
        ids = looked_up(each, ((one.module, one.inputs) for one in calls))
        scaled = [place for place in range(each.shape[-1]) if place not in ids]
        values = double(each[..., scaled])
        if values.numel() > 1:
            yield Scale(path, float(values.mean()), float(values.std()), _units(each, ids), within)


def _is_table(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.ndim >= 2 and tensor.numel() > 1


def _standardises(calls: Sequence[Called]) -> bool:
    """Whether the first module with weights is given standard values: the model itself has made them so."""
    weighted = (one for one in calls if any(each.ndim > 1 for each in one.module.parameters(recurse=False)))
    first = next(weighted, None)
    tables = [each for _, each in leaves(first.inputs) if _is_table(each)] if first is not None else []
    standard = (not Scale("x", float(each.mean()), float(each.std())).far and _units(each, []) is None for each in tables)
    return bool(tables) and all(standard)


def _units(tensor: Tensor, ids: list[int]) -> tuple[Tensor, Tensor] | None:
    """Mean and spread of each feature of a table (N, F) or sequence (N, T, F), if their sizes differ widely; else None. Features
    that are numbers of rows of an embedding are left as they are.
    """
    if tensor.ndim not in (2, 3) or tensor.shape[-1] < 2 or tensor.numel() < LEAST * tensor.shape[-1]:
        return None
    rows = tensor.detach().flatten(0, -2)
    mean, std = rows.mean(0), rows.std(0)
    sizes = torch.maximum(mean.abs(), std)
    sizes[ids] = 0.0
    varied = sizes[(std > 0) & (sizes > 0)]
    if not ids and (varied.numel() < 2 or float(varied.max()) <= UNEVEN * float(varied.min())):
        return None
    std += EPSILON
    mean[ids], std[ids] = 0.0, 1.0
    return mean, std


def _target_scales(task: Task) -> Iterator[Scale]:
    target = None if task.whole else task.batch()[-1]
    if isinstance(target, Tensor) and target.is_floating_point() and target.numel() > 1:
        output = task.outputs(task.inputs(task.batch()))
        if isinstance(output, Tensor) and output.numel() == target.numel():
            yield Scale("", float(double(target).mean()), float(double(target).std()))


def _scaled(scale: Scale) -> Any:
    return _scaled_inputs(scale) if scale.path else _scaled_targets(scale)


@contextmanager
def _all_scaled(task: Task, scales: Sequence[Scale]) -> Iterator[None]:
    """Inputs and targets standardised together: each may hide what the other one does."""
    with ExitStack() as stack:
        for each in scales:
            stack.enter_context(_scaled(each)(task))
        yield


def _scaled_inputs(scale: Scale) -> Any:
    def change(path: str, tensor: Tensor) -> Tensor:
        if path != scale.path:
            return tensor
        mean, std = scale.own or (scale.mean, scale.std + EPSILON)
        return (tensor - mean) / std

    return lambda task: inputs_changed(task.model, change)


def _scaled_targets(scale: Scale) -> Any:
    """Train on standardised targets, and measure the loss of the answers turned back."""

    @contextmanager
    def remedy(task: Task) -> Iterator[None]:
        kept = task.loss_fn

        def loss_fn(output: Tensor, target: Tensor) -> Tensor:
            turned = not torch.is_grad_enabled()
            loss: Tensor = (
                kept(output * scale.std + scale.mean, target) if turned else kept(output, (target - scale.mean) / scale.std)
            )
            return loss

        task.loss_fn = loss_fn
        try:
            yield
        finally:
            task.loss_fn = kept

    return remedy


def _finding(scale: Scale, trial: Trial, *, together: bool = False) -> Any:
    with_others = ", together with the others" if together else ""
    how = f"Standardised{with_others}"
    line = f"(x {'+' if scale.mean < 0 else '-'} {abs(scale.mean):.3g}) / {scale.std:.3g}"
    if scale.own:
        sizes = torch.maximum(scale.own[0].abs(), scale.own[1])
        widths = f"its features are of sizes from {float(sizes.min()):.3g} to {float(sizes.max()):.3g}"
        return finding(
            "input-scale",
            "warning",
            (),
            f"The input {scale.path} is far from standard: {widths}. Each standardised on its own{with_others}, {trial.said}.",
            "The largest features saturate the next layer and hide the others.",
            "Standardise each feature with its own mean and std over the training data: (x - x.mean(0)) / x.std(0).",
            value=scale.std,
            limit=CHECKUP_SCALE,
            source="LeCun et al. 1998, Efficient backprop: normalising the inputs",
        )
    if scale.path:
        return finding(
            "input-scale",
            "warning",
            (),
            f"The input {scale.path} is far from standard: mean {scale.mean:.3g}, std {scale.std:.3g}. {how}, {trial.said}.",
            "The first layer's sums and gradients are large: the next layer saturates, or the rate is wrong for it."
            if max(abs(scale.mean), scale.std) > 1
            else "The first layer's biases hide the differences between the inputs, and its gradients are tiny.",
            f"Standardise it with the mean and std of the training data: {line}.",
            value=scale.std,
            limit=CHECKUP_SCALE,
            source="LeCun et al. 1998, Efficient backprop: normalising the inputs",
        )
    return finding(
        "target-scale",
        "warning",
        (),
        f"The targets are far from standard: mean {scale.mean:.3g}, std {scale.std:.3g}. {how}, {trial.said}.",
        "The last layer has to grow to their size before anything else can be learned.",
        f"Train on {line.replace('x', 'y')}, and turn predictions back.",
        value=scale.std,
        limit=CHECKUP_SCALE,
        source="LeCun et al. 1998, Efficient backprop",
    )
