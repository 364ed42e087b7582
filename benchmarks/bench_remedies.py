"""Remedies, each followed to the letter: `python -m benchmarks.bench_remedies [PART]`.

A program with one fault is trained and watched; what the finding tells to do is read from its text and done; then the same
program is trained again. Shown is the loss on held-out data before and after, in units of what the best constant answer loses.
Each remedy is tried on two programs or more, over three seeds. A remedy does harm where the second figure is larger than the
first by more than HARM; the command then ends with 1.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import isfinite, log
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from lettrine import health
from lettrine.health.findings import Finding

SEEDS: Final = (0, 1, 2)
HARM: Final = 0.02  # of the constant answer's loss, by which a remedy may miss what was there before: the noise of seeds
FEATURES, CLASSES, BATCH, HELD_OUT = 8, 4, 32, 1_000
NUMBER: Final = r"([-\d.,]+(?:e[-+]?\d+)?)"


@dataclass(frozen=True)
class Program:
    """A training and what may be wrong in it; as it stands all is well.

    task: "classes" or "numbers". scale, shift: of the inputs; of_targets: std and mean of the targets. weights, head: by what the
    hidden and the last matrices are multiplied. tail: what comes before the loss. schedule: steps of a cosine, 0 for none.
    momentum: of batch norm, 0 for none. even: the targets follow the squares of the inputs, of which no straight line knows.
    """

    task: str
    optimiser: str = "adam"
    rate: float = 3e-3
    steps: int = 400
    rows: int = 2_000
    activation: type[nn.Module] = nn.Tanh
    layers: int = 2
    scale: float = 1.0
    shift: float = 0.0
    normed: bool = False
    of_targets: tuple[float, float] = (1.0, 0.0)
    undone: tuple[float, float] = (1.0, 0.0)
    weights: float = 1.0
    head: float = 1.0
    equal: bool = False
    tail: type[nn.Module] | None = None
    decay: float = 0.0
    schedule: int = 0
    cleared: bool = True
    shuffled: bool = True
    training: bool = True
    momentum: float = 0.0
    flat: bool = False
    even: bool = False


def data(program: Program, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Inputs and targets, for training and held out."""
    generator = torch.Generator().manual_seed(100 + seed)
    x = torch.randn(program.rows + HELD_OUT, FEATURES, generator=generator)
    made = torch.tanh(
        1.5 * (x.square() - 1 if program.even else x) @ torch.randn(FEATURES, 16, generator=generator) / FEATURES**0.5
    )
    scores = made @ torch.randn(16, CLASSES, generator=generator)
    x = program.scale * x + program.shift
    if program.normed:
        x = (x - x.mean(0)) / x.std(0)
    spread, mean = program.of_targets
    values = (scores[:, 0] - scores[:, 0].mean()) / scores[:, 0].std() * spread + mean
    y: Tensor = scores.argmax(1) if program.task == "classes" else (values if program.flat else values[:, None])
    rows = program.rows
    if not program.shuffled:
        order = (y if y.ndim == 1 else y[:, 0])[:rows].argsort()
        return x[:rows][order], y[:rows][order], x[rows:], y[rows:]
    return x[:rows], y[:rows], x[rows:], y[rows:]


def network(program: Program) -> nn.Sequential:
    """Hidden layers, and one that answers."""
    width, parts = FEATURES, list[nn.Module]()
    for _ in range(program.layers):
        parts.append(nn.Linear(width, 48))
        parts += [nn.BatchNorm1d(48, momentum=program.momentum)] if program.momentum else []
        parts.append(program.activation())
        width = 48
    parts.append(nn.Linear(width, CLASSES if program.task == "classes" else 1))
    model = nn.Sequential(*parts, *([program.tail()] if program.tail else []))
    matrices = [each for each in model if isinstance(each, nn.Linear)]
    with torch.no_grad():
        for each in matrices:
            each.weight *= program.head if each is matrices[-1] else program.weights
            if program.equal:
                each.weight.fill_(0.05)
                each.bias.zero_()
    return model


