"""The batches themselves: repeats, order of classes, targets or examples that are all alike, constant features."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from math import log, nan
from typing import Any, Final

import torch
from torch import Tensor

from lettrine.health.findings import Finding
from lettrine.health.limits import CHECKUP_REPEATS, CHECKUP_SORTED
from lettrine.torch.checkup.call import NotCalled
from lettrine.torch.checkup.constant import learnable, one_target
from lettrine.torch.checkup.experiment import Result, experiment, finding
from lettrine.torch.checkup.experiments.first_loss import loss_of, output_of
from lettrine.torch.checkup.task import Task
from lettrine.torch.checkup.values import floats, leaves

LEAST_BATCHES: Final = 6  # least number of batches to judge their order
LEAST_EMPTY: Final = 2  # batches with one value throughout, of at least
MOST_SINGLE: Final = 64  # numbers: a few may be equal by chance
LEAST_EXAMPLES: Final = 32  # least number of targets to call them constant
SEVERAL: Final = 0.05  # share of the rows that hold several ones
SAME: Final = 1e-5  # relative change of the loss that may be rounding


@experiment("data", "Data", passes=1)
def data(task: Task) -> Result:
    """Count repetitions, and values that never vary, in the batches that were drawn.

    Measured: Batches that repeat, examples that are all alike, the classes of the targets and their order.
    Formula: repeated = (batches that are copies of another) / (batches); order = mean entropy of the classes within a batch /
        that of the same classes dealt to the batches at random.
    """
    found: list[Finding] = []
    marks = [_mark(batch) for batch in task.batches]
    repeated = len(marks) - len(set(marks))
    figures: dict[str, float] = {"batches": len(marks), "repeated": repeated}
    if not task.again and len(marks) > 2 and repeated >= CHECKUP_REPEATS * len(marks) and not _all_rows_each_time(task, marks):
        found.append(_repeats(repeated, len(marks)))
    same, constant = _alike(task)
    copies, twins = _copies(task), _twins(task)
    figures |= {"alike": same, "constant_features": constant, "copies": copies, "twins": twins}
    empty = [value for value in map(_only_value, task.batches) if value is not None]
    if LEAST_EMPTY <= len(empty) < len(marks) / 2 and not task.again:
        found.append(_empty(empty, len(marks)))
    elif same < 0.5 and twins >= CHECKUP_REPEATS:
        found.append(_repeated_rows(twins))
    if same >= 0.5:
        found.append(_one_example(same))
    targets = [batch[-1] for batch in task.batches if not task.whole and isinstance(batch[-1], Tensor)]
    if targets:
        found += [each for each in _targets(task, targets, figures) if each.id != "sorted-data" or twins < CHECKUP_REPEATS]
    said = f"{len(set(marks))} of {len(marks)} batches differ"
    if figures.get("classes", 0) > 0:
        said += f"; {int(figures['classes'])} classes, the largest {100 * figures['largest_class']:.0f} % of the targets"
    if copies > 0:
        said += f"; {100 * copies:.0f} % of the examples repeat the inputs of an earlier one"
    if constant > 0:
        said += f"; {100 * constant:.0f} % of the features are constant"
    return Result(said + ".", tuple(found), figures)


def _mark(batch: Any) -> int:
    """The same for batches with the same values."""
    parts = []
    for path, tensor in leaves(batch):
        values = tensor.detach().flatten()[:: max(1, tensor.numel() // 4096)].to("cpu", torch.float64)
        parts.append((path, tuple(tensor.shape), values.numpy().tobytes()))
    return hash(tuple(parts))


def _only_value(batch: Any) -> float | None:
    """The value that all floating-point inputs of a batch have, if they are equal throughout."""
    values = [each.flatten() for _, each in floats(batch[:-1] if isinstance(batch, list | tuple) else batch)]
    if not values or max(len(each) for each in values) < MOST_SINGLE:
        return None
    first = values[0][0]
    return float(first) if all(bool((each == first).all()) for each in values) else None


def _alike(task: Task) -> tuple[float, float]:
    """Share of batches whose examples all have the same inputs, and of features that are the same in all batches."""
    alike: list[bool] = []
    firsts: list[Tensor] = []
    for number in range(len(task.batches)):
        try:
            call = task.inputs(task.batch(number)) if number == 0 or not task.whole else None
        except NotCalled:
            return nan, nan
        tensors = [each for _, each in leaves(call.given)] if call else []
        wide = [each for each in tensors if each.ndim >= 2 and each.shape[0] > 1]
        if tensors:
            alike.append(bool(wide) and len(wide) == len(tensors) and all(bool((each == each[:1]).all()) for each in wide))
        real = [each for each in wide if each.is_floating_point()]
        if real and (not firsts or real[0].shape[1:] == firsts[0].shape[1:]):
            firsts.append(real[0])
    joined = torch.cat(firsts).flatten(1) if firsts else None
    constant = float((joined == joined[:1]).all(0).double().mean()) if joined is not None and len(joined) > 8 else 0.0
    return (sum(alike) / len(alike) if alike else 0.0), constant


def _copies(task: Task) -> float:
    """Share of the examples whose inputs equal those of an earlier example, bit for bit."""
    seen = [row for batch in task.batches for row in _rows(batch)] if not task.whole else []
    return 1.0 - len(set(seen)) / len(seen) if seen else 0.0


def _twins(task: Task) -> float:
    """Share of the examples whose inputs, of continuous numbers, and target equal those of another one in the same batch."""
    if task.whole or not all(isinstance(batch[-1], Tensor) and batch[-1].ndim for batch in task.batches):
        return 0.0
    given = [each for _, each in leaves(task.batches[0][0]) if each.is_floating_point() and each.numel()]
    if not given or max(len(set(each.flatten().tolist())) for each in given) < max(len(each) for each in given):
        return 0.0  # of a few numbers only, such as states of a game: they come again by themselves
    rows = [list(zip(_rows(batch), map(str, batch[-1].tolist()), strict=False)) for batch in task.batches]
    total = sum(map(len, rows))
    return 1.0 - sum(len(set(each)) for each in rows) / total if total else 0.0


def _all_rows_each_time(task: Task, marks: list[int]) -> bool:
    """Whether each batch holds the same rows in one order or another: all the data, of which two orders may be alike."""
    rows = {tuple(sorted(_rows(batch))) for batch in task.batches} if not task.whole else set()
    return len(rows) == 1 and len(set(marks)) > 1


def _rows(batch: Any) -> list[bytes]:
    """The inputs of each example, as bytes."""
    given = [each for _, each in leaves(batch[0]) if each.ndim >= 2]
    target = batch[-1] if isinstance(batch[-1], Tensor) and batch[-1].ndim else next(iter(given), None)
    rows = [each for each in given if target is not None and each.shape[0] == len(target)]
    return [
        b"".join(each[number].detach().cpu().double().numpy().tobytes() for each in rows)
        for number in range(len(rows[0]) if rows else 0)
    ]


def _targets(task: Task, targets: list[Tensor], figures: dict[str, float]) -> Iterator[Finding]:
    flat = torch.cat([each.detach().flatten().double().cpu() for each in targets])
    if len(flat) >= LEAST_EXAMPLES and bool((flat == flat[0]).all()) and learnable(task, float(flat[0])):
        yield one_target(float(flat[0]), len(flat))
    if (several := _several(task, targets)) is not None:
        yield several
    classes = [each for each in targets if each.ndim == 1 and not each.is_floating_point()]
    if len(classes) != len(targets):
        return
    counts = Counter(torch.cat(classes).tolist())
    figures |= {"classes": len(counts), "largest_class": max(counts.values()) / sum(counts.values())}
    order = _order(classes)
    figures["order"] = order
    if len(classes) >= LEAST_BATCHES and len(counts) > 1 and order < CHECKUP_SORTED and _all_met(classes):
        yield finding(
            "sorted-data",
            "warning",
            (),
            f"The batches are sorted by class: each holds {100 * order:.0f} % of the variety that shuffled ones would have.",
            "The network learns one class after the other and forgets the earlier ones.",
            "Shuffle the examples: DataLoader(…, shuffle=True), or a permutation before they are cut into batches.",
            value=order,
            limit=CHECKUP_SORTED,
            source="Bottou 2012, Stochastic gradient descent tricks: shuffle the examples",
        )


def _several(task: Task, targets: list[Tensor]) -> Finding | None:
    """Target rows of 0 and 1 with several ones, under a softmax: a loss that is unchanged if all answers to an example rise
    equally.
    """
    if not all(each.ndim == 2 and each.is_floating_point() and bool(((each == 0) | (each == 1)).all()) for each in targets):
        return None
    ones = torch.cat([each.sum(1) for each in targets if each.shape[1] > 1] or [torch.ones(1)])
    share = float((ones > 1).double().mean())
    output = output_of(task)
    if share < SEVERAL or output is None or output.shape != targets[0].shape:
        return None
    with torch.no_grad():
        try:
            plain, raised = (float(loss_of(task, output + each)) for each in (0.0, 1.0))
        except Exception:  # noqa: BLE001  a loss that refuses other answers is not known to be one of a softmax
            return None
    if not abs(plain - raised) <= SAME * abs(plain):
        return None
    return finding(
        "target-rows",
        "warning",
        (),
        f"{100 * share:.0f} % of the target rows hold several ones, and the loss is that of a softmax: it stays the same when "
        "all answers to an example rise equally.",
        "The probabilities of a softmax sum to 1: no answer can be sure of two classes at once.",
        "For several classes at once use binary_cross_entropy_with_logits; for one, give its index.",
        value=share,
        limit=SEVERAL,
        source="torch.nn.CrossEntropyLoss: target of probabilities for each class",
    )


def _order(classes: list[Tensor]) -> float:
    """Entropy of the classes within a batch, over that of the same targets shuffled."""
    together = torch.cat(classes)
    shuffled = together[torch.randperm(len(together), generator=torch.Generator().manual_seed(1))]
    lengths = [len(each) for each in classes]
    dealt = torch.split(shuffled, lengths)
    usual = sum(_entropy(part) for part in dealt) / len(lengths)
    return sum(map(_entropy, classes)) / len(lengths) / usual if usual > 0 else 1.0


def _all_met(classes: list[Tensor]) -> bool:
    """Whether classes come in runs: most classes of a batch are those of the batch before it."""
    shared = [len(set(a.tolist()) & set(b.tolist())) > 0 for a, b in pairwise(classes)]
    return sum(shared) < len(shared) or len({each for part in classes for each in part.tolist()}) > 1


def _entropy(classes: Tensor) -> float:
    shares = [count / len(classes) for count in Counter(classes.tolist()).values()]
    return -sum(share * log(share) for share in shares)


def _repeats(repeated: int, total: int) -> Finding:
    return finding(
        "repeated-batch",
        "warning",
        (),
        f"{repeated} of {total} batches are copies of others, within one pass through the data.",
        "The network sees less data than it seems to, and memorises what is repeated.",
        "Look at sampler, seeds of workers, and augmentation: numpy's generator is the same in every worker unless it is seeded.",
        value=repeated / total,
        limit=CHECKUP_REPEATS,
        source="PyTorch documentation: randomness in multi-process data loading",
    )


def _repeated_rows(share: float) -> Finding:
    return finding(
        "repeated-batch",
        "info",
        (),
        f"{100 * share:.0f} % of the examples repeat another one of the same batch, inputs and target.",
        "A batch then teaches less than its size says.",
        "If examples are not drawn several times on purpose, look at sampler, joins and augmentation.",
        value=share,
        limit=CHECKUP_REPEATS,
    )


def _empty(values: list[float], total: int) -> Finding:
    return finding(
        "repeated-batch",
        "warning",
        (),
        f"In {len(values)} of {total} batches all inputs are {values[0]:g}, and in the others they vary.",
        "Such a batch teaches an answer to nothing.",
        "Look at how batches are read, copied and moved: wait for a copy before it is used (non_blocking=True, shared buffers).",
        value=len(values) / total,
        source="torch.Tensor.to: non_blocking",
    )


def _one_example(share: float) -> Finding:
    return finding(
        "repeated-batch",
        "warning",
        (),
        f"In {100 * share:.0f} % of the batches all examples have the same inputs.",
        "A batch then teaches no more than one example.",
        "Look at how the batch is put together: one example is likely to be repeated or broadcast.",
        value=share,
    )
