"""The labelled cases: healthy networks, and the same ones with one fault planted."""

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
    also: other findings that are true of it as well. held_out: whether limits were chosen without looking at it.
    quick: whether it belongs to the subset that the test suite runs. every: of lettrine's watch, 0 for the default.
    """

    name: str
    fault: str
    make: Make
    where: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    held_out: bool = False
    quick: bool = False
    every: int = 0


CASES: list[Case] = []


def healthy(make: Make, *, held_out: bool = False, quick: bool = False, also: tuple[str, ...] = (), **options: Any) -> None:
    extra = "".join(f"-{key}" for key in options)
    CASES.append(Case(f"healthy/{make.__name__}{extra}", "", lambda seed: make(seed, **options), (), also, held_out, quick))


def sick(fault: str, make: Make, plant: Callable[[Patient], Any], where: str = "", **options: Any) -> None:
    """A healthy patient with a fault planted in it."""

    def planted(seed: int) -> Patient:
        patient = make(seed)
        plant(patient)
        return patient

    name = f"{fault}/{make.__name__}{options.pop('variant', '')}"
    CASES.append(Case(name, fault, planted, tuple(where.split()), **options))


def scale(name: str, factor: float) -> Callable[[Patient], None]:
    """Multiply a module's weight, or with "*" those of all hidden linear layers."""

    def plant(patient: Patient) -> None:
        with torch.no_grad():
            for own, module in patient.model.named_modules():
                if isinstance(module, nn.Linear | nn.Conv2d) and (own == name or (name == "*" and own != "head")):
                    module.weight.mul_(factor)

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


def constant(value: float, *, only: str = "") -> Callable[[Patient], None]:
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


def few_examples(patient: Patient) -> None:
    few = patient.task.inputs[:150], patient.task.targets[:150]
    generator = torch.Generator().manual_seed(patient.task.seed + 3)

    def batch(_: int) -> tuple[Tensor, Tensor]:
        picked = torch.randint(150, (32,), generator=generator)
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


def grow_rate(factor: float) -> Callable[[Patient], None]:
    def plant(patient: Patient) -> None:
        def before(_: int) -> None:
            for group in patient.optimizer.param_groups:
                group["lr"] *= factor

        patient.before.append(before)

    return plant


def deep(make: Callable[..., Patient], **options: Any) -> Make:
    def made(seed: int) -> Patient:
        return make(seed, **options)

    made.__name__ = f"{make.__name__}-{'-'.join(getattr(value, '__name__', str(value)).lower() for value in options.values())}"
    return made


NORMS = "body.1 body.4 body.7 body.10"
TANHS = "body.1 body.3 body.5 body.7"
relu5, sigmoid8, tanh_conv = (
    deep(p.mlp_relu, layers=5),
    deep(p.mlp_tanh, activation=nn.Sigmoid, layers=8),
    deep(p.conv, activation=nn.Tanh),
)
sigmoid_conv = deep(p.conv, activation=nn.Sigmoid, layers=6)

healthy(p.mlp_tanh, quick=True)
healthy(p.mlp_tanh, gain=1.0)
healthy(p.mlp_batchnorm, quick=True)
healthy(p.mlp_relu, quick=True)
healthy(p.mlp_gelu)
healthy(p.mlp_dropout)
healthy(p.conv)
healthy(p.resnet)
healthy(p.lstm)
healthy(p.transformer)
healthy(p.transformer, dropout=0.1)
for make in (p.gru, p.encoder, p.mlp_selu, p.mlp_sigmoid, p.mlp_leaky, p.regression, p.conv_sgd):
    healthy(make)
for make in (p.mlp_layernorm, p.separable, p.elman, p.autoencoder, p.binary):
    healthy(make, held_out=True)

