"""Models and optimisers of other libraries in the form that a watch needs: named modules, and torch's hooks around each step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import wraps
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from lettrine.torch.capture.told import TOLD, Told


class ForeignModel(nn.Module):
    """Names the parts of a model that is no torch module. The user calls the model, never this module.

    inner: the modules that get hooks, beside the model. weights: all its weights; those that are parameters are watched.
    told: what is known of the modules.
    """

    def __init__(
        self,
        model: nn.Module,
        inner: Mapping[str, nn.Module],
        weights: Mapping[str, Tensor],
        told: Mapping[nn.Module, Told] | None = None,
    ) -> None:
        super().__init__()
        TOLD.update(told or {})
        # a dict, so that torch does not register them as parts of this module
        self._all = {"": self, type(model).__name__: model, **inner}
        self._weights = {name: value for name, value in weights.items() if isinstance(value, nn.Parameter)}

    def children(self) -> Iterator[nn.Module]:
        """The module that is called: the model."""
        return iter(list(self._all.values())[1:2])

    def named_modules(self, *_: Any, **__: Any) -> Iterator[tuple[str, nn.Module]]:
        """The model and its parts."""
        return iter(self._all.items())

    def named_parameters(self, *_: Any, **__: Any) -> Iterator[tuple[str, nn.Parameter]]:
        """Its weights."""
        return iter(self._weights.items())


class StandIn(Optimizer):
    """Stands for another library's optimiser. make: makes the step. rate: gives the present learning rate."""

    def __init__(self, parameters: Iterable[Tensor], rate: Callable[[], float], momentum: float) -> None:
        super().__init__(parameters, {"lr": rate(), "momentum": momentum})
        self._rate = rate

    def step(self, closure: None = None, *, make: Callable[[], Any]) -> Any:  # type: ignore[override]  # noqa: ARG002
        """Let the other library make the step."""
        self.param_groups[0]["lr"] = self._rate()
        return make()


def stand_in(
    optimiser: Any, method: str, parameters: Iterable[Tensor], rate: Callable[[], float], momentum: float = float("nan")
) -> tuple[Optimizer, Callable[[], None]]:
    """A stand-in for an optimiser whose `method` makes a step; it has the name of its class. And a function that removes it."""
    kind: type[StandIn] = type(type(optimiser).__name__, (StandIn,), {})
    standing, own = kind(parameters, rate, momentum), getattr(optimiser, method)

    @wraps(own)
    def stepped(*args: Any, **options: Any) -> Any:
        return standing.step(make=lambda: own(*args, **options))

    def leave() -> None:
        if vars(optimiser).get(method) is stepped:
            delattr(optimiser, method)

    setattr(optimiser, method, stepped)
    return standing, leave
