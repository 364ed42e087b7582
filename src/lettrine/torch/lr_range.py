"""`health.lr_range`: the learning-rate range test of any torch module, with everything put back afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lettrine.arguments import checked
from lettrine.errors import HealthError
from lettrine.health.range_test import HIGH, LOW, STEPS, RangeTest, sweep
from lettrine.torch.initial import restored


@checked
def lr_range(
    model: nn.Module,
    optimizer: Optimizer,
    loss_fn: Callable[[Any, Any], Tensor],
    batches: Iterable[tuple[Any, Any]],
    *,
    low: float = LOW,
    high: float = HIGH,
    steps: int = STEPS,
) -> RangeTest:
    """Raise the learning rate step by step, on a fresh or half trained model, and say which rates work.

    loss_fn: called as loss_fn(model(inputs), targets). batches: pairs (inputs, targets), such as a DataLoader; they begin again
    when they run out. inputs: a tensor, a tuple of positional or a mapping of named arguments. Parameter groups keep the ratios
    of their rates: the rates swept are those of the group with the highest one.

    Afterwards weights, buffers, gradients, the optimiser's state and settings, modes and random generators are as before, bit by
    bit, also after an exception. A model in eval mode is swept in training mode.
    Raises HealthError for batches that are empty or cannot begin again, a loss of several values, or rates that are all 0.
    """
    rates = [float(group["lr"]) for group in optimizer.param_groups]
    if not max(rates, default=0.0) > 0.0:
        raise HealthError(
            "lr_range got an optimizer whose learning rates are all 0; give its groups rates above 0, whose ratios it then keeps"
        )
    endless = _endless(batches)
    parameters = tuple(parameter for group in optimizer.param_groups for parameter in group["params"])

    def step(rate: float) -> float:
        for group, own in zip(optimizer.param_groups, rates, strict=True):
            _set_rate(group, rate * own / max(rates))
        inputs, targets = next(endless)

        def closure() -> Tensor:
            optimizer.zero_grad()
            if isinstance(inputs, Mapping):
                output = model(**inputs)
            else:
                output = model(*inputs) if isinstance(inputs, tuple) else model(inputs)
            loss = loss_fn(output, targets)
            if not isinstance(loss, Tensor) or loss.numel() != 1:
                found = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"type {type(loss).__name__}"
                raise HealthError(f"lr_range got a loss of {found}; expected one number, such as the mean over the batch")
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        loss: Any = optimizer.step(closure)  # type: ignore[arg-type]  # torch types closures as giving floats
        return float(loss.detach())

    with restored(model, loss_fn, parameters), _optimizer_restored(optimizer), torch.enable_grad():
        if not model.training:
            model.train()
        return sweep(step, low=low, high=high, steps=steps)


def _endless(batches: Iterable[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
    """The batches, again and again."""
    taken = 0
    while True:
        before = taken
        for batch in batches:
            if not isinstance(batch, tuple | list) or len(batch) != 2:
                raise HealthError(f"lr_range got a batch of type {type(batch).__name__}; expected a pair: (inputs, targets)")
            taken += 1
            yield batch[0], batch[1]
        if taken == before:
            raise HealthError(
                f"lr_range got batches that ran out after {taken}; "
                "give something that can begin again, such as a list or a DataLoader"
            )


def _set_rate(group: dict[str, Any], rate: float) -> None:
    if isinstance(group["lr"], Tensor):  # a capturable optimiser keeps its rate on the device
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


@contextmanager
def _optimizer_restored(optimizer: Optimizer) -> Iterator[None]:
    """Restore the optimiser's state, in the same tensors, and its settings.

    `load_state_dict` would not do: it casts the values and replaces every tensor.
    """
    memory = {parameter: {key: (value, _copy(value)) for key, value in own.items()} for parameter, own in optimizer.state.items()}
    settings = [
        {key: (value, _copy(value)) for key, value in group.items() if key != "params"} for group in optimizer.param_groups
    ]
    # A schedule notes on the optimiser whether it ever stepped, and warns accordingly.
    stepped = {name: value for name, value in vars(optimizer).items() if name in ("_opt_called", "_step_count")}
    try:
        yield
    finally:
        optimizer.state.clear()
        with torch.no_grad():
            for parameter, own in memory.items():
                optimizer.state[parameter] = {key: _put_back(*pair) for key, pair in own.items()}
            for group, held in zip(optimizer.param_groups, settings, strict=True):
                for key in set(group) - set(held) - {"params"}:
                    del group[key]
                group.update({key: _put_back(*pair) for key, pair in held.items()})
        for name in ("_opt_called", "_step_count"):
            if name in stepped:
                setattr(optimizer, name, stepped[name])
            else:
                vars(optimizer).pop(name, None)


def _copy(value: Any) -> Any:
    """A copy of an optimiser's state: tensors, numbers, lists and mappings of them."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: _copy(each) for key, each in value.items()}
    return [_copy(each) for each in value] if isinstance(value, list) else value


def _put_back(held: Any, copied: Any) -> Any:
    """The same objects, with the values they had when they were copied."""
    if isinstance(held, Tensor):
        if held.shape != copied.shape:  # emptied or resized in between
            return copied
        held.detach().copy_(copied)
        return held
    return copied
