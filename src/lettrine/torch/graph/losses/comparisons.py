"""Finds where a loss compares predictions with targets: in a loss function of torch, or in a difference or product written by
hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.capture.looks import Look
from lettrine.torch.graph.losses.handmade import handmade
from lettrine.torch.graph.losses.heads import Head, head_of
from lettrine.torch.graph.memory import memory, tensors_within
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
    "poisson_nll_loss": "log rates",
    "ctc_loss": "paths",
    "soft_margin_loss": "signs",
    "hinge_embedding_loss": "signs",
}
"""Torch's loss functions, and what each expects."""
_SQUARES: Final = ("pow", "square", "__pow__", "mul", "__mul__", "norm", "vector_norm")
_PRODUCTS: Final = ("mul", "__mul__", "__rmul__")
_FROM: Final = ("rsub", "__rsub__")
_CUTTING: Final = frozenset("relu clamp clamp_min maximum".split())  # noqa: SIM905
_HINGED: Final = "hinge"  # in the place of a function's name: one minus a tensor is cut at 0
_LOGARITHMS: Final = frozenset("log add __add__ clamp clamp_min".split())  # noqa: SIM905  of a share, perhaps kept above 0
_SIZES: Final = ("abs", "absolute", "__abs__")
_KEEPING: Final = frozenset(
    """view reshape view_as reshape_as unsqueeze squeeze flatten unflatten float to long int double half bfloat16 type type_as
    contiguous t transpose permute movedim expand expand_as __getitem__ clone one_hot narrow select squeeze_ unsqueeze_""".split()  # noqa: SIM905
)
"""Functions that only change the shape or type of a target."""
_SCALING: Final = frozenset(
    "div mul true_divide __truediv__ __mul__ __rmul__ sub add __sub__ __add__ __rsub__ log log1p clamp".split()  # noqa: SIM905
)
"""Functions that only rescale a target, if all other arguments are numbers."""


@dataclass(frozen=True)
class Comparison:
    """One comparison of a prediction with a target.

    expects: what the loss expects, as in `LOSSES`. For losses written by hand: "squared" and "absolute" for differences,
    "likelihood" for t log p + (1 - t) log(1 - p), "product" for another product of target and logarithm, "shares of classes" if
    the probability of each example's class is picked first and its logarithm is taken after, "signs" for max(0, 1 - t y).
    prediction: made by weights. target: not made by weights. head: the operations that made the prediction. given: whether the
    target is data; it is not if it was computed from the model's output in this step or is a constant. alone: whether the loss
    is only this comparison, times a number. mask: data by which the size of each difference is multiplied, some of it 0.
    """

    expects: str
    prediction: Tensor
    target: Tensor
    head: Head
    call: FunctionCall
    given: bool
    alone: bool
    mask: Tensor | None = None

    @property
    def counted(self) -> Tensor:
        """The targets that count: those that no mask takes away; all of them if none would be left."""
        if self.mask is None:
            return self.target
        kept = self.target[(self.mask != 0).expand_as(self.target)]
        return kept if kept.numel() else self.target


def comparisons(look: Look) -> list[Comparison]:
    """All comparisons of one look whose predictions were made by the model's weights."""
    names = look.parameters
    # A tensor that is of the wanted shape, type or place already is given back as it is: nothing was made.
    made = [call for call in look.calls if isinstance(call.result, Tensor)]
    makers = {id(call.result): call for call in made if call.name not in _KEEPING or call.given(0, "input") is not call.result}
    uses = _uses(look.calls)
    found: list[Comparison] = []
    for call in look.calls:
        pair = _pair(call, uses)
        compared = pair or _picked(call, uses)
        if compared is None:
            continue
        whole = alone(look.loss, call)
        if pair is None and not _whole(call, alone=whole, uses=uses):
            continue
        expects, prediction, target = compared
        head = head_of(_unmasked(prediction, makers), names)
        if head.place and readable(prediction) and readable(target):
            if expects == "product" and _complement(target, look.calls):
                expects = "likelihood"
            data = _given(target, makers, look.once(_answers))
            if call.name == "gather" and target.ndim == prediction.ndim and target.shape[-1] == 1:
                target = target.squeeze(-1)
            found.append(Comparison(expects, prediction, target, head, call, data, whole, _mask(call, target, look.calls)))
    return found


def _uses(calls: Sequence[FunctionCall]) -> dict[int, set[str]]:
    """For the id of each tensor, the names of the functions that take it."""
    uses: dict[int, set[str]] = {}
    for call in calls:
        for given in call.args:
            uses.setdefault(id(given), set()).add(call.name)
    for call in calls:
        if call.name in _FROM and call.given(1, "other") == 1 and not _CUTTING.isdisjoint(uses.get(id(call.result), ())):
            uses[id(call.given(0, "input"))].add(_HINGED)
    return uses


def _answers(look: Look) -> set[int]:
    """By memory: all that the model's weights made."""
    made = [*tensors_within([root.output for root in look.roots]), *_results(look.calls)]
    return {memory(tensor) for tensor in made if tensor.requires_grad and readable(tensor)}


def _unmasked(prediction: Tensor, makers: Mapping[int, FunctionCall]) -> Tensor:
    """What a mask of places took the predictions from, as in logits[mask]; the predictions themselves if none did."""
    call = makers.get(id(prediction))
    source, mask = (call.given(0, "input"), call.given(1, "index")) if call is not None else (None, None)
    if call is None or call.name != "__getitem__" or not isinstance(source, Tensor) or not isinstance(mask, Tensor):
        return prediction
    return source if mask.dtype is torch.bool and mask.ndim < source.ndim else prediction


