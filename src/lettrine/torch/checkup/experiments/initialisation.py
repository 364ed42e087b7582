"""Signals that die out or grow from layer to layer of a fresh network: would it learn better from other initial weights?

The spread (std) of each layer's outputs is measured from the first layer to the last but one. If it changes a lot, the weights
are scaled so that every layer has a spread of 1, and training is tried with and without that.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from lettrine.errors import LettrineError
from lettrine.health.checks import Skip
from lettrine.health.findings import Finding
from lettrine.health.limits import CHECKUP_DEPTH, CHECKUP_START_LOST, TRIAL_STEPS
from lettrine.torch.capture.catalogue import kind_of
from lettrine.torch.checkup.call import NotCalled
from lettrine.torch.checkup.experiment import Result, experiment, finding
from lettrine.torch.checkup.remedies import calibrated
from lettrine.torch.checkup.spread import record_calls
from lettrine.torch.checkup.task import Task, takes_closure
from lettrine.torch.checkup.trials import SEEDS, Trial, compare, steps_for
from lettrine.torch.devices import double

LEAST: Final = 3  # least number of layers
LAYERS: Final = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@experiment("initialisation", "Initialisation", passes=2 * len(SEEDS) * TRIAL_STEPS // 2, trains=True)
def initialisation(task: Task) -> Result:
    """Measure the spread of every layer's outputs; if it dies out or grows, train from weights that keep it.

    Measured: Standard deviation of each layer's outputs from example to example, in a fresh network, and how much lower the loss
    gets with weights that keep it at 1.
    Formula: share = std in the last layer but one / std in the first.
    """
    if task.optimizer is not None and task.optimizer.state:
        raise Skip("not applicable", "the network has been trained already")
    if task.whole or (task.optimizer is not None and takes_closure(task.optimizer)):
        raise Skip("not applicable", "inputs and targets are not separate, or the optimiser searches along a line")
    try:
        spreads = _spreads(task)
    except NotCalled:  # pragma: no cover  pairs always call the model
        spreads = []
    if len(spreads) < LEAST + 1:
        raise Skip("not applicable", f"fewer than {LEAST} layers and an output")
    if any("Norm" in kind_of(each) for each in task.model.modules()):
        raise Skip("not applicable", "norms keep the spread, whatever the single layers do")
    (first, begin), (last, end) = spreads[0], spreads[-2]
    figures = {"first": begin, "last": end, "layers": len(spreads)}
    said = f"The std of the outputs from example to example goes from {begin:.2g} in {first} to {end:.2g} in {last}."
    share = end / begin if begin > 0 else 0.0
    if not share > 0 or 1 / CHECKUP_DEPTH < share < CHECKUP_DEPTH:
        return Result(said, figures=figures)
    steps = steps_for(task, 2)
    if not steps:
        raise Skip("not run", f"{said} There was no time to try other weights; give minutes=…")
    try:
        trial = compare(task, calibrated, steps)
    except LettrineError as error:
        raise Skip("not applicable", str(error)) from None
    figures |= {"without": trial.without, "with": trial.with_remedy, "error": trial.error}
    said += f" With weights that keep it at 1, {trial.said}."
    if not trial.helps:
        return Result(said, figures=figures)
    found = _finding(last, said, share, trial)
    return Result(said, (found,), figures, where=found.where)


def _spreads(task: Task) -> list[tuple[str, float]]:
    """Name and std of the outputs of each layer, in the order in which they are first called."""
    task.model.train()
    with torch.no_grad():
        _, calls = record_calls(task.model, lambda: task.outputs(task.inputs(task.batch())))
    found: dict[str, float] = {}
    for each in calls:
        if isinstance(each.module, LAYERS) and each.outputs and each.outputs[0].numel() > 1:
            found.setdefault(each.name, _std(each.outputs[0]))
    return list(found.items())


def _std(tensor: Tensor) -> float:
    """Std over examples, root mean square over units. So a bias, equal in all examples, does not count."""
    return float(double(tensor.detach()).var(0, correction=0).mean().sqrt())


def _finding(last: str, said: str, share: float, trial: Trial) -> Finding:
    word = "die out" if share < 1 else "grow"
    return finding(
        "activation-scale",
        "info" if trial.lost <= CHECKUP_START_LOST else "warning",  # a network that learns all the same only lost a few steps
        (last,),
        f"Signals {word} from layer to layer. {said}",
        "If signals die out, so do the gradients; if they grow, they saturate or make the first steps wild.",
        "Scale the weights before training: lettrine.init.calibrate(model, batch, loss_fn), or nn.init.kaiming_normal_ for ReLU "
        f"and nn.init.xavier_normal_ for tanh; a norm between layers does it too. It was {trial.said}.",
        value=share,
        limit=1 / CHECKUP_DEPTH if share < 1 else CHECKUP_DEPTH,
        source="Mishkin & Matas 2016, All you need is a good init; He et al. 2015",
    )
