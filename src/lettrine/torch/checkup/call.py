"""The arguments of a model's call, and how to change them for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from lettrine.torch.checkup.values import mapped


@dataclass(frozen=True)
class Call:
    """The arguments of a model's call."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    @property
    def given(self) -> dict[str, Any]:
        """All arguments by position or name."""
        return {**{str(place): each for place, each in enumerate(self.args)}, **self.kwargs}

    def with_given(self, given: Mapping[str, Any]) -> Call:
        """The same call with other values."""
        args = tuple(given[str(place)] for place in range(len(self.args)))
        return Call(args, {key: given[key] for key in self.kwargs})


@contextmanager
def inputs_changed(model: nn.Module, change: Callable[[str, Tensor], Tensor] | None) -> Iterator[None]:
    """Change the arguments of the model's calls while the block runs. `change` gets the path of each tensor; None leaves it as
    it is.
    """
    if change is None:
        yield
        return

    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        changed = tuple(mapped(each, change, str(place)) for place, each in enumerate(args))
        return changed, {key: mapped(each, change, key) for key, each in kwargs.items()}

    handle = model.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


class NotCalled(Exception):  # noqa: N818  # not an error: an answer
    """The loss function does not call the model itself."""
