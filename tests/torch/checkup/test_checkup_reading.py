"""What the answers depend on: slices blanked one at a time, padded examples run alone, and what one feature tells."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from checkup_tasks import Masked, adam, mlp, pairs, short_texts, tokens  # noqa: E402
from test_checkup_experiments import clean, the, tried  # noqa: E402
from torch import nn  # noqa: E402

from lettrine.torch.checkup.experiments.blanking import slices  # noqa: E402
from lettrine.torch.checkup.probe import told  # noqa: E402

cross_entropy = nn.functional.cross_entropy


def sequences(rows: int = 16) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(rows, 9, 6, generator=generator), torch.randint(5, (rows,), generator=generator)) for _ in range(3)]


class Read(nn.Module):
    """A recurrent net that answers from one place of what it has read."""

    def __init__(self, place: int) -> None:
        super().__init__()
        self.rnn, self.out, self.place = nn.GRU(6, 16, batch_first=True), nn.Linear(16, 5), place

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.rnn(x)[0][:, self.place])


class Some(nn.Module):
    """Reads some of its features."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.out, self.count = nn.Linear(count, 5), count

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(x[:, : self.count])


class Mean(nn.Module):
    """A mean over real places, divided by how many there are or by the length of the longest."""

    def __init__(self, *, of_the_longest: bool) -> None:
        super().__init__()
        self.embed, self.out, self.of_the_longest = nn.Embedding(20, 16), nn.Linear(16, 4), of_the_longest

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        there = x != 0
        h = self.embed(x).masked_fill(~there[..., None], 0.0).sum(1)
        return self.out(h / (x.shape[1] if self.of_the_longest else there.sum(1, keepdim=True)))


