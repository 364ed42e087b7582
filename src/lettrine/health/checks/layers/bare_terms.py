"""Terms of a loss without a graph; reported as "no-gradient"."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import nan

from lettrine.health.checks.reference import bare_term
from lettrine.health.findings import Finding
from lettrine.health.limits_wiring import LOST_STEPS
from lettrine.health.trace import Trace


def bare_terms(trace: Trace) -> Iterator[Finding]:
    """The finding where every parameter learns from other terms. A term that has a backward pass of its own is only shown."""
    seen = bare_term(trace)
    if seen is None or not seen.figure("lone") >= LOST_STEPS:
        return
    what, remedy = _told(seen.words)
    yield Finding(
        id="no-gradient",
        severity="warning",
        where=(),
        steps=seen.steps,
        value=0.0,
        limit=nan,
        message=f"A term of the loss {what}.",
        why="The term changes the number that is shown and nothing else: no weight is moved by it.",
        remedy=remedy,
        reference="torch.autograd: requires_grad and leaf tensors",
    )


def _told(words: Mapping[str, str]) -> tuple[str, str]:
    """What the term is, and what to do."""
    function, cut = words["function"], words["cut"]
    if words.get("apart"):
        what = f"is {function} of two tensors neither of which depends on a weight that is trained"
        remedy = (
            f"Look at the two arguments of this {function}: one should be what the trained network says, without detach() and "
            "outside of torch.no_grad(). The wrong one of two variables is the usual cause."
        )
        return what, remedy
    if cut:
        return (
            f"is made of answers by {cut}, which has no gradient",
            f"Take probabilities instead of {cut}: a term learns only through operations that have a slope (softmax, sigmoid).",
        )
    return (
        f"({function}) is added as a plain number: it was computed with a graph, and the loss does not contain it",
        "Add the term itself, without item(), float(), detach() or .data: loss = first + second; item() is for printing.",
    )


def behind_an_error(trace: Trace, names: Iterable[str]) -> list[str]:
    """Those of these parameters that an error depends on which is computed at each look and never becomes part of the loss."""
    seen = next(iter(trace.seen("left out")), None)
    if seen is None or seen.figure("looks") < max(LOST_STEPS, seen.figure("all") / 2):
        return []
    return [name for name in names if name in seen.where]
