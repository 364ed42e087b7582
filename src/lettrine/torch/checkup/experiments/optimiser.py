"""Three real steps: does the optimiser move its parameters, and do they stay finite?"""

from __future__ import annotations

from math import isfinite
from typing import Any, Final

import torch
from torch import Tensor

from lettrine.health.checks import Skip
from lettrine.health.findings import Finding
from lettrine.torch.capture.catalogue import clean_name
from lettrine.torch.checkup.experiment import Result, experiment, finding
from lettrine.torch.checkup.task import Task
from lettrine.torch.devices import double

STEPS: Final = 3
MORE: Final = 10  # steps before a zero gradient counts: two gates in a row need a few steps to open
ROUNDING: Final = 1e-5  # share of the largest gradient


@experiment("optimiser", "The optimiser moves what it holds", passes=3)
def optimiser(task: Task) -> Result:
    """Take three steps and compare what moved with what had a gradient.

    Measured: Which tensors three real steps move, of those that the optimiser holds and that have a gradient.
    Formula: none: a tensor is equal bit for bit afterwards, or it is not.
    """
    if task.optimizer is None:
        raise Skip("not applicable", "no optimizer was given")
    names = {id(each): clean_name(name) for name, each in task.model.named_parameters()}
    held = [(each, group) for group in task.optimizer.param_groups for each in group["params"]]
    findings = _eps(held, names)
    if not any(id(each) in names for each, _ in held):
        findings.append(_stranger(task, held))
        return Result(findings[-1].message, tuple(findings))
    task.model.train()
    before = [each.detach().clone() for each, _ in held]
    pulled = [False] * len(held)
    losses = []
    for number in range(STEPS):
        losses.append(task.step(number))
        sizes = [_size(each.grad) for each, _ in held]
        # The rounding error of a bias that cancels, as before a batch norm, is no gradient.
        pulled = [was or size > ROUNDING * max(sizes) for was, size in zip(pulled, sizes, strict=True)]
    closed = _closed(task, held, before)
    moved = [not torch.equal(old, each.detach()) for old, (each, _) in zip(before, held, strict=True)]
    broken = [names.get(id(each), "?") for each, _ in held if not bool(each.detach().isfinite().all())]
    still = [
        (names.get(id(each), "?"), group)
        for (each, group), pull, did in zip(held, pulled, moved, strict=True)
        if pull and not did and float(group.get("lr", 1.0)) > 0
    ]
    idle = [names.get(id(each), "?") for each, group in held if "lr" in group and float(group["lr"]) == 0.0]
    figures = {"held": len(held), "pulled": sum(pulled), "moved": sum(moved), "still": len(still)}
    said = f"After {STEPS} steps {sum(moved)} of the {len(held)} tensors that the optimiser holds have moved"
    said += f", {len(still)} with a gradient have not." if still else "."
    if idle:
        said += f" The rate of {len(idle)}, such as {idle[0]}, is 0, as at the start of a warm-up."
    if broken and all(isfinite(each) for each in losses[:1]) and not findings:
        findings.append(_breaks(tuple(broken), float(held[0][1].get("lr", float("nan")))))
    if closed and not findings:
        findings.append(_shut(tuple(names.get(id(each), "?") for each in closed)))
    alike = [each for (each, _), old in zip(held, before, strict=True) if _alike(each, old)]
    if alike and not findings:
        findings.append(_equal(tuple(names.get(id(each), "?") for each in alike)))
    if still and not findings:
        findings.append(_stays(task, tuple(name for name, _ in still), still[0][1]))
    return Result(said, tuple(findings), figures, where=tuple(name for each in findings for name in each.where))


def _closed(task: Task, held: list[tuple[Tensor, dict[str, Any]]], before: list[Tensor]) -> list[Tensor]:
    """Matrices with one value throughout whose gradient is 0 at each of many steps: the layer behind them is like that too."""
    pairs = zip(held, before, strict=True)
    waiting = [each for (each, _), old in pairs if each.ndim > 1 and _no_pull(each) and bool((old == old.flatten()[0]).all())]
    for number in range(STEPS, MORE) if waiting else ():
        task.step(number)
        waiting = [each for each in waiting if _no_pull(each)]
    return waiting


def _no_pull(parameter: Tensor) -> bool:
    """Whether it requires a gradient and gets one that is 0 everywhere."""
    return parameter.requires_grad and parameter.grad is not None and not _size(parameter.grad)


