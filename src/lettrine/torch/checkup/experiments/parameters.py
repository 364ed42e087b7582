"""Does each parameter matter, does it get a gradient, and does the model or the optimiser hold it?

Two passes in training mode show the leaves of the loss's graph and their gradients. A parameter without a gradient is changed a
little: if the loss changes, the backward path is cut; if not, the loss does not use the parameter.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn

from lettrine.health.checks import Skip
from lettrine.health.findings import Finding
from lettrine.health.limits import CHECKUP_MATTERS
from lettrine.torch.capture.catalogue import clean_name
from lettrine.torch.checkup.experiment import Result, experiment, finding
from lettrine.torch.checkup.names import hidden_tensors
from lettrine.torch.checkup.single import softmax_of_one
from lettrine.torch.checkup.task import Task

MOST_MOVED = 64  # parameters moved one by one


@experiment("parameters", "Parameters matter", passes=6)
def parameters(task: Task) -> Result:
    """Read the leaves of the graph, and change the parameters that get no gradient.

    Measured: The leaves of the loss's graph, and for each parameter without a gradient whether the loss changes with it.
    Formula: change = abs(loss(parameter changed) - loss) / loss.
    """
    task.model.train()
    ends = [_ends(task, number) for number in range(2)]
    if not ends[0]:
        held = any(each.requires_grad for each in task.model.parameters())
        if not held and task.optimizer is None:
            raise Skip("not applicable", "no parameter asks for a gradient")
        found = _cut_off() if held else _all_frozen()
        return Result(found.message, (found,))
    lasting = {key: tensor for key, tensor in ends[0].items() if key in ends[1]}
    named = {id(each): clean_name(name) for name, each in task.model.named_parameters(remove_duplicate=False)}
    optimised = {id(each) for group in task.optimizer.param_groups for each in group["params"]} if task.optimizer else None
    found_all = [*_unheld(task, lasting, named, optimised), *_without_gradient(task, named, ends, optimised)]
    if (single := softmax_of_one(task, named)) is not None:
        found_all.append(single)
    figures = {
        "parameters": len(named),
        "in_graph": sum(key in named for key in lasting),
        "elsewhere": len(set(lasting) - set(named)),
    }
    said = f"The loss reaches {figures['in_graph']} of {len(named)} parameters"
    said += f", and {figures['elsewhere']} tensors that are not parameters of the model." if figures["elsewhere"] else "."
    unused = _unused(task, named, ends)
    figures["unused"] = len(unused)
    if unused:
        said += f" The loss stays the same when these are changed, so it does not use them: {', '.join(unused[:4])}"
        said += f" and {len(unused) - 4} more." if len(unused) > 4 else "."
    where = tuple(name for each in found_all for name in each.where)
    return Result(said, tuple(found_all), figures, {"unused": ", ".join(unused)} if unused else {}, where=where)


def _ends(task: Task, number: int) -> dict[int, Tensor]:
    """Leaves of the loss's graph that accumulate a gradient, by identity."""
    loss = task.loss(task.batch(number))
    found: dict[int, Tensor] = {}
    waiting: list[Any] = [loss.grad_fn]
    seen: set[Any] = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found[id(node.variable)] = node.variable
        waiting += [following for following, _ in node.next_functions]
    return found


def _unheld(task: Task, lasting: dict[int, Tensor], named: dict[int, str], optimised: set[int] | None) -> Iterator[Finding]:
    """Tensors that the loss has a gradient for, but that the model or the optimiser does not hold."""
    hidden = hidden_tensors(task.model)
    lost: list[str] = []
    kept: list[str] = []
    for key in lasting:
        if key not in named:
            name = hidden[key][0] if key in hidden else ""
            (lost if optimised is not None and key not in optimised else kept).append(name)
    if optimised is None:
        kept = [name for name in kept if name]  # without an optimiser only tensors in the model's own lists count
        lost, kept = kept, []
    if names := tuple(name for name in lost if name):
        yield finding(
            "unregistered",
            "critical",
            names,
            f"{_count(names)} used by the loss and by no optimiser: {_first(names)} sits in a plain list, dict or attribute, "
            "which parameters() does not see.",
            "It keeps its random start, is not saved by state_dict(), and to(), train() and eval() pass it by.",
            "Hold layers in nn.ModuleList or nn.ModuleDict, single tensors in nn.Parameter, before the optimiser is made.",
            source="torch.nn.ModuleList: modules it contains are properly registered",
        )
    if names := tuple(name for name in kept if name):
        yield finding(
            "unregistered",
            "info",
            names,
            f"{_first(names)} is trained, and the model does not register it.",
            "It is not saved by state_dict(), and to(), train() and eval() pass it by.",
            "Hold such layers in nn.ModuleList or nn.ModuleDict.",
        )
    if optimised is None:
        return
    missed = tuple(named[key] for key in lasting if key in named and key not in optimised)
    inside = {id(each): name for name, each in task.loss_fn.named_parameters()} if isinstance(task.loss_fn, nn.Module) else {}
    missed += tuple(f"loss_fn.{inside[key]}" for key in lasting if key in inside and key not in optimised and key not in named)
    if missed:
        share = len(missed) / max(1, len(lasting))
        yield finding(
            "not-optimised",
            "warning",
            missed,
            f"{_count(missed)} taught by the loss and held by no optimiser, such as {_first(missed)}.",
            "A parameter that no optimiser holds keeps its random start.",
            f"Give {_first(missed)} to the optimizer after the whole model is built, or freeze it with requires_grad_(False).",
            value=share,
            source="torch.optim: parameters must be given when the optimizer is made, or by add_param_group",
        )


