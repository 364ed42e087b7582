"""Experiments that train: one batch, precision, statistics of a norm. Sick and cured, tiny."""

from __future__ import annotations

from math import isnan
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from checkup_tasks import adam, mlp, pairs, tokens  # noqa: E402
from checkup_verdicts import clean, cross_entropy, figure, the, tried  # noqa: E402
from torch import nn  # noqa: E402

from lettrine import health  # noqa: E402
from lettrine.torch.checkup.experiments.rate import noise_scale  # noqa: E402
from lettrine.torch.checkup.making import make_task  # noqa: E402


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

    def test_answers_of_which_one_is_the_best_for_all(self) -> None:
        """As of a generator: what the judge likes best is the same for each example, and the loss goes no lower."""
        generator = torch.Generator().manual_seed(0)
        batches = [torch.randn(32, 4, generator=generator) for _ in range(6)]

        def judged(model: nn.Module, noise: torch.Tensor) -> torch.Tensor:
            liked = 1 - (model(noise) - 1).square().sum(1)
            return nn.functional.binary_cross_entropy_with_logits(liked, torch.ones(len(noise)))

        torch.manual_seed(0)
        report = tried("one-batch", nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2)), batches, judged)
        assert figure(report, "one-batch", "reached") == pytest.approx(0.3133, rel=0.01)  # softplus(-1)
        assert clean(report)

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
