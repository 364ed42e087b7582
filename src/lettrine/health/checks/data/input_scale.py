"""Check of the scale of the inputs: raw pixels, prices, or numbers next to nothing."""

from __future__ import annotations

from collections.abc import Iterator
from math import nan

import numpy as np

from lettrine.health import limits, limits_wiring
from lettrine.health.checks.consequence import Consequence, consequence, wasted
from lettrine.health.checks.reading import matrices, median, number, share, start
from lettrine.health.checks.registry import check
from lettrine.health.checks.words.capacity import at_rest
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.trace import ModuleInfo, Trace

_FIRST = ("linear", "norm", "embedding", "recurrent", "attention", "output")
_NORMALIZING = "LeCun et al. 1998, Efficient BackProp, section 4.3: normalizing the inputs"


def unscaled(trace: Trace) -> Evidence | None:
    """The inputs, if their size is far from the usual one and nothing in the network corrects it; otherwise None.

    Of several parts that are called by themselves, such as an actor and a critic, those of the first one for which that is so.
    """
    return next(iter(_all_unscaled(trace)), None)


def _all_unscaled(trace: Trace) -> list[Evidence]:
    return [seen for seen in trace.seen("inputs") if _unscaled(trace, seen)]


def _unscaled(trace: Trace, seen: Evidence) -> bool:
    first = next((info for info in _inside(trace, seen) if info.role in _FIRST), None)
    if seen.figure("rescaled") > 0 or first is None or first.role in ("norm", "embedding") or first.name not in trace.outputs:
        return False
    most, least = seen.figure("feature_most"), seen.figure("feature_least")
    large = most >= limits.SCALE_FAR
    uneven = most >= limits.SCALE_UNEVEN * least and most >= 0.3 * limits.SCALE_FAR
    # If the model is a single layer they arrive, however small its first weights make its answers.
    arrives = median(trace.output(first.name, "rms"), start(trace)) >= limits.SCALE_ARRIVES or _alone(trace, first)
    return ((large or uneven) and arrives) or _tiny(seen) or _faint(seen)


def _alone(trace: Trace, first: ModuleInfo) -> bool:
    """Whether a linear layer holds all weights of the model."""
    return first.kind == "Linear" and {info.module for info in matrices(trace)} <= {first.name, ""}


def _fitted(trace: Trace) -> bool:
    """Whether the loss of a single linear layer has come to rest: it has no worse minimum to rest in, so the rest is noise."""
    return at_rest(trace) and any(_alone(trace, info) for info in trace.modules)


def _inside(trace: Trace, seen: Evidence) -> list[ModuleInfo]:
    """The modules of the part that was given these inputs, in order; all of them if the model itself was."""
    ordered = sorted(trace.modules, key=lambda each: each.depth)
    part = [info for info in ordered if seen.where and f"{info.name}.".startswith(f"{seen.where[0]}.")]
    # A model whose own output is recorded, such as one that ends in torch.sigmoid(...), goes by its class's name.
    held = any(f"{info.name}.".startswith(f"{seen.where[0]}.") for info in trace.parameters) if part else False
    return part if held else ordered


def _blocked(trace: Trace, seen: Evidence) -> str:
    """What is known, in words, of an activation of this part that is flat for most of its inputs from the start, or of a last one
    that soon lets nothing through at all; "" if there is none.
    """
    for info in _inside(trace, seen):
        part = median(trace.output(info.name, "saturated"), start(trace)) if info.name in trace.outputs else nan
        if (info.bends or info.role == "output") and part >= limits.SATURATED_CRITICAL:
            return f"{share(part)} of the outputs of {info.name} are saturated from the start, and let almost no gradient through"
    return _stuck(trace, seen)


def _stuck(trace: Trace, seen: Evidence) -> str:
    """What is known if the last activation of this part became flat within the first steps, and not one of its weights had a
    gradient from then on; "" otherwise. Answers that belong at their ends get there later, and not for every input.
    """
    part = _inside(trace, seen)
    last = next((info.name for info in part if info.role == "output" and info.name in trace.outputs), "")
    names = {info.name for info in part}
    weights = [each.name for each in trace.parameters if each.module in names and each.name in trace.parameter_stats]
    if not last or not weights:
        return ""
    still = trace.output(last, "saturated") >= limits.SATURATED_CRITICAL
    still &= np.all([trace.parameter(each, "gradient_norm") == 0 for each in weights], axis=0)
    first = int(np.flatnonzero(~still).max(initial=-1)) + 1
    few = len(still) - first < limits_wiring.STUCK_LOOKS or trace.steps[-1] < limits.LEARNING_STEPS
    if few or trace.steps[first] > limits_wiring.STUCK_SOON * trace.steps[-1]:
        return ""
    return (
        f"from step {trace.steps[first]:,} to {trace.steps[-1]:,} the outputs of {last} are saturated, and none of the weights "
        "before it has a gradient"
    )


def _tiny(seen: Evidence) -> bool:
    """Whether all inputs are so small that fresh layers output almost only their biases."""
    return 0 < seen.figure("feature_most") <= limits.SCALE_TINY


def _faint(seen: Evidence) -> bool:
    """Whether all inputs are nearly one number: what differs between them is lost beside what they share."""
    return 0 < limits.SCALE_FAINT * seen.figure("std") <= abs(seen.figure("mean"))


