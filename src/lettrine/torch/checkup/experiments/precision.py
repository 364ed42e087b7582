"""The rounding error of the network's own type, bfloat16 and float16 against float64, layer by layer.

If the network uses a hand-written backward pass, finite differences in float64 show whether it is the derivative of its forward
pass. If the forward pass is flat or returns its input, as in rounding with a straight-through gradient or a reversed gradient,
or if it does not use an argument that the backward pass uses, as in feedback alignment, the backward pass is a design choice and
is not judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor

from lettrine.health.checks import Skip
from lettrine.health.findings import Finding
from lettrine.health.limits import CHECKUP_BACKWARD, CHECKUP_ROUNDING
from lettrine.torch.checkup.call import Call, NotCalled
from lettrine.torch.checkup.chance import listening
from lettrine.torch.checkup.experiment import Result, experiment, finding, part
from lettrine.torch.checkup.spread import Heard, change, hear
from lettrine.torch.checkup.task import Task
from lettrine.torch.checkup.values import in_double, leaves

STEP: Final = 1e-6  # step of finite differences, in float64
FLAT: Final = 1e-9  # smaller derivatives count as 0


@experiment("precision", "Precision", passes=8)
def precision(task: Task) -> Result:
    """Compare outputs in several precisions with those in float64, and custom backward passes with finite differences.

    Measured: The outputs of each module in float32, bfloat16 and float16, beside those in float64; and hand-written backward
    passes, beside finite differences.
    Formula: change = rms(low precision - float64) / rms(float64).
    """
    found: list[Finding] = []
    figures: dict[str, float] = {}
    said = []
    for function, share in _backwards(task).items():
        figures[f"backward {function}"] = share
        if share > CHECKUP_BACKWARD:
            found.append(_wrong(function, share))
    try:
        call = task.inputs(task.batch())
    except NotCalled:
        call = None
    # Random numbers differ between precisions, so a network that draws some cannot be compared.
    exact = _heard(task, call, torch.float64) if call is not None and not _draws(task, call) else None
    if exact is None or call is None:
        if not figures:
            raise Skip(
                "not applicable",
                "the model does not run in float64, or draws random numbers, so that there is nothing to compare with",
            )
    else:
        for name, dtype in (("own", None), ("bfloat16", torch.bfloat16), ("float16", torch.float16)):
            other = _heard(task, call, dtype)
            if other is None:
                continue
            share = _apart(exact[0], other[0])
            begins = _begins(exact[1], other[1])
            figures[name] = share
            said.append(f"{'as it is' if dtype is None else name} {part(share)}" + (f", from {begins[0]} on" if begins else ""))
            used = dtype is None or dtype is task.autocast
            if (
                used
                and begins
                and share > CHECKUP_ROUNDING
                and dtype is None
                and next(task.model.parameters()).dtype is torch.float32
            ):
                found.append(_rounds(share, begins))
    text = f"Against float64 the answers differ: {'; '.join(said)}." if said else ""
    checked = [name for name in figures if name.startswith("backward")]
    text += f" {len(checked)} hand-written backward passes were compared with finite differences." if checked else ""
    return Result(text.strip(), tuple(found), figures, where=tuple(name for each in found for name in each.where))


def _heard(task: Task, call: Call, dtype: torch.dtype | None) -> tuple[list[Tensor], list[Heard]] | None:
    """The outputs of the model and of every module in another precision; None if the model does not run in it."""
    with task.boxed(exact=dtype is torch.float64), torch.no_grad():
        task.model.eval()
        try:
            if dtype is torch.float64:
                call = Call(in_double(call.args), in_double(dict(call.kwargs)))
            if dtype in (torch.bfloat16, torch.float16):
                with torch.autocast(task.device.type, dtype=dtype):
                    output, calls = hear(task.model, lambda: task.outputs(call))
            else:
                output, calls = hear(task.model, lambda: task.outputs(call))
        except Exception:  # noqa: BLE001  a model that cannot be called like this is not judged
            return None
        return [each.detach().double() for _, each in leaves(output) if each.is_floating_point()], calls


def _draws(task: Task, call: Call) -> bool:
    with task.boxed(), torch.no_grad(), listening(task.model) as draws:
        task.model.eval()
        task.outputs(call)
    return bool(draws)


def _apart(exact: list[Tensor], other: list[Tensor]) -> float:
    return max((_mean_change(a, b) for a, b in zip(exact, other, strict=False) if a.shape == b.shape), default=0.0)


def _mean_change(first: Tensor, second: Tensor) -> float:
    """Rms of the difference over rms of the values; 1 if only one of the two is finite."""
    one, other = first.detach().double(), second.detach().double()
    if bool((one.isfinite() != other.isfinite()).any()):
        return 1.0
    kept = one.isfinite() & other.isfinite()
    size = float(one[kept].square().mean()) if bool(kept.any()) else 0.0
    return (float((one - other)[kept].square().mean()) / size) ** 0.5 if size > 0 else 0.0


def _begins(exact: list[Heard], other: list[Heard]) -> tuple[str, str] | None:
    """The first module whose output is off by more than CHECKUP_ROUNDING while its input is not."""
    for one, two in zip(exact, other, strict=False):
        if one.name == two.name and _off(one.outputs, two.outputs) and not _off(one.inputs, two.inputs):
            return one.name, type(one.module).__name__
    return None


def _off(first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> bool:
    pairs = zip(first, second, strict=False)
    return any(a.is_floating_point() and a.shape == b.shape and _mean_change(a, b) > CHECKUP_ROUNDING for a, b in pairs)


def _rounds(share: float, place: tuple[str, str]) -> Finding:
    name, kind = place
    return finding(
        "precision",
        "warning",
        (name,),
        f"float32 and float64 give answers that differ by {part(share)}; it begins in {name} ({kind}).",
        "Digits are lost there, in the backward pass too: small differences of large numbers, or sums of very different sizes.",
        f"Rewrite what {name} computes so that nothing large cancels (log_softmax, logsumexp, log1p, expm1), or do it in "
        f"float64.",
        value=share,
        limit=CHECKUP_ROUNDING,
        source="Goldberg 1991, What every computer scientist should know about floating-point arithmetic",
    )


def _backwards(task: Task) -> dict[str, float]:
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
    doubled = [each.double() if isinstance(each, Tensor) and each.is_floating_point() else each for each in args]
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


def _wrong(function: str, share: float) -> Finding:
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
