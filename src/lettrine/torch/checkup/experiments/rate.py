"""The range test, the position of the present rate in it, and trials of another rate, a warm-up and clipping."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from math import inf, isfinite, nan
from typing import Any, Final

import torch
from torch import Tensor

from lettrine.errors import HealthError
from lettrine.health.checks import Skip
from lettrine.health.findings import Finding
from lettrine.health.limits import (
    CHECKUP_CRAWL,
    CHECKUP_RATE_LEAST,
    CHECKUP_RATE_RUN,
    CHECKUP_RATE_STEPS,
    CHECKUP_RISES,
    CHECKUP_STUCK,
    TRIAL_STEPS,
)
from lettrine.health.range_test import RangeTest, sweep
from lettrine.torch.checkup.attempts import large_eps
from lettrine.torch.checkup.breaking import broken_on_the_way
from lettrine.torch.checkup.dying import Course, course
from lettrine.torch.checkup.experiment import Result, experiment, finding
from lettrine.torch.checkup.experiments.first_loss import guessing_loss
from lettrine.torch.checkup.remedies import LOWER, NORM, SMALL_EPS, WARM, clipped, eps_of_the_paper, warmed
from lettrine.torch.checkup.task import Task, takes_closure
from lettrine.torch.checkup.trials import Remedy, Trial, contest, steps_for
from lettrine.torch.devices import double

FAR: Final = 3.0  # times above the largest stable rate, or
BELOW: Final = 2000.0  # times below the rate of the fastest fall, before another is tried: fine-tuning uses a hundredth
FASTER: Final = (10.0, 100.0, 1000.0)  # times the rate, if its steps hardly move the weights
ALIVE: Final = (0.1, 0.03, 0.01)  # times the rate, if units die at it
SHARE: Final = 0.25  # share of the remaining time, for the range test
LOW, HIGH = 1e-6, 10.0
EPS: Final = f"eps={SMALL_EPS:g}"


@experiment("learning-rate", "Learning rate", passes=CHECKUP_RATE_LEAST + 20, trains=True)
def learning_rate(task: Task) -> Result:
    """Sweep the rate upwards; if the present one is far off, or the loss rises, train with it and with remedies.

    Measured: The range test: the loss while the rate grows from 1e-6 to 10. And the batch noise scale: the number of examples
        beyond which a larger batch gains little.
    Formula: noise scale = trace(covariance of the gradients) / squared norm of their mean.
    """
    if task.optimizer is None:
        raise Skip("not applicable", "no optimizer was given")
    if takes_closure(task.optimizer):
        raise Skip("not applicable", "an optimiser that searches along a line finds its steps itself")
    present = max((_peak(group) for group in task.optimizer.param_groups), default=nan)
    steps = max(CHECKUP_RATE_LEAST, task.steps_in(SHARE, CHECKUP_RATE_STEPS))
    with task.boxed():
        test = _swept(task, steps)
    noise = noise_scale(task) if task.left() > 10 * task.seconds else nan
    figures = {"present": present, "steepest": test.steepest, "largest": test.largest, "noise_scale": noise}
    said = f"The rate is {present:g}. {test.reason}"
    if isfinite(noise):
        said += f" Batch noise scale: about {noise:.2g} examples."
    own = course(task)
    below = 0 < present < test.steepest / BELOW
    slow = not below and _crawls(task, own, present)
    too_low = below or slow
    if own is not None and (broken := broken_on_the_way(task, own.losses)) is not None:
        return Result(f"{said} {broken.message}", (broken,), figures, where=broken.where)
    died = own is not None and own.died(guessing_loss(task))
    too_high = not too_low and (present > FAR * test.largest or (own is not None and (died or rises(own))))
    figures |= own.figures if own is not None else {}
    remedies = _remedies(present, test, too_high=too_high, died=died, slow=slow) if too_high or too_low else {}
    if too_low and large_eps(task):
        remedies[EPS] = lambda _: eps_of_the_paper
    if not remedies:
        return Result(said, figures=figures)
    count = steps_for(task, len(remedies) + 1, 0.8, CHECKUP_CRAWL if slow else TRIAL_STEPS)
    if not count:
        raise Skip("not run", f"{said} There was no time to try another; give minutes=…")
    trials = contest(task, {name: make(count) for name, make in remedies.items()}, count)
    said += " ".join(["", *(f"{name}: {trial.said}." for name, trial in trials.items())])
    guessing = CHECKUP_STUCK * guessing_loss(task)
    helping = {name: trial for name, trial in trials.items() if trial.helps and _consequence(trial, guessing, too_high=too_high)}
    if not helping:
        return Result(said, figures=figures)
    # a rate a thousand times higher makes up for a large eps, and is not what is wrong
    best = EPS if EPS in trials and trials[EPS].helps else min(helping, key=lambda name: helping[name].with_remedy)
    figures |= {"without": trials[best].without, "with": trials[best].with_remedy, "error": trials[best].error}
    found = _of_eps(task, trials) if best == EPS else _finding(present, test, best, trials, too_high=too_high)
    if died and own is not None:
        found = _of_dead(found, own, best, course(task, remedies[best](TRIAL_STEPS)))
    return Result(said, (found,), figures, where=found.where)


def _crawls(task: Task, own: Course | None, present: float) -> bool:
    """Whether steps at the task's own rate hardly move the weights: not at a first rate, far below the one of a schedule."""
    now = max((float(group["lr"]) for group in task.optimizer.param_groups), default=nan) if task.optimizer else nan
    return own is not None and own.crawls and 0 < present < FAR * now


