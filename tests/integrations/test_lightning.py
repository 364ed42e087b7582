from __future__ import annotations

import logging
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import torch
from small_trainings import SIZE, assert_watched, examples, hooks_on, network, same_weights
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

pytest.importorskip("lightning")

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, StochasticWeightAveraging

from lettrine.integrations.lightning import HealthCheck

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning warns of what small trainings lack
STEPS = 16  # of an epoch


class Classifier(LightningModule):
    """As most are written: the training step calls a part of the module, not the module."""

    def __init__(self, *, norm: bool = False, broken_at: int = -1) -> None:
        super().__init__()
        self.net = network(norm=norm)
        self.losses: list[float] = []
        self._broken_at = broken_at

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        loss = functional.cross_entropy(self.net(batch[0]), batch[1])
        self.losses.append(loss.item())
        return loss * torch.nan if len(self.losses) == self._broken_at else loss

    def validation_step(self, batch: list[Tensor], _: int) -> None:
        self.log("val/loss", functional.cross_entropy(self.net(batch[0]), batch[1]))

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), lr=3e-3)


class Visited(Classifier):
    """Somebody looks at the live page at each step."""

    check: Any = None

    def training_step(self, batch: list[Tensor], place: int) -> Tensor:
        with urlopen(self.check.watch.address, timeout=10) as answer:  # noqa: S310  # our own server
            assert b"lettrine" in answer.read()
        return super().training_step(batch, place)


class Returning(Classifier):
    def validation_step(self, batch: list[Tensor], _: int) -> Tensor:
        return functional.cross_entropy(self.net(batch[0]), batch[1])


