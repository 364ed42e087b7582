"""Is the answer in the input? A feature that is a copy of the target, or stands for it one to one, in all examples that were
drawn.

That two things go together, as petals and species do, is what there is to be learned and no leak. A copy is.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from lettrine.health.checks import Skip
from lettrine.health.limits import CHECKUP_LEAK_ROWS
from lettrine.torch.checkup.experiment import Result, experiment, finding
from lettrine.torch.checkup.task import NotCalled, Task
from lettrine.torch.checkup.values import leaves

MOST_FEATURES: Final = 200_000
EXACT: Final = 1e-6  # of the variance of the targets, that a straight line through one feature leaves
LEAST_OF_EACH: Final = 5  # examples of each class


@experiment("answer", "The answer in the input", passes=1)
def answer(task: Task) -> Result:
    """Hold each feature against the targets, over all batches.

    Measured: Whether a feature is the target itself, or stands for it one to one, in all examples that were drawn.
    Formula: none: equal without an exception, or by a straight line that leaves 1e-6 of the variance.
    """
    if task.whole:
        raise Skip("not applicable", "the loss function takes the batch whole, so the targets are not known")
    try:
        paths = [path for path, each in leaves(task.inputs(task.batch()).given) if each.is_floating_point() and each.ndim >= 2]
    except NotCalled:  # pragma: no cover  pairs always call the model
        paths = []
    targets = [batch[-1] for batch in task.batches]
    single = all(isinstance(each, Tensor) and each.ndim and each.numel() == each.shape[0] for each in targets)
    if not paths or not single:
        raise Skip("not applicable", "no floating-point inputs, or not one target an example")
    target = torch.cat([each.flatten() for each in targets])
    if len(target) < CHECKUP_LEAK_ROWS:
        raise Skip("not applicable", f"{len(target)} examples; {CHECKUP_LEAK_ROWS} are needed to tell a copy from chance")
    found, looked = _searched(task, paths, target)
    said = f"None of {looked} features is a copy of the target in {len(target)} examples."
    if not found:
        return Result(said, figures={"features": looked, "examples": len(target)})
    path, at, exact = max(found, key=lambda each: each[2])
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    result = finding(
        "leak",
        "warning" if exact else "info",
        (),
        f"Feature {at} of input {path} {'is the target itself' if exact else 'gives the target by a straight line'} in all "
        f"{len(target)} examples{more}.",
        "The network learns to copy it, and fails where it is not known beforehand.",
        f"Take feature {at} out of the inputs, unless it is really known before the answer is.",
        value=len(found),
        source="Kaufman et al. 2012, Leakage in data mining",
    )
    return Result(result.message, (result,), {"features": looked, "examples": len(target), "copies": len(found)})


def _searched(task: Task, paths: list[str], target: Tensor) -> tuple[list[tuple[str, str, bool]], int]:
    """Input, place and exactness of each copy, and how many features were looked at."""
    found: list[tuple[str, str, bool]] = []
    looked = 0
    for path in paths:
        rows = [dict(leaves(task.inputs(batch).given))[path].flatten(1) for batch in task.batches]
        if len({each.shape[1] for each in rows}) > 1 or rows[0].shape[1] > MOST_FEATURES or sum(map(len, rows)) != len(target):
            continue
        features = torch.cat(rows)
        looked += features.shape[1]
        shape = dict(leaves(task.inputs(task.batches[0]).given))[path].shape[1:]
        if features.shape[1] < 2:  # the only feature there is may well be what the task is about
            continue
        for place in copies(features, target):
            at = ", ".join(str(int(each)) for each in torch.unravel_index(torch.tensor(place), tuple(shape)))
            found.append((path, f"[{at}]", _same(features[:, place], target)))
    return found, looked


def _same(feature: Tensor, target: Tensor) -> bool:
    """Whether a feature is the target, or stands for its classes: not merely on one line with numbers."""
    kinds = len(set(target.tolist()))
    return torch.equal(feature.double(), target.double()) or kinds <= len(target) // LEAST_OF_EACH


def copies(features: Tensor, target: Tensor) -> list[int]:
    """Places of the features (N, F) that stand for the target (N,) one to one."""
    features, target = features.double(), target.double()
    kinds = torch.unique(target)
    if len(kinds) < 2:
        return []
    if len(kinds) == len(target) or len(kinds) > len(target) // LEAST_OF_EACH:  # numbers rather than classes
        x, y = features - features.mean(0), target - target.mean()
        spread = x.square().sum(0)
        left = 1.0 - (x * y[:, None]).sum(0).square() / (spread * y.square().sum() + 1e-30)
        return [int(each) for each in ((left < EXACT) & (spread > 0)).nonzero().flatten()]
    groups = [features[target == kind] for kind in kinds]
    if min(map(len, groups)) < LEAST_OF_EACH:
        return []
    steady = torch.stack([(each == each[:1]).all(0) for each in groups]).all(0)
    levels = torch.stack([each[0] for each in groups])  # (K, F)
    places = steady.nonzero().flatten().tolist()
    return [place for place in places if len(set(levels[:, place].tolist())) == len(kinds)]
