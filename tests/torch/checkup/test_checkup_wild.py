"""Kinds of faults that were met in programs of others."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from checkup_tasks import adam, mlp, pairs  # noqa: E402
from checkup_verdicts import clean, cross_entropy, figure, the, tried  # noqa: E402
from torch import nn  # noqa: E402

from lettrine.health.findings import Report  # noqa: E402
from lettrine.torch.checkup.experiment import finding  # noqa: E402
from lettrine.torch.checkup.experiments.one_batch import still_falls  # noqa: E402
from lettrine.torch.checkup.experiments.targets import tied  # noqa: E402
from lettrine.torch.checkup.making import make_task  # noqa: E402
from lettrine.torch.checkup.verdict import ordered  # noqa: E402


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


@pytest.mark.parametrize(
    ("cause", "symptom"),
    [("sorted-data", "learning-rate-too-high"), ("batch-mixing", "unused-input"), ("broadcast", "unused-input")],
)
def test_what_explains_what(cause: str, symptom: str) -> None:
    both = [finding(kind, "warning", (), f"It is {kind}.", "why", "remedy") for kind in (symptom, cause)]
    assert [(each.id, each.explains) for each in ordered(both)] == [(cause, (f"It is {symptom}.",))]


def test_what_two_experiments_found_alike_is_listed_once() -> None:
    one, again = (finding("padding", "critical", ("net",), "It gives NaN.", "why", "remedy") for _ in range(2))
    other = finding("padding", "critical", ("out",), "It gives NaN.", "why", "remedy")
    assert [each.where for each in ordered([one, again, other])] == [("net",), ("out",)]