sick("initial-loss", p.mlp_tanh, scale("head", 30), "head", quick=True)
sick("initial-loss", p.transformer, scale("head", 60), "head")
sick("initial-loss", p.lstm, scale("head", 80), "head")
sick("saturation", p.mlp_tanh, scale("*", 4), TANHS, also=("gradient-scale",), quick=True)
sick("saturation", tanh_conv, scale("*", 10), "body.1 body.3 body.5")
sick("saturation", sigmoid8, scale("*", 30), TANHS, also=("gradient-scale",))
sick("dead-units", p.mlp_relu, fill_bias("body.2", -8), "body.3", also=("no-learning",), quick=True)
sick("dead-units", p.conv, fill_bias("body.2", -6), "body.3", also=("no-learning",))
sick("dead-units", p.mlp_gelu, fill_bias("body.0", -12), "body.1", also=("no-learning",))
sick("dead-units", p.mlp_dropout, fill_bias("body.3", -20), "body.4", also=("no-learning",))
sick(
    "activation-scale", relu5, scale("*", 5), "body.1", also=("initial-loss", "gradient-scale", "update-too-large", "non-finite")
)
sick("activation-scale", p.mlp_selu, scale("*", 0.15), "body.1 body.3", also=("gradient-scale", "no-learning"), quick=True)
sick("activation-scale", p.mlp_leaky, scale("*", 10), "body.1", also=("initial-loss", "gradient-scale"))
sick("gradient-scale", sigmoid8, scale("*", 1), f"{TANHS} body.0 embedding", also=("no-learning",), quick=True)
sick("gradient-scale", sigmoid_conv, scale("*", 1), "body.1 body.0", also=("no-learning",))
sick("gradient-data", p.mlp_batchnorm, scale("body.3", 15), "body.3.weight", quick=True)
sick("gradient-data", p.resnet, scale("blocks.1.conv1", 30), "blocks.1.conv1.weight")
sick("gradient-data", p.transformer, scale("layers.1.mlp.0", 200), "layers.1.mlp.0.weight")
sick("update-too-large", p.mlp_tanh, rate(60), "body.0.weight", also=("saturation", "divergence", "no-learning"), quick=True)
sick("update-too-large", p.transformer, rate(100), "head.weight", also=("divergence", "no-learning"))
sick("update-too-large", p.resnet, rate(100), "head.weight", also=("divergence", "no-learning"))
sick("update-too-large", p.lstm, rate(100), "rnn.weight_hh_l0", also=("divergence", "no-learning"))
sick("update-too-small", p.mlp_tanh, rate(1e-3), also=("no-learning",), quick=True)
sick("update-too-small", p.transformer, rate(1e-4), also=("no-learning",))
sick("update-too-small", p.resnet, rate(1e-4), also=("no-learning",))
sick("no-gradient", p.mlp_tanh, wrap("body.4", Detached), "body.0.weight embedding.weight", quick=True)
sick("no-gradient", p.conv, wrap("body.2", Detached), "body.0.weight")
sick("no-gradient", p.lstm, unused, "spare.weight")
sick("no-gradient", p.transformer, unused, "spare.weight")
sick("not-optimised", p.mlp_tanh, leave_out("body"), "body.0.weight", quick=True)
sick("not-optimised", p.transformer, leave_out("head"), "head.weight")
sick("not-optimised", p.resnet, leave_out("blocks"), "blocks.0.conv1.weight")
sick("symmetry", p.mlp_tanh, constant(0.05, only="body"), "body.2.weight", also=("no-learning",), quick=True)
sick("symmetry", p.mlp_relu, constant(0.0), "body.0.weight", also=("no-learning", "no-gradient"))
sick("symmetry", p.conv, constant(0.1, only="body"), "body.0.weight", also=("no-learning",))
sick("symmetry", p.lstm, constant(0.1), "rnn.weight_hh_l0")
sick("non-finite", p.mlp_relu, behind("body.3", Log), "body.3.1", variant="-log", quick=True)
sick("non-finite", p.conv, behind("body.3", Root), "body.3.0 body.2", variant="-root")
sick("non-finite", p.mlp_relu, poison(150, lambda x: x * float("nan")), variant="-data")
sick("non-finite", p.mlp_relu, poison(150, lambda x: x * float("nan")), "body.0", variant="-data-every-step", every=1)
sick("non-finite", p.mlp_leaky, poison(200, lambda x: x * float("inf")))
sick("divergence", p.mlp_tanh, ascend, also=("update-too-large", "saturation", "non-finite"), quick=True)
sick("divergence", p.lstm, ascend, also=("update-too-large",))
sick("divergence", p.conv, ascend, also=("update-too-large", "non-finite"))
sick("oscillation", p.mlp_gelu, in_order(6), also=("no-learning",), quick=True)
sick("oscillation", p.mlp_leaky, in_order(4), also=("no-learning", "dead-units"))
sick("no-learning", p.mlp_tanh, random_targets, quick=True)
sick("no-learning", p.conv, random_targets)
sick("no-learning", p.lstm, random_targets)
sick("no-learning", p.encoder, random_targets)
sick("leak", p.mlp_gelu, target_in_vector, quick=True)
sick("leak", p.lstm, target_in_context)
sick("leak", p.transformer, target_in_context)
sick("leak", p.mlp_relu, target_in_vector)
sick("overfitting", p.mlp_gelu, few_examples, quick=True)
sick("overfitting", p.conv, few_examples)
sick("overfitting", p.mlp_batchnorm, few_examples)
sick("held-out-labels", p.mlp_tanh, wrong_held_out(last_input), quick=True)
sick("held-out-labels", p.mlp_relu, wrong_held_out(next_class))
sick("bias-before-norm", deep(p.mlp_batchnorm, bias=True), scale("head", 1), "body.0", quick=True)
sick("bias-before-norm", deep(p.resnet, bias=True), scale("head", 1), "stem")
sick("norm-statistics", p.mlp_batchnorm, slow_norm(1e-4), NORMS, quick=True, variant="-slow")
sick("norm-statistics", p.resnet, slow_norm(1e-4, offset=3.0), "bn", variant="-slow")
sick("norm-statistics", p.mlp_batchnorm, tiny_batches(2), NORMS, variant="-batch-of-2", also=("no-learning",))
sick("probabilities-as-logits", p.mlp_tanh, with_loss(softmax_first), "head", quick=True)
sick("probabilities-as-logits", p.conv, with_loss(sigmoid_first), "head")
sick("probabilities-as-logits", p.transformer, behind("head", lambda: nn.Softmax(-1)), "head head.1")
sick("wrong-mode", p.mlp_dropout, lambda patient: patient.model.eval(), "body.2", quick=True)
sick("wrong-mode", p.resnet, evaluated_once(60), "bn")
sick("wrong-mode", p.encoder, evaluated_once(100), "encoder.layers.0.dropout")
sick("missing-zero-grad", p.mlp_tanh, keep_gradients, quick=True)
sick("missing-zero-grad", p.resnet, keep_gradients)
sick("missing-zero-grad", p.lstm, keep_gradients)
sick("spike", p.mlp_tanh, one_huge_step(200, 3_000), quick=True, also=("saturation", "divergence"))
sick("spike", p.mlp_relu, poison(200, lambda x: 300 * x), also=("dead-units", "divergence", "non-finite"), variant="-batch")
sick("spike", p.mlp_selu, one_huge_step(250, 1_000), also=("dead-units", "divergence", "non-finite"))