def rises(own: Course) -> bool:
    """Whether the loss of the training batches ends above that of the first steps, or of none, at the task's own rate."""
    begun = own.begun if isfinite(own.begun) else own.first
    return not all(own.last < each + (CHECKUP_RISES - 1) * abs(each) for each in (own.first, begun))


def _set_to(rate: float, _: int) -> Remedy:
    return lambda task: rate_set(task, rate)


def _of_dead(found: Finding, own: Course, best: str, other: Course | None) -> Finding:
    """The same finding, told of the units that die, and of how many live with the remedy."""
    name, before, after = own.worst
    lives = f" With {best}, {100 * other.worst[2]:.0f} % do." if other and other.worst[0] else ""
    message = (
        f"At this rate units die: of those of {name}, {100 * before:.0f} % give 0 for every example at first and "
        f"{100 * after:.0f} % after {TRIAL_STEPS} steps, and the loss is no better than guessing.{lives} {found.message}"
    )
    return replace(
        found, where=(name,), message=message, why="A unit that gives 0 for every example has no gradient and stays so."
    )


def _remedies(
    present: float, test: RangeTest, *, too_high: bool, died: bool = False, slow: bool = False
) -> dict[str, Callable[[int], Remedy]]:
    """The remedies for a number of steps, by their description."""
    suggestion = test.suggestion
    if not too_high and slow:
        rates = sorted({float(f"{factor * present:.1g}") for factor in FASTER if not factor * present > test.largest})
        return {f"lr={rate:g}": partial(_set_to, rate) for rate in rates}
    if died:
        rates = sorted({float(f"{factor * present:.1g}") for factor in ALIVE})
        return {f"lr={rate:g}": partial(_set_to, rate) for rate in rates}
    if not too_high:
        return {f"lr={suggestion:.1g}": lambda _: lambda task: rate_set(task, suggestion)} if isfinite(suggestion) else {}
    lower = suggestion if isfinite(suggestion) and suggestion < present else LOWER[-1] * present
    return {
        f"lr={lower:.1g}": lambda _: lambda task: rate_set(task, lower),
        "A warm-up": lambda steps: lambda task: warmed(task, max(1, int(WARM * steps))),
        f"Clipping the norm at {NORM:g}": lambda _: lambda task: clipped(task, NORM),
    }


def _finding(present: float, test: RangeTest, best: str, trials: dict[str, Trial], *, too_high: bool) -> Finding:
    word, kind = ("high", "learning-rate-too-high") if too_high else ("low", "learning-rate-too-low")
    trial, warm = trials[best], best == "A warm-up"
    do = {"l": f"Set {best}", "A": "Raise the rate from 0 over the first steps (torch.optim.lr_scheduler.LinearLR)"}.get(
        best[0], f"Clip the gradients: clip_grad_norm_(model.parameters(), {NORM:g})"
    )
    rest = [name for name, each in trials.items() if name != best and not each.helps]
    others = f" Also tried, without help: {', '.join(rest)}." if rest else ""
    return finding(
        "no-warmup" if warm else kind,
        "warning",
        (),
        f"The learning rate {present:g} is too {word}{' to begin with' if warm else ''}: {best}, {trial.said}.",
        "At such a rate the loss rises or jumps about." if too_high else "At such a rate almost nothing is learned in a run.",
        f"{do}; it was {trial.said}.{others}",
        value=present,
        limit=test.largest if too_high else test.steepest,
        source="Smith 2017, Cyclical learning rates for training neural networks",
    )


