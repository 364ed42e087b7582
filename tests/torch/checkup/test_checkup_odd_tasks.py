"""Tasks that end the program, have nothing to learn, or no targets: each is told in one line, or examined as it is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from checkup_tasks import adam, mlp, pairs  # noqa: E402
from torch import nn  # noqa: E402
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

from lettrine import health  # noqa: E402
from lettrine.errors import HealthError  # noqa: E402

cross_entropy = nn.functional.cross_entropy


class Ends(nn.Module):
    """A network that ends the program after some calls."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.body, self.left = mlp(), calls

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.left -= 1
        if self.left < 0:
            sys.exit(0)
        return self.body(x)


def tried(model: nn.Module, *only: str, batches: Any = None, loss_fn: Any = cross_entropy, minutes: float = 1.0) -> health.Report:
    return health.checkup(
        model, batches or pairs(), loss_fn, adam(model), only=only or ["first-loss"], progress=False, minutes=minutes
    )


def test_a_last_batch_of_one_example() -> None:
    """Of which batch norm takes no statistics in training mode."""
    torch.manual_seed(0)
    x = torch.randn(6 * 32 + 1, 20)
    data = TensorDataset(x, x[:, :5].argmax(1))
    model = nn.Sequential(nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 5))

    def report(**options: Any) -> health.Report:
        return health.checkup(model, DataLoader(data, 32, **options), cross_entropy, adam(model), progress=False)

    found = report()
    assert [each.reason for each in found.outcomes if each.status == "failed"] == []
    (refused,) = (each for each in found.findings if each.id == "batch-size")
    assert refused.severity == "info"
    assert refused.message.startswith(
        "In training mode the model refuses 1 of 7 batches, with 1 example instead of 32: ValueError"
    )
    assert "drop_last=True" in refused.remedy
    assert found.healthy
    assert "batch-size" not in [each.id for each in report(drop_last=True).findings]


def test_a_task_that_ends_the_program() -> None:
    with pytest.raises(HealthError, match=r"raised SystemExit: 0 \(test_checkup_odd_tasks\.py, line \d+\)"):
        tried(Ends(0))
    report = tried(Ends(20), "one-batch")
    assert [each.status for each in report.outcomes] == ["failed"]
    assert report.outcomes[0].reason.startswith("SystemExit: 0 (test_checkup_odd_tasks.py, line ")
    assert report.exit_code == 4  # not judged


@pytest.mark.parametrize("terminal", [True, False])
def test_neither_the_bar_nor_a_printed_report_draws_random_numbers(terminal: bool) -> None:
    code = f"""
import random, sys
import torch
from torch import nn
from lettrine import health
sys.stderr.isatty = lambda: {terminal}
model, x = nn.Linear(3, 2), torch.randn(8, 3)
state = random.getstate()
report = health.checkup(model, [(x, x[:, :2])] * 4, nn.functional.mse_loss, only=["first-loss"])
assert ("rich.console" in sys.modules) is {terminal}, "rich draws when it is imported"
assert random.getstate() == state
str(report)
assert random.getstate() == state
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_error_of_several_lines_is_told_in_one() -> None:
    class Breaks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = mlp()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if not self.training:
                raise ValueError("first line\n  second line")
            return self.body(x)

    report = tried(Breaks(), "independence")
    assert report.outcomes[0].reason.startswith("ValueError: first line second line (test_checkup_odd_tasks.py, line ")


def test_a_loss_function_that_trains_itself() -> None:
    model = mlp()
    optimizer = adam(model)
    before = [each.clone() for each in model.parameters()]

    def trains(model: nn.Module, batch: Any) -> torch.Tensor:
        optimizer.zero_grad()
        loss = cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        return loss.detach()

    with pytest.raises(HealthError, match="got a loss_fn that calls backward"):
        health.checkup(model, pairs(), trains, optimizer, progress=False)
    assert all(torch.equal(*both) for both in zip(before, model.parameters(), strict=True))
    assert all(each.grad is None for each in model.parameters())
    assert not optimizer.state


def test_a_gradient_inside_of_the_loss_is_no_training() -> None:
    def penalised(model: nn.Module, batch: Any) -> torch.Tensor:
        x = batch[0].clone().requires_grad_()
        with torch.enable_grad():
            out = model(x)
            (slope,) = torch.autograd.grad(out.sum(), x, create_graph=True)
        return cross_entropy(out, batch[1]) + 0.01 * slope.square().sum()

    assert [each.status for each in tried(mlp(), "one-batch", loss_fn=penalised).outcomes] == ["passed"]


def test_one_pair_in_place_of_a_list_of_pairs() -> None:
    with pytest.raises(HealthError, match="the first batch is a Tensor, not a pair"):
        tried(mlp(), batches=pairs()[0])


def test_a_buffer_without_a_shape() -> None:
    model = nn.Sequential(nn.Linear(20, 8), nn.LazyBatchNorm1d(affine=False), nn.Linear(8, 5))
    with pytest.raises(HealthError, match=r"got 1\.running_mean, which has no shape yet; call the model once"):
        tried(model)


def test_a_model_without_a_parameter() -> None:
    with pytest.raises(HealthError, match="got a Flatten without a parameter; expected a model to train"):
        health.checkup(nn.Flatten(), pairs(), cross_entropy, progress=False)

    class Held(nn.Module):
        """The loss function holds what is trained."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    outside = mlp()
    report = health.checkup(
        Held(), pairs(), lambda m, b: cross_entropy(outside(m(b[0])), b[1]), only=["first-loss"], progress=False
    )
    assert report.healthy


def test_batches_without_targets() -> None:
    report = tried(mlp(), "data", batches=[(x, None) for x, _ in pairs()], loss_fn=lambda outputs, _: outputs.square().mean())
    assert report.outcomes[0].status == "passed"


def test_time_without_end() -> None:
    report = tried(mlp(), "first-loss", "one-batch", "learning-rate", minutes=float("inf"))
    assert {each.status for each in report.outcomes} == {"passed"}


def test_sarif_points_at_the_task_where_no_module_is_blamed(tmp_path: Path) -> None:
    task = tmp_path / "train.py"
    task.write_text(
        "import torch\nfrom torch import nn\n\n\ndef make():\n    model = nn.Linear(20, 5)\n"
        "    batches = [(torch.randn(8, 20), torch.randint(5, (8,))) for _ in range(4)]\n"
        "    optimizer = torch.optim.SGD(model.parameters(), 0.1)\n"
        "    return model, batches, lambda o, t: nn.functional.cross_entropy(o.detach(), t), optimizer\n"
    )
    report = health.checkup(task=f"{task}:make", only=["parameters"], progress=False)
    with pytest.raises(AssertionError, match="critical no-gradient"):
        health.assert_healthy(task=f"{task}:make", only=["parameters"])
    (result,) = json.loads(report.save(tmp_path / "r.sarif").read_text())["runs"][0]["results"]
    place = result["locations"][0]["physicalLocation"]
    assert result["ruleId"] == "no-gradient"
    assert (place["artifactLocation"]["uri"], place["region"]["startLine"]) == (task.as_posix(), 5)
