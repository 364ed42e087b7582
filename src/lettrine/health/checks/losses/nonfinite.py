"""The check of values that are not finite: where they began, in which operation, and whether anything had grown before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import nan
from typing import Final

import numpy as np

from lettrine.health import limits
from lettrine.health.checks.reading import learning_rate, number, rounded, usable
from lettrine.health.checks.registry import check
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.trace import Floats, NonFinite, Trace

_PASS: Final[dict[str, str]] = {
    "forward": "The output of {where} was not finite at step {step}, in the forward pass",
    "backward": "The gradient at {where} was not finite at step {step}, in the backward pass",
    "loss": "The loss was not finite at step {step}",
    "update": "{where} was not finite after the update of step {step}",
    "data": "The data fed to {where} held values that are not finite at step {step}",
}
_NO_LOG: Final = ("LogSoftmax", "BinaryCrossEntropyWithLogits", "MseLoss", "L1Loss", "SmoothL1Loss", "HuberLoss")
"""Losses without a logarithm of a probability, by the beginning of their node's name."""
_DROP: Final = "drop what is NaN or infinite (empty cells of a table), and divide by a std that is never 0."
_NOTHING: Final = (
    "Nothing had grown before, and nothing seen comes near a division by 0 or a logarithm of 0: the batch may hold it."
)
_LOGITS: Final = "compute the loss from logits (cross_entropy, binary_cross_entropy_with_logits), not from log of a probability; "
_WATCH: Final = "watch with every=1 to see in which module it begins"
_HALF: Final = "float16"
_LARGEST: Final = 65_504  # of float16
_WIDER: Final = (
    "Compute what {place} in float32 (x.float(), and torch.autocast(..., enabled=False) around it) or in bfloat16, which reaches "
    "as far as float32; or keep the values small: a mean instead of a sum, inputs that are scaled, or a norm."
)
_ROOTS: Final = ("sqrt", "pow")
_LOGS: Final = ("log", "log2", "log10")
_SHARES: Final = ("softmax", "sigmoid")
_WORDS: Final = {"div": "division", "sqrt": "root", "rsqrt": "root", "pow": "power", "softmax": "softmax"}
_GUARDS: Final = {
    "sqrt": "Add a small number before the root, as in sqrt(x + 1e-8): its slope at 0 is infinite.",
    "rsqrt": "Add a small number before the root, as in rsqrt(x + 1e-8).",
    "pow": "Add a small number before the power, as in (x + 1e-8) ** p: its slope at 0 is infinite.",
    "div": "Keep the divisor from 0, as in x / n.clamp(min=1) for a count or x / (d + 1e-8), or skip rows without any.",
    "softmax": "Leave at least one entry of each row unmasked, or mask with a large negative number instead of -inf.",
    "log_softmax": "Leave at least one entry of each row unmasked, or mask with a large negative number instead of -inf.",
    "cross_entropy": "See how labels are masked: every target was the one that is ignored, and a mean over nothing is 0 / 0.",
    "selection": "Where nothing is selected leave that term out, or divide a sum by a count that is at least 1, as in "
    "loss[keep].sum() / keep.sum().clamp(min=1).",
    "log": "Take the logarithm of a value that cannot be 0, as in log(p + 1e-8), or compute the loss from logits (cross_entropy, "
    "binary_cross_entropy_with_logits).",
}
_BELOW: Final = {
    "pow": "Keep what goes in above 0, as in x.clamp(min=1e-6) ** p, or take the power of its size: x.sign() * x.abs() ** p.",
    "sqrt": "Keep what goes in from falling below 0, as in sqrt(x.clamp(min=1e-8)), and see why it does.",
    "log": "Keep what goes in above 0, as in log(p.clamp(min=1e-8)), and see why it falls below: a probability comes from a "
    "sigmoid or a softmax.",
}


@check("non-finite")
def non_finite(trace: Trace) -> Iterator[Finding]:
    """Where the first NaN or infinity appeared, and the operation that made it, if that was seen.

    Measured: The first NaN or infinity among data, outputs, loss, gradients and weights, and the operations that can make one:
    how near to 0 their inputs came.
    Formula: none. Growth before it: last loss or gradient norm > {GROWN:g} times the median.
    """
    first = trace.first_nonfinite
    if first is None:
        return
    where = first.where or "the network"
    about = "" if first.exact else " or in the steps since the sampled one before"
    seen, remedy = _cause(trace, first, where)
    yield Finding(
        id="non-finite",
        severity="critical",
        where=(first.where,) if first.where else (),
        steps=(first.step, first.step),
        value=nan,
        limit=nan,
        message=_PASS[first.phase].format(where=where, step=first.step) + about + "." + (f" {seen}" if seen else ""),
        why="One NaN spreads to every weight with the next update, and nothing brings it back.",
        remedy=remedy,
        reference="Goodfellow, Bengio & Courville 2016, Deep Learning, section 4.1: overflow and underflow",
    )


