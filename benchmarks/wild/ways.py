"""How a remedy is followed by program: what its text says, done to a model and its optimizers before they are trained."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import torch
from benchmarks.wild.found import Found
from torch import Tensor, nn
from torch.optim import Optimizer

NUMBER: Final = r"([-\d.,]+(?:e[-+]?\d+)?)"
WITH_FIGURES: Final = "learning rate [^.;]*?from # to #"
SHRUNK: Final = 0.1  # times the last layer's weights, where a remedy says "shrink" and no figure


class NotHereError(Exception):
    """This model has no place at which the remedy could be done."""


def figures(found: Found, pattern: str) -> list[float]:
    """The figures a remedy names; empty where it names none so."""
    match = re.search(pattern.replace("#", NUMBER), found.remedy)
    return [float(each.replace(",", "").rstrip(".")) for each in match.groups()] if match else []


def rate(found: Found, _: nn.Module, optimizers: list[Optimizer]) -> None:
    """The rates multiplied, whatever a schedule makes of them."""
    before, after = figures(found, WITH_FIGURES)
    _at_each_step(optimizers, lambda group: group.update(lr=group["lr"] * after / before))


def decay(found: Found, _: nn.Module, optimizers: list[Optimizer]) -> None:
    """The weight decay it names."""
    _at_each_step(optimizers, lambda group: group.update(weight_decay=figures(found, "from # to #")[1]))


def eps(found: Found, _: nn.Module, optimizers: list[Optimizer]) -> None:
    """The eps it names."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["eps"] = figures(found, "eps=#")[0]


def cleared(_: Found, __: nn.Module, optimizers: list[Optimizer]) -> None:
    """Gradients cleared after each step."""
    for optimizer in optimizers:
        optimizer.register_step_post_hook(lambda each, *_: each.zero_grad())


def stopped(found: Found, _: nn.Module, optimizers: list[Optimizer]) -> None:
    """No step after the one it names."""
    last, done = figures(found, "Stop at step #")[0], [0]

    def still(group: dict[str, Any]) -> None:
        done[0] += group is optimizers[0].param_groups[0]
        if done[0] > last:
            group.update(lr=0.0, weight_decay=0.0)

    _at_each_step(optimizers, still)


def momentum(found: Found, model: nn.Module, _: list[Optimizer]) -> None:
    """The momentum of batch norm."""
    for each in model.modules():
        if isinstance(each, nn.modules.batchnorm._NormBase):  # noqa: SLF001  the common base of all batch norms
            each.momentum = figures(found, "to at least #")[0]


def training(_: Found, model: nn.Module, __: list[Optimizer]) -> None:
    """Training mode wherever gradients are taken."""

    def before(module: nn.Module, _: Any) -> None:
        if torch.is_grad_enabled():
            module.train()

    model.register_forward_pre_hook(before)


def shrunk(found: Found, model: nn.Module, _: list[Optimizer]) -> None:
    """A last layer with small weights and no bias. Raises NotHereError if the whole model is named."""
    layer = dict(model.named_modules()).get(found.where[0])
    if layer is None:
        raise NotHereError
    factor = (figures(found, "by #") or [SHRUNK])[0]
    with torch.no_grad():
        for name, each in layer.named_parameters(recurse=False):
            each.mul_(0.0 if "bias" in name else factor)


def drawn(found: Found, model: nn.Module, _: list[Optimizer]) -> None:
    """Weights drawn at random with the spread it names."""
    for name, std in re.findall(rf"([\w.]+) with std {NUMBER}", found.remedy):
        nn.init.normal_(model.get_parameter(name), std=float(std.rstrip(".")))


def anew(found: Found, model: nn.Module, _: list[Optimizer]) -> None:
    """Weights drawn anew around 0, with the std it names or that of a fresh ReLU layer, and biases at 0."""
    for names, std in re.findall(rf"draw ([\w., ]+?) anew around 0(?: with std {NUMBER})?", found.remedy, re.IGNORECASE):
        for name in re.split(r", | and ", names):
            weight = model.get_parameter(name)
            nn.init.normal_(weight, std=float(std)) if std else nn.init.kaiming_normal_(weight)
    for names in re.findall(r"start ([\w., ]+?bias) at 0", found.remedy):
        for name in re.split(r", | and ", names):
            with torch.no_grad():
                model.get_parameter(name).zero_()


def multiplied(found: Found, model: nn.Module, _: list[Optimizer]) -> None:
    """One weight multiplied."""
    match = re.search(r"Multiply ([\w.]+) by", found.remedy)
    if match:
        with torch.no_grad():
            model.get_parameter(match[1]).mul_(figures(found, r"Multiply [\w.]+ by #")[0])


