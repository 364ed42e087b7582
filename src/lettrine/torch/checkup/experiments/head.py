"""An activation between the last layer and a loss that has its own: would the network learn better without it? It is dropped.

Cross-entropy takes logits of any size and sign. A softmax, sigmoid, tanh or ReLU before it bounds them; that this hurts is tried.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from torch import Tensor
from torch.overrides import TorchFunctionMode

from lettrine.health.checks import Skip
from lettrine.health.limits import TRIAL_STEPS
from lettrine.torch.checkup.experiment import Result, experiment, finding
from lettrine.torch.checkup.task import Task, takes_closure
from lettrine.torch.checkup.trials import SEEDS, compare, steps_for
from lettrine.torch.graph.reading import Node, operation

FUNCTIONS: Final = frozenset(("softmax", "sigmoid", "tanh", "relu", "relu_", "sigmoid_", "tanh_"))
OPERATIONS: Final = frozenset(("Softmax", "Sigmoid", "Tanh", "Relu"))
PROBABILITIES: Final = ("Softmax", "Sigmoid")
LOGITS: Final = ("LogSoftmax", "BinaryCrossEntropyWithLogits")  # what takes logits: the first is the upper half of cross_entropy
MOVING: Final = frozenset(
    ("View", "UnsafeView", "Reshape", "ReshapeAlias", "Squeeze", "Unsqueeze", "Transpose", "Permute", "ToCopy")
)
MOST: Final = 300  # operations looked at, from the loss down


@dataclass(frozen=True)
class Extra:
    """number: its place among the activations of a call of the model. name: of its operation. taker: what takes its values."""

    number: int
    name: str
    taker: str


@experiment("head", "An activation too many", passes=2 * len(SEEDS) * TRIAL_STEPS // 2, trains=True)
def head(task: Task) -> Result:
    """Look for an activation right before a loss that takes logits, and train with and without it.

    Measured: What training gains when the activation between the last layer and a loss that takes logits is left out.
    Formula: gain = loss as it is - loss without the activation, in standard errors over three seeds.
    """
    if task.optimizer is not None and takes_closure(task.optimizer):
        raise Skip("not applicable", "an optimiser that searches along a line takes steps of any length")
    task.model.train()
    extra = _extra(task)
    if extra is None:
        return Result("No activation stands between the last layer and a loss that takes logits.")
    steps = steps_for(task, 2)
    said = f"{extra.name} stands right before {extra.taker}, which takes logits."
    if not steps:
        return Result(f"{said} There was no time to drop it.")
    trial = compare(task, lambda each: _activations(each, extra.number), steps)
    figures = {"without": trial.without, "with": trial.with_remedy, "error": trial.error}
    said += f" Without it, {trial.said}."
    if not trial.helps:
        return Result(said, figures=figures)
    kind = "probabilities-as-logits" if extra.name in PROBABILITIES else "relu-logits"
    found = finding(
        kind,
        "warning",
        (),
        f"The loss takes logits, and {extra.name} stands between it and the last layer. Without it, {trial.said}.",
        "Logits are then held between two bounds: the loss cannot come near 0, and what lies at a bound has no gradient.",
        f"Hand the last layer's output to the loss as it is; apply {extra.name} only where answers are read.",
        value=trial.without,
        limit=trial.with_remedy,
        source="torch.nn.CrossEntropyLoss and BCEWithLogitsLoss: the input holds unnormalised logits",
    )
    return Result(said, (found,), figures)


def _extra(task: Task) -> Extra | None:
    with _activations(task) as heard:
        loss = task.loss(task.batch())
    waiting: list[Node] = [loss.grad_fn]
    seen: set[Node] = set()
    while waiting and len(seen) < MOST:
        node = waiting.pop(0)
        if node is None or node in seen:
            continue
        seen.add(node)
        below = [each for each, _ in node.next_functions]
        if operation(node) in LOGITS:
            given = _through(below[0]) if below else None
            name = operation(given) if given is not None else ""
            number = next((place for place, made in heard.made if made.grad_fn is given), None)
            if name in OPERATIONS and number is not None:
                taker = "cross-entropy" if operation(node) == LOGITS[0] else "a binary cross-entropy with logits"
                return Extra(number, name, taker)
            continue
        waiting += below
    return None


def _through(node: Node | None) -> Node | None:
    """The operation that made the values, behind those that only move them."""
    while node is not None and operation(node) in MOVING and node.next_functions:
        node = node.next_functions[0][0]
    return node


class _Activations(TorchFunctionMode):
    """Keeps what activations give, by their place in a call of the model; leaves the one at a given place out."""

    def __init__(self, drop: int | None = None) -> None:
        super().__init__()
        self.made: list[tuple[int, Tensor]] = []
        self._next, self._drop = 0, drop

    def begin(self, *_: Any) -> None:
        """The model is called."""
        self._next = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") not in FUNCTIONS:
            return func(*args, **(kwargs or {}))
        place, self._next = self._next, self._next + 1
        if place == self._drop:
            return args[0] if args else (kwargs or {})["input"]
        made = func(*args, **(kwargs or {}))
        if self._drop is None:
            self.made.append((place, made))
        return made


@contextmanager
def _activations(task: Task, drop: int | None = None) -> Iterator[_Activations]:
    mode = _Activations(drop)
    handle = task.model.register_forward_pre_hook(mode.begin)
    try:
        with mode:
            yield mode
    finally:
        handle.remove()
