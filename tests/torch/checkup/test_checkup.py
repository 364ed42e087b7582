"""The check-up as a whole: how it is called, what it says, what it costs, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from checkup_tasks import Hidden, adam, mlp, pairs  # noqa: E402
from torch import nn  # noqa: E402
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

from lettrine import health  # noqa: E402
from lettrine.cli.app import main  # noqa: E402
from lettrine.errors import ArgumentError, HealthError  # noqa: E402
from lettrine.health.evidence import EXPERIMENT  # noqa: E402
from lettrine.torch.checkup import EXPERIMENTS  # noqa: E402

pytest_plugins = ["pytester"]
cross_entropy = nn.functional.cross_entropy
KINDS: list[torch.dtype] = []
QUICK: dict[str, Any] = {"only": ["first-loss", "parameters"], "progress": False}

TASK = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(20, 20)]
        self.out = nn.Linear(20, 5)

    def forward(self, x):
        return self.out(torch.tanh(self.layers[0](x)))

def make():
    torch.manual_seed(0)
    model = Net()
    batches = [((x := torch.randn(16, 20)), x[:, :5].argmax(1)) for _ in range(3)]
    return model, batches, nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters())

def small():
    torch.manual_seed(0)
    model = nn.Linear(20, 5)
    return {"model": model, "batches": make()[1], "loss_fn": nn.CrossEntropyLoss()}

def wrong():
    return 3
"""


@pytest.fixture
def task_file(tmp_path: Path) -> Path:
    path = tmp_path / "train.py"
    path.write_text(TASK)
    return path


def loss_of(model: nn.Module, batch: Any) -> torch.Tensor:
    return cross_entropy(model(batch["x"]), batch["y"])


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(20, 5)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return self.lin(a + b)


@pytest.mark.parametrize("form", ["pairs", "tuples", "mappings", "three", "whole", "dicts", "loader"])
def test_batches_come_in_many_forms(form: str) -> None:
    data = pairs(4)
    model: nn.Module = mlp() if form in ("pairs", "whole", "dicts", "loader") else Two()
    loss_fn: Any = cross_entropy
    batches: Any = data
    match form:
        case "tuples":
            batches = [((x, x), y) for x, y in data]
        case "mappings":
            batches = [({"a": x, "b": x}, y) for x, y in data]
        case "three":
            batches = [(x, x, y) for x, y in data]
        case "whole":
            loss_fn = lambda model, batch: cross_entropy(model(batch[0]), batch[1])  # noqa: E731
        case "dicts":
            loss_fn, batches = loss_of, [{"x": x, "y": y} for x, y in data]
        case "loader":
            whole = TensorDataset(torch.cat([x for x, _ in data]), torch.cat([y for _, y in data]))
            batches = DataLoader(whole, batch_size=16, shuffle=True, generator=torch.Generator().manual_seed(1))
    report = health.checkup(model, batches, loss_fn, adam(model), progress=False, only=["first-loss", "independence"])
    assert [outcome.status for outcome in report.outcomes] == ["passed", "passed"]


def test_a_loader_draws_the_same_batches_afterwards() -> None:
    generator = torch.Generator().manual_seed(1)
    loader = DataLoader(TensorDataset(torch.randn(40, 20), torch.arange(40) % 5), batch_size=8, shuffle=True, generator=generator)
    state = generator.get_state()
    model = mlp()
    health.checkup(model, loader, cross_entropy, adam(model), **QUICK)
    assert torch.equal(generator.get_state(), state)


def test_what_does_not_fit_is_not_run() -> None:
    model = mlp()
    report = health.checkup(model, pairs(), cross_entropy, adam(model), minutes=1e-9, progress=False)
    assert {outcome.status for outcome in report.outcomes} == {"not run"}
    assert "minutes" in report.outcomes[0].reason


