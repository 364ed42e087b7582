"""All private names of torch that this room uses. Each is looked up once. If torch does not have it, a substitute is used.

With a substitute something is not observed. It never raises an error in the user's training.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, TypeVar, cast

import torch
from torch import Tensor, nn

T = TypeVar("T")


def _asked(path: str, otherwise: Callable[..., Any]) -> Callable[..., Any]:
    """The function of torch with this dotted name, or the substitute."""
    found: Any = torch
    for name in path.split("."):
        found = getattr(found, name, None)
    return found if callable(found) else otherwise


exporting: Final = _asked("compiler.is_exporting", lambda: False)
"""Whether `torch.export` is tracing."""

_tracing_state: Final = _asked("_C._get_tracing_state", lambda: None)

graph_task: Final = _asked("_C._current_graph_task_id", lambda: -1)
"""Number of the backward pass that is going on, -1 if none is. Without it a checkpointed block counts as called twice."""

transform_level: Final = _asked("_C._functorch.maybe_current_level", lambda: None)
"""Depth of function transforms (`torch.func`), None outside of them. Without it, calls inside them count as training."""

in_transform: Final = _asked("_C._functorch.is_functorch_wrapped_tensor", lambda _: False)
"""Whether a tensor stands for many inside a function transform. Such a tensor has no values to copy."""

without_modes: Final[Callable[[], AbstractContextManager[None]]] = _asked("_C.DisableTorchFunction", nullcontext)
"""In its `with` block no function mode sees the calls. Without it the user's function modes see our own calls, too."""

_saving: Final = _asked("_C._autograd._top_saved_tensors_default_hooks", lambda _: True)
_push: Final = _asked("_C._push_on_torch_function_stack", lambda _: None)
_pop: Final = _asked("_C._pop_torch_function_stack", lambda: None)
_depth: Final = _asked("_C._len_torch_function_stack", lambda: 0)


def _base(path: str, *otherwise: type) -> Any:
    """The base class of torch with this dotted name, or the public classes derived from it."""
    return _asked(path, lambda: None) if isinstance(_asked(path, lambda: None), type) else otherwise


