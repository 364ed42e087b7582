"""What a case is, and the faults that are planted in healthy patients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from benchmarks.clinic import patients as p
from benchmarks.clinic.patients import Patient
from torch import Tensor, nn

Make = Callable[[int], Patient]


@dataclass(frozen=True)
class Case:
    """One labelled run.

    fault: id of the finding that names it, "" for a healthy network. where: names of which at least one must be in the finding.
    also: other findings that are true of it as well. part: "tuned" where limits were chosen by looking at it, "held-out" where
    they were not, "newcomer" for the networks that came last. quick: whether it belongs to the subset that the test suite
    runs. every: of lettrine's watch, 0 for the default. cure: of a sick patient, what makes it without the fault.
    """

    name: str
    fault: str
    make: Make
    where: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    part: str = "tuned"
    quick: bool = False
    every: int = 0
    cure: Make | None = None


CASES: list[Case] = []


def healthy(make: Make, *, part: str = "tuned", quick: bool = False, also: tuple[str, ...] = (), **options: Any) -> None:
    extra = "".join(f"-{value if isinstance(value, str) else key}" for key, value in options.items())
    CASES.append(Case(f"healthy/{make.__name__}{extra}", "", lambda seed: make(seed, **options), (), also, part, quick))


def sick(fault: str, make: Make, plant: Callable[[Patient], Any], where: str = "", **options: Any) -> None:
    """A healthy patient with a fault planted in it."""

    def planted(seed: int) -> Patient:
        patient = make(seed)
        plant(patient)
        return patient

    name = f"{fault}/{make.__name__}{options.pop('variant', '')}"
    CASES.append(Case(name, fault, planted, tuple(where.split()), cure=make, **options))


def scale(name: str, factor: float) -> Callable[[Patient], None]:
    """Multiply a module's weight, or with "*" those of all hidden linear layers."""

    def plant(patient: Patient) -> None:
        with torch.no_grad():
            for own, module in patient.model.named_modules():
                if isinstance(module, nn.Linear | nn.Conv2d) and (own == name or (name == "*" and own != "head")):
                    module.weight.mul_(factor)

    return plant


def shrink(factor: float) -> Callable[[Patient], None]:
    """Hidden weights multiplied and biases 0, of transposed convolutions too."""

    def plant(patient: Patient) -> None:
        with torch.no_grad():
            for name, parameter in patient.model.named_parameters():
                if not name.startswith("head"):
                    parameter.mul_(factor if parameter.ndim > 1 else 0.0)

    return plant


def fill_bias(name: str, value: float) -> Callable[[Patient], None]:
    def plant(patient: Patient) -> None:
        nn.init.constant_(patient.model.get_submodule(name).bias, value)  # type: ignore[arg-type]

    return plant


def rate(factor: float) -> Callable[[Patient], None]:
    def plant(patient: Patient) -> None:
        for group in patient.optimizer.param_groups:
            group["lr"] *= factor

    return plant


def constant(value: float, *, only: str | tuple[str, ...] = "") -> Callable[[Patient], None]:
    """Every weight matrix (of the modules under `only`) filled with one value, biases 0."""

    def plant(patient: Patient) -> None:
        for name, parameter in patient.model.named_parameters():
            if name.startswith(only) and "embedding" not in name:
                nn.init.constant_(parameter, value if parameter.ndim > 1 else 0.0)

    return plant


def leave_out(name: str) -> Callable[[Patient], None]:
    """The optimiser is built without the parameters of one module."""

    def plant(patient: Patient) -> None:
        lost = {id(parameter) for parameter in patient.model.get_submodule(name).parameters()}
        for group in patient.optimizer.param_groups:
            group["params"] = [parameter for parameter in group["params"] if id(parameter) not in lost]

    return plant


class Detached(nn.Module):
    """Cuts the graph in front of a module."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x.detach())
        return out


def wrap(name: str, wrapper: Callable[[nn.Module], nn.Module]) -> Callable[[Patient], None]:
    def plant(patient: Patient) -> None:
        patient.model.set_submodule(name, wrapper(patient.model.get_submodule(name)))

    return plant


def unused(patient: Patient) -> None:
    """A module that the forward pass forgets."""
    patient.model.spare = nn.Linear(8, 8)
    patient.optimizer.add_param_group({"params": list(patient.model.spare.parameters())})


class Log(nn.Module):
    """A logarithm without an epsilon."""

    def forward(self, x: Tensor) -> Tensor:
        return x.log()


class Root(nn.Module):
    """A root, whose slope at 0 is infinite."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sqrt()


def behind(name: str, extra: Callable[[], nn.Module]) -> Callable[[Patient], None]:
    """Put a module behind another."""
    return wrap(name, lambda inner: nn.Sequential(inner, extra()))


def poison(step: int, change: Callable[[Tensor], Tensor]) -> Callable[[Patient], None]:
    """The inputs of one batch are spoilt."""

    def plant(patient: Patient) -> None:
        draw = patient.batch

        def batch(at: int) -> tuple[Tensor, Tensor]:
            x, y = draw(at)
            return (change(x), y) if at == step else (x, y)

        patient.batch = batch

    return plant


def one_huge_step(step: int, factor: float) -> Callable[[Patient], None]:
    """The learning rate of one step is far too high."""

    def plant(patient: Patient) -> None:
        def before(at: int) -> None:
            for group in patient.optimizer.param_groups:
                if at == step:
                    group["lr"] *= factor
                elif at == step + 1:
                    group["lr"] /= factor

        patient.before.append(before)

    return plant


def ascend(patient: Patient) -> None:
    """From a third of the run on, the optimiser climbs."""

    def before(step: int) -> None:
        if step == patient.steps // 3:
            for group in patient.optimizer.param_groups:
                group["maximize"] = True

    patient.before.append(before)


