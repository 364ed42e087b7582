"""Inputs or targets of a large scale: would the network learn faster if they were standardised? The scaling is tried."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from torch import Tensor, nn

from lettrine.health.checks import Skip
from lettrine.health.limits import CHECKUP_SCALE, TRIAL_STEPS
from lettrine.torch.checkup.experiment import Result, experiment, finding
from lettrine.torch.checkup.task import NotCalled, Task
from lettrine.torch.checkup.trials import SEEDS, Trial, compare
from lettrine.torch.checkup.values import leaves, mapped

EPSILON: Final = 1e-6


@dataclass(frozen=True)
class Scale:
    """Mean and spread of the values of one kind. path: of the input; "" for the targets."""

    path: str
    mean: float
    std: float

    @property
    def large(self) -> bool:
        """Whether scaling is worth a trial."""
        return max(abs(self.mean), self.std) > CHECKUP_SCALE


@experiment("scales", "Scale of inputs and targets", passes=2 * len(SEEDS) * TRIAL_STEPS // 2, trains=True)
def scales(task: Task) -> Result:
    """Measure the scales; where one is large, train with and without standardising it.

    Measured: Standard deviation and mean of inputs and targets, and what training gains when they are standardised.
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
    found = []
    for each in sizes:
        if not each.large:
            continue
        steps = min(TRIAL_STEPS, task.steps_in(0.5 / (2 * len(SEEDS)), TRIAL_STEPS))
        if steps < TRIAL_STEPS // 2:
            said += " There was no time to try scaling."
            break
        trial = compare(task, _scaled_inputs(each) if each.path else _scaled_outputs(each), steps)
        figures |= {f"without {each.path}": trial.without, f"with {each.path}": trial.with_remedy}
        said += f" Standardised, {trial.said}."
        if trial.helps:
            found.append(_finding(each, trial))
    return Result(said, tuple(found), figures)


def _input_scales(task: Task) -> Iterator[Scale]:
    try:
        given = task.inputs(task.batch()).given
    except NotCalled:
        return
    for path, each in leaves(given):
        if each.is_floating_point() and each.ndim >= 2 and each.numel() > 1:
            yield Scale(path, float(each.double().mean()), float(each.double().std()))


def _target_scales(task: Task) -> Iterator[Scale]:
    target = None if task.whole else task.batch()[-1]
    if isinstance(target, Tensor) and target.is_floating_point() and target.numel() > 1:
        output = task.outputs(task.inputs(task.batch()))
        if isinstance(output, Tensor) and output.numel() == target.numel():
            yield Scale("", float(target.double().mean()), float(target.double().std()))


def _scaled_inputs(scale: Scale) -> Any:
    @contextmanager
    def remedy(task: Task) -> Iterator[None]:
        def change(path: str, tensor: Tensor) -> Tensor:
            return (tensor - scale.mean) / (scale.std + EPSILON) if path == scale.path else tensor

        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            changed = tuple(mapped(each, change, str(place)) for place, each in enumerate(args))
            return changed, {key: mapped(each, change, key) for key, each in kwargs.items()}

        handle = task.model.register_forward_pre_hook(hook, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()

    return remedy


def _scaled_outputs(scale: Scale) -> Any:
    """The same loss with the answers stretched to the targets, which is what training on standardised targets comes to."""

    @contextmanager
    def remedy(task: Task) -> Iterator[None]:
        handle = task.model.register_forward_hook(lambda _, __, output: output * scale.std + scale.mean)
        try:
            yield
        finally:
            handle.remove()

    return remedy


def _finding(scale: Scale, trial: Trial) -> Any:
    line = f"(x - {scale.mean:.3g}) / {scale.std:.3g}"
    if scale.path:
        return finding(
            "input-scale",
            "warning",
            (),
            f"The input {scale.path} is far from standard: mean {scale.mean:.3g}, std {scale.std:.3g}. Standardised, "
            f"{trial.said}.",
            "The first layer's sums are large, and its gradients with them: what comes after saturates, or the rate is wrong "
            "for it.",
            f"Standardise it with the mean and std of the training data: {line}.",
            value=scale.std,
            limit=CHECKUP_SCALE,
            source="LeCun et al. 1998, Efficient backprop: normalising the inputs",
        )
    return finding(
        "target-scale",
        "warning",
        (),
        f"The targets are far from standard: mean {scale.mean:.3g}, std {scale.std:.3g}. Standardised, {trial.said}.",
        "The last layer has to grow to their size before anything else can be learned.",
        f"Train on {line.replace('x', 'y')}, and turn predictions back.",
        value=scale.std,
        limit=CHECKUP_SCALE,
        source="LeCun et al. 1998, Efficient backprop",
    )