BATCH_NORM: Final = _base("nn.modules.batchnorm._BatchNorm", nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
NORM: Final = _base(
    "nn.modules.batchnorm._NormBase",
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
)
CONVOLUTION: Final = _base(
    "nn.modules.conv._ConvNd",
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d),
    *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
)
DROPOUT: Final = _base(
    "nn.modules.dropout._DropoutNd",
    *(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d),
    *(nn.AlphaDropout, nn.FeatureAlphaDropout),
)
POOLINGS: Final = (
    _base("nn.modules.pooling._MaxPoolNd", nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d),
    _base("nn.modules.pooling._AvgPoolNd", nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    _base("nn.modules.pooling._AdaptiveAvgPoolNd", nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    _base("nn.modules.pooling._AdaptiveMaxPoolNd", nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
)
"""Base classes that several public classes share: all batch norms, all batch and instance norms, and so on."""


default_store: Final = _asked("distributed.distributed_c10d._get_default_store", lambda: None)
"""The store by which the processes of a training found each other. Without it each rank reports for itself."""


def sequence_number(node: Any) -> int | None:
    """Place of an operation among those that autograd noted; None if torch does not tell."""
    asked = getattr(node, "_sequence_nr", None)
    return int(asked()) if callable(asked) else None


def recomputing() -> bool:
    """Whether a backward pass is running. A call in it repeats a checkpointed block."""
    return bool(graph_task() != -1)


_untraced: Final = _asked("_disable_dynamo", lambda function: function)


def apart(function: Callable[..., T]) -> Callable[..., T]:
    """A function that Dynamo never traces, nor what it calls. torch._dynamo is imported when it is first called."""
    return cast("Callable[..., T]", _untraced(function))


def forced_eager() -> bool:
    """Whether `torch.compiler.set_stance("force_eager")` is on, so that what is compiled runs as it was written."""
    frame = sys.modules.get("torch._dynamo.eval_frame")
    return getattr(getattr(frame, "_stance", None), "stance", "") == "force_eager"


def transformed() -> bool:
    """Whether a function transform (`torch.func`) or a trace is running. A call in it is no call of the training."""
    return transform_level() is not None or traced()


def traced() -> bool:
    """Whether `torch.jit.trace` or `torch.export` is tracing the model."""
    return _tracing_state() is not None or bool(exporting())


def replace_scripting(wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Let `torch.jit.script` make modules by the wrapped function. Without it a model cannot be scripted in a sampled step."""
    place = sys.modules.get("torch.jit._recursive")
    make = getattr(place, "create_script_module", None)
    if place is not None and callable(make):
        setattr(place, "create_script_module", wrap(make))  # noqa: B010  a plain assignment is refused by mypy


def held(module: nn.Module) -> dict[str, Any]:
    """What a module has under each name. Without torch's tables, what is registered as None is left out."""
    own = vars(module) | dict(module.named_parameters(recurse=False)) | dict(module.named_children())
    return own | getattr(module, "_parameters", {}) | getattr(module, "_modules", {})


def saves_elsewhere() -> bool:
    """Whether unpacking a tensor that autograd saved would run the user's code (checkpointing); True if torch cannot say."""
    return _saving(False) is not None


def saved(node: Any, name: str) -> Any:
    """The value that an autograd node saved under a name, such as "dim"; None if it saved none, or has freed it."""
    try:
        return getattr(node, f"_saved_{name}", None)
    except RuntimeError:  # freed by a backward pass
        return None


def types(node: Any) -> list[torch.dtype]:
    """The types of what an autograd node made; empty if torch does not tell."""
    return [each.dtype for each in getattr(node, "_input_metadata", None) or ()]


def sequence(node: Any) -> int:
    """The number that an autograd node got when it was made, in the order of its thread; -1 if torch does not tell."""
    number = getattr(node, "_sequence_nr", None)
    return int(number()) if callable(number) else -1


def tag(node: Any, what: object) -> None:
    """Put an object into the notes of an autograd node, which go when the node goes. Without such notes it goes at once."""
    notes = getattr(node, "metadata", None)
    if isinstance(notes, dict):
        notes[what] = True


def version(tensor: Tensor) -> int:
    """Autograd's count of changes in place."""
    return int(getattr(tensor, "_version", 0))


def viewed(tensor: Tensor) -> Tensor:
    """The tensor that this one is a view of, or itself. Without it views of one tensor count as different ones."""
    base = getattr(tensor, "_base", None)
    return base if isinstance(base, Tensor) else tensor


def put_below(mode: Any) -> bool:
    """Put a function mode at the bottom of torch's stack of modes, so that each `with` block of the user pops its own mode.

    The mode of `set_default_device` must be the lowest and stays below ours. Returns whether this torch can do that.
    """
    above = [_pop() for _ in range(_depth())]
    default = getattr(getattr(torch, "_GLOBAL_DEVICE_CONTEXT", None), "device_context", None)
    if above and above[-1] is default:
        _push(above.pop())
    for each in (mode, *reversed(above)):
        _push(each)
    return bool(_depth() > len(above))


def take_off(mode: Any) -> None:
    """Remove a function mode from the stack, wherever it is. The others keep their order."""
    for each in reversed([_pop() for _ in range(_depth())]):
        if each is not mode:
            _push(each)


def compiles() -> bool:
    """Whether `torch.compile` was used in this process. Then a function mode would make Dynamo compile everything again."""
    frame = sys.modules.get("torch._dynamo.eval_frame")  # torch.optim also imports it; then it holds None
    backends = getattr(frame, "cached_backends", None)
    if frame is None or forced_eager():
        return False
    return backends is None or any(backend is not None for backend in backends.values())