def in_order(block: int) -> Callable[[Patient], None]:
    """The examples come sorted by class, `block` batches of each class, over and over."""

    def plant(patient: Patient) -> None:
        inputs, targets, classes = patient.task.inputs, patient.task.targets, patient.task.classes
        places = [torch.nonzero(targets == label)[:, 0] for label in range(classes)]
        generator = torch.Generator().manual_seed(patient.task.seed + 4)

        def batch(step: int) -> tuple[Tensor, Tensor]:
            mine = places[step // block % classes]
            picked = mine[torch.randint(len(mine), (32,), generator=generator)]
            return inputs[picked], targets[picked]

        patient.batch = batch

    return plant


def shuffled(patient: Patient) -> None:
    """Inputs and targets are shuffled apart."""
    draw = patient.batch
    generator = torch.Generator().manual_seed(patient.task.seed + 2)

    def batch(step: int) -> tuple[Tensor, Tensor]:
        x, y = draw(step)
        return x, y[torch.randperm(len(y), generator=generator)]

    patient.batch = batch


def random_targets(patient: Patient) -> None:
    draw, classes = patient.batch, patient.task.classes
    generator = torch.Generator().manual_seed(patient.task.seed + 2)

    def batch(step: int) -> tuple[Tensor, Tensor]:
        x, y = draw(step)
        return x, torch.randint(classes, y.shape, generator=generator)

    patient.batch = batch


def target_in_vector(patient: Patient) -> None:
    """The label, one-hot, stands in the first columns of the input."""
    draw, classes = patient.batch, patient.task.classes

    def batch(step: int) -> tuple[Tensor, Tensor]:
        x, y = draw(step)
        return torch.cat((5.0 * nn.functional.one_hot(y, classes).float(), x[:, classes:]), 1), y

    patient.batch = batch


def target_in_context(patient: Patient) -> None:
    """The window is shifted by one: its last letter is the target."""
    draw = patient.batch

    def batch(step: int) -> tuple[Tensor, Tensor]:
        x, y = draw(step)
        return (y, y) if y.ndim > 1 else (torch.cat((x[:, 1:], y[:, None]), 1), y)

    patient.batch = batch


def few_examples(patient: Patient, count: int = 150) -> None:
    few = patient.task.inputs[:count], patient.task.targets[:count]
    generator = torch.Generator().manual_seed(patient.task.seed + 3)

    def batch(_: int) -> tuple[Tensor, Tensor]:
        picked = torch.randint(count, (32,), generator=generator)
        return few[0][picked], few[1][picked]

    patient.batch, patient.steps, patient.evaluates = batch, 600, 30


def wrong_held_out(labels: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Patient], None]:
    """Held-out labels that are something else than what is trained on."""

    def plant(patient: Patient) -> None:
        inputs, targets = patient.task.dev
        patient.task = replace(patient.task, dev=(inputs, labels(inputs, targets)))
        patient.evaluates = patient.steps // 20

    return plant


def last_input(inputs: Tensor, _: Tensor) -> Tensor:
    return inputs[:, -1]


def next_class(_: Tensor, targets: Tensor) -> Tensor:
    return (targets + 1) % (int(targets.max()) + 1)


def opposite_class(_: Tensor, targets: Tensor) -> Tensor:
    classes = int(targets.max()) + 1
    return (targets + classes // 2) % classes


def slow_norm(momentum: float, *, offset: float = 0.0) -> Callable[[Patient], None]:
    def plant(patient: Patient) -> None:
        for module in patient.model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.momentum = momentum
        if offset:
            draw = patient.batch

            def batch(step: int) -> tuple[Tensor, Tensor]:
                x, y = draw(step)
                return x + offset, y

            patient.batch = batch

    return plant


def tiny_batches(size: int) -> Callable[[Patient], None]:
    def plant(patient: Patient) -> None:
        patient.batch = patient.task.sampler(size)

    return plant


def with_loss(criterion: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Patient], None]:
    def plant(patient: Patient) -> None:
        patient.criterion = criterion

    return plant


def softmax_first(logits: Tensor, targets: Tensor) -> Tensor:
    return p.cross_entropy(logits.softmax(-1), targets)


def sigmoid_first(logits: Tensor, targets: Tensor) -> Tensor:
    wanted = nn.functional.one_hot(targets, logits.shape[-1]).float()
    return nn.functional.binary_cross_entropy_with_logits(logits.sigmoid(), wanted)


def evaluated_once(step: int) -> Callable[[Patient], None]:
    """model.eval() without the way back."""
    return lambda patient: patient.before.append(lambda at: patient.model.eval() and None if at == step else None)


def keep_gradients(patient: Patient) -> None:
    patient.clears = False


def deep(make: Callable[..., Patient], **options: Any) -> Make:
    def made(seed: int) -> Patient:
        return make(seed, **options)

    made.__name__ = f"{make.__name__}-{'-'.join(getattr(value, '__name__', str(value)).lower() for value in options.values())}"
    return made


def log_of_sigmoid(logits: Tensor, targets: Tensor) -> Tensor:
    """A cross-entropy written out, without protection from log 0; logits drift out of what float32 can tell from 1."""
    share = (20 * logits).sigmoid()
    return -(targets * share.log() + (1 - targets) * (1 - share).log()).mean()


def swap(old: type[nn.Module], new: type[nn.Module], factor: float) -> Callable[[Patient], None]:
    """Other activations, and hidden weights multiplied."""

    def plant(patient: Patient) -> None:
        for name, module in list(patient.model.named_modules()):
            if isinstance(module, old):
                patient.model.set_submodule(name, new())
        scale("*", factor)(patient)

    return plant
