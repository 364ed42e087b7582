"""What an example may know of others: independence, order in time, padding. Sick in one known place, and cured."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from checkup_tasks import (  # noqa: E402
    Conv,
    Every,
    Language,
    Last,
    Masked,
    mlp,
    pairs,
    short_texts,
    tokens,
)
from checkup_verdicts import clean, cross_entropy, the, tried  # noqa: E402
from torch import nn  # noqa: E402


def per_place(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return cross_entropy(output.flatten(0, 1), target.flatten())


class Graphs(nn.Module):
    """Sums over the neighbours, and the mean over each graph. apart: the mean over all nodes is not taken away."""

    def __init__(self, *, apart: bool) -> None:
        super().__init__()
        self.body, self.out, self.apart = nn.Linear(6, 16), nn.Linear(16, 3), apart

    def forward(self, x: torch.Tensor, edges: torch.Tensor, graph: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.body(x + torch.zeros_like(x).index_add(0, edges[1], x[edges[0]])))
        x = x if self.apart else x - x.mean(0)
        size = torch.bincount(graph)[:, None]
        return self.out(torch.zeros(len(size), x.shape[1]).index_add(0, graph, x) / size)


class TestIndependence:
    @pytest.mark.parametrize("apart", [True, False])
    def test_graphs_that_are_joined(self, *, apart: bool) -> None:
        generator = torch.Generator().manual_seed(0)
        batches = []
        for _ in range(3):
            graph = torch.arange(8).repeat_interleave(torch.randint(3, 7, (8,), generator=generator))
            edges = torch.stack([torch.arange(len(graph) - 1), torch.arange(1, len(graph))])
            inside = graph[edges[0]] == graph[edges[1]]
            nodes = torch.randn(len(graph), 6, generator=generator)
            batches.append(((nodes, edges[:, inside], graph), torch.randint(3, (8,), generator=generator)))
        report = tried("independence", Graphs(apart=apart), batches)
        if apart:
            assert clean(report)
            assert report.trace.evidence[0].figure("examples") == 8
        else:
            assert the(report, "batch-mixing").value > 0.001

    def test_softmax_over_the_batch(self) -> None:
        model = nn.Sequential(*mlp(), nn.Softmax(0))
        found = the(tried("independence", model, pairs(), lambda o, t: -o.gather(1, t[:, None]).log().mean()), "batch-mixing")
        assert found.where == ("3",)
        assert found.severity == "critical"
        assert "dim=-1" in found.remedy

    def test_time_taken_for_the_batch(self) -> None:
        generator = torch.Generator().manual_seed(0)
        batches = [(torch.randn(16, 9, 6, generator=generator), torch.randint(5, (16,), generator=generator)) for _ in range(3)]
        found = the(tried("independence", Last(batch_first=False), batches), "batch-mixing")
        assert found.where == ("rnn",)
        assert "batch_first=True" in found.remedy
        assert clean(tried("independence", Last(batch_first=True), batches))

    def test_attention_across_the_batch(self) -> None:
        batches = [(each[:, :-1], each[:, 1:]) for each in tokens()]
        found = the(tried("independence", Language(batch_first=False), batches, per_place), "batch-mixing")
        assert found.where == ("body.layers.0.self_attn",)
        assert clean(tried("independence", Language(), batches, per_place))

    def test_time_first_is_no_fault(self) -> None:
        generator = torch.Generator().manual_seed(0)
        batches = [(torch.randn(9, 16, 6, generator=generator), torch.randint(5, (9, 16), generator=generator)) for _ in range(3)]
        report = tried("independence", Every(), batches, per_place)
        assert clean(report)
        assert report.trace.seen("experiment:independence")[0].figure("axis") == 1

    def test_view_where_a_transpose_is_meant(self) -> None:
        class Viewed(nn.Module):
            def __init__(self, *, wrong: bool) -> None:
                super().__init__()
                self.lin, self.wrong = nn.Linear(4, 5), wrong

            def forward(self, x: torch.Tensor) -> torch.Tensor:  # (T, B, 4): the heads are to come out as (B, T, 4)
                turned = x.view(x.shape[1], x.shape[0], 4) if self.wrong else x.transpose(0, 1)
                return self.lin(turned).mean(1)

        generator = torch.Generator().manual_seed(0)
        batches = [(torch.randn(7, 16, 4, generator=generator), torch.randint(5, (16,), generator=generator)) for _ in range(3)]
        # Time first, one answer an example: inputs say nothing of axis 0, and the answers lie along axis 1 of the inputs.
        assert tried("independence", Viewed(wrong=False), batches).findings == ()

    def test_batch_norm_is_looked_at_in_eval_mode(self) -> None:
        model = nn.Sequential(nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 5))
        assert clean(tried("independence", model, pairs()))
        model[1] = nn.BatchNorm1d(32, track_running_stats=False)
        assert the(tried("independence", model, pairs()), "batch-mixing").severity == "warning"

    def test_losses_and_similarities_may_compare_examples(self) -> None:
        class Similar(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.lin = nn.Linear(20, 8)

            def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
                z = self.lin(x)
                return z @ z.T, z

        def contrast(output: Any, target: torch.Tensor) -> torch.Tensor:
            return cross_entropy(output[0], torch.arange(len(target)))

        assert clean(tried("independence", Similar(), pairs(), contrast))

    def test_nodes_of_a_graph_are_no_examples(self) -> None:
        class Graph(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.lin = nn.Linear(20, 5)

            def forward(self, x: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
                h = self.lin(x)
                return h.index_add(0, edges[1], h[edges[0]])

        edges = torch.randint(16, (2, 40), generator=torch.Generator().manual_seed(0))
        report = tried("independence", Graph(), [((x, edges), y) for x, y in pairs()])
        assert report.outcomes[0].status == "not applicable"


class TestCausality:
    def test_a_missing_mask(self) -> None:
        batches = [(each[:, :-1], each[:, 1:]) for each in tokens()]
        found = the(tried("causality", Language(causal=False), batches, per_place), "future-leak")
        assert found.where == ("body.layers.0.self_attn",)
        assert "mask" in found.remedy
        assert clean(tried("causality", Language(), batches, per_place))

    @pytest.mark.parametrize("given", [0, 4])
    def test_what_is_given_may_be_read_as_a_whole(self, given: int) -> None:
        class Prefix(nn.Module):
            """Each place sees the first four places and those before it."""

            def __init__(self) -> None:
                super().__init__()
                self.table, self.head = nn.Embedding(11, 16), nn.Linear(16, 11)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                h = self.table(x)
                return self.head(h[:, :4].mean(1, keepdim=True) + h.cumsum(1))

        def asked(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            return per_place(output[:, given:], target[:, given:])

        batches = [(each[:, :-1], each[:, 1:]) for each in tokens()]
        report = tried("causality", Prefix(), batches, asked)
        assert clean(report) if given else the(report, "future-leak")

    def test_nothing_comes_after_the_last_place(self) -> None:
        def last(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            return cross_entropy(output[:, -1], target[:, -1])

        batches = [(each[:, :-1], each[:, 1:]) for each in tokens()]
        assert tried("causality", Language(causal=False), batches, last).outcomes[0].status == "not applicable"

    def test_a_loss_that_cuts_the_batch_itself(self) -> None:
        def whole(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
            return per_place(model(batch[:, :-1]), batch[:, 1:])

        assert the(tried("causality", Language(causal=False), tokens(), whole), "future-leak")
        assert clean(tried("causality", Language(), tokens(), whole))

    def test_labels_that_are_shifted_inside(self) -> None:
        def shifted(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            return per_place(model(batch["input_ids"])[:, :-1], batch["labels"][:, 1:])

        def copied(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            return per_place(model(batch["input_ids"]), batch["labels"])

        batches = [{"input_ids": each, "labels": each.clone()} for each in tokens()]
        assert the(tried("causality", Language(causal=False), batches, shifted), "future-leak")
        # To give back what one was given is no foretelling.
        assert tried("causality", Language(causal=False), batches, copied).outcomes[0].status == "not applicable"

    def test_a_kernel_that_reaches_ahead(self) -> None:
        batches = [(each[:, :-1], each[:, 1:]) for each in tokens()]
        found = the(tried("causality", Conv(causal=False), batches, per_place), "future-leak")
        assert found.where == ("conv",)
        assert "left" in found.remedy
        assert clean(tried("causality", Conv(causal=True), batches, per_place))

    def test_other_targets_do_not_concern_it(self) -> None:
        assert tried("causality", mlp(), pairs()).outcomes[0].status == "not applicable"


class TestPadding:
    def test_an_inverted_mask(self) -> None:
        found = the(tried("padding", Masked("inverted"), short_texts()), "padding")
        assert "although the network masks" in found.message or "not at all" in found.message
        assert clean(tried("padding", Masked("right"), short_texts()))

    def test_attention_without_a_mask_is_a_remark(self) -> None:
        assert the(tried("padding", Masked("none"), short_texts()), "padding").severity == "info"

    def test_a_convolution_may_read_its_padding(self) -> None:
        class Slides(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.embed, self.conv, self.out = nn.Embedding(20, 16), nn.Conv1d(16, 16, 3, padding=1), nn.Linear(16, 4)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.out(self.conv(self.embed(x).transpose(1, 2)).amax(2))

        assert tried("padding", Slides(), short_texts()).outcomes[0].status == "not applicable"

    def test_a_mask_that_is_handed_in(self) -> None:
        class Given(nn.Module):
            def __init__(self, *, used: bool) -> None:
                super().__init__()
                self.embed, self.out, self.used = nn.Embedding(20, 16), nn.Linear(16, 4), used

            def forward(self, ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
                h = torch.tanh(self.embed(ids))
                weights = attention_mask.float()[..., None] if self.used else torch.ones(1)
                return self.out((h * weights).sum(1))

        batches = [({"ids": x, "attention_mask": (x != 0).long()}, y) for x, y in short_texts()]
        assert the(tried("padding", Given(used=False), batches), "padding").severity == "warning"
        assert clean(tried("padding", Given(used=True), batches))

    def test_a_mask_made_of_the_embeddings_of_padding(self) -> None:
        class Zeros(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.embed, self.out = nn.Embedding(20, 16, padding_idx=0), nn.Linear(16, 4)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                h = self.embed(x)
                empty = h.abs().sum(2, keepdim=True) == 0
                return self.out(torch.tanh(h + 1).masked_fill(empty, 0.0).sum(1))

        assert tried("padding", Zeros(), short_texts()).outcomes[0].status == "not applicable"

    def test_a_sequence_that_grows_by_a_class_token(self) -> None:
        class Token(nn.Module):
            def __init__(self, *, inverted: bool) -> None:
                super().__init__()
                self.embed, self.token, self.inverted = nn.Embedding(20, 32), nn.Parameter(torch.randn(1, 1, 32)), inverted
                self.attend, self.out = nn.MultiheadAttention(32, 4, batch_first=True), nn.Linear(32, 4)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                h = torch.cat([self.token.expand(len(x), -1, -1), self.embed(x)], 1)
                there = nn.functional.pad(x != 0, (1, 0), value=True)
                mask = there & (torch.arange(there.shape[1]) > 0) if self.inverted else ~there
                return self.out((h + self.attend(h, h, h, key_padding_mask=mask)[0])[:, 0])

        assert the(tried("padding", Token(inverted=True), short_texts()), "padding").where == ("attend",)
        assert clean(tried("padding", Token(inverted=False), short_texts()))

    def test_a_mask_over_queries_leaves_rows_with_nothing(self) -> None:
        class Rows(nn.Module):
            def __init__(self, axis: int) -> None:
                super().__init__()
                self.embed, self.axis, self.out = nn.Embedding(20, 32), axis, nn.Linear(32, 4)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                h, there = self.embed(x), x != 0
                scores = (h @ h.transpose(1, 2)).masked_fill(~there.unsqueeze(self.axis), -torch.inf)
                weights = there.float()[..., None]
                return self.out(((scores.softmax(-1) @ h) * weights).sum(1) / weights.sum(1))

        found = the(tried("first-loss", Rows(2), short_texts()), "padding")
        assert "softmax (test_checkup_rows.py:" in found.message
        assert "Mask the keys" in found.remedy
        assert clean(tried("first-loss", Rows(1), short_texts()))


class Line(nn.Module):
    def __init__(self, *, batch: bool) -> None:
        super().__init__()
        self.body, self.last, self.batch = nn.RNN(20, 16, batch_first=True), nn.Linear(16, 5), batch

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.body(x[:, None])[0][:, 0] if self.batch else self.body(x)[0])


@pytest.mark.parametrize(("batch", "alike", "told"), [(False, False, "critical"), (False, True, "info"), (True, False, "")])
def test_rows_that_a_recurrent_module_takes_for_steps(batch: bool, alike: bool, told: str) -> None:
    """Two axes are one sequence. If all batches are the same, that may be meant."""
    batches = pairs()[:1] * 6 if alike else pairs()
    found = [each.severity for each in tried("independence", Line(batch=batch), batches).findings]
    assert found == ([told] if told else [])