def _alike(parameter: Tensor, before: Tensor) -> bool:
    """Whether a matrix began with one value throughout and moved, and its units are still copies of one another."""
    if parameter.ndim < 2 or parameter.shape[0] < 2 or not bool((before == before.flatten()[0]).all()):
        return False
    return not torch.equal(parameter, before) and bool((parameter == parameter[:1]).all())


def _equal(names: tuple[str, ...]) -> Finding:
    return finding(
        "symmetry",
        "warning",
        names,
        f"All units of {names[0]} began equal, and after {STEPS} steps they are still copies of one another.",
        "A layer of equal units can express no more than one of them.",
        f"Draw {names[0]} at random (std 1/sqrt(fan_in)); only biases may begin equal.",
        source="Goodfellow et al. 2016, Deep learning, section 8.4: initial parameters need to break symmetry",
    )


def _shut(names: tuple[str, ...]) -> Finding:
    return finding(
        "symmetry",
        "warning",
        names,
        f"{names[0]} begins with one value throughout, and its gradient is 0 in each of {MORE} steps.",
        "The other factor is 0 as well: neither gives the other a gradient, so both stay as they are.",
        f"Draw {names[0]} at random (std 1/sqrt(fan_in)); one of two factors may begin at 0, not both.",
        source="Zhang et al. 2019, Fixup initialization: only the last layer of a branch begins at 0",
    )


def _size(gradient: Tensor | None) -> float:
    """Rms of a gradient; 0 if there is none."""
    if gradient is not None and gradient.is_sparse:
        gradient = gradient.coalesce().values()
    return 0.0 if gradient is None or not gradient.numel() else float(double(gradient.detach()).square().mean().sqrt())


def _eps(held: list[tuple[Tensor, dict[str, Any]]], names: dict[int, str]) -> list[Finding]:
    """An eps that rounds to 0 in the type of its parameter."""
    lost = [(each, group) for each, group in held if float(group.get("eps", 0) or 0) > 0 and not _holds(each, group["eps"])]
    if not lost:
        return []
    each, group = lost[0]
    least = torch.finfo(each.dtype).smallest_normal
    where = tuple(names.get(id(one), "?") for one, _ in lost)
    return [
        finding(
            "eps-underflow",
            "critical",
            where,
            f"eps={float(group['eps']):g} is 0 in {str(each.dtype).removeprefix('torch.')}, in which {where[0]} is kept.",
            "If a gradient is 0, the step is 0/0 and the weight becomes NaN.",
            f"Set eps to {10 * least:.0e} or more, or keep the parameters in float32 and use autocast.",
            value=float(group["eps"]),
            limit=least,
            source="Kingma & Ba 2015, Adam: eps in the denominator",
        )
    ]


def _holds(parameter: Tensor, eps: Any) -> bool:
    return not parameter.is_floating_point() or float(torch.tensor(float(eps), dtype=torch.float64).to(parameter.dtype)) > 0


def _stranger(task: Task, held: list[tuple[Tensor, dict[str, Any]]]) -> Finding:
    return finding(
        "not-optimised",
        "critical",
        (),
        f"None of the {len(held)} tensors that the optimizer holds belongs to the model.",
        "The optimiser moves other tensors, or none; the model stays as it is.",
        f"Make the optimizer from this model's parameters: {type(task.optimizer).__name__}(model.parameters(), …), after the "
        "model has been replaced, copied or moved for the last time.",
    )


def _breaks(names: tuple[str, ...], rate: float) -> Finding:
    return finding(
        "non-finite",
        "critical",
        names,
        f"Within {STEPS} steps {names[0]} stopped being finite.",
        "Nothing can be learned after that.",
        f"Look at the gradients of {names[0]} first (a root, logarithm or division at 0); if they are finite, lower the rate "
        f"from {rate:g}, or clip their norm.",
    )


def _stays(task: Task, names: tuple[str, ...], group: dict[str, Any]) -> Finding:
    parameter = next(each for each in task.optimizer.param_groups[0]["params"]) if task.optimizer else None
    kind = str(parameter.dtype).removeprefix("torch.") if parameter is not None else "its numbers"
    return finding(
        "never-moved",
        "warning",
        names,
        f"{names[0]} has a gradient and is held by the optimiser, but {STEPS} steps did not change it, to the last bit.",
        "A parameter that does not move does not learn.",
        f"The rate is {float(group.get('lr', float('nan'))):g}: such steps are lost in the rounding of {kind}, or something puts "
        "the weight back. Raise the rate, or keep a float32 copy of the weights.",
        value=0.0,
    )
