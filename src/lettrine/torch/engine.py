"""The torch engine: the reference's arithmetic by `CharMLP` and torch.optim, on a processor or a GPU.

It is for wide networks, whose matrix products gain from another device. It trains the arrays of `TrainState`, so a run can begin
on one engine and go on with another. Words are drawn on the processor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lettrine.engine.base import (
    Doubles,
    Drawer,
    Engine,
    Indices,
    Integers,
    Optimiser,
    TrainState,
    check_batches,
    check_examples,
    check_moments,
    moment_kinds,
)
from lettrine.engine.choice import choose_engine
from lettrine.engine.dropout import dropout_mask, key_of, rows_of
from lettrine.errors import EngineError
from lettrine.model.config import MLPConfig
from lettrine.model.counts import Counts
from lettrine.model.parameters import Array, check_parameters
from lettrine.torch.model import CharMLP

CHUNK: Final = 1 << 14  # examples evaluated at a time
_TORCH: Final = {"momentum": "momentum_buffer"}  # torch's name of a moment, where it is not ours


class TorchEngine:
    """The network in torch; see `lettrine.engine.base.Engine` for what each method promises.

    device: "cpu" or "cuda". Raises EngineError for a device that does not exist.
    """

    name: Final = "torch"

    def __init__(self, device: str = "cpu") -> None:
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise EngineError("device got cuda; torch sees no GPU here: take --device cpu")
        self.device = device
        self._other: Engine = choose_engine("auto")

    def train(  # noqa: D102 - documented by the protocol
        self,
        config: MLPConfig,
        optimiser: Optimiser,
        state: TrainState,
        contexts: Integers,
        targets: Integers,
        indices: Indices,
        learning_rates: Doubles,
        *,
        threads: int = 1,
        seed: int = 0,
    ) -> Doubles:
        check_parameters(config, state.parameters)
        check_moments(config, optimiser, state.parameters, state.moments)
        check_batches(indices, learning_rates, len(targets))
        picked, wanted = contexts[indices], targets[indices]  # (S, B, T), (S, B)
        check_examples(config, picked.reshape(-1, picked.shape[-1]), wanted.reshape(-1))
        losses = np.empty(len(indices), np.float64)
        with _threads(threads):
            model = self._model(config, state.parameters).train()
            dropouts = [_Dropped() for _ in model.dropouts]
            model.dropouts = nn.ModuleList(dropouts)
            ours, steps = dict(model.named_parameters()), state.step
            opt = _optimiser(optimiser, ours, state)
            x = torch.from_numpy(picked.astype(np.int32)).to(self.device)  # (S, B, T)
            y = torch.from_numpy(wanted.astype(np.int64)).to(self.device)  # (S, B)
            for place, rate in enumerate(learning_rates.tolist()):
                for layer, dropped in enumerate(dropouts):
                    dropped.draw(config, seed, steps, layer, picked[place])
                before = {name: value.clone() for name, value in model.named_buffers()}
                loss = functional.cross_entropy(model(x[place]), y[place])
                losses[place] = loss.item()
                if not np.isfinite(losses[place]):
                    for name, value in model.named_buffers():
                        value.copy_(before[name])
                    losses = losses[: place + 1]
                    break
                opt.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                for name, value in ours.items():
                    if optimiser.l2_of(name) and value.grad is not None:
                        value.grad += 2.0 * optimiser.l2_of(name) * value.detach()
                for group in opt.param_groups:
                    group["lr"] = rate
                opt.step()
                steps += 1
            _write_back(state, model, opt, optimiser, steps)
        return losses

    def logits(self, config: MLPConfig, parameters: Mapping[str, Array], contexts: Integers) -> Array:  # noqa: D102
        check_parameters(config, parameters)
        check_examples(config, contexts)
        empty = np.empty((0, config.vocabulary_size), parameters["embedding.weight"].dtype)
        return np.concatenate([empty, *(some.cpu().numpy() for some in self._logits(config, parameters, contexts))])

    def negative_log_likelihood(  # noqa: D102
        self, config: MLPConfig, parameters: Mapping[str, Array], contexts: Integers, targets: Integers, *, threads: int = 1
    ) -> Doubles:
        check_parameters(config, parameters)
        check_examples(config, contexts, targets)
        result = np.empty(len(targets), np.float64)
        with _threads(threads):
            for place, logits in enumerate(self._logits(config, parameters, contexts)):
                here = slice(place * CHUNK, place * CHUNK + len(logits))
                wanted = torch.from_numpy(targets[here].astype(np.int64)).to(self.device)
                result[here] = functional.cross_entropy(logits.double(), wanted, reduction="none").cpu().numpy()
        return result

    def drawer(self, *what: Any, **how: Any) -> Drawer:  # noqa: D102
        return self._other.drawer(*what, **how)

    def count_probabilities(self, counts: Counts, contexts: Integers, targets: Integers | None = None) -> Doubles:  # noqa: D102
        return self._other.count_probabilities(counts, contexts, targets)

    def _model(self, config: MLPConfig, parameters: Mapping[str, Array]) -> CharMLP:
        with torch.device("meta"):  # on this device nothing is initialised, since all is replaced at once
            model = CharMLP(config)
        tensors = {name: torch.tensor(value, device=self.device) for name, value in parameters.items()}
        model.load_state_dict(tensors, strict=False, assign=True)  # torch also counts batches; we do not use that
        return model

    @torch.no_grad()
    def _logits(self, config: MLPConfig, parameters: Mapping[str, Array], contexts: Integers) -> Iterator[Tensor]:
        model = self._model(config, parameters).eval()
        for start in range(0, len(contexts), CHUNK):
            yield model(torch.from_numpy(contexts[start : start + CHUNK].astype(np.int32)).to(self.device))


class _Dropped(nn.Module):
    """A dropout whose mask is given. So all engines drop the same units, see `lettrine.engine.dropout`."""

    mask: Tensor

    def draw(self, config: MLPConfig, seed: int, step: int, layer: int, contexts: Integers) -> None:
        """The mask of this step's batch (B, T)."""
        mask = dropout_mask(config.dropout, key_of(seed, step, layer), rows_of(contexts), config.hidden[layer], np.float64)
        self.mask = torch.from_numpy(mask)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.mask.to(x.dtype).to(x.device)


