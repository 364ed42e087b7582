"""How large a network's weights and first answers are before it learns; reported as "initial-loss"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite, nan, prod

from lettrine.health import limits
from lettrine.health.checks.consequence import consequence, first_loss, fresh, steps_until
from lettrine.health.checks.reading import listed, matrices, median, number, output_module, start, weight_of
from lettrine.health.checks.reference import guess_of, ordinary
from lettrine.health.checks.registry import Skip
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace


def large_start(trace: Trace) -> Iterator[Finding]:
    """Weights drawn so large that the first answers to a task of numbers lie far outside of the targets, and the run suffers."""
    first, guess = first_loss(trace), guess_of(trace)
    if not isfinite(guess) or not ordinary(trace):
        raise Skip("not applicable", "no starting value of this loss is known to be usual")
    if not isfinite(first) or not fresh(trace):
        raise Skip("not run", "the first step of a fresh network was not watched")
    large = [info.name for info in matrices(trace) if drawn_large(trace, info.name)]
    back, course = steps_until(trace, guess), consequence(trace)
    broke = trace.first_nonfinite is not None and trace.first_nonfinite.phase != "data"
    lost = broke or (back >= limits.INITIAL_WASTED and not course.well)
    if not large or first < limits.INITIAL_FAR * guess or not lost or large_inputs(trace):
        return
    became = "and values stopped being finite" if broke else f"and takes {back:,.0f} steps to get there"
    yield Finding(
        id="initial-loss",
        severity="critical" if broke or not isfinite(back) else "warning",
        where=tuple(large),
        steps=(0, 0),
        value=first,
        limit=limits.INITIAL_FAR * guess,
        message=f"The loss starts at {number(first, 3)}, where the best single answer to every input gives {number(guess, 3)}"
        + (f", {became}" if broke or isfinite(back) else "")
        + f": {spreads(trace, large)}.",
        why="Answers so far outside of the targets have gradients to match: the first steps overshoot, or only shrink weights.",
        remedy=drawn_anew(large),
        reference=limits.HE,
    )


def spreads(trace: Trace, large: Sequence[str]) -> str:
    """Half a sentence: with what spread these weights start."""
    most = max(median(trace.parameter(name, "std"), start(trace)) for name in large)
    return f"{listed(large)} start{'s' if len(large) == 1 else ''} with a std of {number(most)}"


def drawn_anew(large: Sequence[str]) -> str:
    """The advice for weights that are drawn too large."""
    bare = "" if any("." in name for name in large) else "; torch.empty(...) and torch.Tensor(2, 3) hold whatever lay in memory"
    return f"Draw {listed(large)} with a std of 1/sqrt(fan-in), as PyTorch's layers do by themselves{bare}."


def drawn_before(trace: Trace, last: str) -> tuple[str, ...]:
    """Weights before the last layer's that start far larger than any usual initialiser makes them, if the last layer's do not.

    A parameter that belongs to no layer may be a table that is added, such as one of positions, without a fan-in: its std alone
    counts.
    """
    if not last or drawn_large(trace, last):
        return ()
    held = {info.name for info in trace.modules}
    wide = [info for info in matrices(trace) if drawn_large(trace, info.name)]
    return tuple(
        info.name
        for info in wide
        if info.module in held or median(trace.parameter(info.name, "std"), start(trace)) > limits.INITIAL_HEAD
    )


def tables_behind(trace: Trace) -> tuple[str, ...]:
    """Embeddings of which the model itself computes its answers, where no layer gives anything as large: as in a factorisation
    machine, or where a table is the last layer too. Only those that start as far apart as `nn.Embedding` draws them.
    """
    last = output_module(trace)
    if last is None or last.name not in trace.outputs or _is_one_layer(trace, last.name):
        return ()
    feeding = {info.fed_by for info in trace.modules}
    ends = [
        info.name for info in trace.modules if info.role == "linear" and info.name not in feeding and info.name in trace.outputs
    ]
    if any(_first_spread(trace, name) > limits.INITIAL_PART * _first_spread(trace, last.name) for name in ends):
        return ()
    tables = [weight_of(trace, info.name) for info in trace.modules if info.role == "embedding"]
    return tuple(each for each in tables if each and median(trace.parameter(each, "std"), start(trace)) >= limits.INITIAL_TABLE)


def _first_spread(trace: Trace, module: str) -> float:
    return median(trace.output(module, "std"), start(trace))


def _drawn_closer(trace: Trace, tables: Sequence[str], spread: float) -> str:
    """The advice for such embeddings. spread: std of the first answers, which grow with that of the tables, or with its square
    where they are products of two.
    """
    std = median(trace.parameter(tables[0], "std"), start(trace)) * min(limits.INITIAL_LOGIT_STD / spread, 1.0)
    call = f"nn.init.normal_({tables[0].removesuffix('.weight')}.weight, std={number(std)})"
    return f"Draw {listed(tables)} with a std of {number(std)}, {call}: nn.Embedding draws with a std of 1."


def drawn_large(trace: Trace, weight: str) -> bool:
    """Whether the weights of a layer start far larger than any usual initialiser makes them."""
    shape = next((info.shape for info in trace.parameters if info.name == weight), ())
    std = median(trace.parameter(weight, "std"), start(trace)) if weight in trace.parameter_stats else nan
    return len(shape) > 1 and std * prod(shape[1:]) ** 0.5 > limits.INITIAL_HEAD


def start_lower(trace: Trace, spread: float, near: str, *, loud: bool) -> str:
    """The advice for a last layer whose answers are too large. spread: std of its outputs."""
    if tables := tables_behind(trace):
        return _drawn_closer(trace, tables, spread)
    last = output_module(trace)
    weight = weight_of(trace, last.name) if last is not None else ""
    one = last is not None and _is_one_layer(trace, last.name)
    if one and limits.INITIAL_LOGIT_STD < spread < limits.REMEDY_SHRINK:
        remedy = f"Multiply {weight} by {number(limits.INITIAL_LOGIT_STD / spread)} and start its bias at 0, {near}"
    else:
        remedy = f"Shrink the last layer's weights and start its bias at 0, {near}"
    before = not loud and _trained_before(trace)
    return f"If it was trained before, on another task, draw its last layer anew. Otherwise: {remedy}" if before else remedy


def _trained_before(trace: Trace) -> bool:
    """Whether no matrix holds values as one of the usual initialisers draws them."""
    return any(each.figure("share") == 0 for each in trace.seen("drawn"))


def _is_one_layer(trace: Trace, name: str) -> bool:
    """Whether a module is a layer with one matrix, not a network that computes its answers of several."""
    own = [info for info in trace.parameters if info.module == name and len(info.shape) > 1]
    inside = [info for info in trace.parameters if info.module.startswith(f"{name}.")]
    others = [info for info in trace.parameters if "." in info.name]
    return len(own) == 1 and not inside and ("." in own[0].name or not others)


def large_inputs(trace: Trace) -> bool:
    """Whether large inputs, and not the last layer, cause the large first outputs."""
    return any(each.figure("feature_most") >= limits.INPUTS_LARGE for each in trace.seen("inputs"))
