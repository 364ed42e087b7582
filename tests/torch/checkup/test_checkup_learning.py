"""Experiments that train: saving, inputs, data, one batch, precision, remedies on trial. Sick and cured, tiny."""

from __future__ import annotations

from contextlib import nullcontext
from math import isnan
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from checkup_tasks import Hidden, adam, mlp, pairs, tokens  # noqa: E402
from torch import nn  # noqa: E402

from lettrine import health  # noqa: E402
from lettrine.health.findings import Report  # noqa: E402
from lettrine.health.limits import CHECKUP_CRAWL  # noqa: E402
from lettrine.torch.checkup.experiment import finding  # noqa: E402
from lettrine.torch.checkup.experiments.answer import copies  # noqa: E402
from lettrine.torch.checkup.experiments.one_batch import still_falls  # noqa: E402
from lettrine.torch.checkup.experiments.rate import noise_scale  # noqa: E402
from lettrine.torch.checkup.experiments.targets import tied  # noqa: E402
from lettrine.torch.checkup.making import make_task  # noqa: E402
from lettrine.torch.checkup.ties import ORDERS, chance, cut_off  # noqa: E402
from lettrine.torch.checkup.trials import Trial, compare  # noqa: E402
from lettrine.torch.checkup.verdict import ordered  # noqa: E402

cross_entropy = nn.functional.cross_entropy


def tried(only: str, model: nn.Module, batches: Any, loss_fn: Any = cross_entropy, optimizer: Any = "adam") -> Report:
    optimizer = adam(model) if optimizer == "adam" else optimizer
    wanted = ["first-loss", "one-batch", only] if only in ("targets", "start") else [only]
    report = health.checkup(model, batches, loss_fn, optimizer, only=wanted, progress=False)
    assert report.outcomes[-1].status != "failed", report.outcomes
    return report


def the(report: Report, kind: str) -> health.Finding:
    found = [each for each in report.findings if each.id == kind]
    assert len(found) == 1, (report.findings, report.trace.evidence)
    return found[0]


def clean(report: Report) -> bool:
    return report.outcomes[-1].status == "passed" and not report.findings


def figure(report: Report, experiment: str, name: str) -> float:
    return report.trace.seen(f"experiment:{experiment}")[0].figure(name)


