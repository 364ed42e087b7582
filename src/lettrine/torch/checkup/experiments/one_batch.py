"""Fit one batch, then two: a network that cannot memorise a few examples cannot learn.

Dropout is off and every step draws the same random numbers, so that a loss of 0 is possible. The task's own optimiser goes first;
if it fails, Adam tries several rates, because a wrong rate is another fault. The lowest loss is compared with that of the best
constant answer.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, isfinite, nan
from typing import Final

import torch
from torch import Tensor

from lettrine.health.findings import Finding
from lettrine.health.limits import CHECKUP_FELL, CHECKUP_FIT_GOAL, CHECKUP_FIT_SHARE, CHECKUP_FIT_STEPS, CHECKUP_SAME
from lettrine.torch.capture.catalogue import clean_name
from lettrine.torch.checkup.call import NotCalled
from lettrine.torch.checkup.chain import linear_chain
from lettrine.torch.checkup.experiment import Result, experiment, finding
from lettrine.torch.checkup.experiments.first_loss import constant_loss, output_of
from lettrine.torch.checkup.sandbox import seeded
from lettrine.torch.checkup.spread import change
from lettrine.torch.checkup.task import SEED, Task
from lettrine.torch.checkup.values import leaves
from lettrine.torch.private import DROPOUT

RATES: Final = (1e-3, 1e-2, 1e-4)
FASTEST: Final = 0.1  # a rate to try if the loss still falls at the end of the best of them
FALLS: Final = 0.1  # of the loss, or of all that it fell, in the last quarter of the steps
MOST: Final = 150  # steps
LINEAR: Final = 0.5  # of the best constant answer's loss: what several layers that are one linear map must reach on classes
MOST_BACK: Final = 64  # parameters taken back to their start one by one, and
MOST_TOLD: Final = 8  # kept as figures, while
BACK_SHARE: Final = 0.3  # of all the time is left
DONE: Final = 0.02  # share of the first loss: below it the batch is memorised
SHARE: Final = 0.12  # share of the remaining time, for each try


@experiment("one-batch", "Fit one batch", passes=CHECKUP_FIT_STEPS, trains=True)
def one_batch(task: Task) -> Result:
    """Train on one batch with the task's optimiser, and with Adam if that fails.

    Measured: The lowest loss while training on one batch again and again, without dropout. If the task's own optimiser fails,
    Adam tries three rates. Then which parameters matter: how much of it is lost when one alone goes back to its start.
    Formula: reached = lowest loss / loss of the best constant answer.
    """
    reference = task.known.get("reference", nan)
    if "reference" not in task.known:
        task.model.train()
        reference = constant_loss(task, output_of(task))
    steps = max(CHECKUP_FIT_STEPS, task.steps_in(SHARE, MOST))
    lost: dict[str, float] = {}
    tries = {"own": fit(task, steps, task.fallback_optimizer, 1, lost)}
    goal = _goal(tries["own"], reference)
    stuck = min(tries["own"]) > LINEAR * reference and _of_classes(task) and _layers(task) > 1
    if stuck and (_is_linear(task) or linear_chain(task)):
        goal = LINEAR * reference
    if min(tries["own"]) > goal:
        for rate in () if _sparse(task) else (*RATES, FASTEST):
            if task.left() < CHECKUP_FIT_STEPS * task.seconds or (
                rate == FASTEST and not still_falls(min(tries.values(), key=min))
            ):
                break
            tries[f"Adam {rate:g}"] = fit(task, steps, _adam(task, rate), 1)
            if min(tries[f"Adam {rate:g}"]) <= goal:
                break
    best = min(tries, key=lambda name: min(tries[name]))
    reached, first = min(tries[best]), tries["own"][0]
    task.known |= {"fit": tries, "fit_goal": goal}
    figures = {
        "first": first,
        "reached": reached,
        "own": min(tries["own"]),
        "reference": reference,
        "steps": float(len(tries[best])),
    }
    how = "its own optimiser" if best == "own" else best.replace("Adam ", "Adam at ")
    said = f"One batch: from {first:.3g} to {reached:.3g} in {len(tries[best])} steps with {how}"
    said += f"; the best constant answer has {reference:.3g}." if isfinite(reference) else "."
    told = sorted(((share, name) for name, share in lost.items() if isfinite(share)), reverse=True)
    figures |= {f"matters {name}": share for share, name in told[:MOST_TOLD]}
    if told and best == "own":
        said += f" {told[0][1]} matters most: without what it learned, {100 * told[0][0]:.0f} % is lost again"
        said += f"; {told[-1][1]} least, {100 * told[-1][0]:.0f} %." if len(told) > 1 else "."
    if len(task.batches) > 1 and reached <= goal and task.left() > 2 * steps * task.seconds:
        two = min(fit(task, steps, _adam(task, float(best[5:])) if best != "own" else task.fallback_optimizer, 2))
        figures["two"] = two
        said += f" Two batches: to {two:.3g}."
    settled = (
        len(tries) > len(RATES)
        and all(len(each) >= CHECKUP_FIT_STEPS or not isfinite(each[-1]) for each in tries.values())
        and not still_falls(tries[best])
    )
    if reached <= goal or not settled or not isfinite(first) or (isfinite(reference) and reference < 1e-6):
        return Result(said, figures=figures)
    layers = linear_chain(task)
    linear = bool(layers) or _is_linear(task)
    arriving = linear and reached > reference  # it can be a constant: it is on the way there, and says nothing of the task
    found = _finding(first, reached, reference, goal, layers, linear=linear)
    return Result(said, () if arriving else (found,), figures)


def fit(
    task: Task, steps: int, make: Callable[[], torch.optim.Optimizer], batches: int, lost: dict[str, float] | None = None
) -> list[float]:
    """Losses while one or two batches are memorised; ends early when they are. lost: is filled with what each parameter does for
    it.
    """
    losses: list[float] = []
    with task.boxed():
        begun = {name: each.detach().clone() for name, each in task.model.named_parameters()} if lost is not None else {}
        task.model.train()
        for module in task.model.modules():
            if isinstance(module, DROPOUT):
                module.eval()
        optimizer = make()
        for number in range(steps):
            seeded(SEED)
            losses.append(task.step(number % batches, optimizer))
            if not isfinite(losses[-1]):
                losses[-1] = inf
                break
            if losses[-1] < DONE * abs(losses[0]):
                break
        if lost is not None and isfinite(losses[-1]) and losses[-1] < losses[0]:
            lost |= _taken_back(task, begun, losses)
    return losses


def still_falls(losses: list[float]) -> bool:
    """Whether the last quarter of the steps took away a good part of what is left, or of all that was gained: where the loss
    stops has then not been seen.
    """
    count = len(losses) // 4
    if not count or not all(map(isfinite, losses)):
        return False
    before, last = (sum(part) / count for part in (losses[-2 * count : -count], losses[-count:]))
    return before - last > FALLS * min(losses[0] - last, abs(last)) > 0


def _taken_back(task: Task, begun: dict[str, Tensor], losses: list[float]) -> dict[str, float]:
    """The share of what was memorised that is lost when a parameter alone goes back to its start."""
    learned = task.same_loss()
    shares: dict[str, float] = {}
    for name, each in list(task.model.named_parameters())[:MOST_BACK]:
        if torch.equal(each, begun[name]) or task.left() < BACK_SHARE * task.budget:
            continue
        kept = each.detach().clone()
        with torch.no_grad():
            each.copy_(begun[name])
            shares[clean_name(name)] = (task.same_loss() - learned) / (losses[0] - learned)
            each.copy_(kept)
    return shares


def _adam(task: Task, rate: float) -> Callable[[], torch.optim.Optimizer]:
    return lambda: task.adam(rate)


def _goal(losses: list[float], reference: float) -> float:
    if isfinite(reference):
        return CHECKUP_FIT_SHARE * reference if reference > 0 else reference + CHECKUP_FIT_GOAL * abs(losses[0] - reference)
    return losses[0] - (1 - CHECKUP_FELL) * abs(losses[0])


def _sparse(task: Task) -> bool:
    """Whether gradients are sparse, which Adam refuses."""
    return any(getattr(each, "sparse", False) is True for each in task.model.modules())


def _of_classes(task: Task) -> bool:
    """Whether the targets are classes: numbers may be a linear map of the inputs by design. Of a batch that the loss function
    reads itself, they are whole numbers, one for each example.
    """
    batch = task.batches[0]
    if task.whole:
        return any(each.ndim == 1 and len(each) > 1 and not each.is_floating_point() for _, each in leaves(batch))
    target = batch[-1]
    return isinstance(target, Tensor) and (not target.is_floating_point() or bool(((target == 0) | (target == 1)).all()))


def _layers(task: Task) -> int:
    """The number of matrices that are trained."""
    return sum(each.requires_grad and each.ndim > 1 for each in task.model.parameters())


def _is_linear(task: Task) -> bool:
    """Whether the network is one linear map plus a constant: the answer to a sum is the sum of the answers, apart from the answer
    to 0.
    """
    try:
        call = task.inputs(task.batch())
    except NotCalled:
        return False
    given = list(leaves(call.given))
    if len(given) != 1 or not given[0][1].is_floating_point() or given[0][1].shape[0] < 2:
        return False
    with task.boxed(exact=True), torch.no_grad():
        task.model.eval()
        x = given[0][1].double()
        rows = [torch.zeros_like(x), x, x.roll(1, 0), x + x.roll(1, 0)]
        try:
            made = [task.outputs(call.with_given(dict.fromkeys(call.given, each))) for each in rows]
        except Exception:  # noqa: BLE001  a model that cannot be called like this is not judged
            return False
        if not all(isinstance(each, Tensor) and each.is_floating_point() for each in made):
            return False
        answers = torch.stack(made)
        return any(_adds_up(*each) for each in (answers, _without_end(answers)))


def _adds_up(nothing: Tensor, one: Tensor, other: Tensor, both: Tensor) -> bool:
    """Whether the answer to a sum is the sum of the answers, and not one answer to all."""
    return change(both + nothing, one + other) < CHECKUP_SAME and change(one, nothing) > CHECKUP_SAME


def _without_end(answers: Tensor) -> Tensor:
    """Answers before a sigmoid, a softmax or a log-softmax at the end, up to what it takes away."""
    shares = bool((answers >= 0).all()) and bool((answers <= 1).all())
    logs = answers.log() if shares else answers
    if answers.ndim > 2 and bool((logs.logsumexp(-1).abs() < CHECKUP_SAME).all()):
        return logs - logs[..., :1]
    return answers.logit() if shares else answers


def _between(layers: tuple[str, ...]) -> str:
    """What is known of the layers."""
    if len(layers) > 1:
        return f": {', '.join(layers[:-1])} and {layers[-1]} follow one another with nothing between that bends"
    return ", a single layer" if layers else ", however many layers it has"


def _finding(first: float, reached: float, reference: float, goal: float, layers: tuple[str, ...], *, linear: bool) -> Finding:
    known = isfinite(reference)
    held = f"the best constant answer has {reference:.3g}" if known else f"it began at {first:.3g}"
    if linear:
        return finding(
            "underfitting",
            "warning",
            layers,
            f"The network is one linear map{_between(layers)}, and cannot memorise one batch: at no rate does its loss go below "
            f"{reached:.3g}; {held}.",
            "Several linear layers in a row can express no more than one, and the task is not linear.",
            "Put an activation such as nn.ReLU() or nn.GELU() "
            + (
                f"after {' and '.join(layers[:-1])}."
                if len(layers) > 1
                else "between the layers; a single layer needs another one."
            ),
            value=reached,
            limit=goal,
            source="Goodfellow et al. 2016, Deep learning, section 6.1: learning XOR",
        )
    return finding(
        "cannot-fit",
        "critical",
        (),
        f"The network cannot memorise one batch: at no rate does its loss go below {reached:.3g}; {held}.",
        "A network that cannot learn a few examples seen again and again cannot learn at all.",
        "Look at what lies between the inputs and the loss: an activation after the last layer, a softmax too many, a part that "
        "is "
        "detached, targets in another order than the inputs, a loss whose minimum is not what you want.",
        value=reached,
        limit=goal,
        source="Karpathy 2019, A recipe for training neural networks: overfit one batch",
    )
