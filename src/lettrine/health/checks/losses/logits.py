"""Checks of the operations between the last weights and the loss: a softmax, sigmoid or ReLU too many, or one too few."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from math import e, exp, log, nan
from typing import Final

from lettrine.health import limits
from lettrine.health.checks.comparing import compared, operations_of
from lettrine.health.checks.consequence import consequence
from lettrine.health.checks.losses.cosines import cosines
from lettrine.health.checks.losses.head import NORMALISED
from lettrine.health.checks.reading import number, output_module, share, span, usable
from lettrine.health.checks.registry import Skip, check
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace

_LOGITS: Final = ("classes", "logits")
_SHARES: Final = ("Softmax", "Sigmoid", "Hardsigmoid")
_POSITIVE: Final = {"Exp": "exponential", "Relu": "ReLU", "Softplus": "softplus"}
_SHAPES: Final = frozenset(
    """view unsafeview reshape reshapealias transpose permute squeeze unsqueeze clone tocopy slice select index t expand alias
    contiguous""".split()  # noqa: SIM905
)
"""Operations, as autograd names them, that change no value."""


@check("relu-logits")
def relu_logits(trace: Trace) -> Iterator[Finding]:
    """Logits that cannot be below 0.

    Measured: The operations between the last weights and the loss, and how many logits a ReLU cuts.
    Formula: share = (logits that are exactly 0) / (logits).
    """
    for each in compared(trace):
        chain, expects = operations_of(each), each.words["expects"]
        if _of_probabilities(each) and chain[1:] == ["Relu"]:
            yield _relu_for_probabilities(each)
            continue
        inner = chain[1:] if chain and (chain[0] in NORMALISED or chain[0] == "Sigmoid") else chain if expects in _LOGITS else []
        if inner[:1] not in (["Relu"], ["Softplus"]):
            continue
        kind = "ReLU" if inner[0] == "Relu" else "softplus"
        halves = expects == "logits" or chain[0] == "Sigmoid"
        cut = each.figure("zeros")
        if halves:
            severity = "critical"
            why = "A logit of 0 or more is a probability of at least one half: no example can be told to be of class 0."
        elif kind == "ReLU" and (cut >= limits.CUT_LOGITS or chain[0] in NORMALISED):
            severity = "warning"
            why = "A logit that is cut to 0 gets no gradient, so it cannot rise again for that example."
        else:
            severity = "info"
            why = "A class can only be ruled out by raising all others."
        amount = f", which cuts {share(cut)} of them to 0" if cut > 0 else ""
        yield Finding(
            id="relu-logits",
            severity=severity,
            where=each.where[:1],
            steps=each.steps,
            value=cut,
            limit=limits.CUT_LOGITS,
            message=f"The logits go through a {kind} before the loss{amount}.",
            why=why,
            remedy=f"Remove the {kind} after {each.where[0]}: the loss takes raw outputs of either sign.",
            reference="torch.nn.CrossEntropyLoss and BCEWithLogitsLoss: unnormalised logits",
        )


def _of_probabilities(each: Evidence) -> bool:
    """Whether the loss takes the logarithm of values that it treats as probabilities."""
    rows = each.words["expects"] == "product" and each.figure("rows_one") > limits.ROWS_OF_ONE
    return operations_of(each)[:1] == ["Log"] and (each.words["expects"] == "likelihood" or rows)


def _relu_for_probabilities(each: Evidence) -> Finding:
    yes = each.words["expects"] == "likelihood"
    return Finding(
        id="relu-logits",
        severity="critical",
        where=each.where[:1],
        steps=each.steps,
        value=each.figure("zeros"),
        limit=limits.CUT_LOGITS,
        message="The loss expects logarithms of probabilities, and gets those of a ReLU's outputs, which are 0 or of any size.",
        why="The logarithm of 0 is minus infinity, or has no slope where it is clipped: such an example teaches nothing.",
        remedy=f"Put a {'sigmoid' if yes else 'softmax'} in the place of the ReLU after {each.where[0]}, or give the raw outputs "
        f"to {'binary_cross_entropy_with_logits' if yes else 'cross_entropy'}.",
        reference="torch.nn.CrossEntropyLoss and BCEWithLogitsLoss: unnormalised logits",
    )


@check("probabilities-as-logits")
def probabilities_as_logits(trace: Trace) -> Iterator[Finding]:
    """A loss that gets another kind of input than it expects: probabilities instead of logits, or instead of log-probabilities.

    Measured: The operations between the last weights and the loss, compared with what this loss expects; and whether a softmax
    is taken of the shares that another one made.
        And the range of answers whose overlap with targets (dice, jaccard) is the loss; and the scale of cosines.
    Formula: none. Certain probabilities taken for logits give no less than ln(1 + (K - 1) / e) with K classes; cosines times s no
        less than ln(1 + (K - 1) exp(-2 s)), a fault from {COSINE_FLOOR} ln K on.
    """
    yield from cosines(trace)
    yield from (_no_shares(each) for each in trace.seen("overlap") if _beyond(each))
    found = [(_places(each), each.steps, mistake) for each in trace.seen("comparison") if (mistake := _fed(each)) is not None]
    if not found and (twice := [each for each in trace.seen("softmax twice") if each.figure("looks") >= limits.UPDATE_RECORDS]):
        yield from (_twice(trace, each) for each in twice)
        return
    if not found:
        chain = [name.removesuffix("Backward0").removesuffix("Backward") for name in trace.facts.loss_chain]
        chain = [name for name in chain if name.lower() not in _SHAPES]
        if not chain:
            raise Skip("not run", "what the loss is made of is not known; hand the loss itself to watch.loss, not its value")
        mistake = _mistake(chain)
        last = output_module(trace)
        found = [((last.name,) if last else (), span(trace, usable(trace)), mistake)] if mistake is not None else []
    classes = trace.facts.classes
    for where, steps, (expected, given, remedy) in found:
        floor = _floor(classes, least=-1.0 if "tanh" in given else 0.0)
        words = f" With {classes} classes the loss cannot fall below {number(floor)}." if classes > 2 else ""
        yield Finding(
            id="probabilities-as-logits",
            severity="critical",
            where=where,
            steps=steps,
            value=nan,
            limit=nan,
            message=f"The loss expects {expected} and gets {given}.",
            why=(
                f"Values between 0 and 1 taken for logits are never certain: the loss stays high, with small gradients.{words}"
                if expected == "logits"
                else "It takes the exponential of values that are rates already: large ones overflow, and no result is below 1."
                if "rates" in expected
                else "The loss then rewards sizes, not probabilities, and can fall below 0 without anything being learned."
            ),
            remedy=remedy,
            reference="torch.nn.CrossEntropyLoss, BCEWithLogitsLoss and NLLLoss: what the input is",
        )


def _places(each: Evidence) -> tuple[str, ...]:
    """The module of the last weights, and the one that applies the operation after them."""
    return (*each.where[:1], *([bent] if (bent := each.words.get("bent")) else []))


def _beyond(each: Evidence) -> bool:
    """Whether answers that an overlap is computed of leave 0 to 1."""
    far = each.figure("low") < -limits.OUT_OF_REACH or each.figure("high") > 1 + limits.OUT_OF_REACH
    return each.figure("looks") >= limits.UPDATE_RECORDS and far


def _no_shares(each: Evidence) -> Finding:
    return Finding(
        id="probabilities-as-logits",
        severity="critical",
        where=each.where,
        steps=each.steps,
        value=each.figure("low") if each.figure("low") < 0 else each.figure("high"),
        limit=nan,
        message="The loss of overlap expects probabilities and gets raw outputs, from "
        f"{number(each.figure('low'), 3)} to {number(each.figure('high'), 3)}.",
        why="An overlap (dice, jaccard) of numbers of any size has no best value: it falls as they grow, or its divisor is 0.",
        remedy=f"Give it the sigmoid of what {each.where[0]} gives, or the softmax where classes exclude each other.",
        reference="Milletari et al. 2016, V-Net, section 3: dice of probabilities",
    )


def _twice(trace: Trace, each: Evidence) -> Finding:
    """A softmax of shares, anywhere on the way to the loss."""
    size, what, harm = int(each.figure("size")), each.words["what"], consequence(trace)
    loss, logits = what == "loss", what == "logits"
    place = f" in {each.where[0]}" if each.where else ""
    most = e / (e + size - 1)
    return Finding(
        id="probabilities-as-logits",
        severity="critical" if loss else "warning" if logits or harm.bad else "info",
        where=each.where,
        steps=each.steps,
        value=most,
        limit=1.0,
        message=(
            f"The loss expects logits and gets sums of the shares that a softmax{place} made: they sum to 1 over {size} classes."
            if loss
            else f"A distribution is given the {size} shares that a softmax{place} made, as its logits."
            if logits
            else f"A softmax is taken of the {size} shares that another softmax{place} made, and {harm.words}."
        ),
        why=f"Values between 0 and 1 that sum to 1 are taken for logits: the largest share that comes out is {share(most)}"
        + (f", and the loss cannot fall below {number(_floor(size, least=0.0))}." if loss else ", so that nothing stands out."),
        remedy=(
            "Take the logarithm instead: nll_loss((shares + 1e-6).log(), target)."
            if loss
            else f"Say what they are: Categorical(probs=shares); or leave out the softmax{place}."
            if logits
            else "Leave one of the two out, or give the second one the logarithm of the shares."
        ),
        reference="torch.nn.CrossEntropyLoss, BCEWithLogitsLoss and NLLLoss: what the input is",
    )


def _floor(classes: int, *, least: float) -> float:
    """Lowest loss when probabilities are taken as logits: 1 for the right class, `least` for the others."""
    return log(1 + (classes - 1) * exp(least) / e)


def _fed(each: Evidence) -> tuple[str, str, str] | None:
    """What the loss expects, what it gets, and the remedy; None if they agree."""
    chain, expects, place = operations_of(each), each.words["expects"], each.where[0]
    last = chain[0] if chain else ""
    shares = {"Softmax": "softmax", "Sigmoid": "sigmoid", "Hardsigmoid": "hard sigmoid", "LogSoftmax": "log-softmax"}
    bent = f" ({each.words['bent']})" if each.words.get("bent") else ""
    raw = f"Remove the {shares.get(last, last.lower())}{bent} after {place} and give the loss the raw outputs; "
    raw += "apply it only where probabilities are shown."
    if expects in _LOGITS and last in _SHARES:
        return "logits", f"probabilities: a {shares[last]} has been applied already", raw
    if expects in _LOGITS and last == "Tanh":
        return "logits", "the outputs of a tanh, between -1 and 1", f"Remove the tanh after {place}."
    for outer, inner in itertools.pairwise(chain):
        if outer in (*NORMALISED, "Sigmoid") and inner in _SHARES:
            made, before = shares[outer], shares[inner]
            return "logits", f"probabilities: the {made} is taken of a {before}", f"Remove the {before} after {place}."
    if expects == "logarithms" and (last in _SHARES or (not chain and each.figure("above") == 1)):
        given = "raw outputs" if not chain else "probabilities"
        return (
            "logarithms of probabilities",
            given,
            "Use cross_entropy on the raw outputs, without a softmax before it, or log_softmax before nll_loss.",
        )
    if expects == "shares" and last in _SHARES and each.figure("between") == 1:
        return "logarithms of probabilities", "probabilities", f"Give kl_div the log_softmax of the outputs of {place}."
    return _logarithms(each, expects, last) or _unbounded(each, chain)


def _logarithms(each: Evidence, expects: str, last: str) -> tuple[str, str, str] | None:
    """What should be logarithms, of rates or of probabilities for each place of a path."""
    place = each.where[0]
    if expects == "log rates" and last in _POSITIVE:
        given = f"rates: the outputs of a function that gives no values below 0 ({_POSITIVE[last]})"
        return "logarithms of rates", given, f"Remove the {_POSITIVE[last]} after {place}, or set log_input=False."
    if expects == "paths" and (last in _SHARES or (not last and each.figure("above") > 0)):  # no logarithm of a share is above 0
        given = "probabilities" if last else "raw outputs"
        return "logarithms of probabilities", given, f"Give ctc_loss the log_softmax of the raw outputs of {place}."
    return None


def _unbounded(each: Evidence, chain: list[str]) -> tuple[str, str, str] | None:
    """Raw outputs where probabilities are expected."""
    expects, place = each.words["expects"], each.where[0]
    clipped = expects == "probabilities" and "Clamp" in each.words["operations"]
    if not ((not chain and clipped) or (_of_probabilities(each) and chain == ["Log"])):
        return None
    made, with_logits = "softmax", "cross_entropy"
    if expects != "product":
        made, with_logits = "sigmoid", "binary_cross_entropy_with_logits"
    return "probabilities", "raw outputs", f"End in a {made} after {place}, or give the raw outputs to {with_logits}."


def _mistake(chain: list[str]) -> tuple[str, str, str] | None:
    """The same if only the operations of the loss are known. chain: from the loss backwards."""
    names = [*chain, "", ""]
    for place, name in enumerate(chain):
        inner = names[place + 1]
        if name.startswith("LogSoftmax") or "WithLogits" in name:
            if inner.startswith(("Softmax", "Sigmoid")):
                made = "softmax" if inner.startswith("Softmax") else "sigmoid"
                remedy = (
                    f"Remove the final {made} and give the loss the raw outputs; apply it only where probabilities are shown."
                )
                return "logits", f"probabilities: a {made} has been applied already", remedy
            return None
        if name.startswith("NllLoss") and inner.startswith(("Softmax", "Addmm", "Mm", "Linear")):
            given = "probabilities" if inner.startswith("Softmax") else "raw outputs"
            remedy = "Use cross_entropy on the raw outputs, without a softmax before it, or log_softmax before nll_loss."
            return "logarithms of probabilities", given, remedy
    return None
