"""Do the targets belong to the inputs? The network learns from the true pairs and from the same targets in random order.

On held-out batches, training on true pairs must do better than on shuffled ones. Targets are unrelated to the inputs if all of
this holds: true pairs are no better, although the network memorises its own batches; an example's nearest neighbour has no nearer
a target than chance gives; no feature correlates with a target more than by chance; and the answers of models of other kinds to
held-out examples fit the true order of the targets no better than random ones. Of targets that are numbers two trainings tell too
little, as their losses differ by chance: there the network's own answers must fit no better either.

Inputs that are codes, such as bits, are another matter: near codes need not have near targets, as the parity of some bits shows.
There no more than a remark is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import comb, inf, isfinite, log, nan, sqrt
from typing import Final

import torch
from torch import Tensor

from lettrine.health.checks import Skip
from lettrine.health.limits import CHECKUP_CHANCE, CHECKUP_FELL, CHECKUP_SHUFFLED_ROWS, CHECKUP_TIE, TRIAL_ERRORS
from lettrine.torch.checkup.experiment import Result, experiment, finding
from lettrine.torch.checkup.task import Task
from lettrine.torch.checkup.ties import MOST_COLUMNS, MOST_ROWS, chance, chances, cut_off
from lettrine.torch.checkup.trials import HELD_OUT, LEAST_BATCHES, SEEDS, compare, short
from lettrine.torch.checkup.values import floats
from lettrine.torch.devices import double

STEPS: Final = 60
MOST: Final = 300  # of the network that is asked for held-out examples, in
SHARE: Final = 0.2  # of the time left
LEARNED: Final = 0.7  # share of the first loss: below it something was learned from the training batches
TOGETHER: Final = 4  # features, of whose signs products are looked at, and
MOST_PRODUCTS: Final = 10_000  # of them
CODES: Final = 4  # different values in all inputs: so few are codes, of which neighbours are not alike


@experiment("targets", "Targets matter", passes=2 * len(SEEDS) * STEPS, trains=True)
def targets(task: Task) -> Result:
    """Train with true pairs and with shuffled ones, and compare on held-out batches.

    Measured: The loss on held-out batches after training on true pairs, and after training on the same targets in random order.
        The share of random orders of the held-out targets that a model's answers fit as well as the true order.
    Formula: gain = loss with shuffled targets - loss with true ones, in standard errors over three seeds.
    """
    if task.whole or not all(isinstance(batch[-1], Tensor) and batch[-1].ndim for batch in task.batches):
        raise Skip("not applicable", "targets are not separate from the batch")
    target = torch.cat([batch[-1].flatten() for batch in task.batches])
    if bool((target == target[0]).all()):
        raise Skip("not applicable", "all targets are alike")
    rows = sum(len(batch[-1]) for batch in task.batches)
    if rows < CHECKUP_SHUFFLED_ROWS:
        raise Skip("not applicable", f"{rows} of the {CHECKUP_SHUFFLED_ROWS} examples needed to exclude chance were drawn")
    trial = compare(task, _dealt, STEPS)
    near = neighbours(task)
    figures = {
        "true": trial.without,
        "dealt": trial.with_remedy,
        "error": trial.error,
        "examples": rows,
        "neighbours": near,
    }
    where = "held-out batches" if trial.held_out else "the batches trained on"
    said = f"After {STEPS} steps on true pairs the loss on {where} is {short(trial.without)}, "
    said += f"on shuffled ones {short(trial.with_remedy)}."
    reference = task.known.get("reference_of_several", nan)
    constant = min(trial.start, reference) if isfinite(reference) else trial.start
    noise = max(TRIAL_ERRORS * trial.error, (1 - CHECKUP_FELL) * abs(trial.without))
    better = trial.gain < -noise or trial.without < CHECKUP_FELL * constant
    tie = tied(task)
    figures["tie"] = tie
    shown = "An example's nearest neighbour has no nearer a target than any other."
    if target.is_floating_point():
        near, better = 0.0, False
    if better or not _memorises(task) or not isfinite(near) or near > TRIAL_ERRORS or tie > CHECKUP_TIE:
        return Result(said, figures=figures)
    told = _told(task, numbers=target.is_floating_point())
    figures |= {f"chance {name}": share for name, share in told.items()}
    if min(told.values(), default=0.0) < CHECKUP_CHANCE:
        return Result(said, figures=figures)
    if target.is_floating_point():
        least = 100 * min(told.values())
        shown = (
            f"Of random orders of the targets, {least:.1g} % or more fit the answers to held-out examples as well as the true "
        )
        shown += "one, whichever model gives them."
    found = finding(
        "shuffled-targets",
        "info" if _coded(task) else "warning",
        (),
        f"The inputs tell nothing about the targets: {said} {shown}",
        "The network only memorises its examples, and that is worth nothing on other data.",
        "Look where inputs and targets are sorted, shuffled or joined: one of them is in another order. Targets that are noise "
        f"look the same, and so does a relation too fine for {rows:,} examples.",
        value=trial.without,
        limit=trial.with_remedy,
        source="Zhang et al. 2017, Understanding deep learning requires rethinking generalization",
    )
    return Result(said, (found,), figures)


@contextmanager
def _dealt(task: Task) -> Iterator[None]:
    """Shuffle the targets of the training batches; the held-out ones stay true."""
    kept = list(task.batches)
    first = max(1, len(kept) // 4) if len(kept) >= 4 else 0
    generator = torch.Generator().manual_seed(1)
    for number in range(first, len(kept)):
        order = torch.randperm(len(kept[number][-1]), generator=generator).to(kept[number][-1].device)
        task.batches[number] = (*kept[number][:-1], kept[number][-1][order])
    try:
        yield
    finally:
        task.batches[:] = kept


def _coded(task: Task) -> bool:
    """Whether all inputs take a few values, as bits do."""
    values = torch.cat([each.detach().flatten() for batch in task.batches for _, each in floats(batch[0])])
    return len(torch.unique(values)) <= CODES


def _told(task: Task, *, numbers: bool) -> dict[str, float]:
    """For each kind of model, and of numbers for the network, the share of random orders of the targets that fit as well as the
    true one.
    """
    pairs = [(floats(batch[0]), batch[-1]) for batch in task.batches]
    if any(not given for given, _ in pairs) or len({given[0][1][0].numel() for given, _ in pairs}) > 1:
        return {}
    x = torch.cat([given[0][1].flatten(1) for given, _ in pairs])  # (N, F)
    y = torch.cat([target.reshape(len(target), -1) for _, target in pairs])  # (N, K)
    if not numbers:
        kinds = torch.unique(y)[:MOST_COLUMNS]
        y = double(y == kinds)  # (N, classes)
    told = chances(x, y)
    return {**told, **_of_network(task)} if told and numbers else told


def _of_network(task: Task) -> dict[str, float]:
    """The same for the network alone, trained on some batches and asked for the others; empty if its answers are of another
    size than the targets.
    """
    kept = max(1, len(task.batches) // HELD_OUT)
    if len(task.batches) < LEAST_BATCHES:
        return {}
    with task.boxed():
        optimizer = task.fallback_optimizer()
        task.model.train()
        for number in range(task.steps_in(SHARE, MOST)):
            task.step(kept + number % (len(task.batches) - kept), optimizer)
        task.model.eval()
        with torch.no_grad():
            answers = [task.outputs(task.inputs(task.batch(number))) for number in range(kept)]
    wanted = [task.batches[number][-1] for number in range(kept)]
    both = list(zip(answers, wanted, strict=True))
    if any(not isinstance(a, Tensor) or a.numel() != y.numel() or not bool(a.isfinite().all()) for a, y in both):
        return {}
    given, true = (torch.cat([each[place].reshape(len(each[1]), -1) for each in both]) for place in (0, 1))
    return {"network": chance(cut_off(given), cut_off(true))}


def _memorises(task: Task) -> bool:
    """Whether one batch was memorised, as an earlier experiment found."""
    tries = task.known.get("fit", {})
    return any(losses and min(losses) < LEARNED * losses[0] for losses in tries.values())


def tied(task: Task) -> float:
    """Standard errors by which the largest correlation of a feature with a class exceeds the largest by chance; -inf if there is
    none.

    Of n independent normal numbers the largest is near sqrt(2 ln n). A weak relation, as of yesterday's return to today's, shows
    here long before a network has learned it. So does one to the signs of a few features together, as of an exclusive or.
    """
    pairs = [(floats(batch[0]), batch[-1]) for batch in task.batches]
    if any(not given for given, _ in pairs) or len({given[0][1][0].numel() for given, _ in pairs}) > 1:
        return -inf
    x = double(torch.cat([given[0][1].flatten(1) for given, _ in pairs]))  # (N, F)
    y = torch.cat([target.flatten(1) if target.ndim > 1 else target for _, target in pairs])
    y = (
        torch.nn.functional.one_hot(y.long() - int(y.min()))
        if y.ndim == 1 and not y.is_floating_point()
        else y.reshape(len(x), -1)
    )
    return max([_apart(x, double(y)), *(_apart(each, y[: len(each)].float()) for each in _signs(x[:MOST_ROWS]))])


def _apart(x: Tensor, y: Tensor) -> float:
    """How far the largest correlation of a column of x (N, F) with one of y (N, K) exceeds the largest by chance."""
    x, y = (each - each.mean(0) for each in (x, y))
    apart = (x.T @ y).abs() / (x.square().sum(0).sqrt()[:, None] * y.square().sum(0).sqrt() + 1e-30)  # (F, K)
    return float(apart.max()) * sqrt(len(x)) - sqrt(2 * log(max(2, apart.numel())))


def _signs(x: Tensor) -> Iterator[Tensor]:
    """The products of the signs of 2, 3 and more features (N, F), above their means or not, while there are few enough."""
    signs = (x > x.mean(0)).float() * 2 - 1
    for count in range(2, TOGETHER + 1):
        if 0 < comb(x.shape[1], count) <= MOST_PRODUCTS:
            places = torch.combinations(torch.arange(x.shape[1], device=x.device), count)  # (products, count)
            product = signs[:, places[:, 0]]
            for place in range(1, count):
                product *= signs[:, places[:, place]]
            yield product


def neighbours(task: Task) -> float:
    """Standard errors by which an example's nearest neighbour shares its class, or has a near number, more often than chance; NaN
    for other targets.
    """
    pairs = [(floats(batch[0]), batch[-1]) for batch in task.batches]
    if any(not given or target.numel() != len(target) or target.is_complex() for given, target in pairs):
        return nan
    if len({given[0][1][0].numel() for given, _ in pairs}) > 1:
        return nan
    x = torch.cat([given[0][1].flatten(1) for given, _ in pairs]).float()[:2000]
    y = torch.cat([target.flatten() for _, target in pairs])[:2000]
    apart = torch.cdist(x, x)
    apart.fill_diagonal_(float("inf"))
    nearest = y[apart.argmin(1)]
    if y.is_floating_point():
        far = double((y - y.roll(len(y) // 2, 0)).square())  # of two that have nothing to do with each other
        near = double((y - nearest).square())
        return float((far.mean() - near.mean()) / ((far.var() + near.var()) / len(y) + 1e-30).sqrt())
    agree = float((nearest == y).float().mean())
    shares = torch.bincount(y).float() / len(y)
    chance = float(shares.square().sum())
    return (agree - chance) / sqrt(chance * (1 - chance) / len(y) + 1e-12)
