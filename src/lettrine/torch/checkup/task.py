"""What a check-up is given: a model, batches, a loss, an optimiser, and the one way in which every experiment uses them."""

from __future__ import annotations

import inspect
import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from time import monotonic as clock
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, default_collate

from lettrine.errors import HealthError
from lettrine.torch.capture.catalogue import kind_of, unwrapped
from lettrine.torch.checkup.sandbox import same_bits, sandbox, seeded, uninterrupted
from lettrine.torch.checkup.values import fresh, leaves, mapped, moved
from lettrine.torch.watch import being_watched

BATCHES: Final = 64  # taken at most, and
BATCH_VALUES: Final = 2**27  # values in them together
SEED: Final = 1
PASSES: Final = 3  # timed: the first of a process pays for what torch sets up, and a busy machine interrupts some
MODEL_NAMES: Final = frozenset(("model", "net", "network", "module", "m", "nn"))


@dataclass(frozen=True)
class Call:
    """What the model is called with."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    @property
    def given(self) -> dict[str, Any]:
        """All of it by place or name."""
        return {**{str(place): each for place, each in enumerate(self.args)}, **self.kwargs}

    def with_given(self, given: Mapping[str, Any]) -> Call:
        """The same call with other values."""
        args = tuple(given[str(place)] for place in range(len(self.args)))
        return Call(args, {key: given[key] for key in self.kwargs})


@dataclass
class Task:
    """One training task, as every experiment sees it.

    batches: copies, in the order they came. whole: the loss function takes the model and the batch, else outputs and targets.
    rows_first: the batches come from a DataLoader that stacks examples along axis 0. autocast: dtype, None without.
    seconds: of one forward and backward pass. stateful: the model answers differently when it is asked the same again. deadline:
    when the time is up, by `clock`.
    """

    model: nn.Module
    batches: list[Any]
    loss_fn: Callable[..., Any]
    optimizer: Optimizer | None
    whole: bool = False
    rows_first: bool = False
    autocast: torch.dtype | None = None
    seconds: float = 0.0
    stateful: bool = False
    deadline: float = float("inf")
    known: dict[str, Any] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next((each.device for each in itertools.chain(self.model.parameters(), self.model.buffers())), torch.device("cpu"))

    def now(self) -> float:
        """The time, in seconds."""
        return clock()

    def left(self) -> float:
        """Seconds before the time is up."""
        return self.deadline - clock()

    def steps_in(self, share: float, most: int) -> int:
        """Training steps that fit into a share of the time that is left, at most `most`."""
        return max(0, min(most, int(share * self.left() / max(self.seconds, 1e-6))))

    def batch(self, number: int = 0) -> Any:
        """A copy of a batch; they are begun anew when they run out."""
        return fresh(self.batches[number % len(self.batches)])

    def inputs(self, batch: Any) -> Call:
        """What the model is called with for a batch. Raises NotCalled if the loss function never calls the model itself."""
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
        """What the model gives, from copies of its inputs, always with the same random numbers and from the same state."""
        with sandbox(self.model) if self.stateful else nullcontext(), self._casting():
            seeded(SEED)
            return self.model(*fresh(call.args), **fresh(dict(call.kwargs)))

    def loss(self, batch: Any) -> Tensor:
        """The loss of a batch, with its graph. Raises HealthError for a loss that is not one number."""
        with self._casting():
            if self.whole:
                loss = self.loss_fn(self.model, batch)
            else:
                call = self.inputs(batch)
                loss = self.loss_fn(self.model(*call.args, **call.kwargs), batch[-1])
        if isinstance(loss, Tensor) and loss.numel() == 1:
            return loss.reshape(())
        found = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"type {type(loss).__name__}"
        raise HealthError(f"checkup got a loss of {found}; expected one number, such as the mean over the batch")

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
        """The task's optimiser, or Adam where none was given."""
        return self.optimizer or torch.optim.Adam([each for each in self.model.parameters() if each.requires_grad], lr=1e-3)

    @contextmanager
    def boxed(self, *, exact: bool = False) -> Iterator[None]:
        """A sandbox around everything of this task, quiet, with gradients, generators begun at SEED. exact: in float64, with new
        tensors in float64 too, such as masks that a forward pass makes.
        """
        with (
            sandbox(self.model, self.loss_fn, self.optimizer),
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
    """New tensors in float64 if wanted, and no attention kernel that takes masks of another type as they are."""
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


@contextmanager
def inputs_changed(model: nn.Module, change: Callable[[str, Tensor], Tensor] | None) -> Iterator[None]:
    """Change what the model is called with, each tensor by its path, while the block runs; None changes nothing."""
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


def takes_closure(optimizer: Optimizer) -> bool:
    """Whether the optimiser cannot step without evaluating the loss itself, as LBFGS."""
    return isinstance(optimizer, torch.optim.LBFGS)


def make_task(
    model: Any, batches: Any, loss_fn: Any, optimizer: Any, *, minutes: float, autocast: torch.dtype | None = None
) -> Task:
    """Take what was given, draw the batches, find out how the loss is called and how long a pass takes.

    Raises HealthError for what cannot be examined.
    """
    model = unwrapped(model)
    if being_watched(model):
        raise HealthError("checkup got a model that is watched now; expected one that is not: close the watch first")
    if not callable(loss_fn):
        raise HealthError(f"checkup got a loss_fn of type {type(loss_fn).__name__}; expected a function or a loss module")
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        inner = getattr(optimizer, "optimizer", None)
        if not isinstance(inner, Optimizer):
            raise HealthError(f"checkup got an optimizer of type {type(optimizer).__name__}; expected a torch.optim.Optimizer")
        optimizer = inner
    for name, parameter in model.named_parameters():
        if isinstance(parameter, nn.UninitializedParameter):
            raise HealthError(f"checkup got {name}, which has no shape yet; call the model once, then check it")
    with sandbox(model, loss_fn, optimizer, batches), torch.inference_mode(mode=False), torch.enable_grad():
        taken = draw(batches)
        rows_first = isinstance(batches, DataLoader) and batches.collate_fn is default_collate
        task = Task(model, taken, loss_fn, optimizer, rows_first=rows_first, autocast=autocast)
    task = _called(task)
    task.deadline = clock() + 60.0 * minutes
    return task


def draw(batches: Any) -> list[Any]:
    """The first batches, as copies. Raises HealthError if there are none."""
    if isinstance(batches, Tensor | str | bytes | Mapping) or not isinstance(batches, Iterable):
        raise HealthError(f"checkup got batches of type {type(batches).__name__}; expected a list of batches or a DataLoader")
    taken: list[Any] = []
    values = 0
    for batch in batches:
        taken.append(fresh(batch))
        values += sum(tensor.numel() for _, tensor in leaves(batch))
        if len(taken) >= BATCHES or values > BATCH_VALUES:
            break
    if not taken:
        raise HealthError("checkup got batches that give nothing; expected at least one, such as [(inputs, targets)]")
    return taken


def _called(task: Task) -> Task:
    """The task with the right way to call its loss, tried on the first batch, and timed."""
    pair = isinstance(task.batches[0], list | tuple) and len(task.batches[0]) >= 2
    ways = [True] if not pair else [True, False] if _wants_model(task.loss_fn) else [False, True]
    errors: list[str] = []
    for whole in ways:
        batches = task.batches if whole else [moved(batch, task.device) for batch in task.batches]
        tried = replace(task, whole=whole, batches=batches)
        try:
            with tried.boxed():
                tried.model.train()
                times = []
                for _ in range(PASSES):
                    begun = clock()
                    loss = tried.loss(tried.batch())
                    if loss.requires_grad:
                        loss.backward()  # type: ignore[no-untyped-call]
                    times.append(clock() - begun)
                tried.seconds = min(times)
        except HealthError:
            raise
        except Exception as error:  # noqa: BLE001  whatever the user's code raises is told to the user
            how = "loss_fn(model, batch)" if whole else "loss_fn(model(inputs), targets)"
            errors.append(f"{how}: {type(error).__name__}: {error}")
        else:
            tried.stateful = _stateful(tried)
            return tried
    raise HealthError(
        f"checkup could not compute a loss; {'; '.join(errors)}. Give pairs (inputs, targets) and a loss_fn(outputs, targets), "
        f"or any batches and a loss_fn(model, batch); the model is a {kind_of(task.model)}"
    )


def _stateful(task: Task) -> bool:
    """Whether a second pass in eval mode, with the same random numbers, gives something else."""
    try:
        with task.boxed(), torch.no_grad():
            call = task.inputs(task.batch())
            task.model.eval()
            first, second = ([each.detach().clone() for _, each in leaves(task.outputs(call))] for _ in range(2))
            return any(not same_bits(a, b) for a, b in zip(first, second, strict=False))
    except Exception:  # noqa: BLE001  what cannot be called in eval mode shows where that is needed
        return False


def _wants_model(loss_fn: Any) -> bool:
    """Whether the first argument is a model, by its name or annotation."""
    if isinstance(loss_fn, nn.Module):
        return False
    try:
        first = next(iter(inspect.signature(loss_fn).parameters.values()), None)
    except (TypeError, ValueError):
        return False
    if first is None:
        return False
    hinted = isinstance(first.annotation, type) and issubclass(first.annotation, nn.Module)
    return hinted or first.name.lower() in MODEL_NAMES or "Module" in str(first.annotation)
