"""Frozen parts that still have their random start values: would the network learn better if they were trained?

A weight is fresh if it still has a distribution from which weights of its shape are usually drawn. Trained weights do not. A
trial shows whether the freeze hurts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from lettrine.health.checks import Skip
from lettrine.health.limits import TRIAL_STEPS
from lettrine.torch.capture.catalogue import clean_name
from lettrine.torch.checkup.experiment import Result, experiment, finding
from lettrine.torch.checkup.task import Task, takes_closure
from lettrine.torch.checkup.trials import SEEDS, compare, steps_for
from lettrine.torch.checkup.values import leaves
from lettrine.torch.graph.layers.frozen import never_trained


@experiment("frozen", "Frozen parts", passes=2 * len(SEEDS) * TRIAL_STEPS // 2, trains=True)
def frozen(task: Task) -> Result:
    """Find frozen parts that are fresh, and train with and without the freeze; and parts that only train() of the model freezes.

    Measured: Frozen weights that still have their initial distribution, and how much lower the loss gets without the freeze. What
        a train() that the model defines itself does to parameters.
    Formula: gain = loss with the freeze - loss without it, in standard errors over three seeds; none for the second.
    """
    if meant := _frozen_by_train(task.model):
        return _never_called(task.model, meant)
    kept = [(clean_name(name), each) for name, each in task.model.named_parameters() if not each.requires_grad]
    if not kept or task.optimizer is None or takes_closure(task.optimizer):
        raise Skip("not applicable", "nothing is frozen" if not kept else "no optimizer that parameters could be added to")
    drawn = never_trained({clean_name(name): each for name, each in task.model.named_parameters()})
    fresh = [name for name, each in kept if name in drawn and not _patched(task.model, name, each)]
    figures: dict[str, float] = {"frozen": len(kept), "fresh": len(fresh)}
    said = f"{len(kept)} parameters are frozen, {len(fresh)} of them with their random start values."
    if not fresh:
        return Result(said, figures=figures)
    if not _on_the_way(task, [each for name, each in kept if name in fresh]):
        raise Skip("not applicable", f"{said} No gradient ties them to what is trained")
    steps = steps_for(task, 2)
    if not steps:
        raise Skip("not run", f"{said} There was no time to try them unfrozen; give minutes=…")
    parts = {name.rpartition(".")[0] for name in fresh}
    thawed = [each for name, each in kept if name.rpartition(".")[0] in parts]
    trial = compare(task, lambda each: _thawed(each, thawed), steps)
    figures |= {"without": trial.without, "with": trial.with_remedy, "error": trial.error}
    said += f" Unfrozen, {trial.said}."
    if not trial.helps:
        return Result(said, figures=figures, where=tuple(fresh))
    found = finding(
        "frozen-random",
        "warning",
        tuple(fresh),
        f"{fresh[0]} is frozen and still has its random start values ({drawn[fresh[0]]}). Unfrozen, {trial.said}.",
        "A layer that is never trained passes on a random mixture of its inputs.",
        "Load the trained weights before freezing, or leave these parts trainable: requires_grad_(True), before the optimizer "
        "is made.",
        value=trial.without,
        limit=trial.with_remedy,
        source="Yosinski et al. 2014, How transferable are features in deep neural networks?",
    )
    return Result(said, (found,), figures, where=tuple(fresh))


def _frozen_by_train(model: nn.Module) -> list[str]:
    """Parameters that train of a module of its own kind freezes, as backbones with frozen stages do, and that are trained now."""
    if all(type(module).train is nn.Module.train for module in model.modules()):
        return []
    before = [(clean_name(name), each) for name, each in model.named_parameters() if each.requires_grad]
    model.train()
    return [name for name, each in before if not each.requires_grad]


def _never_called(model: nn.Module, meant: list[str]) -> Result:
    owner = next(type(module).__name__ for module in model.modules() if type(module).train is not nn.Module.train)
    more = f" and {len(meant) - 1} more" if len(meant) > 1 else ""
    said = f"train() of {owner} freezes {meant[0]}{more}, and has not been called: what it freezes is trained."
    found = finding(
        "wrong-mode",
        "warning",
        tuple(meant),
        said,
        "A model may freeze parts of itself when it is told to train; a fresh one is in training mode without having been told.",
        "Call model.train() when the model is made, before its optimizer, and again after each evaluation.",
        value=float(len(meant)),
        limit=0.0,
        source="torch.nn.Module.train",
    )
    return Result(said, (found,), {"freezes": float(len(meant))}, where=tuple(meant))


def _patched(model: nn.Module, name: str, weight: Tensor) -> bool:
    """Whether trainable low-rank factors belong to it (LoRA): they correct the frozen weight, so the freeze is intended."""
    if weight.ndim != 2:
        return False
    rows, columns = weight.shape
    home = ".".join(name.split(".")[:-2])
    beside = [each for other, each in model.named_parameters() if clean_name(other).startswith(f"{home}." if home else "")]
    ranks = {each.shape[0] for each in beside if each.requires_grad and each.ndim == 2 and each.shape[1] == columns}
    others = {each.shape[1] for each in beside if each.requires_grad and each.ndim == 2 and each.shape[0] == rows}
    return any(rank < min(rows, columns) for rank in ranks & others)


def _on_the_way(task: Task, fresh: list[nn.Parameter]) -> bool:
    """Whether something trained stands before or after frozen parts. Nothing does where they only make targets, as the random
    network does whose answers another one learns: unfrozen, they would make the task easier.
    """
    trained = [each for each in task.model.parameters() if each.requires_grad]
    return _fed(task, fresh, trained) or _fed(task, trained, fresh)


def _fed(task: Task, sources: list[nn.Parameter], takers: list[nn.Parameter]) -> bool:
    """Whether a module that holds one of the takers holds or is given what depends on one of the sources."""
    found = [False]
    held, own = set(map(id, takers)), set(map(id, sources))

    def look(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        parts = {id(each) for each in module.parameters(recurse=False)}
        if parts & held:
            found[0] |= bool(parts & own) or any(each.requires_grad for _, each in leaves((args, kwargs)))

    with task.boxed():
        for each in task.model.parameters():
            each.requires_grad_(id(each) in own)
        handles = [each.register_forward_pre_hook(look, with_kwargs=True) for each in task.model.modules()]
        try:
            task.loss(task.batch())
        finally:
            for handle in handles:
                handle.remove()
    return found[0]


@contextmanager
def _thawed(task: Task, parameters: list[nn.Parameter]) -> Iterator[None]:
    assert task.optimizer is not None  # noqa: S101  for the type checker: the caller has looked
    held = {id(each) for group in task.optimizer.param_groups for each in group["params"]}
    for each in parameters:
        each.requires_grad_()
    group = {key: value for key, value in task.optimizer.param_groups[0].items() if key != "params"}
    group["params"] = [each for each in parameters if id(each) not in held]
    if group["params"]:
        task.optimizer.param_groups.append(group)
    yield
