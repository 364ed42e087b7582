"""The rounding error of the network's own type, bfloat16 and float16 against float64, layer by layer.

Hand-written backward passes are compared with finite differences in float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lettrine.health.checks import Skip
from lettrine.health.findings import Finding
from lettrine.health.limits import CHECKUP_BACKWARD, CHECKUP_ROUNDING
from lettrine.torch.checkup.backward import backwards, wrong_backward
from lettrine.torch.checkup.call import Call, NotCalled
from lettrine.torch.checkup.chance import listening
from lettrine.torch.checkup.experiment import Result, experiment, finding, part
from lettrine.torch.checkup.spread import Called, record_calls
from lettrine.torch.checkup.task import Task
from lettrine.torch.checkup.values import in_double, leaves
from lettrine.torch.devices import double, has_float64


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
    for function, share in backwards(task).items():
        figures[f"backward {function}"] = share
        if share > CHECKUP_BACKWARD:
            found.append(wrong_backward(function, share))
    try:
        call = task.inputs(task.batch())
    except NotCalled:
        call = None
    # Random numbers differ between precisions, so a network that draws some cannot be compared.
    able = has_float64(task.device)
    exact = _recorded(task, call, torch.float64) if call is not None and able and not _draws(task, call) else None
    if exact is None or call is None:
        if not figures:
            raise Skip(
                "not applicable",
                "the model does not run in float64, or draws random numbers, so that there is nothing to compare with",
            )
    else:
        for name, dtype in (("own", None), ("bfloat16", torch.bfloat16), ("float16", torch.float16)):
            other = _recorded(task, call, dtype)
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


def _recorded(task: Task, call: Call, dtype: torch.dtype | None) -> tuple[list[Tensor], list[Called]] | None:
    """The outputs of the model and of every module in another precision; None if the model does not run in it."""
    with task.boxed(exact=dtype is torch.float64), torch.no_grad():
        task.model.eval()
        try:
            if dtype is torch.float64:
                call = Call(in_double(call.args), in_double(dict(call.kwargs)))
            if dtype in (torch.bfloat16, torch.float16):
                with torch.autocast(task.device.type, dtype=dtype):
                    output, calls = record_calls(task.model, lambda: task.outputs(call))
            else:
                output, calls = record_calls(task.model, lambda: task.outputs(call))
        except Exception:  # noqa: BLE001  a model that cannot be called like this is not judged
            return None
        return [double(each.detach()) for _, each in leaves(output) if each.is_floating_point()], calls


def _draws(task: Task, call: Call) -> bool:
    with task.boxed(), torch.no_grad(), listening(task.model) as draws:
        task.model.eval()
        task.outputs(call)
    return bool(draws)


def _apart(exact: list[Tensor], other: list[Tensor]) -> float:
    return max((_mean_change(a, b) for a, b in zip(exact, other, strict=False) if a.shape == b.shape), default=0.0)


def _mean_change(first: Tensor, second: Tensor) -> float:
    """Rms of the difference over rms of the values; 1 if only one of the two is finite."""
    one, other = double(first.detach()), double(second.detach())
    if bool((one.isfinite() != other.isfinite()).any()):
        return 1.0
    kept = one.isfinite() & other.isfinite()
    size = float(one[kept].square().mean()) if bool(kept.any()) else 0.0
    return (float((one - other)[kept].square().mean()) / size) ** 0.5 if size > 0 else 0.0


def _begins(exact: list[Called], other: list[Called]) -> tuple[str, str] | None:
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
