"""Is the answer in the input? Each feature, pixel and place alone is compared with the target, over all examples that were drawn.

A copy of the target, or a one-to-one code for it, is a leak. If a small probe predicts the target from one feature, on held-out
examples, that may be the task itself, as petals tell species: this is a remark that names the feature.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from lettrine.health.checks import Skip
from lettrine.health.findings import Finding
from lettrine.health.limits import CHECKUP_LEAK_ROWS, CHECKUP_TELLS
from lettrine.torch.checkup.call import NotCalled
from lettrine.torch.checkup.experiment import Result, experiment, finding
from lettrine.torch.checkup.probe import told
from lettrine.torch.checkup.task import Task
from lettrine.torch.checkup.values import leaves
from lettrine.torch.devices import double

MOST_FEATURES: Final = 200_000
EXACT: Final = 1e-6  # share of the targets' variance that remains after a straight-line fit on one feature
LEAST_OF_EACH: Final = 5  # examples of each class


@dataclass(frozen=True)
class Table:
    """One input over all batches. shape: of one example. features: (N, F)."""

    path: str
    shape: tuple[int, ...]
    features: Tensor

    def at(self, place: int) -> str:
        """A feature as an index into an example."""
        return f"[{', '.join(str(int(each)) for each in torch.unravel_index(torch.tensor(place), self.shape))}]"


@experiment("answer", "The answer in the input", passes=1)
def answer(task: Task) -> Result:
    """Compare each feature with the targets, over all batches.

    Measured: Whether a feature is the target itself, or a one-to-one code for it, in all examples that were drawn; and how well a
    table of one feature's values predicts the target in held-out examples.
    Formula: told = 1 - errors / errors of the most frequent class; of numbers 1 - squared error / variance.
    """
    if task.whole:
        raise Skip("not applicable", "the loss function takes the whole batch, so the targets are not known")
    targets = [batch[-1] for batch in task.batches]
    if not all(isinstance(each, Tensor) and each.ndim and each.numel() == each.shape[0] for each in targets):
        raise Skip("not applicable", "not one target an example")
    target = torch.cat([each.flatten() for each in targets])
    tables = _tables(task, len(target))
    if not tables:
        raise Skip("not applicable", "no inputs of two features or more that are the same in every batch")
    # A repeated example is no new evidence: one copy would be fitted and the other held out.
    kept = _first_of_each(tables, target)
    target, tables = target[kept], [replace(each, features=each.features[kept]) for each in tables]
    if len(target) < CHECKUP_LEAK_ROWS:
        raise Skip(
            "not applicable", f"{len(target)} of the {CHECKUP_LEAK_ROWS} different examples needed to tell a copy from chance"
        )
    figures: dict[str, float] = {"features": sum(each.features.shape[1] for each in tables), "examples": len(target)}
    found = [
        (table, place, _same(table.features[:, place], target))
        for table in tables
        if table.features.is_floating_point()
        for place in copies(table.features, target)
    ]
    if found:
        table, place, exact = max(found, key=lambda each: each[2])
        result = _copy(table, place, len(target), len(found), exact=exact)
        return Result(result.message, (result,), figures | {"copies": len(found)})
    said = f"None of {figures['features']:.0f} features is a copy of the target in {len(target)} examples."
    best, table, place, held = _probed(tables, target)
    figures |= {"told": best, "held_out": held}
    if not best > 0:
        return Result(said, figures=figures)
    name = f"{table.path}{table.at(place)}"
    said += f" A probe predicts {100 * best:.0f} % of what can be predicted from {name} alone, in {held} held-out examples."
    return Result(said, (_told(name, best, held),) if best >= CHECKUP_TELLS else (), figures)


def _tables(task: Task, rows: int) -> list[Table]:
    """Inputs whose features can be compared with the targets. An input with a single feature is left out: it may be the task
    itself.
    """
    try:
        given = [dict(leaves(task.inputs(batch).given)) for batch in task.batches]
    except NotCalled:  # pragma: no cover  pairs always call the model
        return []
    found = []
    for path, first in given[0].items():
        parts = [each[path] for each in given if path in each and each[path].shape[1:] == first.shape[1:]]
        if first.ndim < 2 or len(parts) != len(given) or sum(map(len, parts)) != rows:
            continue
        features = torch.cat(parts).flatten(1)
        if 2 <= features.shape[1] <= MOST_FEATURES and features.dtype is not torch.bool and not features.is_complex():
            found.append(Table(path, tuple(first.shape[1:]), features))
    return found


def _first_of_each(tables: list[Table], target: Tensor) -> Tensor:
    """Indices of the examples, without repetitions: the first of each."""
    parts = [
        each.detach().cpu().contiguous().flatten(1).view(torch.uint8).numpy()
        for each in [*(table.features for table in tables), target[:, None]]
    ]
    seen: dict[tuple[bytes, ...], int] = {}
    for place, rows in enumerate(zip(*parts, strict=True)):
        seen.setdefault(tuple(row.tobytes() for row in rows), place)
    return torch.tensor(list(seen.values()), device=target.device)


def _probed(tables: list[Table], target: Tensor) -> tuple[float, Table, int, int]:
    """The best score of one feature, which feature it is, and the number of held-out examples."""
    kinds = len(set(target.tolist()))
    classes = kinds <= len(target) // LEAST_OF_EACH
    best = (0.0, tables[0], 0, 0)
    for table in tables:
        shares, held = told(table.features, target, classes=classes)
        place = int(shares.nan_to_num(-1.0).argmax())
        if float(shares[place]) > best[0]:
            best = (float(shares[place]), table, place, held)
    return best


def _copy(table: Table, place: int, rows: int, count: int, *, exact: bool) -> Finding:
    more = f" (and {count - 1} more)" if count > 1 else ""
    return finding(
        "leak",
        "warning" if exact else "info",
        (),
        f"Feature {table.at(place)} of input {table.path} "
        f"{'is the target itself' if exact else 'gives the target by a straight line'} in all {rows} examples{more}.",
        "The network learns to copy it, and fails where it is not known beforehand.",
        f"Take feature {table.at(place)} out of the inputs, unless it is really known before the answer is.",
        value=count,
        source="Kaufman et al. 2012, Leakage in data mining",
    )


def _told(name: str, share: float, held: int) -> Finding:
    return finding(
        "leak",
        "info",
        (),
        f"{name} alone tells the target: a table of its values predicts {100 * share:.0f} % of what can be predicted, in {held} "
        "examples held out.",
        "Either this is what the task is about, or the feature is only known once the answer is known.",
        f"See where {name} comes from: if it is not known before the answer, take it out of the inputs.",
        value=share,
        limit=CHECKUP_TELLS,
        source="Kaufman et al. 2012, Leakage in data mining",
    )


def _same(feature: Tensor, target: Tensor) -> bool:
    """Whether a feature is the target, or a code for its classes, and not only a linear function of numeric targets."""
    kinds = len(set(target.tolist()))
    return torch.equal(double(feature), double(target)) or kinds <= len(target) // LEAST_OF_EACH


def copies(features: Tensor, target: Tensor) -> list[int]:
    """Indices of the features (N, F) that are a one-to-one code for the target (N,)."""
    features, target = double(features), double(target)
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