@check("input-scale", needs=("loss",))
def input_scale(trace: Trace) -> Iterator[Finding]:
    """Raw pixels, prices or other inputs far from the size that layers are initialised for.

    Measured: The size of each input feature, and the size of the first layer's output. Networks that begin with a
        norm or an embedding are not judged.
    Formula: size = rms of a feature over the batch; judged are the largest one, and the largest divided by the smallest. Inputs
        that are all below {SCALE_TINY:g}, or whose mean is {SCALE_FAINT:g} times their std, are named if nothing was learned.
        Where the loss does not tell how it went, as that of an actor: whether the activations are saturated from the start, or
        the last one within {STUCK_SOON:.0%} of the run and no weight before it has a gradient from then on.
        A consequence too: late in the run {OFFSET_NEARLY_ALL:.0%} of the squared error, and {OFFSET_MATTERS:g} of the variance,
        is one number.
    """
    seen = unscaled(trace)
    if seen is None:
        return
    harm = consequence(trace)
    # Batch norm removes the scale, and the training learned: a bad held-out loss has another cause.
    bad = harm.bad and not (harm.kind == "held out" and trace.norms)
    if _tiny(seen):
        if bad or _worse_than_one_answer(harm):
            yield _too_small(seen, harm)
        return
    if _faint(seen) and seen.figure("feature_most") < limits.SCALE_FAR:
        if bad:
            yield _too_faint(seen, harm)
        return
    little = harm.kind == "learns" and harm.left >= limits.PLATEAU_HIGH and not _fitted(trace)
    lost = little or (wasted(trace) and not harm.well) or _worse_than_one_answer(harm)
    behind = _bias_behind(trace)
    broke = trace.first_nonfinite is not None and trace.first_nonfinite.phase != "data"
    if broke and any(each.words["broke"] for each in trace.seen("operation")):
        return  # a logarithm, a root or a division that broke is the more direct cause
    told = (
        f"values stopped being finite at step {trace.first_nonfinite.step:,}" if broke and trace.first_nonfinite else harm.words
    )
    # Of rewards or of networks against each other no loss tells how it went, but what has no slope does not learn.
    flat = ""
    if harm.kind == "unknown":
        blocked = [(each, _blocked(trace, each)) for each in _all_unscaled(trace)]
        seen, flat = next((each for each in blocked if each[1]), (seen, flat))
    low, high = number(seen.figure("low"), 3), number(seen.figure("high"), 3)
    most, least = seen.figure("feature_most"), seen.figure("feature_least")
    uneven = f", and features of a size from {number(least)} to {number(most)}" if most > limits.SCALE_UNEVEN * least else ""
    if behind and not (bad or lost or broke):
        told = behind
    if flat:
        told = flat
    pixels = seen.figure("low") >= 0 and 200 < seen.figure("high") <= 255
    yield Finding(
        id="input-scale",
        severity="warning" if bad or lost or broke or flat or behind else "info",
        where=seen.where,
        steps=seen.steps,
        value=most,
        limit=limits.SCALE_FAR,
        message=f"The inputs go from {low} to {high}{uneven}: {told}.",
        why="Layers are initialised for inputs of about 1: larger inputs saturate them and dominate each step.",
        remedy=(
            "Divide the pixels by 255, or normalise each channel by its mean and std over the training data."
            if pixels
            else "Subtract each feature's mean and divide by its std, both of the training data, or begin with a norm layer."
        ),
        reference=_NORMALIZING,
    )


def _too_small(seen: Evidence, harm: Consequence) -> Finding:
    most = seen.figure("feature_most")
    return Finding(
        id="input-scale",
        severity="warning",
        where=seen.where,
        steps=seen.steps,
        value=most,
        limit=limits.SCALE_TINY,
        message=f"The inputs go from {number(seen.figure('low'), 3)} to {number(seen.figure('high'), 3)}, with a root mean "
        f"square of {number(most)} at most: {harm.words}.",
        why="Layers are initialised for inputs of about 1: with inputs this small their outputs are little more than their "
        "biases, and the gradients of the first weights are too small by the same factor.",
        remedy="Subtract each feature's mean and divide by its std, both of the training data; see that pixels are not "
        "divided by 255 twice (ToTensor does it once).",
        reference=_NORMALIZING,
    )


def _too_faint(seen: Evidence, harm: Consequence) -> Finding:
    mean, std = seen.figure("mean"), seen.figure("std")
    return Finding(
        id="input-scale",
        severity="warning",
        where=seen.where,
        steps=seen.steps,
        value=abs(mean) / std,
        limit=limits.SCALE_FAINT,
        message=f"The inputs hardly differ: their mean is {number(mean, 3)}, their std {number(std)}; {harm.words}.",
        why="What all inputs share goes through the layers like a second bias, and what tells them apart is lost beside it.",
        remedy="Subtract each feature's mean and divide by its std, both of the training data, or begin with a norm layer.",
        reference=_NORMALIZING,
    )


def _bias_behind(trace: Trace) -> str:
    """What is left late in the run, if nearly all of the error is one number: with inputs that large the rate which the weights
    bear hardly moves the bias.
    """
    for each in trace.seen("comparison"):
        error, offset = each.figure("error"), each.figure("offset")
        late = len(trace.loss.step) > 0 and each.steps[1] >= max(limits.LATE_LOOK * trace.loss.step[-1], limits.LEARNING_STEPS)
        alone = each.figure("alone") == each.figure("given") == 1 and each.words["expects"] == "squared"
        missed = offset >= limits.OFFSET_NEARLY_ALL * error and error >= limits.OFFSET_MATTERS * each.figure("std") ** 2
        if late and alone and missed:
            return (
                f"at step {each.steps[1]:,} the answers miss the targets by {number(offset**0.5, 3)} on average, "
                f"{share(offset / error)} of the squared error that is left"
            )
    return ""


def _worse_than_one_answer(harm: Consequence) -> bool:
    """Whether a training of some length still loses more than the best single answer to every input would."""
    taken = harm.steps[1] - harm.steps[0] + 1
    return harm.reference.known and taken >= limits.LEARNING_STEPS and harm.end >= harm.reference.value
