"""What watching costs in each framework: the same training with and without, side by side.

    .venv-frameworks/bin/python benchmarks/bench_frameworks.py [NAME...] [--steps 300] [--rounds 5]

A perceptron of a million parameters, batches of 64, on the processor. cost: processor time of the training with the callback by
that without, median over rounds in which one is run right after the other; the lowest and the highest beside it. The report at
the end is not in it: seconds of it follow. Frameworks that are not installed are left out. Exit code 1 beyond LIMIT.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib.util
import io
import logging
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from lettrine import health
from lettrine.integrations import watching

LIMIT = 1.05
SIZE = 64
REPORTING = [0.0]  # seconds of processor time in which reports were made


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(128, 832), nn.ReLU(), nn.Linear(832, 992), nn.ReLU(), nn.Linear(992, 64))  # 996,784 parameters


def examples(count: int) -> tuple[Tensor, Tensor]:
    x = torch.randn(count, 128, generator=torch.Generator().manual_seed(1))
    return x, x[:, :64].argmax(1)


def loader(steps: int) -> DataLoader[Any]:
    return DataLoader(TensorDataset(*examples(SIZE * steps)), SIZE)


def plain(steps: int, *, watched: bool) -> None:
    model = network()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    watch = health.watch(model, optimiser) if watched else None
    if watch is not None:
        watch.start()
    for x, y in loader(steps):
        optimiser.zero_grad()
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        optimiser.step()
        if watch is not None:
            watch.loss(loss)
    if watch is not None:
        watch.close()
        report(watch.report)


def lightning(steps: int, *, watched: bool) -> None:
    from lightning.pytorch import LightningModule, Trainer

    from lettrine.integrations.lightning import HealthCheck

    class Module(LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def training_step(self, batch: Any, _: int) -> Tensor:
            return functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=1e-3)

    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    callbacks = [HealthCheck(show=False, save=False)] if watched else []
    Trainer(max_epochs=1, accelerator="cpu", callbacks=callbacks, **quiet).fit(Module(), loader(steps))


def transformers(steps: int, *, watched: bool) -> None:
    from transformers import PrinterCallback, Trainer, TrainingArguments

    from lettrine.integrations.transformers import HealthCallback

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
            logits = self.net(x)
            return {"loss": functional.cross_entropy(logits, labels), "logits": logits}

    x, y = examples(SIZE * steps)
    rows = [{"x": one, "labels": other} for one, other in zip(x, y, strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            use_cpu=True,
            report_to=[],
            disable_tqdm=True,
            per_device_train_batch_size=SIZE,
            num_train_epochs=1,
            save_strategy="no",
        )
        trainer = Trainer(
            Model(), arguments, train_dataset=rows, callbacks=[HealthCallback(show=False, save=False)] if watched else []
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()


def accelerate(steps: int, *, watched: bool) -> None:
    from accelerate import Accelerator

    from lettrine.integrations.accelerate import watch

    accelerator = Accelerator(cpu=True)
    model = network()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model, optimiser, data = accelerator.prepare(model, optimiser, loader(steps))
    seen = watch(accelerator, model, optimiser) if watched else contextlib.nullcontext()
    with seen:
        for x, y in data:
            optimiser.zero_grad()
            accelerator.backward(functional.cross_entropy(model(x), y))
            optimiser.step()
    if watched:
        report(seen.report)


def keras(steps: int, *, watched: bool) -> None:
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    from lettrine.integrations.keras import HealthCheck

    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(832, "relu"), keras.layers.Dense(992, "relu"), keras.layers.Dense(64)]
    model = keras.Sequential([keras.Input((128,)), *layers])
    model.compile("adamw", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x, y = examples(SIZE * steps)
    callbacks = [HealthCheck(show=False, save=False)] if watched else []
    model.fit(x.numpy(), y.numpy(), batch_size=SIZE, epochs=1, verbose=0, callbacks=callbacks)


def skorch(steps: int, *, watched: bool) -> None:
    from skorch import NeuralNetClassifier

    from lettrine.integrations.skorch import HealthCheck

    x, y = examples(SIZE * steps)
    callbacks = [HealthCheck(show=False, save=False)] if watched else []
    NeuralNetClassifier(
        network(),
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.AdamW,
        lr=1e-3,
        batch_size=SIZE,
        max_epochs=1,
        train_split=None,
        verbose=0,
        callbacks=callbacks,
    ).fit(x, y)


def ignite(steps: int, *, watched: bool) -> None:
    from ignite.engine import create_supervised_trainer

    from lettrine.integrations.ignite import HealthCheck

    model = network()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    trainer = create_supervised_trainer(model, optimiser, nn.CrossEntropyLoss())
    if watched:
        HealthCheck(model, optimiser, show=False, save=False).attach(trainer)
    trainer.run(loader(steps), max_epochs=1)


def fastai(steps: int, *, watched: bool) -> None:
    from fastai.callback import progress as _progress  # noqa: F401  puts no_bar on the learner
    from fastai.data.core import DataLoaders
    from fastai.data.load import DataLoader as FastaiLoader
    from fastai.learner import Learner

    from lettrine.integrations.fastai import HealthCheck

    data = [FastaiLoader(TensorDataset(*examples(SIZE * count)), bs=SIZE, num_workers=0) for count in (steps, 1)]
    callbacks = [HealthCheck(show=False, save=False)] if watched else []
    learner = Learner(DataLoaders(*data), network(), loss_func=nn.CrossEntropyLoss(), cbs=callbacks)
    with learner.no_bar(), learner.no_logging():
        learner.fit(1, 1e-3)


TRAININGS: dict[str, tuple[str, Callable[..., None]]] = {
    "plain PyTorch": ("torch", plain),
    "Lightning": ("lightning", lightning),
    "transformers": ("transformers", transformers),
    "Accelerate": ("accelerate", accelerate),
    "Keras 3": ("keras", keras),
    "skorch": ("skorch", skorch),
    "Ignite": ("ignite", ignite),
    "fastai": ("fastai", fastai),
}


def report(made: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    began = time.process_time()
    made(*args, **kwargs)
    REPORTING[0] += time.process_time() - began


def seconds(train: Callable[..., None], steps: int, *, watched: bool) -> tuple[float, float]:
    """Processor time of a training without what its report takes, and that."""
    gc.collect()
    gc.freeze()  # a collection of all that the frameworks imported takes 0.2 s: neither side must pay it for the other
    REPORTING[0] = 0.0
    began = time.process_time()
    train(steps, watched=watched)
    return time.process_time() - began - REPORTING[0], REPORTING[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"among {', '.join(TRAININGS)}")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    end = watching.Watching.end
    watching.Watching.end = lambda self, *args, **kwargs: report(end, self, *args, **kwargs)  # type: ignore[method-assign]
    worst = 0.0
    for name, (module, train) in TRAININGS.items():
        if (given.names and name not in given.names) or importlib.util.find_spec(module) is None:
            continue
        ratios, bare, reports = [], [], []
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            for watched in (False, True):
                train(20, watched=watched)  # imports, and what is looked up once
            for turn in range(given.rounds):
                order = (False, True) if turn % 2 else (True, False)
                found = {watched: seconds(train, given.steps, watched=watched) for watched in order}
                ratios.append(found[True][0] / found[False][0])
                bare.append(found[False][0])
                reports.append(found[True][1])
        cost = statistics.median(ratios)
        worst = max(worst, cost)
        print(
            f"{name:14} cost {cost:.3f} ({min(ratios):.3f} to {max(ratios):.3f}), bare {statistics.median(bare):.2f} s, "
            f"report {statistics.median(reports):.2f} s",
            flush=True,
        )
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
