"""`health.initial`: how large the weights of an untrained module are and should be, and how large its outputs are with depth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isfinite, nan, prod, sqrt
from typing import Any

from torch import Tensor, nn

from lettrine.activations import ACTIVATIONS
from lettrine.arguments import checked
from lettrine.health.findings import Report
from lettrine.health.trace import ModuleInfo, Trace
from lettrine.torch.initial import check_initial

PASSING = ("norm", "dropout")  # between a layer and its activation


@dataclass(frozen=True)
class LayerInitial:
    """One layer with weights, as it starts.

    name, kind: of the module; for attention and recurrent modules, of each matrix. output: std of its outputs. activation: the
    one after it, "" if none is known. gain: that of the activation; 1 without one, NaN if none is published.
    fan_in: inputs of one unit. is_std: std of the weight. should_be: gain / sqrt(fan_in), which keeps the scale from layer to
    layer (He et al. 2015). last: it makes the output, which should start small, so that the loss starts as that of a guess.
    """

    name: str
    kind: str
    output: float
    activation: str
    gain: float
    fan_in: int
    is_std: float
    should_be: float
    last: bool = False

    @property
    def factor(self) -> float:
        """By which factor the weight is too large."""
        return self.is_std / self.should_be if self.should_be > 0 else nan


@dataclass(frozen=True)
class Initial:
    """The layers from the input on, and the whole report that they come from."""

    layers: tuple[LayerInitial, ...]
    report: Report

    def __str__(self) -> str:
        width = max((len(layer.name) for layer in self.layers), default=5)
        head = f"{'layer':<{width}}  {'then':<11} {'fan-in':>7}  {'gain':>6}  {'std is':>9}  {'should be':>9}  {'output std':>10}"
        rows = [
            f"{each.name:<{width}}  {each.activation or '-':<11} {each.fan_in:>7,}  {_plain(each.gain):>6}  "
            f"{_plain(each.is_std):>9}  {'smaller' if each.last else _plain(each.should_be):>9}  {_plain(each.output):>10}"
            for each in self.layers
        ]
        return "\n".join([head, *rows])


@checked
def initial(model: nn.Module, batch: tuple[Any, Any], loss_fn: Callable[[Any, Any], Tensor], *, classes: int = 0) -> Initial:
    """Examine an untrained model on one batch: the std of every layer's output, and the scale that each weight should have.

    Arguments and errors are those of `health.check_initial`, and the model stays as it was. `report` has the findings.
    """
    report = check_initial(model, batch, loss_fn, classes=classes)
    return Initial(tuple(layers_of(report.trace)), report)


def layers_of(trace: Trace) -> list[LayerInitial]:
    """The layers of a trace's first sampled step."""
    fed: dict[str, list[ModuleInfo]] = {}
    for info in trace.modules:
        fed.setdefault(info.fed_by, []).append(info)
    weights = {info.module: info for info in trace.parameters if info.name.rpartition(".")[2] == "weight"}
    last = next((info.name for info in reversed(trace.modules) if info.role == "output"), "")
    rows: list[LayerInitial] = []
    for info in sorted(trace.modules, key=lambda each: each.depth):
        rows += _inside(info, trace)
        weight = weights.get(info.name)
        if weight is None or len(weight.shape) < 2 or info.role not in ("linear", "output") or info.name not in trace.outputs:
            continue
        after = _activation_after(info.name, fed)
        fan_in = prod(weight.shape[1:])
        gain = ACTIVATIONS[after].gain if after in ACTIVATIONS else 1.0
        rows.append(
            LayerInitial(
                info.name,
                info.kind,
                float(trace.output(info.name, "std")[0]),
                after,
                gain,
                fan_in,
                float(trace.parameter(weight.name, "std")[0]),
                gain / sqrt(fan_in),
                info.name == last,
            )
        )
    return rows


def _inside(info: ModuleInfo, trace: Trace) -> Iterator[LayerInitial]:
    """The matrices of a module that uses them itself instead of calling layers: attention, recurrent cells."""
    if info.role not in ("attention", "recurrent") or info.name not in trace.outputs:
        return
    output = float(trace.output(info.name, "std")[0])
    for weight in trace.parameters:
        within = f"{weight.module}.".startswith(f"{info.name}.")
        listed = weight.module != info.name and weight.module in trace.outputs
        if len(weight.shape) < 2 or not within or listed:
            continue
        fan_in = prod(weight.shape[1:])
        # The outputs of the inner matrices are not seen; that of the last one is the module's output.
        seen = output if weight.module != info.name else nan
        is_std = float(trace.parameter(weight.name, "std")[0])
        yield LayerInitial(weight.name, info.kind, seen, "", 1.0, fan_in, is_std, 1.0 / sqrt(fan_in))


def _activation_after(name: str, fed: dict[str, list[ModuleInfo]]) -> str:
    """The key of the activation that a module feeds, also through norms and dropout; "" if it feeds none."""
    for _ in range(8):
        following = fed.get(name, [])
        for info in following:
            if info.role == "activation":
                return info.activation
        passing = [info for info in following if info.role in PASSING]
        if not passing:
            return ""
        name = passing[0].name
    return ""


def _plain(value: float) -> str:
    return f"{value:.3g}" if isfinite(value) else "-"
