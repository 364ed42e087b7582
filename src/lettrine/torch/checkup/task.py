"""The input of a check-up: a model, batches, a loss, an optimiser, and the one way in which every experiment uses them."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lettrine.errors import HealthError
from lettrine.health.checks import Skip
from lettrine.torch.checkup.call import Call, NotCalled
from lettrine.torch.checkup.clock import BUSY, clock
from lettrine.torch.checkup.sandbox import sandbox, seeded, uninterrupted
from lettrine.torch.checkup.values import fresh
from lettrine.torch.devices import has_float64

SEED: Final = 1
GRACE: Final = 0.1  # of the time limit: an experiment may run over by this share, to finish


@dataclass
class Task:
    """One training task, as every experiment sees it.

    batches: copies, in the order they came. whole: the loss function takes the model and the batch, else outputs and targets.
    rows_first: the batches come from a DataLoader that stacks examples along axis 0. autocast: dtype, None without.
    again: one and the same batch was handed over again and again. own_step: the user's training step, called with model, batch
    and optimiser.
    seconds: of one forward and backward pass. stateful: the model answers differently when it is asked the same again. budget:
    seconds there are in all. deadline: when they are up, by `clock`; latest: the same on a busy machine. reserved: seconds
    kept for the remedies.
    """

    model: nn.Module
    batches: list[Any]
    loss_fn: Callable[..., Any]
    optimizer: Optimizer | None
    whole: bool = False
    rows_first: bool = False
    autocast: torch.dtype | None = None
    again: bool = False
    own_step: Callable[..., Any] | None = None
    seconds: float = 0.0
    stateful: bool = False
    budget: float = float("inf")
    deadline: float = float("inf")
    latest: float = float("inf")
    reserved: float = 0.0
    known: dict[str, Any] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next((each.device for each in itertools.chain(self.model.parameters(), self.model.buffers())), torch.device("cpu"))

    def now(self) -> float:
        """The time, in seconds."""
        return clock()

    def begin(self, minutes: float) -> None:
        """Start the time there is."""
        self.budget = 60.0 * minutes
        self.deadline = clock() + self.budget
        self.latest = monotonic() + BUSY * self.budget

    def left(self) -> float:
        """Seconds left until the deadline, without those that are reserved."""
        return min(self.deadline - clock(), self.latest - monotonic()) - self.reserved

    def steps_in(self, share: float, most: int) -> int:
        """Training steps that fit into a share of the time that is left, at most `most`."""
        return max(0, int(min(most, share * self.left() / max(self.seconds, 1e-6))))

    def batch(self, number: int = 0) -> Any:
        """A copy of a batch; numbers beyond the last start again at the first."""
        return fresh(self.batches[number % len(self.batches)])

    def inputs(self, batch: Any) -> Call:
        """The arguments of the model's call for a batch. Raises NotCalled if the loss function never calls the model itself."""
        if not self.whole:
            inputs = batch[0] if len(batch) == 2 else tuple(batch[:-1])
            if isinstance(inputs, Mapping):
                return Call((), inputs)
            return Call(inputs, {}) if isinstance(inputs, tuple) else Call((inputs,), {})
        calls: list[Call] = []

        def note(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            calls.append(Call(args, kwargs))

        handle = self.model.register_forward_pre_hook(note, with_kwargs=True)
        try:
            with torch.no_grad():
                self.loss(fresh(batch))
        finally:
            handle.remove()
        if not calls:
            raise NotCalled
        return calls[0]

    def outputs(self, call: Call) -> Any:
        """The model's output, from copies of its inputs, always with the same random numbers and the same state."""
        with sandbox(self.model) if self.stateful else nullcontext(), self._casting():
            seeded(SEED)
            return self.model(*fresh(call.args), **fresh(dict(call.kwargs)))

    def loss(self, batch: Any) -> Tensor:
        """The loss of a batch, with its graph. Raises HealthError if it is not one number, Skip after the deadline."""
        if self.left() < -GRACE * self.budget:
            raise Skip("not run", "the time was up while it ran; give minutes=…")
        with self._casting():
            if self.whole:
                loss = self.loss_fn(self.model, batch)
            else:
                call = self.inputs(batch)
                loss = self.loss_fn(self.model(*call.args, **call.kwargs), batch[-1])
        if isinstance(loss, Tensor) and loss.numel() == 1:
            return loss.reshape(())
        found = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"type {type(loss).__name__}"
        wanted = "a tensor of one number, such as the mean over the batch: the loss alone, without item()"
        raise HealthError(f"checkup got a loss of {found}; expected {wanted}")

    def same_loss(self, number: int = 0, seed: int = SEED) -> float:
        """The loss of a batch without its graph, with given random numbers."""
        seeded(seed)
        with torch.no_grad():
            return float(self.loss(self.batch(number)))

    def step(self, number: int, optimizer: Optimizer | None = None) -> float:
        """One training step on a batch; the loss before it."""
        chosen = optimizer or self.optimizer
        assert chosen is not None  # noqa: S101  for the type checker: experiments that train say so
        losses: list[float] = []

        def closure() -> Tensor:
            chosen.zero_grad()
            loss = self.loss(self.batch(number))
            losses.append(float(loss.detach()))
            if loss.requires_grad:
                loss.backward()  # type: ignore[no-untyped-call]
            return loss

        if takes_closure(chosen):
            chosen.step(closure)  # type: ignore[arg-type]  # torch types closures as giving floats
        else:
            closure()
            chosen.step()
        return losses[0]

    def fallback_optimizer(self) -> Optimizer:
        """The task's optimiser, or Adam if none was given. Raises Skip if there is nothing to train."""
        return self.optimizer or self.adam(1e-3)

    def adam(self, rate: float) -> Optimizer:
        """Adam for what the task's optimiser holds, or for the whole model. Raises Skip if there is nothing to train."""
        held = [each for group in self.optimizer.param_groups for each in group["params"]] if self.optimizer else []
        wanted = [each for each in held or list(self.model.parameters()) if each.requires_grad]
        if not wanted:
            raise Skip("not applicable", "no parameter asks for a gradient")
        return torch.optim.Adam(wanted, lr=rate)

    @property
    def exactness(self) -> tuple[bool, ...]:
        """What `boxed` can be given for exact, the better first."""
        return (True, False) if has_float64(self.device) else (False,)

    @contextmanager
    def boxed(self, *, exact: bool = False) -> Iterator[None]:
        """A sandbox around everything of this task, quiet, with gradients, generators begun at SEED. exact: in float64, with new
        tensors in float64 too, such as masks that a forward pass makes.
        """
        with (
            sandbox(self.model, self.loss_fn, self.optimizer, self.own_step),
            _settings(exact=exact),
            warnings.catch_warnings(),
            torch.inference_mode(mode=False),
            torch.enable_grad(),
        ):
            warnings.simplefilter("ignore")
            seeded(SEED)
            if exact:
                self.model.double()
            yield

    def _casting(self) -> Any:
        return torch.autocast(self.device.type, dtype=self.autocast) if self.autocast else nullcontext()


@contextmanager
def _settings(*, exact: bool) -> Iterator[None]:
    """New tensors in float64 if wanted, and no attention kernel that needs masks of another type."""
    kind, fast = torch.get_default_dtype(), torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        if exact:
            torch.set_default_dtype(torch.float64)
        yield
    finally:
        with uninterrupted():
            torch.set_default_dtype(kind)
            torch.backends.mha.set_fastpath_enabled(fast)


def takes_closure(optimizer: Optimizer) -> bool:
    """Whether the optimiser must evaluate the loss itself in a step, as LBFGS."""
    return isinstance(optimizer, torch.optim.LBFGS)
