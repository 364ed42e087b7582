"""Evidence "ahead": a network predicts the next element of a sequence at each place, but it can see that element.

The data show the task: the target at each place is the input at the next place. The structure shows what looks ahead: a
bidirectional recurrent module, a convolution over time that reaches to both sides, or attention whose weight on the next place
is not 0.

where: the module. figures: "looks" that showed it; "all" looks; "share" of the targets that it can see at their places, the least
of all these looks: in a text of which a part is given, attention may see that part as a whole. words: "what" ("recurrent",
"convolution" or "attention").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Final

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import FunctionCall, ModuleCall
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.losses.comparisons import readable

_LEAST: Final = 4  # places of a sequence
_EXAMPLES: Final = 8  # examples of which the attention is read
_MASK_AXES: Final = 2
_WEIGHTS_AXES: Final = 3
_HIDDEN: Final = -1e4  # a score of this or less is hidden
_SEEN: Final = 1e-6  # least attention weight on the next place, where 1 is all


@reader
class LooksAhead:
    """Finds modules that can see the targets."""

    whole: ClassVar[bool] = True

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], tuple[int, float]] = {}
        self._looks = 0
        self._steps = (0, 0)

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        asked = asked_ahead(look)
        if asked is None or look.place:
            return ()
        self._steps = (self._steps[0] if self._looks else look.step, look.step)
        self._looks += 1
        seen: dict[tuple[str, str], float] = {}
        for what, where, share in (*_modules(look.modules, asked.shape[1] + 1), *_attention(look.calls, asked)):
            seen[what, where] = max(share, seen.get((what, where), 0.0))
        for each, share in seen.items():
            looks, least = self._found.get(each, (0, 1.0))
            self._found[each] = looks + 1, min(least, share)
        return ()

    def finish(self) -> Iterable[Evidence]:
        """What was seen so far."""
        for (what, where), (looks, share) in self._found.items():
            figures = {"looks": float(looks), "all": float(self._looks), "share": share}
            yield Evidence("ahead", (where,), self._steps, figures, {"what": what})


def asked_ahead(look: Look) -> Tensor | None:
    """(B, T - 1) the places whose target is the next element; None unless targets are the only input sequence, shifted by one."""
    given = [
        each for root in look.roots for each in root.inputs if each.ndim >= 2 and each.shape[1] > _LEAST and not _hides(each)
    ]
    if len(look.roots) != 1 or len(given) != 1 or not readable(given[0]):
        return None
    sequence = given[0].detach()
    for term in look.terms:
        target = term.target
        if target is None or not readable(target) or target.dtype != sequence.dtype:
            continue
        ignored = term.options.get("ignore_index", -100)
        if (places := _shifted(sequence, target.detach(), ignored)) is not None:
            return places
    return None


def _hides(given: Tensor) -> bool:
    """Whether an input is a mask: of bool, or a square of nothing but 0 and numbers far below."""
    if given.dtype is torch.bool:
        return True
    square = given.ndim == _MASK_AXES and given.shape[0] == given.shape[1] and given.is_floating_point() and readable(given)
    return square and bool(((given == 0) | (given <= _HIDDEN)).all())


def _shifted(sequence: Tensor, target: Tensor, ignored: int) -> Tensor | None:
    length = sequence.shape[1]
    for short in (0, 1):  # targets for all places, or for all but the last one
        shape = (len(sequence), length - short, *sequence.shape[2:])
        if target.numel() != sequence[:, short:].numel() or (target.ndim > 1 and target.shape[0] != len(sequence)):
            continue
        table = target.reshape(shape)[:, : length - 1]
        following = sequence[:, 1:]
        kept = (table != ignored) if not table.is_floating_point() else torch.ones_like(table, dtype=torch.bool)
        differ = bool((following != sequence[:, :-1])[kept].any())  # a sequence with one value throughout shows no shift
        if bool(kept.any()) and differ and bool((table == following)[kept].all()):
            return kept.reshape(len(sequence), length - 1, -1).all(-1)
    return None


def _modules(calls: Iterable[ModuleCall], length: int) -> Iterator[tuple[str, str, float]]:
    for call in calls:
        given: Any = (call.args or (None,))[0]
        if not isinstance(given, Tensor) or given.ndim != 3:
            continue
        module = call.module
        if isinstance(module, nn.RNNBase) and module.bidirectional and given.shape[1 if module.batch_first else 0] == length:
            yield "recurrent", call.name, 1.0
        elif isinstance(module, nn.Conv1d) and given.shape[2] == length and _reaches_ahead(module, call.output, length):
            yield "convolution", call.name, 1.0


def _reaches_ahead(module: nn.Conv1d, output: Any, length: int) -> bool:
    """Whether a convolution that keeps the length of its input has weights for later places."""
    kernel = module.kernel_size[0]
    if not isinstance(output, Tensor) or output.shape[-1] != length or kernel < 3 or is_parametrized(module, "weight"):
        return False  # to read a weight that is computed (spectral norm) changes the training
    return bool((module.weight.detach()[..., kernel // 2 + 1 :] != 0).any())


def _attention(calls: Iterable[FunctionCall], asked: Tensor) -> Iterator[tuple[str, str, float]]:
    length = asked.shape[1] + 1
    for call in calls:
        share = 0.0
        if call.where and call.name == "multi_head_attention_forward":
            query, key, mask = call.given(0, "query"), call.given(1, "key"), call.given(16, "attn_mask")
            if _same(query, key) and length in query.shape[:2] and not call.kwargs.get("is_causal", False):
                share = _open(mask, asked, hidden=True)
        elif call.where and call.name == "scaled_dot_product_attention":
            query, key, mask = call.given(0, "query"), call.given(1, "key"), call.given(3, "attn_mask")
            square = isinstance(query, Tensor) and isinstance(key, Tensor) and query.shape[-2] == key.shape[-2] == length
            if square and not bool(call.given(5, "is_causal", default=False)):
                share = _open(mask, asked, hidden=False)
        elif call.where and call.name == "softmax":
            share = _weighs_next(call.result, asked)
        if share:
            yield "attention", call.where, share


def _same(query: Any, key: Any) -> bool:
    """Whether query and key are the same tensor: self-attention."""
    return (
        isinstance(query, Tensor) and isinstance(key, Tensor) and query.shape == key.shape and query.data_ptr() == key.data_ptr()
    )


def _open(mask: Any, asked: Tensor, *, hidden: bool) -> float:
    """Of how many targets a mask leaves the place visible. hidden: what a mask of bool says of a place that is not to be seen."""
    if mask is None:
        return 1.0
    if not isinstance(mask, Tensor) or not readable(mask):
        return 0.0
    return _visible(mask > _HIDDEN if mask.is_floating_point() else mask != hidden, asked)


def _weighs_next(weights: Any, asked: Tensor) -> float:
    if not isinstance(weights, Tensor) or weights.ndim < _WEIGHTS_AXES or not readable(weights):
        return 0.0
    return _visible(weights.detach() > _SEEN, asked)


def _visible(seen: Tensor, asked: Tensor) -> float:
    """The share of the targets whose place can be seen. seen: (..., T, T), for all examples alike, or for each and its heads."""
    examples, length = len(asked), asked.shape[1] + 1
    if seen.ndim < _MASK_AXES or seen.shape[-2:] != (length, length):
        return 0.0
    tables = seen.reshape(-1, length, length)
    if len(tables) % examples:
        tables = tables.any(0, keepdim=True).expand(examples, -1, -1)
    following = tables.reshape(examples, -1, length, length)[:_EXAMPLES].diagonal(1, 2, 3).any(1)  # (B, T - 1)
    kept = asked[:_EXAMPLES].to(following.device)
    return float((following & kept).sum() / kept.sum().clamp(min=1))