class TestBlanking:
    def test_one_place_alone(self) -> None:
        found = the(tried("blanking", Read(0), sequences()), "unused-input")
        assert found.severity == "warning"
        assert "only input 0[:, 0] changes the answers" in found.message
        assert clean(tried("blanking", Read(-1), sequences()))

    def test_features_that_are_cut_off(self) -> None:
        found = the(tried("blanking", Some(17), pairs()), "unused-input")
        assert found.severity == "info"
        assert found.message.startswith("3 of 20 slices of input 0 do not change the answers: input 0[:, 17]")
        assert clean(tried("blanking", Some(20), pairs()))

    def test_the_feature_that_is_missed_most(self) -> None:
        batches = [(x, (x[:, 7] > 0).long()) for x, _ in pairs(rows=64)]
        model = nn.Linear(20, 2, bias=False)
        with torch.no_grad():
            model.weight.zero_()
            model.weight[1, 7] = 3.0
        report = tried("blanking", model, batches)
        assert "input 0[:, 7] matters most: loss 0.1" in report.trace.seen("experiment:blanking")[0].words["said"]

    def test_a_border_that_strides_cut_off_is_no_fault(self) -> None:
        generator = torch.Generator().manual_seed(0)
        batches = [
            (torch.randn(8, 1, 14, 14, generator=generator), torch.randint(5, (8,), generator=generator)) for _ in range(3)
        ]
        model = nn.Sequential(nn.Conv2d(1, 4, 5, stride=4), nn.Flatten(), nn.Linear(36, 5))  # rows and columns 13 are not read
        report = tried("blanking", model, batches)
        assert clean(report)
        assert report.trace.seen("experiment:blanking")[0].figure("idle") == 2

    def test_labels_masks_and_constants_are_not_blanked(self) -> None:
        class Given(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.out = nn.Linear(20, 5)

            def forward(self, x: torch.Tensor, mask: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
                return self.out(x)

        generator = torch.Generator().manual_seed(0)
        batches = [
            ({"x": x, "mask": torch.rand(16, 20, generator=generator) > 0.5, "labels": torch.randint(9, (16, 4))}, y)
            for x, y in pairs()
        ]
        for each, _ in batches:
            each["x"][:, 3] = 1.5
        report = tried("blanking", Given(), batches)
        assert clean(report)
        assert report.trace.seen("experiment:blanking")[0].figure("slices") == 19

    def test_slices_of_long_axes_are_groups(self) -> None:
        made = list(slices("x", torch.randn(4, 70, 2), 20))
        assert [(each.start, each.length) for each in made if each.axis == 1] == [(7 * i, 7) for i in range(10)]
        assert [each.said for each in made if each.axis == 2] == ["input x[:, :, 0]", "input x[:, :, 1]"]
        assert made[0].said == "input x[:, 0:7]"

    def test_blanked_is_the_mean_of_the_batch_or_another_example(self) -> None:
        x = torch.tensor([[1.0, 5.0], [3.0, 6.0]])
        first, _ = slices("x", x, 9)
        assert first.blanked("x", x).tolist() == [[2.0, 5.0], [2.0, 6.0]]
        assert first.blanked("y", x) is x
        t = torch.tensor([[1, 5], [3, 6]])
        assert next(slices("t", t, 9)).blanked("t", t).tolist() == [[3, 5], [1, 6]]


class TestAlone:
    def test_a_mean_divided_by_the_length_of_the_longest(self) -> None:
        found = the(tried("alone", Mean(of_the_longest=True), short_texts()), "padding")
        assert "runs alone" in found.message
        assert clean(tried("alone", Mean(of_the_longest=False), short_texts()))

    def test_attention_that_masks_its_padding(self) -> None:
        assert clean(tried("alone", Masked("right"), short_texts()))

    def test_what_padding_has_found_is_told_once(self) -> None:
        from lettrine import health  # noqa: PLC0415

        model = Masked("inverted")
        report = health.checkup(model, short_texts(), cross_entropy, adam(model), only=["padding", "alone"], progress=False)
        assert [each.id for each in report.findings] == ["padding"]

    def test_a_network_of_one_length(self) -> None:
        model = nn.Sequential(nn.Embedding(20, 4, padding_idx=0), nn.Flatten(), nn.Linear(40, 4))
        report = tried("alone", model, short_texts())
        assert report.outcomes[0].status == "not applicable"

    def test_tokens_without_padding(self) -> None:
        model = nn.Sequential(nn.Embedding(20, 4), nn.Flatten(), nn.Linear(48, 5))
        batches = [(x[:, :12], x[:, 0] % 5) for x in tokens()]
        assert tried("alone", model, batches).outcomes[0].reason == "no padding was seen in the inputs"


class TestProbe:
    @pytest.mark.parametrize(
        ("make", "place"),
        [
            (lambda x: (x[:, 4] > 0.3).long(), 4),
            (lambda x: (x[:, 9].abs() > 0.5).long(), 9),  # no line, no threshold
            (lambda x: (x[:, 2] > 0).long() + (x[:, 2] > 1).long(), 2),
        ],
    )
    def test_classes(self, make: Any, place: int) -> None:
        x = torch.randn(900, 30, generator=torch.Generator().manual_seed(0))
        shares, held = told(x, make(x), classes=True)
        assert held == 300
        assert int(shares.argmax()) == place
        assert shares[place] > 0.9
        assert shares.sort().values[-2] < 0.2

    def test_numbers(self) -> None:
        x = torch.randn(900, 30, generator=torch.Generator().manual_seed(0))
        shares, _ = told(x, torch.sin(2 * x[:, 7]), classes=False)
        assert int(shares.argmax()) == 7
        assert shares[7] > 0.9

    def test_whole_numbers(self) -> None:
        x = torch.randint(0, 20, (900, 9), generator=torch.Generator().manual_seed(0))
        shares, _ = told(x, x[:, 3] % 5, classes=True)
        assert float(shares[3]) == 1.0
        assert shares.sort().values[-2] < 0.2

    def test_chance_tells_nothing(self) -> None:
        generator = torch.Generator().manual_seed(0)
        shares, _ = told(torch.randn(900, 200, generator=generator), torch.randint(3, (900,), generator=generator), classes=True)
        assert shares.max() < 0.25

    def test_a_place_of_the_text_that_is_the_answer(self) -> None:
        batches = [(x, x[:, 5] % 5) for x in tokens(rows=32)]
        model = nn.Sequential(nn.Embedding(11, 4), nn.Flatten(), nn.Linear(52, 5))
        found = the(tried("answer", model, batches), "leak")
        assert found.severity == "info"
        assert found.message.startswith("0[5] alone tells the target: a table of its values predicts 100 %")

    def test_what_all_features_say_together_is_no_leak(self) -> None:
        report = tried("answer", mlp(), pairs(rows=64))
        assert clean(report)
        assert 0 < report.trace.seen("experiment:answer")[0].figure("told") < 0.5
