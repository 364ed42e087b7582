from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_trainings import assert_watched, hooks_on, same_weights
from torch import Tensor, nn

pytest.importorskip("transformers")

from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)

from lettrine.health.checks.reference import guess_of
from lettrine.integrations.transformers import HealthCallback

pytestmark = pytest.mark.filterwarnings("ignore")  # transformers warns of what small trainings lack
VOCABULARY, LENGTH, STEPS = 16, 12, 12


def texts(count: int, seed: int = 0) -> list[dict[str, Tensor]]:
    """Each token is the one before it and one more, or two."""
    generator = torch.Generator().manual_seed(seed)
    steps = torch.randint(1, 3, (count, LENGTH), generator=generator)
    return [{"input_ids": row, "labels": row} for row in steps.cumsum(1) % VOCABULARY]


def gpt2() -> nn.Module:
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=VOCABULARY, n_positions=LENGTH, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0)
    return GPT2LMHeadModel(config)


def bert() -> nn.Module:
    """It takes `num_items_in_batch` and does not use it: the trainer adds up the means of the micro-batches."""
    torch.manual_seed(0)
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    return BertForSequenceClassification(BertConfig(vocab_size=VOCABULARY, max_position_embeddings=LENGTH, **small))


def adapted() -> nn.Module:
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    return peft.get_peft_model(gpt2(), peft.LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True))


class Told(Trainer):
    """Notes what each step minimises, as the trainer counts it itself."""

    def training_step(self, *args: Any, **options: Any) -> Tensor:
        loss = super().training_step(*args, **options)
        self.told.append(loss.item())
        return loss


class Weighed(Told):
    def compute_loss(self, model: nn.Module, inputs: Any, *args: Any, **options: Any) -> Any:
        return 2 * super().compute_loss(model, inputs, *args, **options)


def train(
    model: nn.Module, folder: Path, check: HealthCallback | None = None, kind: Any = Told, resume: Any = None, **options: Any
) -> Any:
    settings = {"max_steps": STEPS, "per_device_train_batch_size": 8, "learning_rate": 3e-3, "save_strategy": "no", **options}
    arguments = TrainingArguments(str(folder), use_cpu=True, report_to=[], disable_tqdm=True, seed=0, **settings)
    callbacks = [check] if check else []
    trainer = kind(model=model, args=arguments, train_dataset=texts(128), eval_dataset=texts(32, 1), callbacks=callbacks)
    trainer.remove_callback(PrinterCallback)
    trainer.told = []
    trainer.train(resume_from_checkpoint=resume)
    return trainer


CASES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "plain": (gpt2, Told, {}),
    "accumulated": (gpt2, Told, {"gradient_accumulation_steps": 4, "max_steps": 5}),  # the last step of an epoch has fewer
    "own-loss": (gpt2, Weighed, {"gradient_accumulation_steps": 2}),
    "smoothed": (gpt2, Told, {"label_smoothing_factor": 0.1}),
    "bf16": (gpt2, Told, {"bf16": True}),
    "checkpointing": (gpt2, Told, {"gradient_checkpointing": True}),
    "peft": (adapted, Told, {}),
}


@pytest.mark.parametrize("case", CASES)
def test_watching_changes_nothing_and_losses_are_in_true_units(case: str, tmp_path: Path) -> None:
    make, kind, options = CASES[case]
    watched, plain, check = make(), make(), HealthCallback(save=False, show=False)
    trainer = train(watched, tmp_path, check, kind, **options)
    train(plain, tmp_path, None, kind, **options)
    assert same_weights(watched, plain)
    assert hooks_on(watched, trainer.optimizer.optimizer) == hooks_on(plain)
    assert "backward" not in vars(trainer.accelerator)
    told, parts = [], options.get("gradient_accumulation_steps", 1)
    for first in range(0, len(trainer.told), 16):  # batches of an epoch
        epoch = trainer.told[first : first + 16]
        told += [sum(epoch[place : place + parts]) for place in range(0, len(epoch), parts)]
    assert_watched(check.report, told, trainer.state.global_step)
    facts = check.report.trace.facts
    assert facts.classes == (0 if case == "smoothed" else VOCABULARY)  # the trainer's smoothed loss is no loss of torch
    assert facts.batch_size == 8


@pytest.mark.parametrize("parts", [3, 8])
def test_losses_of_means_that_are_added_up_are_those_of_a_batch(parts: int, tmp_path: Path) -> None:
    class Classes(Told):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            for data in (self.train_dataset, self.eval_dataset):
                data[:] = [{"input_ids": row["input_ids"], "labels": row["input_ids"][0] % 2} for row in data]

    check = HealthCallback(save=False, show=False)
    options = {"max_steps": -1, "num_train_epochs": 2, "eval_strategy": "epoch"}
    trainer = train(bert(), tmp_path, check, Classes, gradient_accumulation_steps=parts, **options)
    told = []
    for first in (0, 16):  # batches of an epoch; the last step may have fewer
        epoch = trainer.told[first : first + 16]
        told += [np.mean(epoch[place : place + parts]) for place in range(0, len(epoch), parts)]
    assert_watched(check.report, told, trainer.state.global_step)
    assert guess_of(check.report.trace) == pytest.approx(np.log(2), rel=0.05)
    assert 0.3 < check.report.trace.loss.mean[-1] / check.report.trace.dev.mean[-1] < 1.5


def test_evaluation_is_the_held_out_loss(tmp_path: Path) -> None:
    check = HealthCallback(save=False, show=False)
    trainer = train(gpt2(), tmp_path, check, eval_strategy="steps", eval_steps=4)
    dev = check.report.trace.dev
    assert dev.step.tolist() == [4, 8, 12]
    assert dev.mean[-1] == pytest.approx(trainer.state.log_history[-2]["eval_loss"])
    trainer.evaluate()
    assert len(check.watch.trace().dev.step) == 3  # what comes after training is not ours


def test_a_resumed_training_goes_on_where_it_stood(tmp_path: Path) -> None:
    first = HealthCallback(save=False, show=False)
    train(gpt2(), tmp_path, first, max_steps=6, save_strategy="steps", save_steps=6)
    resumed = HealthCallback(save=False, show=False)
    train(gpt2(), tmp_path, resumed, resume=True)
    trace = resumed.report.trace
    assert trace.loss.step.tolist() == list(range(STEPS))
    assert trace.loss.mean[:6].tolist() == first.report.trace.loss.mean.tolist()
    assert (trace.steps[0], 6 in trace.steps) == (0, True)
    assert not trace.seen("resumed")  # its first step is known, as that of a training in one piece
    assert {"value 0", "value 6"} <= {*trace.seen("loss")[0].figures}
    (tmp_path / "checkpoint-6" / "health.safetensors").unlink()
    train(gpt2(), tmp_path, resumed, resume=True)
    assert resumed.report.trace.loss.step.tolist() == list(range(6, STEPS))
    assert resumed.report.trace.seen("resumed")


def test_stops_at_what_is_critical_and_keeps_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Broken(Told):
        def compute_loss(self, *args: Any, **options: Any) -> Any:
            return super().compute_loss(*args, **options) * (torch.nan if len(self.told) == 5 else 1)

    check = HealthCallback(stop_on="critical")
    trainer = train(gpt2(), tmp_path, check, Broken, save_strategy="steps", save_steps=100)
    stopped = trainer.state.global_step
    assert 5 < stopped < STEPS
    assert (tmp_path / f"checkpoint-{stopped}" / "health.safetensors").exists()
    assert "non-finite" in capsys.readouterr().out
    assert "non-finite" in (tmp_path / "health.html").read_text(encoding="utf-8")
