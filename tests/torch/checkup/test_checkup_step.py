"""The user's own training step: what its optimiser gets, each fault beside its cure."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from checkup_tasks import mlp, pairs  # noqa: E402
from checkup_verdicts import clean, figure, the  # noqa: E402
from torch import nn  # noqa: E402

from lettrine import health  # noqa: E402
from lettrine.cli.app import main  # noqa: E402
from lettrine.errors import ArgumentError, HealthError  # noqa: E402
from lettrine.health.limits import CHECKUP_CALLS  # noqa: E402
from lettrine.report.experiments import experiment_rows  # noqa: E402
from lettrine.torch.checkup.making import make_task  # noqa: E402

cross_entropy = nn.functional.cross_entropy
CLIP = 0.25
seen = 0


def scaled(*, unscale: bool, clip: bool = True, scaler: Any = None) -> Callable[..., None]:
    """A step under a GradScaler."""
    scaler = scaler or torch.amp.GradScaler("cpu", init_scale=1024.0)

    def step(model: nn.Module, batch: Any, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        scaler.scale(cross_entropy(model(batch[0]), batch[1])).backward()
        if unscale:
            scaler.unscale_(optimizer)
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        scaler.step(optimizer)
        scaler.update()

    return step


def clearing_first(every: int) -> Callable[..., None]:
    """A step of its optimiser at every n-th call, each of which clears what the one before it left."""
    calls = 0

    def step(model: nn.Module, batch: Any, optimizer: torch.optim.Optimizer) -> None:
        nonlocal calls
        calls += 1
        optimizer.zero_grad()
        (cross_entropy(model(batch[0]), batch[1]) / every).backward()
        if calls % every == 0:
            optimizer.step()

    return step


def accumulating(every: int, *, clear: bool = True) -> Callable[..., None]:
    """A step of its optimiser at every n-th call."""
    calls = 0

    def step(model: nn.Module, batch: Any, optimizer: torch.optim.Optimizer) -> None:
        nonlocal calls
        calls += 1
        (cross_entropy(model(batch[0]), batch[1]) / every).backward()
        if calls % every == 0:
            optimizer.step()
            if clear:
                optimizer.zero_grad()

    return step


def plain(model: nn.Module, batch: Any, optimizer: torch.optim.Optimizer) -> None:
    global seen  # noqa: PLW0603  as scripts count their steps
    seen += 1
    optimizer.zero_grad()
    cross_entropy(model(batch[0]), batch[1]).backward()
    optimizer.step()


def tried(step: Any, *, adam: bool = False, only: Any = ("step",)) -> health.Report:
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3) if adam else torch.optim.SGD(model.parameters(), lr=0.3)
    return health.checkup(model, pairs(12, 32), cross_entropy, optimizer, step, only=only, progress=False, minutes=5)


class TestScale:
    def test_clipping_before_unscaling(self) -> None:
        report = tried(scaled(unscale=False))
        found = the(report, "clip-before-unscale")
        assert found.severity == "warning"
        assert found.value == pytest.approx(CLIP / 1024, rel=1e-4)
        assert f"clipped at {CLIP} " in found.message
        assert "1024 times too large" in found.message
        assert figure(report, "step", "norm lower") == pytest.approx(256 * CLIP / 1024, rel=1e-4)
        assert f"With clipping at {CLIP} after unscaling, tried for" in found.remedy
        (trial,) = (each for each in report.to_dict()["experiments"] if each["id"] == "remedy of clip-before-unscale")
        assert trial["figures"]["without"] > trial["figures"]["with"] + 3 * trial["figures"]["error"]
        row = experiment_rows(report)[-1]
        assert (row.status, row.said) == ("tried", trial["said"])
        assert "· Remedy for clip-before-unscale" in str(report)

    @pytest.mark.parametrize("unscale", [False, True])
    def test_clipping_each_value(self, unscale: bool) -> None:
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)

        def step(model: nn.Module, batch: Any, optimizer: torch.optim.Optimizer) -> None:
            optimizer.zero_grad()
            scaler.scale(cross_entropy(model(batch[0]), batch[1])).backward()
            if unscale:
                scaler.unscale_(optimizer)
            nn.utils.clip_grad_value_(model.parameters(), 0.5)
            scaler.step(optimizer)
            scaler.update()

        report = tried(step)
        if unscale:
            assert report.outcomes[0].status == "passed"
            return
        found = the(report, "clip-before-unscale")
        assert found.value == pytest.approx(0.5 / 1024)
        assert "Each value of the gradients is clipped at 0.5 while" in found.message
        assert found.remedy.startswith(
            "Call scaler.unscale_(optimizer) before you clip each value at 0.5. With clipping at 0.5 after"
        )

    def test_in_the_right_order(self) -> None:
        report = tried(scaled(unscale=True))
        assert report.outcomes[0].status == "passed"
        assert figure(report, "step", "norm") == pytest.approx(CLIP, rel=1e-4)
        assert figure(report, "step", "norm lower") == pytest.approx(CLIP, rel=1e-4)

    def test_a_scale_without_clipping(self) -> None:
        assert tried(scaled(unscale=False, clip=False)).outcomes[0].status == "passed"

    def test_what_adam_does_not_mind_is_a_remark(self) -> None:
        found = the(tried(scaled(unscale=False), adam=True), "clip-before-unscale")
        assert found.severity == "info"
        assert "unscale_(optimizer) before" in found.remedy
        assert "So far it makes little difference" in found.remedy

    def test_a_scaler_keeps_its_state(self) -> None:
        fresh, used = (torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=3) for _ in range(2))
        model = mlp()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
        scaled(unscale=True, scaler=used)(model, pairs()[0], optimizer)
        before = [each.state_dict() for each in (fresh, used)]
        for each in (fresh, used):
            assert tried(scaled(unscale=False, scaler=each)).outcomes[0].status == "found"
        assert [each.state_dict() for each in (fresh, used)] == before
        assert fresh._scale is None


class TestGradients:
    def test_never_cleared(self) -> None:
        found = the(tried(accumulating(1, clear=False)), "missing-zero-grad")
        assert found.severity == "critical"
        assert found.value > 0.1
        assert "With gradients cleared before each step, tried for" in found.remedy

    @pytest.mark.parametrize("every", [1, 4])
    def test_accumulated_and_then_cleared(self, every: int) -> None:
        report = tried(accumulating(every))
        assert report.outcomes[0].status == "passed"
        assert figure(report, "step", "calls") == 2 * every
        assert figure(report, "step", "difference") == 0.0

    def test_accumulated_and_never_cleared(self) -> None:
        assert the(tried(accumulating(4, clear=False)), "missing-zero-grad")

    @pytest.mark.parametrize("every", [2, 8])
    def test_cleared_by_the_next_call(self, every: int) -> None:
        report = tried(clearing_first(every))
        found = the(report, "gradients-cleared")
        assert found.severity == "critical"
        assert found.value == 2 * (every - 1)
        assert "it took 2 steps" in found.message
        assert "right after optimizer.step()" in found.remedy

    def test_cleared_on_purpose(self) -> None:
        def twice(model: nn.Module, batch: Any, optimizer: torch.optim.Optimizer) -> None:
            """Sharpness-aware: the gradient of the first pass moves the weights, and is cleared."""
            optimizer.zero_grad()
            cross_entropy(model(batch[0]), batch[1]).backward()
            moved = [0.05 * each.grad for each in model.parameters() if each.grad is not None]
            with torch.no_grad():
                torch._foreach_add_(list(model.parameters()), moved)
            optimizer.zero_grad()
            cross_entropy(model(batch[0]), batch[1]).backward()
            with torch.no_grad():
                torch._foreach_sub_(list(model.parameters()), moved)
            optimizer.step()

        def of_another(model: nn.Module, batch: Any, optimizer: torch.optim.Optimizer) -> None:
            """A rival's loss leaves gradients of the opposite aim, in calls in which it alone is trained."""
            nonlocal calls
            calls += 1
            optimizer.zero_grad()
            loss = cross_entropy(model(batch[0]), batch[1])
            (loss if calls % 4 == 0 else -loss).backward()
            if calls % 4 == 0:
                optimizer.step()

        calls = 0
        assert clean(tried(twice))
        assert clean(tried(of_another))

    def test_thrown_away(self) -> None:
        def step(model: nn.Module, batch: Any, optimizer: torch.optim.Optimizer) -> None:
            cross_entropy(model(batch[0]), batch[1]).backward()
            optimizer.zero_grad()
            optimizer.step()

        found = the(tried(step), "gradients-cleared")
        assert "each of the 2 optimizer steps" in found.message

    def test_never_used(self) -> None:
        def step(model: nn.Module, batch: Any, _: torch.optim.Optimizer) -> None:
            cross_entropy(model(batch[0]), batch[1]).backward()

        found = the(tried(step), "never-moved")
        assert f"In {CHECKUP_CALLS} calls" in found.message
        assert found.where == ("0.weight", "0.bias", "2.weight", "2.bias")

    def test_never_computed(self) -> None:
        def step(model: nn.Module, batch: Any, _: torch.optim.Optimizer) -> None:
            cross_entropy(model(batch[0]), batch[1])

        assert the(tried(step), "no-gradient")