class ByHand(Classifier):
    """Accumulation as Lightning's pages show it for manual optimisation."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: list[Tensor], place: int) -> None:
        self.manual_backward(super().training_step(batch, place) / 4)
        if (place + 1) % 4 == 0:
            self.optimizers().step()
            self.optimizers().zero_grad()


class Adversaries(LightningModule):
    """Two optimisers, by hand."""

    def __init__(self, *, plain: bool = False) -> None:
        super().__init__()
        self.automatic_optimization = False
        torch.manual_seed(0)
        self.maker = nn.Sequential(nn.Linear(4, 16), nn.LeakyReLU(0.2), nn.Linear(16, 12))
        self.judge = nn.Sequential(nn.Linear(12, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
        self.losses: list[float] = []
        self._plain = plain

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        ones, zeros = torch.ones(len(batch[0]), 1), torch.zeros(len(batch[0]), 1)
        makers, judges = self.optimizers()
        made = self.maker(torch.randn(len(batch[0]), 4))
        loss = functional.binary_cross_entropy_with_logits(self.judge(batch[0]), ones)
        loss = loss + functional.binary_cross_entropy_with_logits(self.judge(made.detach()), zeros)
        self._step(judges, loss)
        self._step(makers, functional.binary_cross_entropy_with_logits(self.judge(made), ones))
        return loss.detach()

    def _step(self, optimiser: Any, loss: Tensor) -> None:
        optimiser.zero_grad()
        loss.backward() if self._plain else self.manual_backward(loss)
        optimiser.step()
        self.losses.append(loss.item())

    def configure_optimizers(self) -> Any:
        return [torch.optim.Adam(each.parameters(), lr=1e-3, betas=(0.5, 0.999)) for each in (self.maker, self.judge)], []


def fit(
    module: LightningModule, folder: Path, check: HealthCheck | None = None, callbacks: Any = (), ckpt: Any = None, **options: Any
) -> Trainer:
    keeps = any(isinstance(each, ModelCheckpoint) for each in callbacks)
    trainer = Trainer(
        **{"max_epochs": 2, **options},
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=keeps,
        default_root_dir=folder,
        callbacks=[*callbacks, *([check] if check else [])],
    )
    x, y = examples(SIZE * STEPS)
    torch.manual_seed(1)
    loaders = DataLoader(TensorDataset(x, y), SIZE, shuffle=True), DataLoader(TensorDataset(*examples(128, 1)), 64)
    trainer.fit(module, *loaders, ckpt_path=ckpt)
    return trainer


CASES: dict[str, tuple[Any, dict[str, Any], int]] = {
    "automatic": (Classifier, {}, 1),
    "accumulated": (Classifier, {"accumulate_grad_batches": 4, "gradient_clip_val": 0.1}, 4),
    "bf16-mixed": (Classifier, {"precision": "bf16-mixed"}, 1),
    "16-mixed": (Classifier, {"precision": "16-mixed", "accumulate_grad_batches": 2}, 2),
    "bf16-true": (Classifier, {"precision": "bf16-true"}, 1),
    "manual": (Adversaries, {}, 2),
    "by-hand": (ByHand, {}, 4),
}


@pytest.mark.parametrize("case", CASES)
def test_watching_changes_nothing_and_losses_are_in_true_units(case: str, tmp_path: Path) -> None:
    make, options, per_step = CASES[case]
    watched, plain, check = make(), make(), HealthCheck(save=False)
    fit(watched, tmp_path, check, **options)
    fit(plain, tmp_path, **options)
    assert same_weights(watched, plain)
    assert hooks_on(watched) == 0
    assert_watched(check.report, watched.losses, 2 * STEPS // (1 if make is Adversaries else per_step), per_step=per_step)
    facts = check.report.trace.facts
    assert facts.classes == (2 if make is Adversaries else 4)  # the loss was seen with its graph
    stats = check.report.trace.step_stats
    assert not any(stats["leftover_gradient"][:3])  # the gradients that were looked at were those of the step
    assert set(stats["clipped"][:3].tolist()) == {1.0 if case == "accumulated" else 0.0}
    assert stats["training"][1] == 1.0


@pytest.mark.parametrize("kind", [Classifier, Returning])
def test_held_out_losses_are_those_logged_or_returned(kind: Any, tmp_path: Path) -> None:
    module, check = kind(), HealthCheck(save=False)
    fit(module, tmp_path, check)
    x, y = examples(128, 1)
    dev = check.report.trace.dev
    assert dev.step.tolist() == [STEPS, 2 * STEPS]  # and not that of the sanity check before
    assert dev.mean[-1] == pytest.approx(functional.cross_entropy(module.net(x), y).item(), rel=1e-5)


def test_manual_optimisation_without_manual_backward(tmp_path: Path) -> None:
    module, check = Adversaries(plain=True), HealthCheck(save=False)
    fit(module, tmp_path, check)
    assert_watched(check.report, module.losses[::2], 2 * STEPS)


def test_weight_averaging_and_early_stopping(tmp_path: Path) -> None:
    for make in (
        lambda: [StochasticWeightAveraging(5e-3, swa_epoch_start=2)],
        lambda: [EarlyStopping("val/loss", patience=0, min_delta=9.0)],
    ):
        watched, plain, check = Classifier(norm=True), Classifier(norm=True), HealthCheck(save=False)
        fit(watched, tmp_path, check, make(), max_epochs=3)
        fit(plain, tmp_path, None, make(), max_epochs=3)
        assert same_weights(watched, plain)
        assert check.report.trace.facts.errors == ()
        assert len(check.report.trace.loss.mean) in (3 * STEPS, 2 * STEPS)


def test_a_resumed_fit_goes_on_where_it_stood(tmp_path: Path) -> None:
    whole, check = Classifier(), HealthCheck(save=False)
    fit(whole, tmp_path, check, max_epochs=1)
    kept, first = ModelCheckpoint(tmp_path, save_last=True), HealthCheck(save=False)
    fit(Classifier(), tmp_path, first, [kept], max_epochs=1)
    resumed = HealthCheck(save=False)
    fit(Classifier(), tmp_path, resumed, ckpt=tmp_path / "last.ckpt", max_epochs=3)
    trace = resumed.report.trace
    assert trace.loss.step.tolist() == list(range(3 * STEPS))
    assert trace.loss.mean[:STEPS].tolist() == check.report.trace.loss.mean.tolist()
    assert trace.steps[0] == 0
    assert STEPS in trace.steps.tolist()
    assert trace.dev.step.tolist() == [STEPS, 2 * STEPS, 3 * STEPS]
    assert not trace.seen("resumed")  # its first step is known, as that of a fit in one piece
    steps = sorted(int(each.removeprefix("value ")) for each in trace.seen("loss")[0].figures if each.startswith("value "))
    assert steps[0] < STEPS < steps[-1], "losses looked at before the stop, and after it"


def test_a_fit_resumed_without_our_state_counts_on(tmp_path: Path) -> None:
    fit(Classifier(), tmp_path, None, [ModelCheckpoint(tmp_path, save_last=True)], max_epochs=1)
    check = HealthCheck(save=False)
    fit(Classifier(), tmp_path, check, ckpt=tmp_path / "last.ckpt")
    assert check.report.trace.loss.step.tolist() == list(range(STEPS, 2 * STEPS))


def test_after_an_exception_there_is_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Failing(Classifier):
        def training_step(self, batch: list[Tensor], place: int) -> Tensor:
            if place == 5:
                raise ValueError("spilled")
            return super().training_step(batch, place)

    module, check = Failing(), HealthCheck()
    with pytest.raises(ValueError, match="spilled"):
        fit(module, tmp_path, check)
    assert hooks_on(module) == 0
    assert len(check.report.trace.loss.mean) == 5
    assert "Not judged" in capsys.readouterr().out
    assert "5 steps say nothing" in (tmp_path / "health.html").read_text(encoding="utf-8")


def test_stops_when_the_loss_is_no_number(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = []
    check = HealthCheck(stop_on="critical", on_finding=found.append, save=False)
    with caplog.at_level(logging.INFO, logger="lettrine.health"):
        trainer = fit(Classifier(broken_at=20), tmp_path, check, [ModelCheckpoint(tmp_path, save_last=True)], max_epochs=9)
    assert 20 <= trainer.global_step <= 24
    assert (tmp_path / "last.ckpt").exists()
    assert [each.id for each in found if each.severity == "critical"] == ["non-finite"]
    assert any(record.levelno == logging.ERROR and "non-finite" in record.getMessage() for record in caplog.records)


def test_one_callback_watches_one_fit_after_another(tmp_path: Path) -> None:
    check, module = HealthCheck(save=False), Classifier()
    fit(module, tmp_path, check)
    first = check.report
    fit(module, tmp_path, check, max_epochs=1)
    assert check.report is not first
    assert len(check.report.trace.loss.mean) == STEPS
    assert hooks_on(module) == 0


def test_a_fit_is_seen_live_and_not_touched(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn")
    module, plain, check = Visited(), Classifier(), HealthCheck(save=False, show=False, live=True)
    module.check = check
    fit(module, tmp_path, check)
    fit(plain, tmp_path)
    assert len(module.losses) == 2 * STEPS
    assert same_weights(module, plain)
    assert urlopen(check.watch.address, timeout=10).status == 200  # noqa: S310  # who comes after the end finds the page