def _optimiser(optimiser: Optimiser, parameters: Mapping[str, nn.Parameter], state: TrainState) -> torch.optim.Optimizer:
    """Torch's optimiser, in the state of the run's."""
    groups = [{"params": [value], "weight_decay": optimiser.decay_of(name)} for name, value in parameters.items()]
    made: torch.optim.Optimizer
    if optimiser.kind == "adamw":
        made = torch.optim.AdamW(groups, lr=0.0, betas=(optimiser.beta1, optimiser.beta2), eps=optimiser.eps, fused=True)
    else:
        made = torch.optim.SGD(groups, lr=0.0, momentum=optimiser.momentum)
    for name, value in parameters.items():
        for kind in moment_kinds(optimiser):
            made.state[value][_TORCH.get(kind, kind)] = torch.tensor(state.moments[f"{kind}.{name}"], device=value.device)
        if optimiser.kind == "adamw":
            made.state[value]["step"] = torch.tensor(float(state.step), device=value.device)
    return made


def _write_back(state: TrainState, model: CharMLP, opt: torch.optim.Optimizer, optimiser: Optimiser, steps: int) -> None:
    """Copy the trained values into the arrays of the run."""
    for name, trained in model.to_parameters().items():
        state.parameters[name][...] = trained
    for name, value in model.named_parameters():
        for kind in moment_kinds(optimiser):
            state.moments[f"{kind}.{name}"][...] = opt.state[value][_TORCH.get(kind, kind)].cpu().numpy()
    state.step = steps


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Give torch this number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