class TestGiven:
    def test_counters_and_schedules_keep_their_state(self) -> None:
        model = mlp()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2)
        calls = 0

        def step(model: nn.Module, batch: Any, optimizer: torch.optim.Optimizer) -> None:
            nonlocal calls
            calls += 1
            plain(model, batch, optimizer)
            schedule.step()

        before = seen
        kept = {key: value for key, value in vars(schedule).items() if key != "optimizer"}
        report = health.checkup(model, pairs(), cross_entropy, optimizer, step, only=["step"], progress=False)
        assert figure(report, "step", "calls") == 2
        assert (calls, seen) == (0, before)
        assert {key: value for key, value in vars(schedule).items() if key != "optimizer"} == kept
        assert optimizer.param_groups[0]["lr"] == 0.3

    def test_without_one(self) -> None:
        report = health.checkup(mlp(), pairs(), cross_entropy, only=["step"], progress=False)
        assert report.outcomes[0].status == "not applicable"

    def test_what_cannot_be_one(self) -> None:
        with pytest.raises(ArgumentError, match="step got 3"):
            tried(3)
        model = mlp()
        with pytest.raises(HealthError, match="step of type int"):
            make_task(model, pairs(), cross_entropy, torch.optim.SGD(model.parameters(), lr=0.3), 3, minutes=1)
        with pytest.raises(HealthError, match="a step and no optimizer"):
            health.checkup(mlp(), pairs(), cross_entropy, step=plain, progress=False)

    def test_one_that_breaks_says_so(self) -> None:
        def step(*_: Any) -> None:
            raise KeyError("lr")

        assert tried(step).outcomes[0].reason.startswith("KeyError: 'lr' (test_checkup_step.py, line ")

    @pytest.mark.parametrize(
        "form",
        [
            "model, batches, cross_entropy, optimizer, step",
            "dict(model=model, batches=batches, loss_fn=cross_entropy, optimizer=optimizer, step=step)",
        ],
    )
    def test_from_a_file(self, form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "stepping.py").write_text(
            f"import sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\nfrom checkup_tasks import mlp, pairs\n"
            "import torch\nfrom test_checkup_step import accumulating, cross_entropy\n\n\ndef make():\n"
            "    model, batches, step = mlp(), pairs(), accumulating(1, clear=False)\n"
            f"    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)\n    return {form}\n"
        )
        assert main(["checkup", f"{tmp_path / 'stepping.py'}:make", "--only", "step", "--json"]) == 1
        assert [each["id"] for each in json.loads(capsys.readouterr().out)["findings"]] == ["missing-zero-grad"]