def readable(tensor: Tensor) -> bool:
    """Whether a tensor holds plain numbers that can be read."""
    return (
        type(tensor) in (Tensor, torch.nn.Parameter)
        and tensor.layout is torch.strided
        and tensor.device.type != "meta"
        and not tensor.is_complex()
        and not tensor.is_quantized
        and tensor.numel() > 0
    )


def _whole(call: FunctionCall, *, alone: bool, uses: Mapping[int, set[str]]) -> bool:
    """Whether the picked values are the loss: alone, or with a logsumexp. They are not if, for example, a reward weights them."""
    return alone or "logsumexp" in uses.get(id(call.given(0, "input")), ())


def _picked(call: FunctionCall, uses: Mapping[int, set[str]]) -> tuple[str, Tensor, Tensor] | None:
    """The same for a cross-entropy written by hand: it picks the logarithm of each example's class, or its logit beside a
    logsumexp.
    """
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
    if operation(first.grad_fn) in ("Log", "LogSoftmax"):
        return "logarithms", first, places
    shares = operation(first.grad_fn) == "Softmax" or handmade(first.grad_fn) is not None
    if shares and not _LOGARITHMS.isdisjoint(uses.get(id(call.result), ())):
        return "shares of classes", first, places
    return ("classes", first, places) if "logsumexp" in uses.get(id(first), ()) else None


def _pair(call: FunctionCall, known: Mapping[int, set[str]]) -> tuple[str, Tensor, Tensor] | None:
    """What a call expects, its prediction and its target; None if it compares no prediction with a target.

    known: for the id of each tensor, the names of the functions that take it.
    """
    if call.name == "einsum" and len(call.args) == 3:
        first, second = call.args[1:]
    else:
        first, second = call.given(0, "input"), call.given(1, "target", call.given(1, "other"))
    if not (isinstance(first, Tensor) and isinstance(second, Tensor)):
        return None
    if call.name == "poisson_nll_loss" and not call.given(2, "log_input", True):
        return None
    if call.name in LOSSES:
        if second.requires_grad and not first.requires_grad and call.name in ("mse_loss", "l1_loss", "smooth_l1_loss"):
            first, second = second, first  # the arguments came in the other order
        return (LOSSES[call.name], first, second) if first.requires_grad and not second.requires_grad else None
    if first.requires_grad is second.requires_grad:
        return None
    prediction, target = (first, second) if first.requires_grad else (second, first)
    expects = _written(call, prediction, target, known)
    return (expects, prediction, target) if expects else None


def _written(call: FunctionCall, prediction: Tensor, target: Tensor, known: Mapping[int, set[str]]) -> str:
    """What a difference or a product expects; "" if it is not part of a loss."""
    uses = known.get(id(call.result), set())
    if call.name in ("sub", "__sub__", "__rsub__", "rsub") and target.numel() > 1:
        return "squared" if not uses.isdisjoint(_SQUARES) else "absolute" if not uses.isdisjoint(_SIZES) else ""
    if call.name in ("dist", "pairwise_distance") and target.shape == prediction.shape:
        return "squared"
    if call.name in _PRODUCTS and target.shape == prediction.shape and _HINGED in uses:
        return "signs"  # max(0, 1 - t y)
    if call.name in (*_PRODUCTS, "einsum") and target.numel() > 1 and prediction.grad_fn is not None:
        if operation(prediction.grad_fn) in ("Log", "LogSoftmax", "LogSigmoid"):
            return "product"
        if "softplus" in known.get(id(prediction), ()) and target.shape == prediction.shape:
            return "logits"  # softplus(z) - y z
    return ""


def _mask(call: FunctionCall, target: Tensor, calls: Sequence[FunctionCall]) -> Tensor | None:
    """What the size of a difference is multiplied by, if it is data that lets some of it out and fits the targets."""
    sizes = {id(call.result)}
    for later in calls:
        first, second = later.given(0, "input"), later.given(1, "other")
        if id(first) not in sizes and id(second) not in sizes:
            continue
        mask = second if id(first) in sizes else first
        if later.name in _PRODUCTS and isinstance(mask, Tensor) and id(mask) not in sizes:
            fits = 0 < mask.ndim <= target.ndim and all(
                own in (1, asked) for own, asked in zip(reversed(mask.shape), reversed(target.shape), strict=False)
            )
            if fits and not mask.requires_grad and readable(mask) and bool((mask == 0).any()):
                return mask
        if later.name in (*_SIZES, *_SQUARES, *_PRODUCTS):
            sizes.add(id(later.result))
    return None


def _complement(target: Tensor, calls: Sequence[FunctionCall]) -> bool:
    """Whether 1 - target is also used."""
    return any(call.name in ("__rsub__", "rsub") and call.args[0] is target and call.given(1, "other") == 1 for call in calls)


def _given(target: Tensor, makers: dict[int, FunctionCall], answers: set[int]) -> bool:
    """Whether a target came from outside the step. Changes of shape, type or unit are allowed."""
    for _ in range(16):
        call = makers.get(id(target))
        if call is None:
            return memory(target) not in answers
        others = [each for each in (*call.args, *call.kwargs.values()) if isinstance(each, Tensor)]
        scaled = call.name in _SCALING and len(others) == 1
        if not others or not (call.name in _KEEPING or scaled):
            return False
        target = others[0]
    return False


def alone(loss: Tensor | None, call: FunctionCall) -> bool:
    """Whether the loss is only this comparison, or its sum or mean, times a number."""
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


def _results(calls: Sequence[FunctionCall]) -> list[Tensor]:
    return [call.result for call in calls if isinstance(call.result, Tensor)]
