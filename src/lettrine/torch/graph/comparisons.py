"""Where a loss holds predictions against targets: by a loss function of torch, or written out as a difference or a product."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.capture.looks import Look
from lettrine.torch.graph.heads import Head, head_of
from lettrine.torch.graph.reading import operation

LOSSES: Final = {
    "mse_loss": "squared",
    "l1_loss": "absolute",
    "smooth_l1_loss": "absolute",
    "huber_loss": "absolute",
    "cross_entropy": "classes",
    "nll_loss": "logarithms",
    "binary_cross_entropy": "probabilities",
    "binary_cross_entropy_with_logits": "logits",
    "kl_div": "shares",
}
"""Torch's loss functions, and what each expects."""
_SQUARES: Final = ("pow", "square", "__pow__", "mul", "__mul__", "norm", "vector_norm")
_PRODUCTS: Final = ("mul", "__mul__", "__rmul__")
_SIZES: Final = ("abs", "absolute", "__abs__")
_KEEPING: Final = frozenset(
    """view reshape view_as reshape_as unsqueeze squeeze flatten unflatten float to long int double half bfloat16 type type_as
    contiguous t transpose permute movedim expand expand_as __getitem__ clone one_hot narrow select squeeze_ unsqueeze_""".split()  # noqa: SIM905
)
"""Functions that give a target another shape or type and make no new one."""
_SCALING: Final = frozenset(
    "div mul true_divide __truediv__ __mul__ __rmul__ sub add __sub__ __add__ __rsub__ log log1p clamp".split()  # noqa: SIM905
)
"""The same, where all else that is taken in are numbers."""


@dataclass(frozen=True)
class Comparison:
    """expects: what the loss expects, as in `LOSSES`; "squared" and "absolute" also for differences that are written out,
    "likelihood" for t log p + (1 - t) log(1 - p) written out, "product" for another product of target and logarithm, "shares of
    classes" for the share of each example's class, whose logarithm is taken then.
    prediction: made by weights. target: not. head: what made the prediction. given: whether the target is data, not made of the
    step's own answers or as a constant. alone: whether the loss is this comparison and nothing else, but for a number it is
    multiplied by.
    """

    expects: str
    prediction: Tensor
    target: Tensor
    head: Head
    call: FunctionCall
    given: bool
    alone: bool


def comparisons(look: Look) -> list[Comparison]:
    """All of one look, whose predictions were made by the weights of the model."""
    names = {id(parameter): name for name, parameter in look.model.named_parameters()}
    makers = {id(call.result): call for call in look.calls if isinstance(call.result, Tensor)}
    answers = {
        tensor.untyped_storage().data_ptr()
        for tensor in [*_tensors([root.output for root in look.roots]), *_results(look.calls)]
        if tensor.requires_grad and readable(tensor)
    }
    uses: dict[int, set[str]] = {}
    for call in look.calls:
        for given in call.args:
            uses.setdefault(id(given), set()).add(call.name)
    found = []
    for call in look.calls:
        pair = _pair(call, uses) or _picked(call, uses)
        if pair is None:
            continue
        expects, prediction, target = pair
        head = head_of(prediction, names)
        if head.place and readable(prediction) and readable(target):
            if expects == "product" and _complement(target, look.calls):
                expects = "likelihood"
            data = _given(target, makers, answers)
            found.append(Comparison(expects, prediction, target, head, call, data, _alone(look.loss, call)))
    return found


def readable(tensor: Tensor) -> bool:
    """Whether a tensor holds plain numbers that can be looked at."""
    return (
        type(tensor) in (Tensor, torch.nn.Parameter)
        and tensor.layout is torch.strided
        and tensor.device.type != "meta"
        and not tensor.is_complex()
        and not tensor.is_quantized
        and tensor.numel() > 0
    )


