"""Names of tensors as they appear in code, also of tensors that no module registers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from torch import Tensor, nn

from lettrine.torch.capture.catalogue import clean_name

_REGISTERED: Final = ("_parameters", "_buffers", "_modules")


def hidden_tensors(model: nn.Module) -> dict[int, tuple[str, Tensor]]:
    """By id: tensors in attributes, lists and dicts of modules that are not registered.

    Names are written as in code: "layers[0].weight".
    """
    found: dict[int, tuple[str, Tensor]] = {}
    registered = {id(each) for each in (*model.parameters(), *model.buffers())}
    seen = {id(each) for each in model.modules()}
    for name, module in model.named_modules():
        own = {key: value for key, value in vars(module).items() if key not in _REGISTERED}
        for path, tensor in _within(own, clean_name(name), seen):
            if id(tensor) not in registered:
                found.setdefault(id(tensor), (path, tensor))
    return found


def _within(value: Any, path: str, seen: set[int], depth: int = 0) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, nn.Module):
        if id(value) not in seen:
            seen.add(id(value))
            for name, parameter in (*value.named_parameters(), *value.named_buffers()):
                yield f"{path}.{name}", parameter
    elif depth < 4 and isinstance(value, Mapping):
        for key, each in value.items():
            plain = depth == 0 and isinstance(key, str)
            yield from _within(each, (f"{path}.{key}" if path else key) if plain else f"{path}[{key!r}]", seen, depth + 1)
    elif depth < 4 and isinstance(value, list | tuple):
        for place, each in enumerate(value):
            yield from _within(each, f"{path}[{place}]", seen, depth + 1)