class TestSaveLoad:
    def test_a_statistic_that_is_not_saved(self) -> None:
        class Shifted(nn.Module):
            def __init__(self, *, saved: bool) -> None:
                super().__init__()
                self.out = nn.Linear(20, 5)
                self.register_buffer("shift", torch.zeros(20), persistent=saved)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                if self.training:
                    self.shift = 0.5 * self.shift + x.detach().mean(0)
                return self.out(x - self.shift)

        batches = [(x + 2, y) for x, y in pairs()]
        found = the(tried("save-load", Shifted(saved=False), batches), "save-load")
        assert found.where == ("shift",)
        assert clean(tried("save-load", Shifted(saved=True), batches))

    def test_layers_in_a_plain_list_that_are_trained(self) -> None:
        model = Hidden(listed=False)
        optimizer = torch.optim.Adam([*model.parameters(), *(p for layer in model.layers for p in layer.parameters())])
        found = the(tried("save-load", model, pairs(), optimizer=optimizer), "save-load")
        assert "layers[0].weight" in found.where
        assert clean(tried("save-load", Hidden(listed=True), pairs()))

    def test_a_state_that_is_carried_along_is_no_fault(self) -> None:
        class Carried(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.rnn, self.out, self.state = nn.GRUCell(20, 8), nn.Linear(8, 5), None

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                self.state = self.rnn(x, None if self.state is None else self.state.detach())
                return self.out(self.state)

        assert clean(tried("save-load", Carried(), pairs()))


class TestInputs:
    def test_an_input_that_is_forgotten(self) -> None:
        class Two(nn.Module):
            def __init__(self, *, both: bool) -> None:
                super().__init__()
                self.a, self.b, self.both = nn.Linear(10, 5), nn.Linear(10, 5), both

            def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
                return self.a(left) + self.b(right if self.both else left)

        batches = [((x[:, :10], x[:, 10:]), y) for x, y in pairs()]
        assert the(tried("inputs", Two(both=False), batches), "unused-input").where == ("1",)
        assert clean(tried("inputs", Two(both=True), batches))

    def test_answers_that_are_all_alike(self) -> None:
        model = nn.Sequential(nn.Linear(20, 1), nn.Softmax(1))
        batches = [(x, (x[:, :1] > 0).float()) for x, _ in pairs()]
        found = the(tried("inputs", model, batches, nn.BCELoss()), "unused-input")
        assert found.where == ("1",)
        assert "softmax over one unit" in found.remedy

    def test_a_head_that_begins_at_0_wakes_up(self) -> None:
        model = mlp()
        nn.init.zeros_(model[2].weight)
        assert clean(tried("inputs", model, pairs()))

    def test_masks_may_not_matter(self) -> None:
        class Masked(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.out = nn.Linear(20, 5)

            def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
                return self.out(x)

        batches = [((x, (x[:, 0] > 0).long()), y) for x, y in pairs()]
        assert clean(tried("inputs", Masked(), batches))


class TestData:
    def test_copies_of_batches(self) -> None:
        batches = pairs()
        assert the(tried("data", mlp(), [batches[i // 2] for i in range(8)]), "repeated-batch").value == 0.5
        assert clean(tried("data", mlp(), batches))
        assert clean(tried("data", mlp(), [batches[0]] * 4))  # all there is, again and again

    def test_one_example_in_many_rows(self) -> None:
        batches = [(x[:1].repeat(len(x), 1), y) for x, y in pairs()]
        assert "one example" in the(tried("data", mlp(), batches), "repeated-batch").why

    def test_sorted_by_class(self) -> None:
        x, y = (torch.cat(each) for each in zip(*pairs(8), strict=True))
        order = y.argsort(stable=True)
        batches = list(zip(x[order].split(16), y[order].split(16), strict=True))
        found = the(tried("data", mlp(), batches), "sorted-data")
        assert found.value < found.limit
        assert figure(tried("data", mlp(), pairs(8)), "data", "order") == pytest.approx(1.0, abs=0.1)

    def test_targets_all_alike(self) -> None:
        batches = [(x, torch.zeros_like(y)) for x, y in pairs()]
        assert the(tried("data", mlp(), batches), "target-constant").value == 0
        assert clean(tried("data", mlp(), batches, lambda out, _: out.square().mean()))  # given only to fit the interface

    @pytest.mark.parametrize("loss_fn", [nn.MSELoss(), nn.BCEWithLogitsLoss()])
    def test_numbers_all_alike(self, loss_fn: Any) -> None:
        batches = [(x, torch.zeros(len(x), 1)) for x, _ in pairs()]
        model = nn.Sequential(nn.Linear(20, 16), nn.Tanh(), nn.Linear(16, 1))
        assert the(tried("data", model, batches, loss_fn), "target-constant").severity == "warning"

    def test_a_residual_that_shall_be_zero(self) -> None:
        """u'' + u = x, whose sides the model subtracts."""

        class Residual(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.u = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                x = x.requires_grad_()
                u = self.u(x)
                (first,) = torch.autograd.grad(u.sum(), x, create_graph=True)
                (second,) = torch.autograd.grad(first.sum(), x, create_graph=True)
                return second + u - x.detach()

        batches = [(torch.rand(32, 1), torch.zeros(32, 1)) for _ in range(8)]
        assert clean(tried("data", Residual(), batches, nn.MSELoss()))

    def test_a_judge_that_is_not_trained(self) -> None:
        """A generator against a discriminator: each of its answers shall be called true."""

        class Judged(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.maker, self.judge = nn.Linear(4, 2), nn.Linear(2, 1)

            def forward(self, z: torch.Tensor) -> torch.Tensor:
                return self.judge(self.maker(z))

        model = Judged()
        batches = [(torch.randn(32, 4), torch.ones(32, 1)) for _ in range(8)]
        assert clean(tried("data", model, batches, nn.BCEWithLogitsLoss(), adam(model.maker)))

    def test_the_first_place_is_the_other_view(self) -> None:
        """As of momentum contrast: the other view of the same picture stands before those of others, so all classes are 0."""

        class Views(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.body = nn.Linear(20, 8)
                self.register_buffer("others", torch.randn(8, 64))

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                one, other = self.body(x), self.body(x + 0.1).detach()
                return torch.cat([(one * other).sum(1, keepdim=True), one @ self.others], 1)

        batches = [(x, torch.zeros_like(y)) for x, y in pairs()]
        assert clean(tried("data", Views(), batches))


class TestAnswer:
    def test_a_copy_of_the_target(self) -> None:
        batches = [(torch.cat([x, y[:, None].float()], 1), y) for x, y in pairs()]
        found = the(tried("answer", nn.Linear(21, 5), batches), "leak")
        assert "[20]" in found.message
        assert clean(tried("answer", mlp(), pairs()))

    def test_the_same_examples_again_are_no_evidence(self) -> None:
        generator = torch.Generator().manual_seed(0)
        x, y = torch.randn(80, 4, generator=generator), torch.randn(80, 1, generator=generator)
        report = tried("answer", nn.Linear(4, 1), [(x, y)] * 8, nn.MSELoss())
        assert clean(report)
        assert report.trace.evidence[0].figure("examples") == 80

    def test_what_goes_with_the_target_is_no_copy(self) -> None:
        generator = torch.Generator().manual_seed(0)
        y = torch.randint(3, (200,), generator=generator)
        x = torch.stack([y + 0.05 * torch.randn(200, generator=generator), 2.0 * y, torch.full((200,), 3.0)], 1)
        assert copies(x, y) == [1]  # nearly the class; the class itself; a constant
        value = torch.randn(200, generator=generator)
        x = torch.stack([value + 0.01 * torch.randn(200, generator=generator), 3 - 2 * value], 1)
        assert copies(x, value) == [1]


class TestOneBatch:
    def test_a_network_that_cannot(self) -> None:
        class Blind(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.out = nn.Linear(20, 5)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.out(torch.zeros_like(x))

        found = the(tried("one-batch", Blind(), pairs()), "cannot-fit")
        assert found.severity == "critical"
        assert found.value == pytest.approx(found.limit / 0.9, rel=0.01)  # it gets to the best constant answer

    def test_one_that_can(self) -> None:
        report = tried("one-batch", mlp(), pairs(2))
        assert clean(report)
        assert figure(report, "one-batch", "reached") < 0.9 * figure(report, "one-batch", "reference")

    def test_a_rate_that_is_wrong_is_another_fault(self) -> None:
        model = mlp()
        report = tried("one-batch", model, pairs(2), optimizer=torch.optim.SGD(model.parameters(), lr=1e-9))
        assert clean(report)
        assert figure(report, "one-batch", "own") > figure(report, "one-batch", "reached")

    def test_dropout_is_off(self) -> None:
        model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Dropout(0.9), nn.Linear(64, 5))
        report = tried("one-batch", model, pairs(1))
        assert figure(report, "one-batch", "reached") < 0.5


class TestPrecision:
    def test_digits_that_cancel(self) -> None:
        class Lost(nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return (x + 1e6) - 1e6

        model = nn.Sequential(nn.Linear(20, 32), Lost(), nn.Linear(32, 5))
        assert the(tried("precision", model, pairs()), "precision").where == ("1",)
        assert clean(tried("precision", mlp(), pairs()))

    @pytest.mark.parametrize(("factor", "sick"), [(1.0, True), (2.0, False)])
    def test_a_backward_pass_written_by_hand(self, factor: float, sick: bool) -> None:
        class Square(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
                ctx.save_for_backward(x)
                return x * x

            @staticmethod
            def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
                return factor * gradient * ctx.saved_tensors[0]

        class Squared(nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return Square.apply(x)

        report = tried("precision", nn.Sequential(nn.Linear(20, 8), Squared(), nn.Linear(8, 5)), pairs())
        assert clean(report) is not sick
        if sick:
            assert the(report, "wrong-backward").value == pytest.approx(0.5, abs=1e-3)

    @pytest.mark.parametrize("chosen", [True, False])
    def test_an_argument_of_the_backward_pass_alone(self, chosen: bool) -> None:
        """Feedback alignment: the gradient goes back through a matrix that the forward pass does not use."""

        class Aligned(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, back: torch.Tensor) -> torch.Tensor:
                ctx.save_for_backward(x, back if chosen else 2 * weight)
                return x @ weight

            @staticmethod
            def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
                x, back = ctx.saved_tensors
                return gradient @ back.T, x.T @ gradient, None

        class Fed(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.weight = nn.Parameter(torch.randn(8, 5) / 3)
                self.register_buffer("back", torch.randn(8, 5) / 3)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return Aligned.apply(x, self.weight, self.back)

        report = tried("precision", nn.Sequential(nn.Linear(20, 8), Fed()), pairs())
        assert clean(report) is chosen

    def test_gradients_that_are_a_choice(self) -> None:
        class Rounded(torch.autograd.Function):
            @staticmethod
            def forward(_: Any, x: torch.Tensor) -> torch.Tensor:
                return x.round()

            @staticmethod
            def backward(_: Any, gradient: torch.Tensor) -> torch.Tensor:
                return gradient

        class Turned(torch.autograd.Function):
            @staticmethod
            def forward(_: Any, x: torch.Tensor) -> torch.Tensor:
                return x.clone()

            @staticmethod
            def backward(_: Any, gradient: torch.Tensor) -> torch.Tensor:
                return -gradient

        class Chosen(nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return Turned.apply(Rounded.apply(3 * x))

        report = tried("precision", nn.Sequential(nn.Linear(20, 8), Chosen(), nn.Linear(8, 5)), pairs())
        assert clean(report)
        assert "apply" not in vars(Rounded)  # nothing of what listened is left


class TestTrials:
    def test_both_sides_are_the_same_without_a_difference(self) -> None:
        model = mlp()
        task = make_task(model, pairs(), cross_entropy, adam(model), minutes=5)
        trial = compare(task, lambda _: nullcontext(), 5)
        assert trial.gain == 0
        assert trial.error == 0
        assert trial.with_remedy < trial.start
        assert not trial.helps

    def test_what_is_noise_does_not_help(self) -> None:
        assert Trial(3.0, 2.0, 1.5, 0.5, 0.1, 40, held_out=True).helps
        assert not Trial(3.0, 2.0, 1.5, 0.5, 0.2, 40, held_out=True).helps  # within 3 standard errors
        assert not Trial(3.0, 2.0, 1.95, 0.05, 0.001, 40, held_out=True).helps  # not worth it
        assert not Trial(3.0, 2.0, float("inf"), float("-inf"), float("nan"), 40, held_out=True).helps
        assert Trial(3.0, float("inf"), 1.0, float("inf"), float("nan"), 40, held_out=True).helps
        # 40 → 1, 10 → 1 and 4 → 1: the amounts spread as widely as they are, the factors do not.
        assert Trial(50.0, 18.0, 1.0, 17.0, 11.1, 40, held_out=True, log_gain=2.46, log_error=0.67).helps
        assert not Trial(50.0, 18.0, 1.0, 17.0, 11.1, 40, held_out=True, log_gain=2.46, log_error=0.9).helps
        assert "2 → 1.5" in Trial(3.0, 2.0, 1.5, 0.5, 0.1, 40, held_out=True).said

    def test_a_gain_that_differs_by_factors_between_seeds(self) -> None:
        generator = torch.Generator().manual_seed(0)
        x = 1e5 * torch.rand(12, 20, 1, generator=generator)
        batches = [(each, (each > 5e4).float()) for each in x]
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(1, 12), nn.ReLU(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 1))
        found = the(tried("scales", model, batches, nn.BCEWithLogitsLoss(), adam(model)), "input-scale")
        assert "4." in found.message

    def test_large_inputs(self) -> None:
        def net() -> nn.Module:
            torch.manual_seed(1)
            return nn.Sequential(nn.Linear(20, 32), nn.Tanh(), nn.Linear(32, 5))

        model = net()
        batches = [(300 * x + 500, y) for x, y in pairs(8)]
        found = the(tried("scales", model, batches, optimizer=torch.optim.SGD(model.parameters(), lr=0.05)), "input-scale")
        assert "(x - " in found.remedy
        assert "→" in found.message
        model = net()
        assert clean(tried("scales", model, pairs(8), optimizer=torch.optim.SGD(model.parameters(), lr=0.05)))

    def test_large_inputs_that_do_no_harm(self) -> None:
        model = nn.Sequential(nn.BatchNorm1d(20), nn.Linear(20, 32), nn.Tanh(), nn.Linear(32, 5))
        report = tried("scales", model, [(300 * x + 500, y) for x, y in pairs(8)])
        assert clean(report)
        assert "standardises its inputs itself" in report.trace.evidence[0].words["said"]

    def test_large_targets(self) -> None:
        model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 1))
        batches = [(x, 5000 * x[:, :1] + 20000) for x, _ in pairs(8)]
        found = the(tried("scales", model, batches, nn.MSELoss()), "target-scale")
        assert "(y - " in found.remedy
        assert figure(tried("scales", model, batches, nn.MSELoss()), "scales", "error targets") > 0

    def test_large_targets_under_a_rate_that_standard_ones_stand(self) -> None:
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(20, 8), nn.Tanh(), nn.Linear(8, 1))
        batches = [(x, 40 * x[:, :1] - 2700) for x, _ in pairs(8)]
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        found = the(tried("scales", model, batches, nn.MSELoss(), optimizer), "target-scale")
        assert "not finite" not in found.message  # the gradients of standardised targets are small as well
        assert "(y + 2.7" in found.remedy

    def test_fresh_layers_that_are_frozen(self) -> None:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(20, 3), nn.ReLU(), nn.Linear(3, 5))
        model[0].requires_grad_(requires_grad=False)
        optimizer = torch.optim.Adam(model[2].parameters(), lr=0.03)
        found = the(tried("frozen", model, pairs(12, 32), optimizer=optimizer), "frozen-random")
        assert found.where == ("0.weight",)

    def test_a_train_of_its_own_that_was_never_called(self) -> None:
        class Staged(nn.Sequential):
            def train(self, mode: bool = True) -> Staged:
                super().train(mode)
                self[0].eval().requires_grad_(False)
                return self

        model = Staged(nn.Linear(20, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Linear(16, 5))
        found = the(tried("frozen", model, pairs(12, 32)), "wrong-mode")
        assert found.where == ("0.weight", "0.bias")
        assert "train() of Staged freezes 0.weight and 1 more, and has not been called" in found.message
        assert model[0].weight.requires_grad  # put back
        with torch.no_grad():
            model[0].weight *= 1.3  # as trained elsewhere, and not fresh any more
        assert clean(tried("frozen", model.train(), pairs(12, 32)))

    def test_a_frozen_layer_that_is_patched_is_meant(self) -> None:
        class Patched(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.base, self.down, self.up = nn.Linear(20, 16), nn.Linear(20, 2, bias=False), nn.Linear(2, 16, bias=False)
                self.base.requires_grad_(requires_grad=False)
                self.out = nn.Linear(16, 5)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.out(torch.tanh(self.base(x) + self.up(self.down(x))))

        assert clean(tried("frozen", Patched(), pairs(12, 32)))

    def test_a_frozen_network_that_only_makes_targets_is_meant(self) -> None:
        class Distilled(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.target, self.net = nn.Linear(20, 8), nn.Sequential(nn.Linear(20, 16), nn.Tanh(), nn.Linear(16, 8))
                self.target.requires_grad_(requires_grad=False)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.net(x) - self.target(x)

        batches = [(x, torch.zeros(len(x), 8)) for x, _ in pairs(12, 32)]
        report = tried("frozen", Distilled(), batches, nn.MSELoss())  # unfrozen, it would become what is easy to learn
        assert not report.findings
        assert "No gradient ties them" in report.outcomes[0].reason

    def test_frozen_layers_drawn_from_a_normal_distribution(self) -> None:
        torch.manual_seed(0)
        body = nn.Sequential(nn.Linear(20, 200), nn.LayerNorm(200), nn.ReLU(), nn.Linear(200, 100), nn.ReLU(), nn.Linear(100, 3))
        for each in body[::3]:
            nn.init.kaiming_normal_(each.weight)
        nn.init.kaiming_normal_(body[5].weight)
        body.requires_grad_(requires_grad=False)
        model = nn.Sequential(body, nn.ReLU(), nn.Linear(3, 5))
        optimizer = torch.optim.Adam(model[2].parameters(), lr=0.03)
        found = the(tried("frozen", model, pairs(12, 32), optimizer=optimizer), "frozen-random")
        assert found.where == ("0.0.weight", "0.3.weight", "0.5.weight")  # two of them too small to be sure of alone
        assert "(normal with std 0.3" in found.message
        with torch.no_grad():
            body[1].weight += 0.1 * torch.randn(200)  # a norm that has learned: so may have the rest
        assert clean(tried("frozen", model, pairs(12, 32), optimizer=optimizer))

    def test_rates(self) -> None:
        def at(rate: float) -> Report:
            model = nn.Sequential(nn.Linear(20, 32), nn.Tanh(), nn.Linear(32, 5))
            return tried(
                "learning-rate", model, pairs(8, 32), optimizer=torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
            )

        high, low = the(at(80.0), "learning-rate-too-high"), the(at(1e-6), "learning-rate-too-low")
        assert high.value > high.limit
        assert low.value < low.limit
        assert "→" in high.message
        assert "Set lr=" in low.remedy
        assert clean(at(0.1))

    def test_steps_that_hardly_move_the_weights(self) -> None:
        """A few rows, which take hundreds of steps to learn: a short trial would show nothing."""
        generator = torch.Generator().manual_seed(1)
        x = torch.rand(60, 7, generator=generator)
        y = ((x[:, 0] > x[:, 1]) ^ (x[:, 2] > 0.8)).long()

        def at(rate: float) -> Report:
            torch.manual_seed(1)
            model = nn.Sequential(nn.Linear(7, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
            batches = [(x[rows], y[rows]) for rows in torch.arange(60).split(10)]
            return tried("learning-rate", model, batches, optimizer=torch.optim.SGD(model.parameters(), lr=rate))

        found = the(at(3e-4), "learning-rate-too-low")  # a thousandth of the best: not as far as a short trial is made for
        assert f", tried for {CHECKUP_CRAWL} steps: held-out loss 0.69" in found.message
        assert found.remedy.startswith(("Set lr=0.03;", "Set lr=0.3;"))
        assert clean(at(0.1))

    def test_a_schedule_that_begins_low_is_judged_by_its_peak(self) -> None:
        model = nn.Sequential(nn.Linear(20, 32), nn.Tanh(), nn.Linear(32, 5))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: step / 1e6 + 1e-6)
        report = tried("learning-rate", model, pairs(8, 32), optimizer=optimizer)
        assert clean(report)
        assert figure(report, "learning-rate", "present") == 0.1

    def test_decay_that_wins(self) -> None:
        def with_decay(decay: float) -> Report:
            torch.manual_seed(0)
            model = mlp()
            return tried(
                "decay", model, pairs(8, 32), optimizer=torch.optim.SGD(model.parameters(), 0.1, 0.9, weight_decay=decay)
            )

        found = the(with_decay(1.0), "weight-decay")
        assert found.value > found.limit
        assert clean(with_decay(1e-4))

    def test_a_last_layer_that_is_too_large(self) -> None:
        def with_last(factor: float, rate: float = 0.01) -> Report:
            torch.manual_seed(0)
            model = mlp()
            with torch.no_grad():
                model[2].weight.mul_(factor)
            return tried("start", model, pairs(8, 32), optimizer=torch.optim.SGD(model.parameters(), rate))

        found = [each for each in with_last(100.0).findings if each.severity == "warning"]
        assert [each.id for each in found] == ["initial-loss"]
        assert found[0].where == ("2",)
        assert clean(with_last(1.0))
        later = with_last(30.0, 0.005)  # 40 steps are lost, and no more
        assert [each.severity for each in later.findings] == ["info"]
        (said,) = (each.words for each in later.trace.evidence if "start" in each.kind)
        assert "learns all the same" in str(said)

    def test_targets_that_belong_to_nothing(self) -> None:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(768, 20, generator=generator)
        y = x[:, :5].argmax(1)

        def with_targets(target: torch.Tensor) -> Report:
            return tried("targets", mlp(), list(zip(x.split(48), target.split(48), strict=True)))

        found = the(with_targets(y[torch.randperm(768, generator=generator)]), "shuffled-targets")
        assert found.severity == "warning"
        assert not with_targets(y).findings


NUMBERS = {
    "noisy": lambda x, e: x[:, 0] + 3.0 * e,  # a tenth of the variance can be known
    "product": lambda x, e: x[:, 0] * x[:, 1] + 0.3 * e,
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_that_belong_to_nothing(kind: str) -> None:
    named = [0, 0]
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        x, noise = torch.randn(768, 20, generator=generator), torch.randn(768, generator=generator)
        y = NUMBERS[kind](x, noise)[:, None]
        for shuffled, target in enumerate((y, y[torch.randperm(768, generator=generator)])):
            torch.manual_seed(seed)
            model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 1))
            batches = list(zip(x.split(48), target.split(48), strict=True))
            found = tried("targets", model, batches, nn.MSELoss()).findings
            named[shuffled] += [each.id for each in found] == ["shuffled-targets"]
    assert named[0] == 0
    assert named[1] >= 4


FINE = {
    "the product of two signs of 80": (80, lambda x: (x[:, :2].prod(1) > 0).long()),
    "the product of four signs": (20, lambda x: (x[:, :4].prod(1) > 0).long()),
    "a number of fast waves": (1, lambda x: torch.sin(300 * x)),
}


@pytest.mark.parametrize("kind", FINE)
def test_a_relation_that_is_fine(kind: str) -> None:
    """The network does not learn it in so few steps, yet it is there."""
    features, relation = FINE[kind]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2048, features, generator=generator)
    y = relation(x)

    def with_targets(target: torch.Tensor) -> Report:
        torch.manual_seed(0)
        numbers = target.is_floating_point()
        model = nn.Sequential(nn.Linear(features, 64), nn.ReLU(), nn.Linear(64, 1 if numbers else 2))
        batches = list(zip(x.split(32), target.split(32), strict=True))
        return tried("targets", model, batches, nn.MSELoss() if numbers else nn.CrossEntropyLoss())

    assert not with_targets(y).findings
    assert the(with_targets(y[torch.randperm(2048, generator=generator)]), "shuffled-targets").severity == "warning"


def test_codes_of_which_neighbours_are_not_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    bits = torch.randint(2, (1024, 40), generator=generator) * 2.0 - 1
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(40, 32), nn.ReLU(), nn.Linear(32, 2))
    batches = list(zip(bits.split(32), (bits[:, :9].prod(1) > 0).long().split(32), strict=True))
    assert the(tried("targets", model, batches), "shuffled-targets").severity == "info"


def test_chance_of_known_orders() -> None:
    """Answers that are the targets fit no other order as well; those that are noise fit half of all orders better or worse."""
    y = torch.arange(100.0)[:, None]
    assert chance(y, y) == 1 / (ORDERS + 1)
    assert chance(-y, y) == 1.0
    orders = [torch.randperm(100, generator=torch.Generator().manual_seed(each)) for each in range(40)]
    shares = torch.tensor([chance(y[order], y) for order in orders])
    assert 0.3 < float(shares.mean()) < 0.7
    assert float(shares.std()) == pytest.approx(12**-0.5, abs=0.08)  # spread evenly between 0 and 1


def test_far_targets_decide_nothing() -> None:
    y = torch.cat([torch.linspace(-1, 1, 99), torch.tensor([1e6])])[:, None]
    assert float(cut_off(y).max()) == pytest.approx(2.6, abs=0.1)  # quartiles at -0.5 and 0.5
    rare = torch.cat([torch.zeros(90), torch.ones(10)])[:, None]
    assert torch.equal(cut_off(rare), rare.double())


def test_noise_scale_of_known_gradients() -> None:
    """A loss w·x has the gradient mean(x): with mean 1 and variance 4 in each of 3 places the scale is 12 / 3 = 4 examples."""
    generator = torch.Generator().manual_seed(0)
    batches = [(2 * torch.randn(16, 3, generator=generator) + 1, torch.zeros(16)) for _ in range(64)]
    model = nn.Linear(3, 1, bias=False)
    task = make_task(model, batches, lambda out, _: out.mean(), None, minutes=5)
    assert noise_scale(task, 64) == pytest.approx(4.0, rel=0.3)
    assert isnan(noise_scale(make_task(model, batches[:2], lambda out, _: out.mean(), None, minutes=5)))


def test_a_language_model_is_silent() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.rnn, self.out = nn.Embedding(11, 16), nn.GRU(16, 16, batch_first=True), nn.Linear(16, 11)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(self.rnn(self.embed(x))[0])

    model = Net()
    batches = [(each[:, :-1], each[:, 1:]) for each in tokens()]
    report = health.checkup(
        model, batches, lambda o, t: cross_entropy(o.flatten(0, 1), t.flatten()), adam(model), minutes=0.5, progress=False
    )
    assert report.healthy
    assert not report.findings


class TestStillNorm:
    def test_statistics_that_do_not_follow(self) -> None:
        def net(momentum: float) -> nn.Module:
            torch.manual_seed(1)
            return nn.Sequential(nn.Linear(20, 32), nn.BatchNorm1d(32, momentum=momentum), nn.ReLU(), nn.Linear(32, 5))

        batches = [(x + 3, y) for x, y in pairs()]
        found = the(tried("norm-statistics", net(0.0), batches), "norm-statistics")
        assert found.where == ("1",)
        assert "momentum above 0" in found.remedy
        assert clean(tried("norm-statistics", net(0.1), batches))

    def test_a_trained_norm_kept_in_eval_mode_is_meant(self) -> None:
        class Kept(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.norm, self.out = nn.BatchNorm1d(20), nn.Linear(20, 5)

            def train(self, mode: bool = True) -> Any:
                super().train(mode)
                self.norm.eval()
                return self

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.out(self.norm(x))

        assert tried("norm-statistics", Kept(), pairs()).outcomes[-1].status == "not applicable"


class TestKindsMetInTheWild:
    def test_one_linear_map_however_deep(self) -> None:
        def net(*, bent: bool) -> nn.Module:
            torch.manual_seed(1)
            bend = nn.ReLU if bent else nn.Identity
            return nn.Sequential(nn.Linear(20, 64), bend(), nn.Linear(64, 64), bend(), nn.Linear(64, 2))

        batches = [(x, ((x[:, 0] * x[:, 1]) > 0).long()) for x, _ in pairs(4, 256)]
        found = the(tried("one-batch", net(bent=False), batches), "underfitting")
        assert found.where == ("0", "2", "4")
        assert "after 0 and 2." in found.remedy
        assert clean(tried("one-batch", net(bent=True), batches))

    def test_a_line_that_is_not_there_yet_says_nothing_of_the_task(self) -> None:
        """Inputs around 12, targets around 25: in 150 steps the loss does not even come to that of the best constant answer."""
        generator = torch.Generator().manual_seed(0)
        x = 2 + 30 * torch.rand(400, 1, generator=generator) ** 1.5
        y = 35 - 0.95 * x + 4 * torch.randn(400, 1, generator=generator)
        torch.manual_seed(0)
        model = nn.Linear(1, 1)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
        assert clean(tried("one-batch", model, [(x, y)] * 8, nn.MSELoss(), optimizer=optimizer))

    def test_a_sigmoid_at_the_end_bends_nothing(self) -> None:
        batches = [(x, (x[:, :1] * x[:, 1:2] > 0).float()) for x, _ in pairs(4, 256)]
        torch.manual_seed(1)
        found = the(
            tried("one-batch", nn.Sequential(nn.Linear(20, 64), nn.Linear(64, 1), nn.Sigmoid()), batches, nn.MSELoss()),
            "underfitting",
        )
        assert found.where == ("0", "1")

    @pytest.mark.parametrize("bent", [True, False])
    @pytest.mark.parametrize("end", ["one number", "a probability", "logarithms of shares", "shares"])
    def test_two_linear_layers_whose_end_is_in_forward(self, end: str, bent: bool) -> None:
        class Ended(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                torch.manual_seed(1)
                self.a, self.b = nn.Linear(20, 64), nn.Linear(64, 2 if "shares" in end else 1)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                h = self.a(x)
                z = self.b(torch.relu(h) if bent else h)
                if end == "shares":
                    return z.softmax(1)
                if end == "logarithms of shares":
                    return z.log_softmax(1)
                return z.squeeze(1).sigmoid() if end == "a probability" else z.squeeze(1)

        batches = [(x, x[:, 0] * x[:, 1] > 0) for x, _ in pairs(4, 256)]
        loss_fn = {
            "one number": lambda out, y: nn.functional.binary_cross_entropy_with_logits(out, y.float()),
            "a probability": lambda out, y: nn.functional.binary_cross_entropy(out, y.float()),
            "logarithms of shares": lambda out, y: nn.functional.nll_loss(out, y.long()),
            "shares": lambda out, y: nn.functional.nll_loss((out + 1e-9).log(), y.long()),
        }[end]
        report = tried("one-batch", Ended(), batches, loss_fn)
        if bent:
            assert clean(report)
        else:
            assert "is one linear map" in the(report, "underfitting").message

    def test_what_explains_that_nothing_can_be_fitted_explains_underfitting(self) -> None:
        kinds = (("underfitting", "warning"), ("broadcast", "critical"))
        (first,) = ordered([finding(kind, severity, (), f"It is {kind}.", "why", "remedy") for kind, severity in kinds])
        assert (first.id, first.explains) == ("broadcast", ("It is underfitting.",))

    @pytest.mark.parametrize("bent", [True, False])
    @pytest.mark.parametrize("form", ["tokens", "a batch that the loss reads"])
    def test_two_linear_layers_in_other_forms(self, form: str, bent: bool) -> None:
        generator = torch.Generator().manual_seed(1)
        bits = [torch.randint(2, (64, 6), generator=generator) for _ in range(4)]

        class Tokens(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                torch.manual_seed(1)
                self.embed, self.a, self.b = nn.Embedding(2, 16), nn.Linear(96, 64), nn.Linear(64, 2)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                h = self.a((self.embed(x) if form == "tokens" else 2.0 * x.float().repeat(1, 16) - 1).flatten(1))
                return self.b(torch.relu(h) if bent else h)

        if form == "tokens":
            report = tried("one-batch", Tokens(), [(x, x[:, 0] ^ x[:, 1]) for x in bits])
        else:
            given = [{"x": x, "y": x[:, 0] ^ x[:, 1]} for x in bits]
            report = tried("one-batch", Tokens(), given, lambda model, batch: cross_entropy(model(batch["x"]), batch["y"]))
        if bent:
            assert clean(report)
        else:
            assert the(report, "underfitting").where == ("a", "b")

    def test_a_loss_that_still_falls_has_not_been_seen_to_stop(self) -> None:
        """One linear layer that the task's rate would teach in a thousand steps: it is neither too small nor badly begun."""
        generator = torch.Generator().manual_seed(1)
        drawn = [torch.randn(32, 1, generator=generator) for _ in range(6)]
        batches = [(x, 8 + x + 0.5 * torch.randn(32, 1, generator=generator)) for x in drawn]
        torch.manual_seed(1)
        model = nn.Linear(1, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        assert clean(tried("one-batch", model, batches, nn.functional.mse_loss, optimizer))
        assert tried("start", model, batches, nn.functional.mse_loss, optimizer).healthy
        assert still_falls([10.0 - place / 10 for place in range(40)])
        assert still_falls([10.0 * 0.8**place for place in range(40)])
        assert not still_falls([1.0 + 9.0 * 0.8**place for place in range(60)])

    def test_inputs_of_a_tiny_scale(self) -> None:
        batches = [(x / 5000, y) for x, y in pairs(12, 32)]
        found = the(tried("scales", mlp(), batches), "input-scale")
        assert "held-out loss" in found.message
        assert clean(tried("scales", mlp(), pairs(12, 32)))

    @pytest.mark.parametrize(("inputs", "targets"), [(5000.0, 5000.0), (5000.0, 1.0)])
    def test_inputs_and_targets_of_a_large_scale(self, inputs: float, targets: float) -> None:
        """Where neither alone helps, both are standardised together: the units are saturated and the targets out of reach."""

        def task(by: float, target: float) -> Report:
            torch.manual_seed(1)
            model = nn.Sequential(nn.Linear(20, 8), nn.Tanh(), nn.Linear(8, 1))
            batches = [(by * (x + 2), target * (x[:, :1] + 2)) for x, _ in pairs(12, 32)]
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
            return tried("scales", model, batches, nn.functional.mse_loss, optimizer)

        report = task(inputs, targets)
        found = {each.id for each in report.findings}
        if targets > 1:
            assert found == {"input-scale", "target-scale"}
            assert all("together with the others, tried for" in each.message for each in report.findings)
        else:
            assert found == {"input-scale"}
            assert "together" not in report.findings[0].message

    def test_features_in_units_of_their_own(self) -> None:
        units = torch.logspace(-1, 3, 20)
        found = the(tried("scales", mlp(), [(x * units + 2 * units, y) for x, y in pairs(12, 32)]), "input-scale")
        assert "Each standardised on its own" in found.message
        assert "x.std(0)" in found.remedy

    def test_the_first_batch_for_ever(self) -> None:
        x, y = pairs()[0]
        same = [(x.clone(), y.clone()) for _ in range(4)]
        assert the(tried("data", mlp(), same), "repeated-batch").value == 0.75
        assert clean(tried("data", mlp(), [(x, y)] * 4))  # one batch that is handed over on purpose

    def test_examples_that_come_again_are_counted(self) -> None:
        batches = pairs(4, 16)
        assert figure(tried("data", mlp(), batches), "data", "copies") == 0
        twice = [(torch.cat([x[:12], batches[0][0][:4]]), y) for x, y in batches]
        assert figure(tried("data", mlp(), twice), "data", "copies") == pytest.approx(16 / 64)

    def test_rows_of_several_ones_under_a_softmax(self) -> None:
        batches = [(x, (x[:, :5] > 0).float()) for x, _ in pairs()]
        assert "hold several ones" in the(tried("data", mlp(), batches), "target-rows").message
        assert clean(tried("data", mlp(), batches, nn.BCEWithLogitsLoss()))

    def test_units_that_are_all_shut(self) -> None:
        model = nn.Sequential(nn.Linear(20, 8), nn.Linear(8, 1), nn.ReLU())
        nn.init.constant_(model[1].bias, -9.0)
        batches = [(x, x[:, :1].relu()) for x, _ in pairs(4)]
        found = the(tried("inputs", model, batches, nn.functional.mse_loss), "dead-units")
        assert found.where == ("2",)
        assert "gives 0 for all" in found.message

    def test_one_answer_for_several_targets(self) -> None:
        model = nn.Linear(20, 1)
        several = [(x, x[:, :4].clone()) for x, _ in pairs()]
        found = the(tried("first-loss", model, several, nn.MSELoss()), "broadcast")
        assert "answers of the shape (16, 1) with targets of the shape (16, 4)" in found.message
        assert clean(tried("first-loss", nn.Linear(20, 4), several, nn.MSELoss()))

    def test_a_weak_tie_is_no_shuffling(self) -> None:
        generator = torch.Generator().manual_seed(0)
        drawn = [torch.randn(64, 20, generator=generator) for _ in range(12)]
        weak = [(x, (0.35 * x[:, 3] + torch.randn(64, generator=generator) > 0).long()) for x in drawn]
        none = [(x, torch.randint(2, (64,), generator=generator)) for x in drawn]
        model = mlp()
        assert tied(make_task(model, weak, cross_entropy, adam(model), minutes=1)) > 1
        assert tied(make_task(model, none, cross_entropy, adam(model), minutes=1)) < 1

    def test_numbers_of_rows_are_left_as_they_are(self) -> None:
        class Rows(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.who, self.body = nn.Embedding(60, 8), nn.Linear(28, 5)

            def forward(self, rows: torch.Tensor) -> torch.Tensor:
                return self.body(torch.cat([self.who(rows[:, 0].long()), rows[:, 1:]], 1))

        for size, named in ((1, False), (1000, True)):
            batches = [(torch.cat([torch.arange(len(x))[:, None] % 60, size * x], 1), y) for x, y in pairs(12, 32)]
            report = tried("scales", Rows(), batches)
            assert clean(report) is not named


def test_what_two_experiments_found_alike_is_listed_once() -> None:
    one, again = (finding("padding", "critical", ("net",), "It gives NaN.", "why", "remedy") for _ in range(2))
    other = finding("padding", "critical", ("out",), "It gives NaN.", "why", "remedy")
    assert [each.where for each in ordered([one, again, other])] == [("net",), ("out",)]