@pytest.mark.parametrize("seconds", [3.0, 1.0, 0.1])
def test_a_slow_loss_keeps_to_the_time(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock:
        now = 0.0  # of the class: what a loss function closes over is put back

    monkeypatch.setattr("lettrine.torch.checkup.task.clock", lambda: Clock.now)

    def slow(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        Clock.now += seconds
        return cross_entropy(output, target)

    model = mlp()
    report = health.checkup(model, pairs(), slow, adam(model), minutes=0.2, progress=False)
    asked = 3 * seconds  # before the time begins: how is the loss called, and how long does it take?
    assert asked < Clock.now <= asked + 1.1 * 12 + 2 * seconds
    assert report.outcomes[0].status == "passed"
    assert "failed" not in {each.status for each in report.outcomes}


def test_an_experiment_that_breaks_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Any) -> Any:
        raise ZeroDivisionError("by nothing")

    each = EXPERIMENTS["first-loss"]
    monkeypatch.setitem(EXPERIMENTS, "first-loss", type(each)(each.id, each.title, broken, 0))
    model = mlp()
    report = health.checkup(model, pairs(), cross_entropy, adam(model), **QUICK)
    assert report.outcomes[0].status == "failed"
    assert report.outcomes[0].reason.startswith("ZeroDivisionError: by nothing (test_checkup.py, line ")
    assert not report.healthy


def test_each_experiment_leaves_evidence() -> None:
    model = mlp()
    report = health.checkup(model, pairs(), cross_entropy, adam(model), **QUICK)
    kinds = [each.kind for each in report.trace.evidence]
    assert kinds == [f"{EXPERIMENT}first-loss", f"{EXPERIMENT}parameters"]
    assert report.trace.evidence[0].figure("seconds") > 0
    assert "First loss" in str(report)
    assert "Experiments" in report._repr_html_()


def test_assert_healthy() -> None:
    model = mlp()
    assert health.assert_healthy(model, pairs(), cross_entropy, adam(model), **QUICK).healthy
    sick = Hidden(listed=False)
    with pytest.raises(AssertionError, match=r"unregistered \(layers\[\d\].*\n    remedy: Hold layers in nn.ModuleList"):
        health.assert_healthy(sick, pairs(), cross_entropy, adam(sick), **QUICK)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"batches": []}, "batches that give nothing"),
        ({"batches": torch.ones(3)}, "batches of type Tensor"),
        ({"loss_fn": nn.CrossEntropyLoss(reduction="none")}, r"a loss of shape \(16,\)"),
        ({"optimizer": "adam"}, "an optimizer of type str"),
        ({"minutes": -1.0}, "minutes got -1"),
        ({"autocast": torch.int8}, r"autocast got torch.int8; expected torch.bfloat16 or torch.float16"),
        ({"only": ["nothing"]}, "expected among first-loss"),
        ({"loss_fn": lambda *_: 1 / 0}, "could not compute a loss"),
        ({"task": "train.py:make"}, "one or the other"),
        ({"model": nn.LazyLinear(3)}, "has no shape yet"),
    ],
)
def test_what_cannot_be_examined(given: dict[str, Any], message: str) -> None:
    model = mlp()
    whole = {"model": model, "batches": pairs(), "loss_fn": cross_entropy, "optimizer": adam(model), "progress": False} | given
    with pytest.raises(HealthError, match=message):
        health.checkup(**whole)


def test_arguments_are_checked() -> None:
    with pytest.raises(ArgumentError):
        health.checkup(3)  # type: ignore[arg-type]
    with pytest.raises(HealthError, match="no task"):
        health.checkup(mlp())


def test_a_task_in_a_file(task_file: Path) -> None:
    report = health.checkup(task=f"{task_file}:make", **QUICK)
    assert [each.id for each in report.findings] == ["unregistered"]
    assert health.checkup(task=f"{task_file}:small", **QUICK).healthy
    for name, message in [("wrong", "a int"), ("none", "no function"), ("", "a file and a function")]:
        with pytest.raises(HealthError, match=message):
            health.checkup(task=f"{task_file}:{name}", **QUICK)
    with pytest.raises(HealthError, match="not there"):
        health.checkup(task="nowhere.py:make", **QUICK)