def by_hand(*, early: bool, each: bool = False, replaced: bool = False) -> Callable[..., None]:
    """A step whose loss is scaled by hand. early: clip while gradients are still too large. replaced: divide into new tensors."""

    def clip(model: nn.Module) -> None:
        if each:
            nn.utils.clip_grad_value_(model.parameters(), 0.01)
        else:
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)

    def step(model: nn.Module, batch: Any, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        (1000.0 * cross_entropy(model(batch[0]), batch[1])).backward()
        if early:
            clip(model)
        for parameter in model.parameters():
            if parameter.grad is not None and replaced:
                parameter.grad = parameter.grad / 1000.0
            elif parameter.grad is not None:
                parameter.grad.div_(1000.0)
        if not early:
            clip(model)
        optimizer.step()

    return step


class TestScaledByHand:
    @pytest.mark.parametrize("each", [False, True])
    @pytest.mark.parametrize("replaced", [False, True])
    def test_clipped_early(self, *, each: bool, replaced: bool) -> None:
        report = tried(by_hand(early=True, each=each, replaced=replaced))
        found = the(report, "clip-before-unscale")
        limit = 0.01 if each else CLIP
        assert "while they are still 1000 times too large: the step divides them by 1000 after that" in found.message
        assert f"before you clip {'each value ' if each else ''}at {limit}. With clipping at {limit} after" in found.remedy
        assert found.severity == "warning"
        clean(tried(by_hand(early=False, each=each, replaced=replaced)))

    def test_a_limit_that_is_never_reached_is_none(self) -> None:
        def step(model: nn.Module, batch: Any, optimizer: torch.optim.Optimizer) -> None:
            optimizer.zero_grad()
            (1000.0 * cross_entropy(model(batch[0]), batch[1])).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1e6)
            for parameter in model.parameters():
                parameter.grad /= 1000.0
            optimizer.step()

        clean(tried(step))

    def test_a_mean_of_clipped_gradients_is_none(self) -> None:
        """As of private training: the gradient of each example is clipped, and their sum divided by their number."""

        def step(model: nn.Module, batch: Any, optimizer: torch.optim.Optimizer) -> None:
            total = [torch.zeros_like(each) for each in model.parameters()]
            for x, y in zip(*batch, strict=True):
                optimizer.zero_grad()
                cross_entropy(model(x[None]), y[None]).backward()
                nn.utils.clip_grad_norm_(model.parameters(), 0.1)
                for kept, each in zip(total, model.parameters(), strict=True):
                    kept.add_(each.grad)
            for kept, each in zip(total, model.parameters(), strict=True):
                each.grad = kept / len(batch[0])
            optimizer.step()

        clean(tried(step))