def _cause(trace: Trace, first: NonFinite, where: str) -> tuple[str, str]:
    """A sentence on the operation that made it ("" if that was not seen), and the remedy."""
    if first.phase == "data":
        return "", f"Look at batch {first.step}: {_DROP}"
    operations = trace.seen("operation")
    broke = [each for each in operations if each.words["broke"] and each.figure("step") <= first.step + 1]
    if broke:
        each = min(broke, key=lambda one: one.figure("step"))
        return _seen(each), _guard(each)
    return _overflow(trace, first) or _suspected(trace, first, where)


def _suspected(trace: Trace, first: NonFinite, where: str) -> tuple[str, str]:
    """The same where nothing was seen to break: what came near to it."""
    operations = trace.seen("operation")
    grown = _grown(trace, first)
    before = _loss_before(trace, first)
    if before == 0 and (roots := [each for each in operations if each.where[0] == "loss" and each.where[1] in _ROOTS]):
        return f"The loss before it was exactly 0, and {_place(roots[0])} has an infinite slope there.", _guard(roots[0])
    open_ends = sorted(
        (each for each in operations if each.words["guarded"] != "yes" and _open(each)), key=lambda one: one.figure("least")
    )
    if not grown and (emptied := [each for each in operations if _emptied(each)]):
        each = emptied[0]
        return f"Nothing had grown before. {_fewer(each)}: over none it is 0 / 0.", _GUARDS["selection"]
    # A probability may become 0 however small the steps are, but while nothing grows it comes near 0 first.
    of_shares = [each for each in open_ends if each.where[1] in _LOGS and each.words["of"] in _SHARES]
    far = [each for each in of_shares if each.figure("least") >= limits.LOG_NEAR]
    if suspects := of_shares if grown else [each for each in open_ends if each not in far]:
        each = suspects[0]
        amount = number(each.figure("least"))
        calm = "" if grown else "Nothing had grown before. "
        told = f"{calm}The input of {_place(each)} is not kept away from 0: it came down to {amount}."
        return told, _guard(each)
    if not grown and not first.where and first.phase == "loss" and len(_norms(trace)):
        return (
            _NOTHING,
            f"Look at batch {first.step}, inputs and targets: {_DROP} If both are finite, {_unseen(trace, operations)}.",
        )
    return "", _slower(trace, first, where, grown=grown)


def _overflow(trace: Trace, first: NonFinite) -> tuple[str, str] | None:
    """A sentence and a remedy where a module was fed values that were not finite already, or left the range of float16."""
    met = [each for each in trace.seen("overflow") if each.where[0] == first.where and first.phase == "forward"]
    if not met:
        return None
    words, where = met[0].words, first.where
    half, made = words["type"] == _HALF, bool(words["made"])
    if made:
        return (f"It exceeds what {_HALF} can hold, {_LARGEST:,}.", _WIDER.format(place=f"{where} does")) if half else None
    between = f"between {words['after']} and {where}" if words["after"] else f"before {where}"
    told = f"It was so before {where}: a value {between} "
    if half:
        return told + f"exceeds what {_HALF} can hold, {_LARGEST:,}.", _WIDER.format(place=f"lies {between}")
    bound = "and bound what goes in, as in x.clamp(max=20).exp()."
    return told + "is not finite.", f"Look {between} for an exp or a power that overflows and for a division by 0, {bound}"


def _place(each: Evidence) -> str:
    place, name = each.where
    what = f"the {_WORDS.get(name, name)}" + (f" of {each.words['of']}" if each.words["of"] and name != "div" else "")
    return f"{what} in {'the loss' if place == 'loss' else place}"


