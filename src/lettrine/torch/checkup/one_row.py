"""An input of a single row beside others of one row for each example: it is broadcast to all of them.

A row that says something of the whole batch, such as a time, is meant so. One that belongs to a single example is noise to the
others: with the same row in every batch nothing is lost then, or something is gained.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from lettrine.health.findings import Finding
from lettrine.torch.checkup.experiment import finding
from lettrine.torch.checkup.task import Task
from lettrine.torch.checkup.trials import SEEDS, compare, steps_for
from lettrine.torch.checkup.values import leaves, mapped

STEPS: Final = 60


def one_row(task: Task) -> Finding | None:
    """The finding, if there is such an input, another one in each batch, and the same row in all of them is as good."""
    if task.whole or len(task.batches) < len(SEEDS) or not (path := _single(task)):
        return None
    steps = steps_for(task, 2, most=STEPS)
    if not steps:
        return None
    trial = compare(task, lambda task: _fixed(task, path), steps)
    if not trial.helps and trial.gain < -trial.error:
        return None
    given = dict(leaves(task.inputs(task.batch()).given))
    size = max(len(each) for each in given.values() if each.ndim)
    return finding(
        "broadcast",
        "warning" if trial.helps else "info",
        (),
        f"The input {path} has the shape {tuple(given[path].shape)}, another one has one row for each of {size} examples. With "
        f"the same row in every batch, {trial.said}.",
        "The single row, a new one in each batch, is used for all examples: it fits one of them and is noise to the others.",
        "See how this input is gathered into batches: one row for each example, not one for all of them.",
        value=1,
        limit=size,
        source="NumPy's rules of broadcasting",
    )


def _single(task: Task) -> str:
    """The path of an input of one row, a new one in each batch, where others of as many axes have one for each example."""
    batches = [dict(leaves(task.inputs(task.batch(number)).given)) for number in range(len(task.batches))]
    tables = {path: each for path, each in batches[0].items() if each.is_floating_point() and each.ndim > 1}
    size = max(map(len, tables.values()), default=0)
    for path, each in tables.items():
        inside = each.ndim > 2 and each.shape[1] == size  # its examples are along axis 1: the state of a recurrent layer
        if size < 2 or len(each) != 1 or inside or len({table.ndim for table in tables.values()}) > 1:
            continue
        rows = {tuple(batch[path].flatten().tolist()) for batch in batches if path in batch}
        if len(rows) == len(batches):
            return path
    return ""


@contextmanager
def _fixed(task: Task, path: str) -> Iterator[None]:
    """The first batch's row in every batch."""
    kept = list(task.batches)
    first = dict(leaves(task.inputs(kept[0]).given))[path]

    def put(batch: tuple[object, ...]) -> tuple[object, ...]:
        inputs = batch[0] if len(batch) == 2 else batch[:-1]
        changed = mapped(inputs, lambda at, each: first if at == path else each)
        return (changed, batch[-1]) if len(batch) == 2 else (*changed, batch[-1])

    task.batches[:] = [put(batch) for batch in kept]
    try:
        yield
    finally:
        task.batches[:] = kept
