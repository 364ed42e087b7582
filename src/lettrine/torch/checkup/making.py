"""Builds a task from the user's arguments: draws the batches, tries the loss, and times a pass."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, default_collate

from lettrine.errors import HealthError
from lettrine.torch.capture.catalogue import kind_of, unwrapped
from lettrine.torch.checkup.labels import REFUSED, without_wrong_labels
from lettrine.torch.checkup.loading import place_of, users_code
from lettrine.torch.checkup.refused import without_refused
from lettrine.torch.checkup.sandbox import same_bits, sandbox
from lettrine.torch.checkup.task import Task
from lettrine.torch.checkup.values import fresh, leaves, moved
from lettrine.torch.watching.watch import being_watched

BATCHES: Final = 64  # batches drawn at most
BATCH_VALUES: Final = 2**27  # values in all of them together
PASSES: Final = 3  # passes timed: the first one in a process includes torch's setup, and a busy machine interrupts some
MODEL_NAMES: Final = frozenset(("model", "net", "network", "module", "m", "nn"))


def make_task(
    model: Any,
    batches: Any,
    loss_fn: Any,
    optimizer: Any,
    step: Any = None,
    *,
    minutes: float,
    autocast: torch.dtype | None = None,
) -> Task:
    """Take what was given, draw the batches, find out how the loss is called and how long a pass takes.

    Raises HealthError for what cannot be examined.
    """
    model = unwrapped(model, by="checkup")
    if being_watched(model):
        raise HealthError("checkup got a model that is watched now; expected one that is not: close the watch first")
    if not callable(loss_fn):
        raise HealthError(f"checkup got a loss_fn of type {type(loss_fn).__name__}; expected a function or a loss module")
    if isinstance(loss_fn, type):
        raise HealthError(
            f"checkup got the class {loss_fn.__name__} as loss_fn; expected an instance of it: {loss_fn.__name__}()"
        )
    optimizer = _bare(optimizer)
    if step is not None and not callable(step):
        raise HealthError(f"checkup got a step of type {type(step).__name__}; expected a function step(model, batch, optimizer)")
    if step is not None and optimizer is None:
        raise HealthError("checkup got a step and no optimizer; expected the one that the step uses: give it, or no step")
    for name, each in (*model.named_parameters(), *model.named_buffers()):
        if nn.parameter.is_lazy(each):
            raise HealthError(f"checkup got {name}, which has no shape yet; call the model once, then check it")
    for name, parameter in model.named_parameters():
        if parameter.is_meta:
            raise HealthError(f"checkup got {name} on the meta device, which holds no values; expected a model with weights")
    with sandbox(model, loss_fn, optimizer, step, batches), torch.inference_mode(mode=False), torch.enable_grad():
        taken, again = draw(batches)
        rows_first = isinstance(batches, DataLoader) and batches.collate_fn is default_collate
        task = Task(model, taken, loss_fn, optimizer, rows_first=rows_first, autocast=autocast, again=again, own_step=step)
    task = _called(task)
    task.begin(minutes)
    return task


def _bare(optimizer: Any) -> Optimizer | None:
    """The optimizer itself, if it is wrapped."""
    inner = optimizer if optimizer is None or isinstance(optimizer, Optimizer) else getattr(optimizer, "optimizer", None)
    if optimizer is not None and not isinstance(inner, Optimizer):
        raise HealthError(f"checkup got an optimizer of type {type(optimizer).__name__}; expected a torch.optim.Optimizer")
    return inner


def draw(batches: Any) -> tuple[list[Any], bool]:
    """The first batches, as copies, and whether the same batch came every time.

    Raises HealthError if there are none.
    """
    if isinstance(batches, Tensor | str | bytes | Mapping) or not isinstance(batches, Iterable):
        raise HealthError(f"checkup got batches of type {type(batches).__name__}; expected a list of batches or a DataLoader")
    taken: list[Any] = []
    first: Any = None
    again = True
    values = 0
    for batch in _drawn(batches):
        first = batch if first is None else first
        again = again and all(a is b for (_, a), (_, b) in zip(leaves(batch), leaves(first), strict=False))
        taken.append(fresh(batch))
        values += sum(tensor.numel() for _, tensor in leaves(batch))
        if len(taken) >= BATCHES or values > BATCH_VALUES:
            break
    if not taken:
        raise HealthError("checkup got batches that give nothing; expected at least one, such as [(inputs, targets)]")
    if not values and any(True for batch in taken for _ in leaves(batch)):
        raise HealthError("checkup got batches without an example; expected tensors that hold some")
    return taken, again


def _drawn(batches: Iterable[Any]) -> Iterator[Any]:
    """The batches; what raises while one is drawn is told in one line."""
    with users_code("drawing the batches"):
        yield from batches


def _called(task: Task) -> Task:
    """The task with the right way to call its loss, tried on the first batch, and timed."""
    pair = isinstance(task.batches[0], list | tuple) and len(task.batches[0]) >= 2
    ways = [True] if not pair else [True, False] if _wants_model(task.loss_fn) else [False, True]
    errors: list[str] = []
    inside = ""
    for whole in ways:
        batches = task.batches if whole else [moved(batch, task.device) for batch in task.batches]
        tried = replace(task, whole=whole, batches=batches, known={})
        try:
            if not whole:
                without_wrong_labels(tried)
                if tried.known.get(REFUSED):
                    return tried
            tried.seconds = _seconds(tried)
        except HealthError:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001  whatever the user's code raises is told to the user
            how = "loss_fn(model, batch)" if whole else "loss_fn(model(inputs), targets)"
            raised = f"{type(error).__name__}: {error}{place_of(error)}"
            inside = inside or (raised if not whole and not errors and _inside(task.model, error) else "")
            errors.append(f"{how}: {raised}")
        else:
            tried.stateful = _stateful(tried)
            without_refused(tried)
            return tried
    if inside:
        raise HealthError(
            f"checkup called the model with the inputs of the first batch, and it raised {inside}; expected it to take them. "
            "Mend the model, or give a loss_fn(model, batch) that calls it in another way"
        )
    single = "" if pair else f"the first batch is a {type(task.batches[0]).__name__}, not a pair; "
    raise HealthError(
        f"checkup could not compute a loss; {single}{'; '.join(errors)}. Give pairs (inputs, targets) and a "
        f"loss_fn(outputs, targets), or any batches and a loss_fn(model, batch); the model is a {kind_of(task.model)}"
    )


def _seconds(task: Task) -> float:
    """Of one forward and backward pass of the first batch. Raises HealthError for a model that nothing can be taught."""
    times = []
    with task.boxed():
        task.model.train()
        for _ in range(PASSES):
            begun = task.now()
            with _only_a_loss(task):
                loss = task.loss(task.batch())
            if loss.requires_grad:
                loss.backward()  # type: ignore[no-untyped-call]
            elif next(task.model.parameters(), None) is None:
                raise HealthError(f"checkup got a {kind_of(task.model)} without a parameter; expected a model to train")
            times.append(task.now() - begun)
    return min(times)


@contextmanager
def _only_a_loss(task: Task) -> Iterator[None]:
    """Raises HealthError for a loss function that calls backward(): experiments do that themselves."""
    called: list[Tensor] = []
    wanted = [each for each in task.model.parameters() if each.requires_grad and each.is_leaf]
    handles = [each.register_post_accumulate_grad_hook(called.append) for each in wanted]  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    if called:
        raise HealthError(
            "checkup got a loss_fn that calls backward(); expected one that only computes the loss. Give a whole training step "
            "as step(model, batch, optimizer), beside a loss_fn"
        )


def _inside(model: nn.Module, error: BaseException) -> bool:
    """Whether the error comes from inside the model's call."""
    modules = set(map(id, model.modules()))
    return any(id(frame.f_locals.get("self")) in modules for frame, _ in traceback.walk_tb(error.__traceback__))


def _stateful(task: Task) -> bool:
    """Whether a second pass in eval mode, with the same random numbers, gives another result."""
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