def train(program: Program, seed: int) -> tuple[health.Report, float]:
    """Train under the watch; the report, and the held-out loss in units of what a constant answer loses."""
    torch.manual_seed(seed)
    x, y, held_x, held_y = data(program, seed)
    spread, mean = program.undone
    model = network(program)
    kinds: dict[str, Callable[..., torch.optim.Optimizer]] = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}
    optimiser = kinds[program.optimiser](model.parameters(), lr=program.rate, weight_decay=program.decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, program.schedule) if program.schedule else None
    generator = torch.Generator().manual_seed(seed)
    with health.watch(model, optimiser) as watch:
        for step in range(program.steps):
            start = step * BATCH % (len(x) - BATCH + 1)
            rows = (
                torch.randint(len(x), (BATCH,), generator=generator) if program.shuffled else torch.arange(start, start + BATCH)
            )
            model.train(program.training)
            loss = _loss(program, model(x[rows]), (y[rows] - mean) / spread if y.is_floating_point() else y[rows])
            if program.cleared:
                optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            if schedule is not None and step < program.schedule:
                schedule.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        answers = model(held_x)
        if program.task == "classes":
            return watch.report(), float(functional.cross_entropy(answers, held_y)) / log(CLASSES)
        values = answers[:, 0] * spread + mean
        target = held_y.reshape(-1)
        return watch.report(), float((values - target).square().mean() / target.var())


def _loss(program: Program, answers: Tensor, y: Tensor) -> Tensor:
    if program.task == "classes":
        return functional.cross_entropy(answers, y)
    return (answers - y).square().mean()


def numbers(finding: Finding, pattern: str) -> list[float]:
    """The figures a remedy names. Raises ValueError where it names none."""
    found = re.search(pattern.replace("#", NUMBER), finding.remedy)
    if found is None:
        raise ValueError(f"{finding.id} names no figure as {pattern!r}: {finding.remedy}")
    return [float(each.replace(",", "").rstrip(".")) for each in found.groups()]


def rate(program: Program, finding: Finding) -> Program:
    """The learning rate it names."""
    return replace(program, rate=numbers(finding, "from # to #")[1])


def targets(program: Program, finding: Finding) -> Program:
    """Targets shifted and scaled as it says."""
    sign = -1.0 if "(y + " in finding.remedy else 1.0
    mean, spread = numbers(finding, r"\(y [-+] #\) / #")
    return replace(program, undone=(spread, sign * mean))


APPLIED: Final[dict[str, Callable[[Program, Finding], Program]]] = {
    "update-too-large": rate,
    "update-too-small": rate,
    "target-scale": targets,
    "input-scale": lambda program, _: replace(program, normed=True),
    "initial-loss": lambda program, finding: replace(program, head=program.head * numbers(finding, "by #")[0]),
    "saturation": lambda program, _: replace(program, weights=1.0),
    "activation-scale": lambda program, finding: replace(program, weights=program.weights * numbers(finding, "by #")[0]),
    "gradient-scale": lambda program, finding: replace(program, weights=program.weights * numbers(finding, "by # each")[0]),
    "weight-decay": lambda program, finding: replace(program, decay=numbers(finding, "from # to #")[1]),
    "schedule-to-zero": lambda program, _: replace(program, schedule=program.steps),
    "missing-zero-grad": lambda program, _: replace(program, cleared=True),
    "sorted-data": lambda program, _: replace(program, shuffled=True),
    "broadcast": lambda program, _: replace(program, flat=False),
    "probabilities-as-logits": lambda program, _: replace(program, tail=None),
    "relu-logits": lambda program, _: replace(program, tail=None),
    "target-range": lambda program, _: replace(program, tail=None),
    "symmetry": lambda program, _: replace(program, equal=False),
    "underfitting": lambda program, _: replace(program, activation=nn.ReLU),
    "wrong-mode": lambda program, _: replace(program, training=True),
    "norm-statistics": lambda program, finding: replace(program, momentum=numbers(finding, "from # to at least #")[1]),
}
"""What each remedy changes, by the figures in its own text where it names any."""