def _of_eps(task: Task, trials: dict[str, Trial]) -> Finding:
    """Steps that are small by an eps far above the size of the gradients."""
    eps = max(float(group["eps"]) for group in task.optimizer.param_groups) if task.optimizer else nan
    rest = [name for name, each in trials.items() if name != EPS and not each.helps]
    others = f" Also tried, without help: {', '.join(rest)}." if rest else ""
    return finding(
        "update-too-small",
        "warning",
        (),
        f"The optimiser's eps is {eps:g}, and its steps are small: with {EPS}, {trials[EPS].said}.",
        "A step is rate * mean / (sqrt(square) + eps): an eps above the gradients makes it smaller, and plain momentum of Adam.",
        f"Set {EPS}; it was {trials[EPS].said}.{others}",
        value=eps,
        limit=SMALL_EPS,
        source="Kingma & Ba 2015, Adam: eps in the denominator",
    )


def _consequence(trial: Trial, guessing: float, *, too_high: bool) -> bool:
    """Too high: the loss did not fall, or no further than to guessing. Too low: even a long run would not reach what the other
    rate reached in the trial.
    """
    if too_high:
        return not trial.without < trial.start or trial.without > guessing
    return CHECKUP_RATE_RUN / trial.steps * (trial.start - trial.without) < trial.start - trial.with_remedy


def _peak(group: dict[str, Any]) -> float:
    """The intended highest rate of the group: that of a schedule, if it is noted there."""
    return max(float(group[key]) for key in ("lr", "initial_lr", "max_lr") if isinstance(group.get(key), float | int | Tensor))


@contextmanager
def rate_set(task: Task, rate: float) -> Iterator[None]:
    """All rates multiplied so that the highest is this one."""
    assert task.optimizer is not None  # noqa: S101  for the type checker: callers have looked
    highest = max(float(group["lr"]) for group in task.optimizer.param_groups) or 1.0
    for group in task.optimizer.param_groups:
        group["lr"] = float(group["lr"]) * rate / highest if float(group["lr"]) else rate
    yield


def _swept(task: Task, steps: int) -> RangeTest:
    number = iter(range(10**9))
    task.model.train()

    def step(rate: float) -> float:
        with rate_set(task, rate):
            return task.step(next(number))

    try:
        return sweep(step, low=LOW, high=HIGH, steps=steps)
    except HealthError as error:
        raise Skip("not applicable", str(error)) from None


def noise_scale(task: Task, most: int = 8) -> float:
    """Examples in a batch beyond which larger ones gain little: trace of the gradients' covariance over their squared mean.

    McCandlish et al. 2018, appendix A: estimated from the gradients of single batches and of their mean, unbiased.
    """
    batches = min(most, len(task.batches))
    rows = next((each.shape[0] for each in _tensors(task.batches[0]) if each.ndim), 0)
    if batches < 4 or rows < 1:
        return nan
    small = 0.0
    with task.boxed():
        task.model.train()  # may freeze a part
        wanted = [each for each in task.model.parameters() if each.requires_grad]
        if not wanted:
            return nan
        total = [torch.zeros_like(each) for each in wanted]
        for number in range(batches):
            loss = task.loss(task.batch(number))
            if not loss.requires_grad:
                return nan
            gradients = torch.autograd.grad(loss, wanted, allow_unused=True)
            for together, gradient in zip(total, gradients, strict=True):
                if gradient is not None:
                    together.add_(gradient / batches)
                    small += float(double(gradient).square().sum()) / batches
    large = sum(float(double(each).square().sum()) for each in total)
    big = rows * batches
    signal = (big * large - rows * small) / (big - rows)
    noise = (small - large) / (1 / rows - 1 / big)
    return noise / signal if signal > 0 and noise > 0 else (inf if signal <= 0 else nan)


def _tensors(value: Any) -> list[Tensor]:
    from lettrine.torch.checkup.values import leaves  # noqa: PLC0415

    return [each for _, each in leaves(value)]
