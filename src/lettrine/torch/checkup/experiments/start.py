"""A first loss far above the best constant answer: does a smaller last layer help? A trial decides.

Weight decay that is stronger than the gradient: does the network learn better without it? A trial decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite, nan, sqrt
from typing import Any, Final

import torch
from torch import nn

from lettrine.errors import LettrineError
from lettrine.health.checks import Skip
from lettrine.health.limits import CHECKUP_DECAY, CHECKUP_START, CHECKUP_START_LOST, CHECKUP_STUCK, TRIAL_STEPS
from lettrine.torch.capture.catalogue import named_modules
from lettrine.torch.checkup.experiment import Result, experiment, finding
from lettrine.torch.checkup.experiments.first_loss import output_of
from lettrine.torch.checkup.remedies import calibrated, without_decay
from lettrine.torch.checkup.task import Task, takes_closure
from lettrine.torch.checkup.trials import LONGER, SEEDS, SHARE, Trial, compare, final_loss, steps_for
from lettrine.torch.devices import double

KINDS: Final = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Embedding)
MOST: Final = 300  # operations visited, from the answers backwards
SMALLER: Final = 0.1  # factor on the last layer's weights
STRONGER: Final = 3.0  # ratio of decay to gradient from which training without decay is tried
# optimisers that add decay to the gradient
COUPLED: Final = (torch.optim.SGD, torch.optim.Adam, torch.optim.RMSprop, torch.optim.Adagrad)


@experiment("decay", "Weight decay against gradient", passes=2 * len(SEEDS) * TRIAL_STEPS // 2, trains=True)
def decay(task: Task) -> Result:
    """Compare weight decay with the gradient; if decay is much stronger, train without it.

    Measured: The size of weight decay beside that of the gradient, and how much lower the loss gets without decay. Where decay is
        apart from the gradient, as in AdamW: what it takes of the weights at each step.
    Formula: pull = norm(weight_decay * weights) / norm(gradient); or rate * weight_decay.
    """
    optimizer = task.optimizer
    if (
        optimizer is None
        or takes_closure(optimizer)
        or not any(float(g.get("weight_decay", 0)) > 0 for g in optimizer.param_groups)
    ):
        raise Skip("not applicable", "no weight decay")
    apart = type(optimizer) not in COUPLED or any(group.get("decoupled_weight_decay") for group in optimizer.param_groups)
    if apart and not isinstance(optimizer, torch.optim.AdamW | torch.optim.Adam | torch.optim.NAdam | torch.optim.RAdam):
        raise Skip("not applicable", "this optimiser's decay is separate from the gradient")
    lost = max(float(group.get("lr", 0)) * float(group.get("weight_decay", 0)) for group in optimizer.param_groups)
    pull = lost if apart else _pull(task)
    figures = {"lost_each_step" if apart else "decay_to_gradient": pull}
    said = f"Weight decay takes {100 * lost:.2g} % of the weights at each step."
    if not apart:
        said = f"Weight decay pulls {pull:.2g} times as hard as the gradient."
    limit = CHECKUP_DECAY if apart else STRONGER
    if not pull > limit:
        return Result(said, figures=figures)
    trial = _tried(task, without_decay)
    if trial is None:
        raise Skip("not run", f"{said} There was no time to try without; give minutes=…")
    figures |= {"without": trial.without, "with": trial.with_remedy, "error": trial.error}
    said += f" Without it, {trial.said}."
    if not trial.helps:
        return Result(said, figures=figures)
    now = max(float(group.get("weight_decay", 0)) for group in optimizer.param_groups)
    found = finding(
        "weight-decay",
        "warning",
        (),
        f"Weight decay is {now:g}: {said[0].lower()}{said[1:]}",
        "The weights shrink faster than they can learn.",
        f"Set weight_decay={now * limit / pull / 10:.0e} or less."
        if apart
        else f"Set weight_decay={now / pull:.0e} or less, or use AdamW, whose decay is separate from the gradient.",
        value=pull,
        limit=limit,
        source="Loshchilov & Hutter 2019, Decoupled weight decay regularization",
    )
    return Result(said, (found,), figures)


@experiment("start", "Scale of the last layer", passes=2 * len(SEEDS) * TRIAL_STEPS // 2, trains=True)
def start(task: Task) -> Result:
    """If the first loss is far too high, train with a smaller last layer.

    Measured: How much lower the loss gets if the last layer begins ten times smaller.
    Formula: gain = loss as it is - loss with the smaller layer, in standard errors over three seeds.
    """
    first, reference = task.known.get("loss", nan), task.known.get("reference_of_several", nan)
    if not isfinite(reference) or reference <= 0:
        raise Skip("not applicable", "no reference is known for this loss")
    figures = {"loss": first, "reference": reference}
    said = f"The loss starts at {first / reference:.2g} times that of the best constant answer."
    if first <= CHECKUP_START * reference:
        return Result(said, figures=figures)
    last = _last_layer(task)
    if last is None:
        return Result(said, figures=figures)
    name, layer = last
    trial = _tried(task, lambda each: _shrunk(each, layer))
    if trial is None:
        raise Skip("not run", f"{said} There was no time to try a smaller last layer; give minutes=…")
    figures |= {"without": trial.without, "with": trial.with_remedy, "error": trial.error}
    said += f" With {name} made {1 / SMALLER:g} times smaller, {trial.said}."
    # A network that learns all the same only lost a few steps; if most of the loss stays, something else is the reason for it.
    if not trial.helps or trial.without < reference or trial.gain < CHECKUP_START_LOST * (trial.without - reference):
        return Result(said, figures=figures)
    if trial.without > trial.start and trial.with_remedy > reference:
        return Result(f"{said} Either way the steps themselves raise the loss, so the rate is to blame first.", figures=figures)
    longer = task.steps_in(SHARE, LONGER * trial.steps)
    later = final_loss(task, None, longer, SEEDS[0])[1] if longer > trial.steps else nan
    if later < reference:
        return Result(f"{said} As it is, it learns all the same: after {longer} steps the loss is {later:.3g}.", figures=figures)
    how = f"With {name} made {1 / SMALLER:g} times smaller at the start, {trial.said}."
    remedy = f"After building the model: with torch.no_grad(): model.{name}.weight.mul_({SMALLER:g})."
    # Hardly better than guessing: more than the last layer is wrong.
    whole = _calibrated(task) if trial.with_remedy > CHECKUP_STUCK * reference else None
    if whole is not None and whole.helps and whole.with_remedy < trial.with_remedy:
        figures |= {"without": whole.without, "with": whole.with_remedy, "error": whole.error}
        how += f" With weights that keep the std of each layer's outputs at 1, {whole.said}."
        said += f" With weights that keep the std of each layer's outputs at 1, {whole.said}."
        remedy = (
            "Scale the weights of all layers before training: lettrine.init.calibrate(model, batch, loss_fn), or draw them with "
        )
        remedy += "std 1/sqrt(fan_in)."
    found = finding(
        "initial-loss",
        "warning",
        (name,),
        f"The loss starts at {first:.3g}; the best constant answer has {reference:.3g}. {how}",
        "The first steps are spent on undoing the initialisation.",
        remedy,
        value=first,
        limit=CHECKUP_START * reference,
        source="Karpathy 2022, makemore part 3: fixing the initial loss",
    )
    return Result(said, (found,), figures, where=(name,))


def _tried(task: Task, remedy: Any) -> Trial | None:
    steps = steps_for(task, 2)
    return compare(task, remedy, steps) if steps else None


def _calibrated(task: Task) -> Trial | None:
    """A trial of weights that keep the spread; None where they cannot be had, or time is short."""
    if task.whole or (task.optimizer is not None and task.optimizer.state):
        return None
    try:
        return _tried(task, calibrated)
    except LettrineError:
        return None


def _pull(task: Task) -> float:
    """Norm of decay times weights over norm of the gradient, over everything that is decayed."""
    task.model.train()
    loss = task.loss(task.batch())
    if not loss.requires_grad:
        return nan
    loss.backward()  # type: ignore[no-untyped-call]
    decayed = gradient = 0.0
    for group in task.optimizer.param_groups if task.optimizer else ():
        for each in group["params"]:
            if each.grad is not None:
                decayed += float((float(group.get("weight_decay", 0)) * double(each.detach())).square().sum())
                gradient += float(double(each.grad).square().sum())
    return sqrt(decayed / gradient) if gradient > 0 else nan


def _last_layer(task: Task) -> tuple[str, nn.Module] | None:
    """The layer whose weight is nearest to the answers in their graph; it may be an embedding that is also used at the end."""
    owners = {id(each.weight): (name, each) for name, each in named_modules(task.model) if isinstance(each, KINDS)}
    task.model.train()
    output = output_of(task)
    waiting: list[Any] = [output.grad_fn] if output is not None else []
    seen: set[Any] = set()
    while waiting and len(seen) < MOST:
        node = waiting.pop(0)
        if node is None or node in seen:
            continue
        seen.add(node)
        if id(getattr(node, "variable", None)) in owners:
            return owners[id(node.variable)]
        waiting += [following for following, _ in node.next_functions]
    layers = [each for each in owners.values() if not isinstance(each[1], nn.Embedding)]
    return layers[-1] if layers else None


@contextmanager
def _shrunk(_: Task, layer: nn.Module) -> Iterator[None]:
    with torch.no_grad():
        for each in layer.parameters(recurse=False):
            each.mul_(SMALLER)
    yield
