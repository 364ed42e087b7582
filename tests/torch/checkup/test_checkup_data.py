"""Experiments on what goes in and comes out: saving, inputs, data, answers, targets. Sick and cured, tiny."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from checkup_tasks import Hidden, adam, mlp, pairs  # noqa: E402
from checkup_verdicts import clean, figure, the, tried  # noqa: E402
from torch import nn  # noqa: E402

from lettrine.torch.checkup.experiments.answer import copies  # noqa: E402


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


@pytest.mark.parametrize(("rows", "of_all", "found"), [(1, False, ["broadcast"]), (50, False, []), (1, True, [])])
def test_one_row_for_all_examples(rows: int, of_all: bool, found: list[str]) -> None:
    """A row of one example is noise to the others; one that says something of the whole batch is meant."""

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.image, self.text, self.out = nn.Linear(16, 32), nn.Linear(8, 32), nn.Linear(32, 1)

        def forward(self, image: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
            return self.out(torch.relu(self.image(image) + self.text(text)))

    generator = torch.Generator().manual_seed(0)
    batches = []
    for _ in range(48):
        image, text = torch.randn(50, 16, generator=generator), torch.randn(50, 8, generator=generator)
        batches.append(((image, text[:rows]), image[:, :1] + (text[:1, :1] if of_all else text[:, :1])))
    torch.manual_seed(0)
    report = tried("inputs", Both(), batches, nn.MSELoss())
    assert [each.id for each in report.findings if each.severity == "warning"] == found
    if found:
        assert "input 1 has the shape (1, 8), another one has one row for each of 50 examples" in report.findings[0].message
        assert "held-out loss" in report.findings[0].message
    else:
        assert not report.findings