CLASS, NUMBERS = Program("classes"), Program("numbers")
SICK: Final[dict[str, tuple[Program, ...]]] = {
    "update-too-large": (replace(CLASS, rate=0.5), replace(NUMBERS, optimiser="sgd", rate=3.0)),
    "update-too-small": (replace(CLASS, optimiser="sgd", rate=3e-4), replace(NUMBERS, rate=1e-6)),
    "target-scale": (
        replace(NUMBERS, of_targets=(900.0, 5_000.0)),
        replace(NUMBERS, of_targets=(40.0, -2_000.0), activation=nn.ReLU),
    ),
    "input-scale": (
        replace(CLASS, scale=300.0, shift=900.0),
        replace(NUMBERS, scale=1e-3, optimiser="sgd", rate=0.02, activation=nn.ReLU),
    ),
    "initial-loss": (replace(CLASS, head=60.0, optimiser="sgd", rate=0.02), replace(CLASS, head=40.0, rate=1e-3)),
    "saturation": (
        replace(CLASS, weights=20.0, optimiser="sgd", rate=0.02),
        replace(NUMBERS, weights=25.0, layers=3, optimiser="sgd", rate=0.01),
    ),
    "activation-scale": (
        replace(CLASS, weights=4.0, layers=6, activation=nn.ReLU, optimiser="sgd", rate=0.02),
        replace(CLASS, weights=4.0, layers=7, activation=nn.ReLU, optimiser="sgd", rate=0.02),
    ),
    "gradient-scale": (
        replace(CLASS, weights=0.08, layers=5, optimiser="sgd", rate=0.05),
        replace(CLASS, weights=0.25, layers=6, optimiser="sgd", rate=0.05),
    ),
    "weight-decay": (
        replace(CLASS, optimiser="sgd", rate=0.1, decay=0.5),
        replace(NUMBERS, optimiser="sgd", rate=0.1, decay=1.5),
    ),
    "schedule-to-zero": (replace(CLASS, rate=1e-3, schedule=40), replace(NUMBERS, optimiser="sgd", rate=0.02, schedule=12)),
    "missing-zero-grad": (
        replace(CLASS, optimiser="sgd", rate=0.05, cleared=False),
        replace(NUMBERS, optimiser="sgd", rate=0.05, cleared=False),
    ),
    "sorted-data": (
        replace(CLASS, optimiser="sgd", rate=0.1, shuffled=False),
        replace(CLASS, shuffled=False, activation=nn.ReLU),
    ),
    "broadcast": (replace(NUMBERS, flat=True), replace(NUMBERS, flat=True, optimiser="sgd", rate=0.05)),
    "probabilities-as-logits": (
        replace(CLASS, tail=lambda: nn.Softmax(1)),  # type: ignore[arg-type]
        replace(CLASS, tail=nn.Sigmoid, optimiser="sgd", rate=0.1),
    ),
    "relu-logits": (replace(CLASS, tail=nn.ReLU), replace(CLASS, tail=nn.ReLU, optimiser="sgd", rate=0.1)),
    "target-range": (replace(NUMBERS, tail=nn.Sigmoid), replace(NUMBERS, tail=nn.ReLU)),
    "symmetry": (replace(CLASS, equal=True), replace(NUMBERS, equal=True, activation=nn.ReLU)),
    "underfitting": (
        replace(NUMBERS, activation=nn.Identity, even=True),
        replace(CLASS, activation=nn.Identity, even=True, optimiser="sgd", rate=0.1),
    ),
    "wrong-mode": (
        replace(CLASS, training=False, momentum=0.1, scale=4.0, shift=2.0),
        replace(NUMBERS, training=False, momentum=0.1),
    ),
    "norm-statistics": (
        replace(CLASS, momentum=1e-4, scale=3.0, shift=2.0),
        replace(NUMBERS, momentum=1e-4, scale=3.0, shift=2.0),
    ),
}
"""By finding: programs it is found in."""


@dataclass(frozen=True)
class Tried:
    """What became of a program. found: whether the finding was made in it; before, after: held-out losses, means over seeds."""

    name: str
    place: int
    found: bool
    before: float
    after: float

    @property
    def harms(self) -> bool:
        """Whether it made things worse. What is not finite is worse than anything."""
        return self.found and (not isfinite(self.after) or (isfinite(self.before) and self.after > self.before + HARM))


def tried(name: str, place: int, seeds: tuple[int, ...] = SEEDS) -> Tried:
    """Train, follow the remedy, train again."""
    program, before, after, found = SICK[name][place], 0.0, 0.0, 0
    for seed in seeds:
        report, loss = train(program, seed)
        finding: Any = next((each for each in report.findings if each.id == name), None)
        before += loss / len(seeds)
        after += (train(APPLIED[name](program, finding), seed)[1] if finding is not None else loss) / len(seeds)
        found += finding is not None
    return Tried(name, place, found == len(seeds), before, after)


def every(part: str = "") -> Iterator[Tried]:
    """All remedies whose name contains a text, on all programs."""
    for name, programs in SICK.items():
        if part in name:
            yield from (tried(name, place) for place in range(len(programs)))


def main() -> int:
    """Print the table."""
    torch.set_num_threads(1)
    print(f"{'remedy':26} {'held-out loss':>14} {'followed':>10}   1 is the best constant answer")
    harmed = 0
    for each in every(*sys.argv[1:2]):
        said = "" if each.found else "not found at every seed"
        print(f"{each.name:26} {each.before:14.3f} {each.after:10.3f}   {'HARMS' if each.harms else said}", flush=True)
        harmed += each.harms
    return int(harmed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
