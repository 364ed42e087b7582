"""`lettrine.init.calibrate`: scale the weights of any module on a batch, until the outputs of every layer have the wished std.

Layer-sequential unit variance (Mishkin & Matas 2016, "All you need is a good init"). It uses no formula of fan-in and gain, so it
works for convolutions, attention and all else between them. The numpy twin for lettrine's own engines is `engine.calibration`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf, isfinite, nan
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from lettrine.arguments import checked
from lettrine.errors import HealthError
from lettrine.torch.capture.catalogue import kind_of, named_modules, role_of, unwrapped
from lettrine.torch.capture.outputs import main_tensor
from lettrine.torch.graph.reading import linear_makers
from lettrine.torch.initial import restored

__all__ = ["Calibration", "LayerScale", "calibrate"]

WISHED_STD: Final = 1.0  # of the outputs of a layer, before its activation
LOGIT_STD: Final = 0.1  # costs 0.005 nats more than a uniform guess; 0 would give the layers below no gradient
TRIES: Final = 4  # tries to bring the logits to that std, where something non-linear follows the last layer
CLOSE: Final = 0.02  # relative


@dataclass(frozen=True)
class LayerScale:
    """What was done to one layer.

    before, after: std of its outputs. factor: its weight and bias were multiplied by it. note: why the layer was left as it is.
    """

    name: str
    kind: str
    before: float
    after: float
    factor: float = 1.0
    note: str = ""


@dataclass(frozen=True)
class Calibration:
    """What `calibrate` did.

    layers: in the order of the forward pass. loss: before and after. uniform: the loss of logits that are all 0; NaN if the model
    returns more than one tensor.
    """

    layers: tuple[LayerScale, ...]
    loss: tuple[float, float]
    uniform: float

    def __str__(self) -> str:
        width = max((len(layer.name) for layer in self.layers), default=5)
        lines = [f"{'layer':<{width}}  std before  std after  factor"]
        for layer in self.layers:
            rest = layer.note or f"{layer.factor:.3g}"
            lines.append(f"{layer.name:<{width}}  {layer.before:>10.3g}  {layer.after:>9.3g}  {rest}")
        ending = "" if self.uniform != self.uniform else f"; a uniform guess has {self.uniform:.4f}"
        return "\n".join([*lines, f"loss {self.loss[0]:.4f} before, {self.loss[1]:.4f} after{ending}"])


@checked
def calibrate(
    model: nn.Module, batch: tuple[Any, Any], loss_fn: Callable[[Any, Any], Tensor], *, std: float = WISHED_STD
) -> Calibration:
    """Scale the weights of a fresh model, in place, so that every layer's outputs have standard deviation `std` on this batch.

    batch: inputs and targets; the inputs are a tensor, a tuple of positional or a mapping of named arguments. loss_fn: called as
    loss_fn(model(inputs), targets). A layer's weight and bias are scaled together, from the input on, in one forward pass in
    training mode. The layers that make the model's output are scaled so small that the loss is that of a uniform guess.

    Some layers are left as they are, with a note: embeddings and layers that share a weight with one, recurrent layers, frozen
    weights, computed weights (weight norm), layers whose outputs do not differ. Buffers, gradients, modes and random generators
    do not change. After an exception nothing has changed.

    Raises HealthError for a compiled or scripted model, outputs that are not finite, or a loss of several values.
    """
    if not 0.0 < std < inf:
        raise HealthError(f"calibrate got a std of {std}; expected a number above 0")
    model = unwrapped(model)
    inputs, targets = batch
    with restored(model, loss_fn, inputs):
        model.train()
        work = _Work(model, inputs, targets, loss_fn, std)
        before, uniform = work.loss_before()
        work.scale_layers()
        work.scale_output()
        after = work.loss()
        kept = [(parameter, parameter.detach().clone()) for parameter in model.parameters()]
    with torch.no_grad():
        for parameter, value in kept:
            parameter.copy_(value)
    return Calibration(tuple(work.scales.values()), (before, after), uniform)


class _Work:
    """One calibration: the model, its batch, and the layers scaled so far."""

    def __init__(self, model: nn.Module, inputs: Any, targets: Any, loss_fn: Callable[[Any, Any], Tensor], std: float) -> None:
        self.model, self.inputs, self.targets, self.loss_fn, self.std = model, inputs, targets, loss_fn, std
        self.names = {module: name for name, module in named_modules(model)}
        self.scales: dict[str, LayerScale] = {}
        tables = [module for module in model.modules() if isinstance(module, nn.Embedding | nn.EmbeddingBag)]
        self.tied = {id(parameter) for table in tables for parameter in table.parameters(recurse=False)}
        self.random = torch.get_rng_state()

    def forward(self) -> Any:
        # Dropout draws the same masks each time, so that the same values are scaled and measured.
        torch.set_rng_state(self.random)
        if isinstance(self.inputs, Mapping):
            return self.model(**self.inputs)
        return self.model(*self.inputs) if isinstance(self.inputs, tuple) else self.model(self.inputs)

    def value_of(self, output: Any) -> float:
        loss = self.loss_fn(output, self.targets)
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            found = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"type {type(loss).__name__}"
            raise HealthError(f"calibrate got a loss of {found}; expected one number, such as the mean over the batch")
        return float(loss.detach())

    def loss_before(self) -> tuple[float, float]:
        """The loss of the model, and the loss of logits that are all 0."""
        with torch.no_grad():
            output = self.forward()
            uniform = self.value_of(torch.zeros_like(output)) if isinstance(output, Tensor) else nan
            return self.value_of(output), uniform

    def loss(self) -> float:
        with torch.no_grad():
            return self.value_of(self.forward())

    def scale_layers(self) -> None:
        """One forward pass. At its first call each layer is scaled, before its output is passed on."""
        handles = []
        for module in self.names:
            role = role_of(module)
            if isinstance(module, nn.MultiheadAttention):
                handles.append(module.register_forward_pre_hook(self._before_attention, with_kwargs=True))
                handles.append(module.register_forward_hook(self._after_attention))
            elif role == "linear":
                handles.append(module.register_forward_hook(self._after_linear))
            elif role == "recurrent":
                handles.append(module.register_forward_hook(self._after_other))
        try:
            with torch.no_grad():
                self.forward()
        finally:
            for handle in handles:
                handle.remove()

    def scale_output(self) -> None:
        """Shrink the layers whose sum is the model's output, until its std is LOGIT_STD."""
        makers = self._makers()
        note = next(filter(None, (self._note(module) for module in makers)), "") or ("" if makers else "not found")
        if note:
            return
        first = 1.0
        for _ in range(TRIES):
            with torch.no_grad():
                output = main_tensor(self.forward())
                now = _spread(output, "the model") if output is not None else nan
                if not now > 0.0 or abs(now / LOGIT_STD - 1.0) < CLOSE:
                    break
                factor = LOGIT_STD / now
                first *= factor
                for module in makers:
                    _multiply(module, factor)
        for module in makers:
            name = self.names[module]
            known = self.scales.get(name, LayerScale(name, kind_of(module), nan, nan))
            self.scales[name] = LayerScale(name, known.kind, known.before, known.after * first, known.factor * first)

    def _makers(self) -> list[nn.Module]:
        """The modules with weights whose outputs make the output by adding, joining and reshaping alone."""
        nodes: dict[Any, nn.Module] = {}

        def note(module: nn.Module, _: Any, output: Any) -> None:
            tensor = main_tensor(output)
            if tensor is not None and tensor.grad_fn is not None:
                nodes.setdefault(tensor.grad_fn, module)

        weighted = [m for m in self.names if isinstance(getattr(m, "weight", None), Tensor) and role_of(m) in ("linear", "norm")]
        handles = [module.register_forward_hook(note) for module in weighted]
        try:
            with torch.enable_grad():
                output = main_tensor(self.forward())
        finally:
            for handle in handles:
                handle.remove()
        if output is None or output.grad_fn is None:
            return []
        return list(dict.fromkeys(nodes[node] for node in linear_makers(output.grad_fn, nodes.keys())))

    def _note(self, module: nn.Module) -> str:
        """Why a module's weight is not scaled; "" if it is."""
        weight = dict(module.named_parameters(recurse=False)).get("weight")
        if weight is None:
            return "left: its weight is computed"  # an attribute then, and no parameter
        if id(weight) in self.tied:
            return "left: shares its weight with an embedding"
        return "" if weight.requires_grad else "left: frozen"

    def _after_linear(self, module: nn.Module, _: Any, output: Any) -> Any:
        name = self.names[module]
        if name in self.scales or not isinstance(output, Tensor):
            return None
        now, note = _spread(output, name), self._note(module)
        if note or not now > 0.0:
            self.scales[name] = LayerScale(name, kind_of(module), now, now, note=note or "left: its outputs are all alike")
            return None
        factor = self.std / now
        _multiply(module, factor)
        self.scales[name] = LayerScale(name, kind_of(module), now, self.std, factor)
        return output * factor

    def _after_other(self, module: nn.Module, _: Any, output: Any) -> None:
        name, tensor = self.names[module], main_tensor(output)
        if name not in self.scales and tensor is not None:
            now = _spread(tensor, name)
            self.scales[name] = LayerScale(name, kind_of(module), now, now, note="left: recurrent")

    def _before_attention(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Attention makes queries, keys and values inside. Their weights belong to no module of their own."""
        name = self.names[module]
        if f"{name}.query" in self.scales:
            return
        attention: Any = module
        given = dict(zip(("query", "key", "value"), args, strict=False)) | kwargs
        for place, part in enumerate(("query", "key", "value")):
            own = slice(place * attention.embed_dim, (place + 1) * attention.embed_dim)
            whole = attention.in_proj_weight
            weight = whole[own] if whole is not None else getattr(attention, f"{part[0]}_proj_weight")
            bias = None if attention.in_proj_bias is None else attention.in_proj_bias[own]
            now = _spread(functional.linear(given[part], weight, bias), f"{name}.{part}")
            shown = f"{name}.{part}"
            if not now > 0.0 or not (weight if whole is None else whole).requires_grad:
                self.scales[shown] = LayerScale(shown, "projection", now, now, note="left: frozen, or its outputs are all alike")
                continue
            weight.mul_(self.std / now)
            if bias is not None:
                bias.mul_(self.std / now)
            self.scales[shown] = LayerScale(shown, "projection", now, self.std, self.std / now)

    def _after_attention(self, module: nn.Module, _: Any, output: Any) -> Any:
        attention: Any = module
        name = f"{self.names[module]}.out_proj"
        if name in self.scales:
            return None
        now, note = _spread(output[0], name), self._note(attention.out_proj)
        if note or not now > 0.0:
            self.scales[name] = LayerScale(name, "projection", now, now, note=note or "left: its outputs are all alike")
            return None
        factor = self.std / now
        _multiply(attention.out_proj, factor)
        self.scales[name] = LayerScale(name, "projection", now, self.std, factor)
        return (output[0] * factor, *output[1:])


def _spread(output: Tensor, name: str) -> float:
    """Standard deviation of all values. Raises HealthError if it is not finite."""
    value = float(output.detach().double().std()) if output.numel() > 1 else 0.0
    if not isfinite(value):
        raise HealthError(
            f"the outputs of {name} are not finite before anything was trained; see what it is given, and its weights"
        )
    return value


def _multiply(module: nn.Module, factor: float) -> None:
    for part, parameter in module.named_parameters(recurse=False):  # not an attribute that computes it
        if part in ("weight", "bias"):
            parameter.mul_(factor)