def _picked(call: FunctionCall, uses: Mapping[int, set[str]]) -> tuple[str, Tensor, Tensor] | None:
    """The same of a cross-entropy written out: the logarithm, or the logit beside a logsumexp, of each example's class."""
    first: Any = call.given(0, "input")
    if call.name in ("gather", "take_along_dim"):
        places: Any = call.given(2, "index") if call.name == "gather" else call.given(1, "indices")
    elif call.name == "__getitem__" and isinstance(call.given(1, "index"), tuple):
        places = call.given(1, "index")[-1]
    else:
        return None
    classes = isinstance(places, Tensor) and not places.is_floating_point() and places.dtype is not torch.bool
    if not (classes and isinstance(first, Tensor) and first.grad_fn is not None) or first.ndim < 2 or places.requires_grad:
        return None
    if call.name == "gather" and places.ndim == first.ndim and places.shape[-1] == 1:
        places = places.squeeze(-1)
    if operation(first.grad_fn) in ("Log", "LogSoftmax"):
        return "logarithms", first, places
    if operation(first.grad_fn) == "Softmax" and not {"log", "add", "__add__", "clamp", "clamp_min"}.isdisjoint(
        uses.get(id(call.result), ())
    ):
        return "shares of classes", first, places
    return ("classes", first, places) if "logsumexp" in uses.get(id(first), ()) else None


def _pair(call: FunctionCall, known: Mapping[int, set[str]]) -> tuple[str, Tensor, Tensor] | None:
    """What a call expects, its prediction and its target; None if it compares no answer with a target. known: by id of a tensor,
    names of the functions that take it in.
    """
    if call.name == "einsum" and len(call.args) == 3:
        first, second = call.args[1:]
    else:
        first, second = call.given(0, "input"), call.given(1, "target", call.given(1, "other"))
    if not (isinstance(first, Tensor) and isinstance(second, Tensor)):
        return None
    if call.name in LOSSES:
        if second.requires_grad and not first.requires_grad and call.name in ("mse_loss", "l1_loss", "smooth_l1_loss"):
            first, second = second, first  # handed over the other way round
        return (LOSSES[call.name], first, second) if first.requires_grad and not second.requires_grad else None
    if first.requires_grad is second.requires_grad:
        return None
    prediction, target = (first, second) if first.requires_grad else (second, first)
    expects = _written(call, prediction, target, known)
    return (expects, prediction, target) if expects else None


def _written(call: FunctionCall, prediction: Tensor, target: Tensor, known: Mapping[int, set[str]]) -> str:
    """What a difference or a product expects, "" where it is no part of a loss."""
    uses = known.get(id(call.result), set())
    if call.name in ("sub", "__sub__", "__rsub__", "rsub") and target.numel() > 1:
        return "squared" if not uses.isdisjoint(_SQUARES) else "absolute" if not uses.isdisjoint(_SIZES) else ""
    if call.name in ("dist", "pairwise_distance") and target.shape == prediction.shape:
        return "squared"
    if call.name in (*_PRODUCTS, "einsum") and target.numel() > 1 and prediction.grad_fn is not None:
        if operation(prediction.grad_fn) in ("Log", "LogSoftmax", "LogSigmoid"):
            return "product"
        if "softplus" in known.get(id(prediction), ()) and target.shape == prediction.shape:
            return "logits"  # softplus(z) - y z
    return ""


def _complement(target: Tensor, calls: Sequence[FunctionCall]) -> bool:
    """Whether 1 - target is used too."""
    return any(call.name in ("__rsub__", "rsub") and call.args[0] is target and call.given(1, "other") == 1 for call in calls)


def _given(target: Tensor, makers: dict[int, FunctionCall], answers: set[int]) -> bool:
    """Whether a target came from outside the step, but for its shape, its type and a change of units."""
    for _ in range(16):
        call = makers.get(id(target))
        if call is None:
            return target.untyped_storage().data_ptr() not in answers
        others = [each for each in (*call.args, *call.kwargs.values()) if isinstance(each, Tensor)]
        scaled = call.name in _SCALING and len(others) == 1
        if not others or not (call.name in _KEEPING or scaled):
            return False
        target = others[0]
    return False


def _alone(loss: Tensor | None, call: FunctionCall) -> bool:
    """Whether the loss is this comparison, its sum or its mean, times a number, and nothing else."""
    node = None if loss is None else loss.grad_fn
    end = call.result.grad_fn if isinstance(call.result, Tensor) else None
    for _ in range(16):
        if node is None or end is None:
            return False
        if node is end:
            return True
        following = [each for each, _ in node.next_functions if each is not None]
        if len(following) != 1:
            return False
        node = following[0]
    return False


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        return _tensors(list(value.values()))
    return [each for part in value for each in _tensors(part)] if isinstance(value, tuple | list) else []


def _results(calls: Sequence[FunctionCall]) -> list[Tensor]:
    return [call.result for call in calls if isinstance(call.result, Tensor)]