def _without_gradient(
    task: Task, named: dict[int, str], ends: list[dict[int, Tensor]], optimised: set[int] | None
) -> Iterator[Finding]:
    """Parameters that require a gradient and get none: cut off if the loss changes with them, unused if not."""
    asking = {id(each): each for each in task.model.parameters() if each.requires_grad and each.numel()}
    silent = {key: each for key, each in asking.items() if not any(key in end for end in ends)}
    if optimised is not None:
        silent = {key: each for key, each in silent.items() if key in optimised}
    cut = tuple(named[key] for key in list(silent)[:MOST_MOVED] if _matters(task, silent[key]))
    if cut:
        most = 2 * len(cut) >= len(asking)
        yield finding(
            "no-gradient",
            "critical" if most else "warning",
            cut,
            f"The loss changes when {_first(cut)} does, but sends it no gradient: {_count(cut)} cut off.",
            "It will stay at its random start although the answer depends on it.",
            f"Look between {_first(cut)} and the loss for detach(), .data, .item(), numpy(), no_grad(), argmax or a rounding.",
            value=len(cut) / max(1, len(asking)),
            source="torch.autograd: gradients stop at detach() and in no_grad()",
        )


def _unused(task: Task, named: dict[int, str], ends: list[dict[int, Tensor]]) -> tuple[str, ...]:
    """Parameters without a gradient that do not matter to the loss either."""
    silent = [each for each in task.model.parameters() if each.requires_grad and not any(id(each) in end for end in ends)]
    return tuple(named[id(each)] for each in silent[:MOST_MOVED] if each.numel() and not _matters(task, each))


def _matters(task: Task, parameter: Tensor) -> bool:
    """Whether the loss changes when the parameter is changed by its own size."""
    before = task.same_loss()
    if before != task.same_loss() or not isfinite(before):
        return False
    kept = parameter.detach().clone()
    generator = torch.Generator(device=parameter.device).manual_seed(1)
    noise = torch.randn(parameter.shape, generator=generator, device=parameter.device).to(parameter.dtype)
    size = float(kept.float().square().mean().sqrt())
    with torch.no_grad():
        parameter.add_(noise * (size or 1.0))
    after = task.same_loss()
    with torch.no_grad():
        parameter.copy_(kept)
    return isfinite(after) and abs(after - before) > CHECKUP_MATTERS * abs(before)


def _cut_off() -> Finding:
    return finding(
        "no-gradient",
        "critical",
        (),
        "The loss depends on no parameter at all: it has no graph to go back through.",
        "backward() fails or changes nothing, so that nothing is learned.",
        "Look between the model and the loss for detach(), .data, .item(), numpy(), no_grad() or argmax.",
        source="torch.autograd: gradients stop at detach() and in no_grad()",
    )


def _all_frozen() -> Finding:
    return finding(
        "no-gradient",
        "critical",
        (),
        "No parameter of the model asks for a gradient, though an optimizer was given: all are frozen.",
        "backward() fails or changes nothing, so that nothing is learned.",
        "Set requires_grad_(True) on what is to be trained, before the optimizer is made.",
        source="torch.nn.Module.requires_grad_",
    )


def _count(names: tuple[str, ...]) -> str:
    return "one parameter is" if len(names) == 1 else f"{len(names)} parameters are"


def _first(names: tuple[str, ...]) -> str:
    return names[0]