def test_two_files_of_one_name(task_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "train.py"
    other.parent.mkdir()
    other.write_text("# one line more\n" + TASK)
    for path in (task_file, other, task_file):
        report = health.checkup(task=f"{path}:make", **QUICK)
        saved = json.loads(report.save(tmp_path / "r.sarif").read_text())
        place = saved["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
        lines = path.read_text().splitlines()
        assert place["artifactLocation"]["uri"] == path.as_posix()
        assert "self.layers =" in lines[place["region"]["startLine"] - 1]


def test_sarif_points_at_the_line(task_file: Path) -> None:
    report = health.checkup(task=f"{task_file}:make", **QUICK)
    saved = json.loads(report.save(task_file.with_suffix(".sarif")).read_text())
    result = saved["runs"][0]["results"][0]
    place = result["locations"][0]["physicalLocation"]
    line = next(number for number, text in enumerate(TASK.splitlines(), 1) if "self.layers =" in text)
    assert result["ruleId"] == "unregistered"
    assert result["level"] == "error"
    assert place["region"]["startLine"] == line
    assert place["artifactLocation"]["uri"].endswith("train.py")


def test_the_command_line(task_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(task_file.parent)
    asked = ["checkup", f"{task_file.name}:make", "--only", "first-loss,parameters", "--autocast", "bfloat16", "--json"]
    assert main(asked) == 1  # as of `lettrine health`: something is critical
    told = json.loads(capsys.readouterr().out)
    assert told["findings"][0]["id"] == "unregistered"
    assert told["experiments"][0]["experiment"] == "first-loss"
    assert main(["checkup", f"{task_file.name}:small", "--only", "first-loss", "--save", "r.txt"]) == 0
    assert "First loss" in (task_file.parent / "r.txt").read_text()
    assert main(["checkup", f"{task_file.name}:small", "--autocast", "float64"]) == 2
    assert "expected bfloat16 or float16" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "said"), [("r.pdf", "one that ends in .html"), ("nowhere/r.html", "choose another place")])
def test_a_place_for_the_report_is_asked_for_before_the_work(
    name: str, said: str, task_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(task_file.parent)
    monkeypatch.setattr(health, "checkup", None)  # no experiment is made
    assert main(["checkup", f"{task_file.name}:make", "--save", name]) == 2
    assert said in capsys.readouterr().err


def test_a_runs_under_autocast() -> None:
    KINDS.clear()
    model = mlp()
    model[2].register_forward_hook(lambda _, __, output: KINDS.append(output.dtype))
    health.checkup(model, pairs(), cross_entropy, adam(model), autocast=torch.bfloat16, **QUICK)
    assert set(KINDS) == {torch.bfloat16}


def test_the_fixture_healthy(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "import torch\nfrom torch import nn\n"
        "batches = [((x := torch.randn(16, 20)), x[:, :5].argmax(1)) for _ in range(3)]\n"
        "def test_well(healthy):\n"
        "    net = nn.Linear(20, 5)\n"
        "    report = healthy(net, batches, nn.CrossEntropyLoss(), torch.optim.Adam(net.parameters()), only=['parameters'])\n"
        "    assert report.healthy\n"
        "def test_sick(healthy):\n"
        "    net = nn.Linear(20, 5)\n"
        "    other = torch.optim.Adam(nn.Linear(20, 5).parameters())\n"
        "    healthy(net, batches, nn.CrossEntropyLoss(), other, only=['optimiser'])\n"
        "def test_wrong(healthy):\n"
        "    healthy(nn.Linear(20, 5), batches, nn.CrossEntropyLoss(reduction='none'))\n"
    )
    found = any(each.value == "lettrine.integrations.pytest_plugin" for each in entry_points(group="pytest11"))
    named = [] if found else ["-p", "lettrine.integrations.pytest_plugin"]  # in a checkout that is not installed
    done = pytester.runpytest_inprocess(*named, "-p", "no:xdist", "-q")
    done.assert_outcomes(passed=1, failed=2)
    done.stdout.fnmatch_lines("*critical not-optimised*")
    done.stdout.fnmatch_lines("checkup got a loss of shape (16,); expected a tensor of one number*")
    done.stdout.no_fnmatch_line("*in make_task*")
    done.stdout.no_fnmatch_line("*Traceback*")
    done.stdout.no_fnmatch_line("*During handling*")


def test_the_plugin_loads_no_torch() -> None:
    code = "import sys, lettrine.integrations.pytest_plugin; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
