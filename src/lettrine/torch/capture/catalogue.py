"""Facts about a module: its role, its activation, the axis of the units in its output, its names.

Only types and attributes are read here. Nothing is run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from lettrine.activations import ACTIVATIONS
from lettrine.errors import HealthError
from lettrine.health.trace import ParameterInfo
from lettrine.torch.capture.told import told_of
from lettrine.torch.private import CONVOLUTION, DROPOUT, NORM, POOLINGS

WRAPPERS: Final = (nn.DataParallel, nn.parallel.DistributedDataParallel)
_INSERTED: Final = re.compile(r"(?:^|(?<=\.))(?:_fsdp_wrapped_module|_checkpoint_wrapped_module|_orig_mod)(?:\.|$)")

_UNJUDGED: Final = (  # no table says which outputs of these are dead
    *(nn.LogSigmoid, nn.Softmin, nn.Softmax, nn.Softmax2d, nn.LogSoftmax),
    *(nn.Softshrink, nn.Hardshrink, nn.Tanhshrink, nn.Threshold, nn.GLU),
)
_ACTIVATIONS: Final[dict[type[nn.Module], str]] = {
    **dict.fromkeys(_UNJUDGED, ""),
    **{getattr(nn, row.torch): name for name, row in ACTIVATIONS.items() if row.torch != "Identity"},
    nn.RReLU: "leaky-relu",
}

# The zones are those of an activation with its standard arguments; with others it is not judged. Arguments that are strings,
# such as GELU's "approximate", only choose how it is computed.
_STANDARD: Final[dict[str, dict[str, float]]] = {
    name: {key: value for key, value in row.arguments.items() if not isinstance(value, str)} for name, row in ACTIVATIONS.items()
}

_NORMS: Final = (NORM, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm)
CHANNELS_FIRST: Final = (CONVOLUTION, NORM, nn.GroupNorm, nn.LocalResponseNorm, *POOLINGS)
UNITS_LAST: Final = (nn.Linear, nn.Bilinear, nn.LayerNorm, nn.Embedding, nn.EmbeddingBag, nn.RNNBase, nn.MultiheadAttention)


def is_compiled(model: nn.Module) -> bool:
    """Whether torch.compile was called on the model or a part of it, in place or not."""
    return any(
        hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None for module in model.modules()
    )


def called_first(model: nn.Module) -> list[nn.Module]:
    """The modules that a user calls: those inside of a container without a forward of its own, else the model."""
    return list(model.children()) if not has_forward(model) and any(True for _ in model.children()) else [model]


def has_forward(model: nn.Module) -> bool:
    """Whether a module can be called."""
    return type(model).forward is not nn.Module.forward


def unwrapped(model: nn.Module, *, hookless: bool = False, by: str = "watch") -> nn.Module:
    """The user's own module, without a data-parallel wrapper.

    hookless: whether it may be a module whose parts cannot have hooks: one that is compiled, or that holds parameters alone.
    by: who asks, for the message. Raises HealthError for anything else than a module, and for such a module unless it may be one.
    """
    if not isinstance(model, nn.Module):
        raise HealthError(f"{by} got a {type(model).__name__}; expected a torch.nn.Module")
    if isinstance(model, torch.jit.ScriptModule):
        raise HealthError(f"{by} got a scripted module, whose parts cannot have hooks; hand over the module it was made from")
    if not hookless and is_compiled(model):
        raise HealthError(
            "got a model made by torch.compile, whose parts cannot have hooks; hand it over uncompiled, and compile it then"
        )
    while isinstance(model, WRAPPERS) or hasattr(model, "_orig_mod"):
        inner: Any = model
        model = inner.module if isinstance(model, WRAPPERS) else inner._orig_mod  # noqa: SLF001  as torch.compile names it
    parameters = hookless and any(True for _ in model.parameters())
    if not (parameters or has_forward(model) or any(True for _ in model.children())):
        own = {name: value for name, value in vars(model).items() if not name.startswith("_")}
        hidden = [name for name, value in own.items() if isinstance(value, list | tuple | dict) and value]
        layers = (
            f" If its layers lie in self.{hidden[0]}, make that an nn.ModuleList or nn.ModuleDict: a plain list registers none, "
            "and neither parameters(), to() nor state_dict() know of them."
            if hidden
            else ""
        )
        raise HealthError(
            f"{by} got a {kind_of(model)} without a forward of its own and without registered layers; expected a module that is "
            f"called.{layers}"
        )
    return model


def clean_name(name: str) -> str:
    """A qualified name without the parts that wrappers insert."""
    return _INSERTED.sub("", name).rstrip(".")


def named_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Every module once, by its first name; the model itself by its class. Not those that compute weights (parametrisations)."""
    for name, module in model.named_modules():
        if "parametrizations" not in name.split("."):
            yield clean_name(name) or kind_of(model), module


def parameter_info(model: nn.Module, name: str, parameter: nn.Parameter, optimised: bool | None) -> ParameterInfo:
    """The facts of a parameter. name: as in `named_parameters`."""
    path = clean_name(name).split(".")
    owner = path[: path.index("parametrizations")] if "parametrizations" in path else path[:-1]
    module = ".".join(owner) or kind_of(model)
    return ParameterInfo(".".join(path), module, tuple(parameter.shape), parameter.requires_grad, optimised)


def kind_of(module: nn.Module) -> str:
    """The name of the class, as it was before any parametrisation."""
    kind = parametrize.type_before_parametrizations(module)
    return str(kind.__name__)


def activation_of(module: nn.Module) -> str | None:
    """The key in the table of activations; "" for an activation that is not in it; None for other modules."""
    if told := told_of(module).activation:
        return told
    for kind, key in _ACTIVATIONS.items():
        if type(module) is kind or (kind is not nn.Hardtanh and isinstance(module, kind)):
            wanted = _STANDARD.get(key, {})
            return key if all(getattr(module, name, None) == value for name, value in wanted.items()) else ""
    return None


def role_of(module: nn.Module) -> str:
    """The role, one of those in `ModuleInfo`, by the type of the module, or else by the parameters that it owns itself."""
    if told := told_of(module).role:
        return told
    roles: tuple[tuple[str, tuple[type, ...]], ...] = (
        ("norm", _NORMS),
        ("embedding", (nn.Embedding, nn.EmbeddingBag)),
        ("recurrent", (nn.RNNBase, nn.RNNCellBase)),
        ("attention", (nn.MultiheadAttention,)),
        ("dropout", (DROPOUT,)),
        ("linear", (nn.Linear, nn.Bilinear, CONVOLUTION)),
    )
    for role, kinds in roles:
        if isinstance(module, kinds):
            return role
    if activation_of(module) is not None:
        return "activation"
    own = list(module.parameters(recurse=False))
    if own and "norm" in kind_of(module).lower():
        return "norm"
    # to read a weight that is computed (spectral norm) changes the training
    made: Any = module.parametrizations if parametrize.is_parametrized(module, "weight") else None
    weight = getattr(module, "weight", None) if made is None else next(iter(made["weight"].parameters()), None)
    if isinstance(weight, Tensor) and weight.ndim >= 2 and not isinstance(weight, nn.UninitializedParameter):
        return "linear"
    return "other"


def has_bias(module: nn.Module) -> bool:
    """Whether the module adds its own bias."""
    return isinstance(getattr(module, "bias", None), Tensor)
