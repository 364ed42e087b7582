"""An activation between the last layer and a loss that has its own: would the network learn better without it? A trial drops it.

Cross-entropy takes logits of any size and sign. A softmax, sigmoid, tanh or ReLU before it bounds them; a trial shows whether
this hurts. The negative log-likelihood takes logarithms of probabilities; if it gets the probabilities themselves, their
logarithm is tried.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from lettrine.health.checks import Skip
from lettrine.health.findings import Finding
from lettrine.health.limits import TRIAL_STEPS
from lettrine.torch.checkup.experiment import Result, experiment, finding
from lettrine.torch.checkup.task import Task, takes_closure
from lettrine.torch.checkup.trials import SEEDS, Trial, compare, steps_for
from lettrine.torch.graph.reading import Node, operation

FUNCTIONS: Final = frozenset(("softmax", "sigmoid", "tanh", "relu", "relu_", "sigmoid_", "tanh_"))
OPERATIONS: Final = frozenset(("Softmax", "Sigmoid", "Tanh", "Relu"))
PROBABILITIES: Final = ("Softmax", "Sigmoid")
LIKELIHOODS: Final = ("NllLoss", "NllLoss2D", "NllLossNd")  # they take logarithms
TAKERS: Final = {
    "LogSoftmax": "cross-entropy",  # log(sigmoid) of the positive logits
    "BinaryCrossEntropyWithLogits": "a binary cross-entropy with logits",
    **dict.fromkeys(LIKELIHOODS, "the negative log-likelihood"),
}
"""Operations that take logits or logarithms."""
MOVING: Final = frozenset(
    ("View", "UnsafeView", "Reshape", "ReshapeAlias", "Squeeze", "Unsqueeze", "Transpose", "Permute", "ToCopy")
)
MOST: Final = 300  # operations visited, from the loss backwards


@dataclass(frozen=True)
class Extra:
    """number: its index among the activations of one call of the model. name: of its operation. taker: what takes its values.
    logged: whether the trial takes its logarithm; otherwise the trial leaves it out.
    """

    number: int
    name: str
    taker: str
    logged: bool = False


@experiment("head", "An activation too many", passes=2 * len(SEEDS) * TRIAL_STEPS // 2, trains=True)
def head(task: Task) -> Result:
    """Look for an activation right before a loss that takes logits, and train with and without it.

    Measured: How much lower the loss gets without the activation between the last layer and a loss that takes logits.
    Formula: gain = loss as it is - loss without the activation, in standard errors over three seeds.
    """
    if task.optimizer is not None and takes_closure(task.optimizer):
        raise Skip("not applicable", "an optimiser that searches along a line takes steps of any length")
    task.model.train()
    extra = _extra(task)
    if extra is None:
        return Result("No activation stands between the last layer and a loss that takes logits or logarithms.")
    steps = steps_for(task, 2)
    said = f"{extra.name} stands right before {extra.taker}, which takes {'logarithms' if extra.logged else 'logits'}."
    if not steps:
        raise Skip("not run", f"{said} There was no time to drop it; give minutes=…")
    instead = (lambda each: _activations(each, extra, trained_on=False)) if extra.logged else None
    trial = compare(task, lambda each: _activations(each, extra), steps, instead=instead)
    figures = {"without": trial.without, "with": trial.with_remedy, "error": trial.error}
    said += f" {'Trained on its logarithm, and both measured by it' if extra.logged else 'Without it'}, {trial.said}."
    if not trial.helps:
        return Result(said, figures=figures)
    if extra.logged:
        return Result(said, (_unlogged(extra, trial),), figures)
    kind = "probabilities-as-logits" if extra.name in PROBABILITIES else "relu-logits"
    found = finding(
        kind,
        "warning",
        (),
        f"The loss takes logits, and {extra.name} stands between it and the last layer. Without it, {trial.said}.",
        "Logits are then limited to a range: the loss cannot come near 0, and values at the limits get no gradient.",
        f"Give the last layer's output to the loss as it is; apply {extra.name} only to read predictions.",
        value=trial.without,
        limit=trial.with_remedy,
        source="torch.nn.CrossEntropyLoss and BCEWithLogitsLoss: the input holds unnormalised logits",
    )
    return Result(said, (found,), figures)


def _unlogged(extra: Extra, trial: Trial) -> Finding:
    return finding(
        "probabilities-as-logits",
        "warning",
        (),
        f"{extra.taker.capitalize()} takes logarithms of probabilities but gets the output of {extra.name}. Trained on their "
        f"logarithm, and both measured by it, {trial.said}.",
        "The loss is then minus a probability: confident wrong answers get almost no gradient.",
        "Use log_softmax before nll_loss, or give the last layer's output to cross_entropy.",
        value=trial.without,
        limit=trial.with_remedy,
        source="torch.nn.NLLLoss: the input is expected to contain log-probabilities",
    )


def _extra(task: Task) -> Extra | None:
    with _activations(task) as activations:
        loss = task.loss(task.batch())
    waiting: list[Node] = [loss.grad_fn]
    seen: set[Node] = set()
    while waiting and len(seen) < MOST:
        node = waiting.pop(0)
        if node is None or node in seen:
            continue
        seen.add(node)
        below = [each for each, _ in node.next_functions]
        if operation(node) in TAKERS:
            given = _through(below[0]) if below else None
            name = operation(given) if given is not None else ""
            number = next((place for place, made in activations.made if made.grad_fn is given), None)
            logged = operation(node) in LIKELIHOODS
            if number is not None and name in (PROBABILITIES if logged else OPERATIONS):
                return Extra(number, name, TAKERS[operation(node)], logged)
            if not logged:
                continue
        waiting += below
    return None


def _through(node: Node | None) -> Node | None:
    """The operation that computed the values; operations that only rearrange them are skipped."""
    while node is not None and operation(node) in MOVING and node.next_functions:
        node = node.next_functions[0][0]
    return node


class _Activations(TorchFunctionMode):
    """Keeps the outputs of activations by their index in a call of the model; leaves out the extra one.

    If its logarithm is tried, the loss is reported with it on both sides: minus a probability would favour who trains on that.
    trained_on: whether it is trained on too.
    """

    def __init__(self, extra: Extra | None = None, *, trained_on: bool = True) -> None:
        super().__init__()
        self.made: list[tuple[int, Tensor]] = []
        self._next, self._extra, self._trained_on = 0, extra, trained_on

    def begin(self, *_: Any) -> None:
        """The model is called."""
        self._next = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") not in FUNCTIONS:
            return func(*args, **(kwargs or {}))
        place, self._next = self._next, self._next + 1
        if self._extra is not None and place == self._extra.number and not self._extra.logged:
            return args[0] if args else (kwargs or {})["input"]
        made = func(*args, **(kwargs or {}))
        if self._extra is not None and place == self._extra.number and (self._trained_on or not torch.is_grad_enabled()):
            return (made + torch.finfo(made.dtype).tiny).log()
        if self._extra is None:
            self.made.append((place, made))
        return made


@contextmanager
def _activations(task: Task, extra: Extra | None = None, *, trained_on: bool = True) -> Iterator[_Activations]:
    mode = _Activations(extra, trained_on=trained_on)
    handle = task.model.register_forward_pre_hook(mode.begin)
    try:
        with mode:
            yield mode
    finally:
        handle.remove()