def less(found: Found, model: nn.Module, optimizers: list[Optimizer]) -> None:
    """Whichever of the two it asks for."""
    (anew if "anew" in found.remedy else multiplied)(found, model, optimizers)


def in_front(found: Found, model: nn.Module, _: list[Optimizer]) -> None:
    """The weights in front of the places multiplied, or drawn anew with a spread that keeps the signal's."""
    factor, layers = figures(found, "by # each"), [(name, each) for name, each in model.named_modules()]
    for place in found.where:
        before: list[nn.Module] = []
        for name, each in layers:
            if isinstance(getattr(each, "weight", None), Tensor) and getattr(each, "weight").ndim > 1:  # noqa: B009
                before.append(each)
            if name == place:
                break
        if not before:
            continue
        weight: Tensor = getattr(before[-1], "weight")  # noqa: B009
        with torch.no_grad():
            if factor:
                weight.mul_(factor[0])
            else:
                nn.init.kaiming_normal_(weight)


def held(found: Found, model: nn.Module, optimizers: list[Optimizer]) -> None:
    """What nobody trains handed to the optimizer, and not frozen."""
    from lettrine.torch.checkup.names import hidden_tensors  # noqa: PLC0415

    known = {**dict(hidden_tensors(model).values()), **dict(model.named_parameters())}
    group = optimizers[0].param_groups[0]["params"]
    for name in found.where:
        tensor = known[name].requires_grad_(requires_grad=True)
        if not any(each is tensor for each in group):
            group.append(tensor)


def standardised(_: Found, model: nn.Module, __: list[Optimizer]) -> None:
    """Inputs of mean 0 and std 1, by the first batch."""
    kept: list[tuple[Tensor, Tensor]] = []

    def change(_: nn.Module, args: tuple[Any, ...]) -> Any:
        x = args[0]
        if not kept:
            kept.append((x.mean(0), x.std(0).clamp(min=1e-8)) if x.ndim == 2 else (x.mean(), x.std()))
        return ((x - kept[0][0]) / kept[0][1], *args[1:])

    model.register_forward_pre_hook(change)


def undone(found: Found, model: nn.Module, _: list[Optimizer]) -> None:
    """Answers of the place in units of the targets' mean and spread."""
    sign = -1.0 if "(y + " in found.remedy else 1.0
    mean, spread = figures(found, r"\(y [-+] #\) / #")
    place = dict(model.named_modules()).get(found.where[0] if found.where else "", model)
    place.register_forward_hook(lambda _, __, output: output * spread + sign * mean)


def _at_each_step(optimizers: list[Optimizer], change: Callable[[dict[str, Any]], None]) -> None:
    """Settings changed for the step alone, so that schedules go on as they would."""
    for optimizer in optimizers:
        kept: list[dict[str, Any]] = []

        def before(each: Optimizer, *_: Any, kept: list[dict[str, Any]] = kept) -> None:
            kept[:] = [{key: value for key, value in group.items() if key != "params"} for group in each.param_groups]
            for group in each.param_groups:
                change(group)

        def after(each: Optimizer, *_: Any, kept: list[dict[str, Any]] = kept) -> None:
            for group, settings in zip(each.param_groups, kept, strict=True):
                group.update(settings)

        optimizer.register_step_pre_hook(before)
        optimizer.register_step_post_hook(after)


WAYS: Final[dict[str, tuple[str, Callable[[Found, nn.Module, list[Optimizer]], None]]]] = {
    "weight-decay": ("from # to #", decay),
    "eps-underflow": ("eps=#", eps),
    "missing-zero-grad": ("", cleared),
    "overfitting": ("Stop at step #", stopped),
    "norm-statistics": ("to at least #", momentum),
    "wrong-mode": ("", training),
    "initial-loss": ("last layer", shrunk),
    "symmetry": ("with std #", drawn),
    "dead-units": (r"draw [\w., ]+ anew", anew),
    "saturation": (r"Multiply [\w.]+ by #|Draw [\w.]+ anew", less),
    "activation-scale": ("in front of", in_front),
    "gradient-scale": ("in front of", in_front),
    "frozen-random": ("", held),
    "not-optimised": ("", held),
    "unregistered": ("", held),
    "input-scale": ("", standardised),
    "target-scale": (r"\(y [-+] #\) / #, and undo it in the predictions", undone),
}
"""By finding: what its remedy must say, and how that is done."""


def way_to(found: Found) -> Callable[[Found, nn.Module, list[Optimizer]], None] | None:
    """How a remedy is followed by program; None where it cannot be."""
    pattern, follow = WAYS.get(found.id, ("(?!)", rate))
    if re.search(pattern.replace("#", NUMBER), found.remedy):
        return follow
    named = figures(found, WITH_FIGURES) if re.match("Lower|Raise", found.remedy) else []
    return rate if named and named[0] > 0 else None