def _seen(each: Evidence) -> str:
    step, name = int(each.figure("step")), each.where[1]
    if name == "selection":
        return f"At step {step} nothing was selected for {_averaged(each)}: 0 / 0."
    if name == "cross_entropy":
        return f"At step {step} every target was the one that cross_entropy ignores."
    if "softmax" in name:
        return f"At step {step} {_place(each)} got a row in which everything was masked."
    if each.words["broke"] == "backward":
        return f"At step {step} {_place(each)} was computed at exactly 0, where its slope is infinite."
    if _below(each):
        lowest = number(each.figure("lowest"))
        return f"At step {step} {_place(each)} got numbers below 0, down to {lowest}, where it is not defined."
    return f"At step {step} {_place(each)} made it from finite values."


def _below(each: Evidence) -> bool:
    """Whether an operation that is not defined below 0 got such a number."""
    return each.words["broke"] == "forward" and each.where[1] in (*_ROOTS, "rsqrt", *_LOGS) and each.figure("lowest") < 0


def _emptied(each: Evidence) -> bool:
    """Whether what an average is taken over had become few beside the number at first."""
    return each.where[1] == "selection" and each.figure("least") <= limits.SELECTION_LEFT * each.figure("first")


def _averaged(each: Evidence) -> str:
    return f"the {each.words['of']} in {'the loss' if each.where[0] == 'loss' else each.where[0]}"


def _fewer(each: Evidence) -> str:
    first, least = int(each.figure("first")), int(each.figure("least"))
    what = _averaged(each)
    return f"{what[0].upper()}{what[1:]} is taken over what an index selects, {first} at first and down to {least} since"


def _guard(each: Evidence) -> str:
    name = "log" if each.where[1] in _LOGS else each.where[1]
    return _BELOW[name.removeprefix("r")] if _below(each) else _GUARDS[name]


def _open(each: Evidence) -> bool:
    """Whether an operation may have got a 0: roots and logarithms always may; a division may if its divisor was near 0 or came
    nearer.
    """
    least, start, end = each.figure("least"), each.figure("first"), each.figure("last")
    if each.where[1] in (*_ROOTS, *_LOGS, "rsqrt"):
        return True
    return each.where[1] == "div" and (least < limits.NEAR_ZERO or end < 0.5 * start)


def _grown(trace: Trace, first: NonFinite) -> bool:
    """Whether the loss, the gradients or the weights had grown before."""
    steps, losses = trace.recent.step, trace.recent.mean
    told = losses[(steps < first.step) & np.isfinite(losses)]
    if len(told) > 1 and told[-1] > limits.GROWN * np.median(told[-50:-1]) > 0:
        return True
    norms = _norms(trace)
    return len(norms) > 1 and bool(norms[-1] > limits.GROWN * np.median(norms[:-1]))


def _norms(trace: Trace) -> Floats:
    """Finite norms of the gradient, up to the last before values stopped being finite."""
    norms = trace.step_stats["gradient_norm"][usable(trace)]
    return norms[np.isfinite(norms)]


def _loss_before(trace: Trace, first: NonFinite) -> float:
    """The last finite loss before values stopped being finite."""
    known = (trace.recent.step <= first.step) & np.isfinite(trace.recent.mean)
    return float(trace.recent.mean[known][-1]) if known.any() else nan


def _slower(trace: Trace, first: NonFinite, where: str, *, grown: bool) -> str:
    """The remedy if no operation is known: the learning rate comes first only if something had grown."""
    rate, norms = learning_rate(trace), _norms(trace)
    norm = float(np.median(norms[:-1] if grown else norms)) if len(norms) else nan  # leave out the last one, which broke the run
    gentler = []
    if rate > 0:
        gentler.append(f"lower the learning rate about 10 times, from {number(rate)} to {number(rounded(rate / 10))}")
    if norm > 0:
        gentler.append(f"clip the gradient norm at about {number(rounded(norm))}, its median before step {first.step}")
    parts = []
    if first.phase == "loss":
        parts.append(_unseen(trace, trace.seen("operation")))
    else:
        parts.append(f"look in {where} for a division by 0, a log or root of 0, or an exp that overflows, and add an epsilon")
    text = "; ".join([*gentler, *parts] if grown else [*parts, *gentler])
    return f"{text[0].upper()}{text[1:]}."


def _unseen(trace: Trace, operations: Sequence[Evidence]) -> str:
    """What to do about a loss of which only its value is known."""
    log = not operations and not any(name.startswith(_NO_LOG) for name in trace.facts.loss_chain)
    return (_LOGITS if log else "") + _WATCH
