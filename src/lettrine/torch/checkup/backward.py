"""Hand-written backward passes, beside finite differences in float64: are they the derivatives of their forward passes?

If the forward pass is flat or returns its input, as in rounding with a straight-through gradient or a reversed gradient, or if it
does not use an argument that the backward pass uses, as in feedback alignment, the backward pass is a design choice and is not
judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor

from lettrine.health.findings import Finding
from lettrine.health.limits import CHECKUP_BACKWARD
from lettrine.torch.checkup.experiment import finding, part
from lettrine.torch.checkup.spread import change
from lettrine.torch.checkup.task import Task
from lettrine.torch.devices import double

STEP: Final = 1e-6  # step of finite differences, in float64
FLAT: Final = 1e-9  # smaller derivatives count as 0


def backwards(task: Task) -> dict[str, float]:
    """For each function with its own backward pass: largest difference from finite differences, over the largest derivative."""
    found: dict[str, float] = {}
    for function in _custom(task):
        with task.boxed():
            task.model.train()
            given = _arguments(task, function)
        for args in given[:2]:
            share = _compared(function, args)
            if share is not None:
                found[function.__name__] = max(found.get(function.__name__, 0.0), share)
    return found


def _custom(task: Task) -> list[Any]:
    """Classes of autograd functions in the loss's graph that are written in Python."""
    with task.boxed():
        task.model.train()
        loss = task.loss(task.batch())
        waiting: list[Any] = [loss.grad_fn]
        seen: set[Any] = set()
        kinds: list[Any] = []
        while waiting:
            node = waiting.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            forward = getattr(type(node), "_forward_cls", None)
            if forward is not None and forward not in kinds and not forward.__module__.startswith("torch."):
                kinds.append(forward)
            waiting += [following for following, _ in node.next_functions]
        return kinds


def _arguments(task: Task, function: Any) -> list[tuple[Any, ...]]:
    """The arguments of the function's calls in one pass. A call through an earlier bound name is not recorded."""
    calls: list[tuple[Any, ...]] = []
    with _intercepted(function, calls), torch.no_grad():
        task.loss(task.batch())
    return calls


@contextmanager
def _intercepted(function: Any, calls: list[tuple[Any, ...]]) -> Iterator[None]:
    own = "apply" in vars(function)
    kept = function.apply

    def noting(*args: Any) -> Any:
        calls.append(tuple(each.detach().clone() if isinstance(each, Tensor) else each for each in args))
        return kept(*args)

    function.apply = staticmethod(noting)
    try:
        yield
    finally:
        if own:
            function.apply = kept
        else:
            del function.apply


def _compared(function: Any, args: tuple[Any, ...]) -> float | None:
    """Derivatives along a random direction by the backward pass and by finite differences; None if they cannot be compared."""
    generator = torch.Generator().manual_seed(1)
    doubled = [double(each) if isinstance(each, Tensor) and each.is_floating_point() else each for each in args]
    asked = [place for place, each in enumerate(doubled) if isinstance(each, Tensor) and each.is_floating_point()]
    if _chosen(function, doubled, asked):
        return None
    worst: float | None = None
    for place in asked:
        moving: Tensor = doubled[place]

        def run(value: Tensor, place: int = place) -> Any:
            return function.apply(*(value if number == place else each for number, each in enumerate(doubled)))

        try:
            torch.manual_seed(1)
            leaf = moving.clone().requires_grad_()
            output = run(leaf)
            if (
                not isinstance(output, Tensor)
                or not output.requires_grad
                or torch.equal(output.detach().to(moving.dtype), moving)
            ):
                continue
            direction = torch.randn(moving.shape, generator=generator, dtype=torch.float64).to(moving.device)
            weights = torch.randn(output.shape, generator=generator, dtype=torch.float64).to(moving.device)
            (gradient,) = torch.autograd.grad((output * weights).sum(), leaf, allow_unused=True)
            with torch.no_grad():
                torch.manual_seed(1)
                above = run(moving + STEP * direction)
                torch.manual_seed(1)
                below = run(moving - STEP * direction)
        except Exception:  # noqa: BLE001, S112  a function that refuses float64 is not judged
            continue
        if gradient is None:
            continue
        slope = (above - below) / (2 * STEP)
        if output.shape == moving.shape:  # element by element: if the forward pass is flat, its backward pass is a design choice
            flat = slope.abs() <= FLAT
            if bool(flat.all()):
                continue
            by_hand = (gradient * direction)[~flat]
            measured = (slope * weights)[~flat]
        else:
            by_hand, measured = (gradient * direction).sum().reshape(1), (slope * weights).sum().reshape(1)
            if float(slope.abs().max()) <= FLAT:
                continue
        total = change(measured.sum().reshape(1), by_hand.sum().reshape(1))
        worst = total if worst is None else max(worst, total)
    return worst


def _chosen(function: Any, args: list[Any], asked: list[int]) -> bool:
    """Whether one of the floating-point tensors changes nothing but the gradients of others: the backward pass is a choice."""

    def run(values: list[Any]) -> tuple[Tensor, list[Tensor | None]]:
        torch.manual_seed(1)
        values = [each.clone().requires_grad_() if place in asked else each for place, each in enumerate(values)]
        output: Tensor = function.apply(*values)
        return output.detach(), list(torch.autograd.grad(output.sum(), [values[place] for place in asked], allow_unused=True))

    try:
        output, gradients = run(args)
        for number, place in enumerate(asked):
            changed, others = run([each * 2 + 1 if each is args[place] else each for each in args])
            pairs = [pair for other, pair in enumerate(zip(gradients, others, strict=True)) if other != number]
            if torch.equal(output, changed) and any(a is not None and b is not None and not torch.equal(a, b) for a, b in pairs):
                return True
    except Exception:  # noqa: BLE001  a function that refuses this is compared as it is
        return False
    return False


def wrong_backward(function: str, share: float) -> Finding:
    """The finding for a backward pass that is off by this share of the largest derivative."""
    return finding(
        "wrong-backward",
        "warning",
        (),
        f"The backward pass of {function} is not the slope of its forward pass: the two differ by {part(share)}.",
        "Everything before it gets a wrong gradient.",
        f"Compare {function} with torch.autograd.gradcheck in float64, or let autograd derive it: write the forward pass in "
        f"torch.",
        value=share,
        limit=CHECKUP_BACKWARD,
        source="torch.autograd.gradcheck: finite differences against backward",
    )
