"""Inside recurrent modules: the gates and states that torch computes in one call."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Final

import torch
from torch import Tensor, nn

from lettrine.activations import TANH_SATURATED
from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader

_EXAMPLES: Final = 32  # examples followed in a batch
_TIME: Final = 64  # places followed in a sequence
_SIGMOID: Final = (1 - TANH_SATURATED) / 2  # sigmoid(2x) = (1 + tanh x) / 2


@reader
class Gates:
    """Evidence "gates": the first layer of a recurrent module, computed again with its current weights on a part of a batch.

    where: its name. figures: states_first, states (share of the states h of an RNN, or of the candidates of an LSTM or GRU,
    beyond tanh's `TANH_SATURATED`); gates_first, gates (the same for the sigmoid gates); each at the first and the last look;
    inputs (std of the module's input); recurrent (1 for a plain RNN); first, last (steps of the looks). words: kind, input and
    hidden (names of the weights).
    """

    whole: ClassVar[bool] = True

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, tuple[float, float], dict[str, float], dict[str, str]]] = {}

    def look(self, look: Look) -> Iterable[Evidence]:
        """Follow every recurrent module."""
        if look.place:
            return ()
        for call in look.modules:
            module, given = call.module, (call.args or (None,))[0]
            if not isinstance(module, nn.RNN | nn.LSTM | nn.GRU) or not isinstance(given, Tensor) or given.ndim != 3:
                continue
            shares = _run(module, given.detach(), call.args[1] if len(call.args) > 1 else None)
            if shares is None:
                continue
            first_step, first = self._found.get(call.name, (look.step, shares, {}, {}))[:2]
            figures = {
                "states_first": first[0],
                "gates_first": first[1],
                "states": shares[0],
                "gates": shares[1],
                "inputs": float(given.detach().float().std()),
                "recurrent": float(isinstance(module, nn.RNN)),
                "first": float(first_step),
                "last": float(look.step),
            }
            words = {"kind": type(module).__name__, "input": f"{call.name}.weight_ih_l0", "hidden": f"{call.name}.weight_hh_l0"}
            self._found[call.name] = first_step, first, figures, words
        return ()

    def finish(self) -> Iterable[Evidence]:
        """The first and the last look."""
        for name, (first, _, figures, words) in self._found.items():
            yield Evidence("gates", (name,), (first, int(figures["last"])), figures, words)


def _run(module: Any, given: Tensor, state: Any) -> tuple[float, float] | None:
    """Shares of saturated states and gates; None for kinds that are not computed again (a ReLU RNN, projections)."""
    if getattr(module, "nonlinearity", "tanh") != "tanh" or module.proj_size:
        return None
    table = given if module.batch_first else given.transpose(0, 1)
    table = table[:_EXAMPLES, :_TIME].to(module.weight_ih_l0.dtype)
    hidden = table.new_zeros(len(table), module.hidden_size)
    start = state[0] if isinstance(state, tuple) else state
    if isinstance(start, Tensor) and start.ndim == 3:
        hidden = start[0, : len(table)].detach()
    cell = torch.zeros_like(hidden)
    if isinstance(state, tuple) and isinstance(state[1], Tensor) and state[1].ndim == 3:
        cell = state[1][0, : len(table)].detach()
    bias = (module.bias_ih_l0, module.bias_hh_l0) if module.bias else (None, None)
    states, gates = [], []
    for place in range(table.shape[1]):
        ours = nn.functional.linear(table[:, place], module.weight_ih_l0, bias[0])
        theirs = nn.functional.linear(hidden, module.weight_hh_l0, bias[1])
        if isinstance(module, nn.LSTM):
            entry, keep, candidate, give = (ours + theirs).chunk(4, 1)
            candidate, sigmoids = candidate.tanh(), torch.cat([entry, keep, give], 1).sigmoid()
            entry, keep, give = sigmoids.chunk(3, 1)
            cell = keep * cell + entry * candidate
            hidden = give * cell.tanh()
        elif isinstance(module, nn.GRU):
            mine, yours = ours.chunk(3, 1), theirs.chunk(3, 1)
            sigmoids = torch.cat([mine[0] + yours[0], mine[1] + yours[1]], 1).sigmoid()
            reset, keep = sigmoids.chunk(2, 1)
            candidate = (mine[2] + reset * yours[2]).tanh()
            hidden = (1 - keep) * candidate + keep * hidden
        else:
            hidden = candidate = (ours + theirs).tanh()
            sigmoids = candidate[:, :0]
        states.append(candidate)
        gates.append(sigmoids)
    return _share(torch.cat(states), -TANH_SATURATED, TANH_SATURATED), _share(torch.cat(gates), _SIGMOID, 1 - _SIGMOID)


def _share(values: Tensor, low: float, high: float) -> float:
    return float(((values < low) | (values > high)).float().mean()) if values.numel() else 0.0