sick("initial-loss", p.mlp_layernorm, scale("head", 30), "head", held_out=True)
sick("saturation", p.binary, scale("*", 12), "body.1 body.3", held_out=True)
sick("dead-units", p.separable, fill_bias("body.4", -9), "body.5", held_out=True, also=("no-learning",))
sick("update-too-large", p.separable, rate(100), "head.weight", held_out=True, also=("divergence", "no-learning"))
sick("update-too-large", p.elman, rate(100), "rnn.weight_hh_l0", held_out=True, also=("divergence", "no-learning"))
sick("update-too-small", p.mlp_layernorm, rate(1e-4), held_out=True, also=("no-learning",))
sick("no-gradient", p.mlp_layernorm, wrap("body.6", Detached), "body.0.weight", held_out=True)
sick("not-optimised", p.autoencoder, leave_out("encoder"), "encoder.1.weight", held_out=True)
sick("symmetry", p.mlp_layernorm, constant(0.1), "body.3.weight", held_out=True, also=("no-learning", "no-gradient"))
sick("non-finite", p.separable, poison(70, lambda x: x * float("nan")), held_out=True)
sick("divergence", p.separable, ascend, held_out=True, also=("update-too-large", "non-finite"))
sick("oscillation", p.mlp_layernorm, in_order(5), held_out=True, also=("no-learning",))
sick("no-learning", p.binary, random_targets, held_out=True)
sick("no-learning", p.separable, random_targets, held_out=True)
sick("leak", p.elman, target_in_context, held_out=True)
sick("overfitting", p.separable, few_examples, held_out=True)
sick("held-out-labels", p.mlp_layernorm, wrong_held_out(next_class), held_out=True)
sick("wrong-mode", p.separable, evaluated_once(50), "body.1", held_out=True)
sick("missing-zero-grad", p.autoencoder, keep_gradients, held_out=True)
sick("spike", p.elman, one_huge_step(200, 300), held_out=True, also=("divergence",))
sick("probabilities-as-logits", p.mlp_layernorm, with_loss(softmax_first), "head", held_out=True)
