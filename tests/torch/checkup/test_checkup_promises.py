"""What the table of experiments promises, fault by fault; each beside its cure."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from checkup_tasks import adam, mlp, pairs  # noqa: E402
from checkup_verdicts import clean, figure, the, tried  # noqa: E402
from torch import nn  # noqa: E402

from lettrine import health  # noqa: E402
from lettrine.cli.app import main  # noqa: E402
from lettrine.errors import HealthError  # noqa: E402
from lettrine.health.limits import TRIAL_ERRORS, TRIAL_STEPS  # noqa: E402
from lettrine.torch.checkup.dying import Course, dead_units  # noqa: E402
from lettrine.torch.checkup.experiments.rate import noise_scale  # noqa: E402
from lettrine.torch.checkup.experiments.targets import neighbours  # noqa: E402
from lettrine.torch.checkup.making import make_task  # noqa: E402

cross_entropy = nn.functional.cross_entropy


def texts() -> list[torch.Tensor]:
    """Padded tokens (16, 12) with 0 at the end of most rows."""
    generator = torch.Generator().manual_seed(3)
    lengths = [torch.randint(3, 13, (16, 1), generator=generator) for _ in range(3)]
    return [torch.randint(1, 30, (16, 12), generator=generator) * (torch.arange(12) < each) for each in lengths]


class TestLabels:
    def test_in_some_batches(self) -> None:
        batches = pairs(6)
        batches[4][1][3] = 7
        report = health.checkup(
            mlp(), batches, cross_entropy, only=["first-loss", "inputs", "one-batch"], progress=False, minutes=5
        )
        found = the(report, "target-range")
        assert found.severity == "critical"
        assert "1 of 6 batches" in found.message
        assert "from 0 to 7" in found.message
        assert "8 outputs" in found.remedy
        assert {each.status for each in report.outcomes[1:]} == {"passed"}  # the others go on without that batch

    def test_in_all_batches(self) -> None:
        batches = [(x, y + 1) for x, y in pairs(6, 32)]
        report = health.checkup(mlp(), batches, cross_entropy, only=["first-loss", "data"], progress=False)
        assert "y - 1" in the(report, "target-range").remedy
        assert report.exit_code == 1
        assert report.outcomes[1].status == "not run"
        with pytest.raises(HealthError, match="no output for"):
            health.checkup(mlp(), batches, cross_entropy, only=["data"], progress=False)

    def test_what_the_loss_leaves_out(self) -> None:
        batches = [(x, y.masked_fill(y == 4, -1)) for x, y in pairs(6)]
        assert clean(tried("first-loss", mlp(), batches, lambda o, t: cross_entropy(o, t, ignore_index=-1)))
        assert "ignore_index=-1" in the(tried("first-loss", mlp(), batches), "target-range").remedy


class TestWrongWay:
    @pytest.mark.parametrize(
        ("loss_fn", "numbers"),
        [
            (lambda o, t: -cross_entropy(o, t), False),
            (lambda o, t: o.softmax(1).gather(1, t[:, None]).mean(), False),
            (lambda o, t: -nn.functional.mse_loss(o, t), True),
            (lambda o, t: nn.functional.cosine_similarity(o, t).mean(), True),
        ],
    )
    def test_a_loss_that_right_answers_make_higher(self, loss_fn: Any, numbers: bool) -> None:
        batches = [(x, x[:, :5]) for x, _ in pairs()] if numbers else pairs()
        assert the(tried("first-loss", mlp(), batches, loss_fn), "wrong-direction").severity == "critical"

    @pytest.mark.parametrize(
        ("loss_fn", "numbers"),
        [
            (cross_entropy, False),
            (nn.MultiMarginLoss(), False),
            (nn.functional.mse_loss, True),
            (nn.functional.huber_loss, True),
            (lambda o, t: 1 - nn.functional.cosine_similarity(o, t).mean(), True),
            (lambda o, t: (o * t).mean(), True),  # a slope, as of a risk that long times make small: it has no right answers
            (lambda o, t: 0 * (o - t).square().mean(), True),
        ],
    )
    def test_losses_as_they_are_meant(self, loss_fn: Any, numbers: bool) -> None:
        batches = [(x, x[:, :5]) for x, _ in pairs()] if numbers else pairs()
        assert not [each for each in tried("first-loss", mlp(), batches, loss_fn).findings if each.id == "wrong-direction"]


class TestBatches:
    def test_a_later_batch_that_is_not_finite(self) -> None:
        batches = pairs(6)
        batches[5][0][0, 0] = float("nan")
        report = health.checkup(mlp(), batches, cross_entropy, only=["first-loss", "inputs"], progress=False)
        assert "the first is batch 5" in the(report, "non-finite").message
        assert report.outcomes[1].status == "passed"
        seen = [(x.nan_to_num(), y) for x, y in batches]
        assert clean(tried("first-loss", mlp(), seen))

    def test_missing_values_that_the_network_fills(self) -> None:
        class Filling(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.body = mlp()

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.body(x.nan_to_num())

        batches = pairs(6)
        batches[5][0][0, 0] = float("nan")
        assert clean(tried("first-loss", Filling(), batches))

    def test_examples_that_stand_twice_in_a_batch_are_not_called_sorted(self) -> None:
        twice = [(x[torch.arange(32) % 2], y[torch.arange(32) % 2]) for x, y in pairs(12, 32)]
        report = tried("data", mlp(), twice)
        assert [each.id for each in report.findings] == ["repeated-batch"]
        assert figure(report, "data", "twins") == pytest.approx(30 / 32)
        assert clean(tried("data", mlp(), pairs(12, 32)))


class TestFrozen:
    def test_everything(self) -> None:
        model = mlp().requires_grad_(requires_grad=False)
        report = health.checkup(model, pairs(), cross_entropy, adam(model), only=["parameters", "one-batch"], progress=False)
        assert "all are frozen" in the(report, "no-gradient").message
        assert report.outcomes[1].status == "not applicable"


class TestSaid:
    """What is no fault by itself is told among the experiments."""

    def said(self, report: Any, name: str) -> str:
        return str(report.trace.seen(f"experiment:{name}")[0].words["said"])

    def test_parameters_that_are_held_and_not_used(self) -> None:
        model = mlp()
        model.pooler = nn.Linear(3, 3)
        model.forward = lambda x: model[2](model[1](model[0](x)))  # type: ignore[method-assign]
        report = tried("parameters", model, pairs())
        assert "does not use them: pooler.weight, pooler.bias." in self.said(report, "parameters")
        assert figure(report, "parameters", "unused") == 2

    def test_a_group_at_rate_0(self) -> None:
        model = mlp()
        groups = [{"params": model[0].parameters()}, {"params": model[2].parameters(), "lr": 0.0}]
        report = tried("optimiser", model, pairs(), optimizer=torch.optim.Adam(groups, lr=1e-2))
        assert "The rate of 2, such as 2.weight, is 0" in self.said(report, "optimiser")

    def test_which_parameters_matter_to_one_batch(self) -> None:
        class Beside(nn.Module):
            """One layer does the work; another is multiplied by next to nothing."""

            def __init__(self) -> None:
                super().__init__()
                torch.manual_seed(1)
                self.work, self.idle = nn.Linear(20, 5, bias=False), nn.Linear(20, 5, bias=False)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.work(x) + 1e-3 * self.idle(x)

        model = Beside()
        report = tried("one-batch", model, pairs(), optimizer=torch.optim.Adam(model.parameters(), lr=0.1))
        assert figure(report, "one-batch", "matters work.weight") == pytest.approx(1.0, abs=0.05)
        assert abs(figure(report, "one-batch", "matters idle.weight")) < 0.05
        assert "work.weight matters most" in self.said(report, "one-batch")

    def test_two_seeds_in_training_mode(self) -> None:
        model = nn.Sequential(nn.Dropout(0.5), *mlp())
        report = tried("randomness", model, pairs())
        assert figure(report, "randomness", "train_loss") != figure(report, "randomness", "other_seed")
        plain = tried("randomness", mlp(), pairs())
        assert figure(plain, "randomness", "train_loss") == figure(plain, "randomness", "other_seed")


class TestRandomness:
    @pytest.mark.parametrize("fresh", [True, False])
    def test_a_generator_that_no_seed_reaches(self, fresh: bool) -> None:
        class Noisy(nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                drawn = np.random.default_rng(None if fresh else 1).normal(size=x.shape)
                return x + torch.from_numpy(drawn).to(x.dtype)

        model = nn.Sequential(Noisy(), *mlp())
        report = tried("randomness", model, pairs())
        if not fresh:
            assert clean(report)
            return
        found = the(report, "eval-randomness")
        assert found.where == ("0",)
        assert "with all" not in found.message
        assert found.severity == "info"


class Standardising(nn.Module):
    """Keeps the mean of its inputs as a buffer or as a plain tensor."""

    def __init__(self, *, buffer: bool, reads: bool = True) -> None:
        super().__init__()
        self.body, self.reads = mlp(), reads
        if buffer:
            self.register_buffer("mean", torch.zeros(20))
        else:
            self.mean = torch.zeros(20)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.mean = 0.5 * self.mean + 0.5 * x.detach().mean(0)
        return self.body(x - self.mean if self.reads else x)


@pytest.mark.parametrize(("buffer", "reads", "lost"), [(False, True, True), (True, True, False), (False, False, False)])
def test_a_statistic_in_a_plain_tensor(buffer: bool, reads: bool, lost: bool) -> None:
    batches = [(x + 2, y) for x, y in pairs()]
    report = tried("save-load", Standardising(buffer=buffer, reads=reads), batches)
    assert [each.where for each in report.findings] == ([("mean",)] if lost else [])


@pytest.mark.parametrize(("momentum", "sick"), [(1e-5, True), (3e-4, False), (0.1, False), (None, False)])
def test_running_statistics_that_follow_too_slowly(momentum: float | None, sick: bool) -> None:
    model = nn.Sequential(nn.Linear(20, 16), nn.BatchNorm1d(16, momentum=momentum), nn.ReLU(), nn.Linear(16, 5))
    report = tried("norm-statistics", model, [(3 * x + 2, y) for x, y in pairs()])
    assert [each.where for each in report.findings] == ([("1",)] if sick else [])
    assert not sick or "too slowly" in report.findings[0].message


@pytest.mark.parametrize(("decay", "sick"), [(50.0, True), (0.1, False)])
def test_decay_apart_from_the_gradient(decay: float, sick: bool) -> None:
    model = mlp()
    report = tried("decay", model, pairs(12, 32), optimizer=torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=decay))
    if sick:
        found = the(report, "weight-decay")
        assert "takes 50 % of the weights at each step" in found.message
        assert "held-out loss" in found.message
        assert "Set weight_decay=1e-01 or less" in found.remedy
    else:
        assert clean(report)


def test_neighbours_of_numbers() -> None:
    """Targets near one another where the inputs are, and the same targets dealt out anew."""
    batches = [(x[:, :3], x[:, :1]) for x, _ in pairs(8, 64)]
    order = torch.randperm(8 * 64, generator=torch.Generator().manual_seed(1))
    dealt = torch.cat([y for _, y in batches])[order].split(64)
    torn = [(x, y) for (x, _), y in zip(batches, dealt, strict=True)]
    model = nn.Linear(3, 1)
    true, chance = (neighbours(make_task(model, each, nn.MSELoss(), None, minutes=1)) for each in (batches, torn))
    assert true > 10
    assert abs(chance) < TRIAL_ERRORS


class Encoder(nn.Module):
    def __init__(self, *, masks: bool) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.embed, self.out, self.masks = nn.Embedding(30, 16), nn.Linear(16, 3), masks
        self.body = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pads = (x == 0)[..., None]
        h = self.body(self.embed(x), src_key_padding_mask=pads[..., 0] if self.masks else None)
        return self.out(h.masked_fill(pads, 0).sum(1) / (~pads).sum(1) if self.masks else h.mean(1))


@pytest.mark.parametrize("masks", [True, False])
def test_attention_without_a_mask_is_remarked(masks: bool) -> None:
    report = tried("padding", Encoder(masks=masks), [(x, x[:, 0] % 3) for x in texts()])
    assert [(each.id, each.severity) for each in report.findings] == ([] if masks else [("padding", "info")])


@pytest.mark.parametrize("empty", [0, 1, 2, 5])
def test_batches_that_hold_nothing(empty: int) -> None:
    batches = [
        (torch.zeros_like(x), y) if number % 2 and number < 2 * empty else (x, y) for number, (x, y) in enumerate(pairs(12))
    ]
    report = tried("data", mlp(), batches)
    if empty < 2:  # one may be an example of its own
        assert clean(report)
    else:
        assert f"In {empty} of 12 batches all inputs are 0" in the(report, "repeated-batch").message


def test_a_part_that_train_freezes_has_no_gradient_noise() -> None:
    class Frozen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(1)
            self.body, self.out = nn.Linear(20, 32), nn.Linear(32, 5)

        def train(self, mode: bool = True) -> Frozen:
            super().train(mode)
            self.body.requires_grad_(False)
            return self

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(torch.relu(self.body(x)))

    assert noise_scale(make_task(Frozen(), pairs(), cross_entropy, None, minutes=5)) > 0


def deep() -> nn.Module:
    torch.manual_seed(1)
    layers: list[nn.Module] = []
    for width in (20, *([32] * 5)):
        layers += [nn.Linear(width, 32), nn.ReLU()]
        nn.init.kaiming_normal_(layers[-2].weight)
    return nn.Sequential(*layers, nn.Linear(32, 5))


class TestDying:
    def test_units_that_are_dead_are_counted(self) -> None:
        model = nn.Sequential(nn.Linear(20, 10), nn.ReLU(), nn.Linear(10, 5))
        with torch.no_grad():
            model[0].bias[:3] = -100.0
        task = make_task(model, pairs(), cross_entropy, adam(model), minutes=1)
        assert dead_units(task) == {"1": pytest.approx(0.3)}

    def test_only_units_that_die_where_nothing_is_learned(self) -> None:
        assert Course([], 2.0, 1.6, {"a": (0.0, 0.9), "b": (0.9, 1.0)}).worst == ("a", 0.0, 0.9)
        assert Course([], 2.0, 1.6, {"a": (0.0, 0.9)}).died(1.6)
        assert not Course([], 2.0, 1.0, {"a": (0.0, 0.9)}).died(1.6)  # learned all the same
        assert not Course([], 2.0, 1.6, {"a": (0.7, 0.9)}).died(1.6)  # most were dead before
        assert not Course([], 2.0, 1.6, {}).died(1.6)

    def test_the_rate_that_keeps_them_alive_is_told(self) -> None:
        model = deep()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        report = tried("learning-rate", model, pairs(12, 32), optimizer=optimizer)
        found = the(report, "learning-rate-too-high")
        assert "At this rate units die" in found.message
        assert f"after {TRIAL_STEPS} steps" in found.message
        assert found.message.count("With lr=0.0") == 1
        assert found.where[0] in {str(number) for number in range(1, 12, 2)}
        assert found.remedy.startswith("Set lr=0.0")
        assert figure(report, "learning-rate", "died") > 0.5

    def test_a_rate_at_which_they_live(self) -> None:
        model = deep()
        assert clean(tried("learning-rate", model, pairs(12, 32), optimizer=torch.optim.Adam(model.parameters(), lr=3e-3)))


def test_a_watch_tries_from_the_start_of_the_training() -> None:
    """Decay has ruined the network by the end: from there, no remedy helps."""
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.8)
    batches = pairs(12, 32)
    with health.watch(model, optimizer, task=(batches, cross_entropy)) as watch:
        for x, y in itertools.islice(itertools.cycle(batches), 200):
            optimizer.zero_grad()
            loss = cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    after = [each.detach().clone() for each in model.parameters()]
    memory = [each["momentum_buffer"].clone() for each in optimizer.state.values()]
    found = the(watch.report(), "weight-decay")
    assert found.severity != "info"
    assert "Without it, tried for" in found.message
    assert all(torch.equal(old, each) for old, each in zip(after, model.parameters(), strict=True))
    assert all(torch.equal(old, each["momentum_buffer"]) for old, each in zip(memory, optimizer.state.values(), strict=True))


class TestBadInput:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        path = tmp_path / "train.py"
        path.write_text(
            "import torch\nfrom torch import nn\n"
            "def raises(): raise ValueError('no data here')\n"
            "def ends(): raise SystemExit(0)\n"
            "def needs(x): pass\n"
            "def breaks():\n"
            "    def batches():\n"
            "        yield torch.ones(4, 3), torch.ones(4, 1)\n"
            "        raise RuntimeError('disk gone')\n"
            "    return nn.Linear(3, 1), batches(), nn.MSELoss()\n"
        )
        return path

    def test_what_the_model_raises_is_one_line(self) -> None:
        class Wide(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.lin = nn.Linear(7, 5)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.lin(x)

        with pytest.raises(
            HealthError, match=r"raised RuntimeError: mat1.*\(test_checkup_promises.py, line \d+\); expected"
        ) as told:
            health.checkup(Wide(), pairs(), cross_entropy)
        assert "loss_fn(model, batch): " not in str(told.value)  # the second way was no better, and is not what was meant
        health.checkup(Wide(), pairs(), lambda net, batch: cross_entropy(net(batch[0][:, :7]), batch[1]), only=["first-loss"])

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("raises", "raised ValueError: no data here (train.py, line 3)"),
            ("ends", "ended the program (train.py, line 4)"),
            ("needs", "which is called without arguments, raised TypeError: needs() missing 1 required"),
            ("breaks", "drawing the batches raised RuntimeError: disk gone (train.py, line 9)"),
        ],
    )
    def test_what_the_task_raises_is_one_line(
        self, file: Path, name: str, message: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["checkup", f"{file}:{name}"]) == 2
        told = capsys.readouterr().err
        assert message in told
        assert len(told.splitlines()) == 1

    def test_a_file_that_cannot_be_read(self, file: Path) -> None:
        file.write_text("import nothing_of_this_name\n")
        with pytest.raises(HealthError, match=r"ModuleNotFoundError: .*\(train.py, line 1\)"):
            health.checkup(task=f"{file}:make")
        file.write_text("x = (\n")
        with pytest.raises(HealthError, match=r"never closed \(train.py, line 1\); expected"):
            health.checkup(task=f"{file}:make")

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"model": nn.Linear(20, 5, device="meta")}, "holds no values"),
            ({"batches": [(torch.ones(0, 20), torch.ones(0))]}, "without an example"),
            ({"loss_fn": nn.CrossEntropyLoss}, r"expected an instance of it: CrossEntropyLoss\(\)"),
            ({"only": []}, "got none"),
        ],
    )
    def test_what_cannot_be_examined(self, given: dict[str, Any], message: str) -> None:
        whole = {"model": mlp(), "batches": pairs(), "loss_fn": cross_entropy, "progress": False, **given}
        with pytest.raises(HealthError, match=message):
            health.checkup(**whole)

    def test_a_task_whose_parts_are_in_another_order(self) -> None:
        with pytest.raises(HealthError, match="checkup got a list"):
            make_task(pairs(), mlp(), cross_entropy, None, minutes=1)

    def test_sparse_gradients(self) -> None:
        model = nn.Sequential(nn.EmbeddingBag(50, 8, sparse=True), nn.Linear(8, 3))
        batches = [(torch.randint(50, (16, 6)), torch.randint(3, (16,))) for _ in range(4)]
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        report = health.checkup(model, batches, cross_entropy, optimizer, progress=False)
        assert [each for each in report.outcomes if each.status == "failed"] == []
