"""Each experiment on a tiny network that is sick in one known place, and on the same one cured."""

from __future__ import annotations

from functools import partial
from math import log
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from checkup_tasks import (  # noqa: E402
    Conv,
    Cut,
    Dropping,
    Every,
    Hidden,
    Language,
    Last,
    Masked,
    Norms,
    Twins,
    adam,
    mlp,
    pairs,
    short_texts,
    tokens,
)
from torch import nn  # noqa: E402

from lettrine import health  # noqa: E402
from lettrine.health.findings import Report  # noqa: E402

cross_entropy = nn.functional.cross_entropy


def per_place(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return cross_entropy(output.flatten(0, 1), target.flatten())


def tried(only: str, model: nn.Module, batches: Any, loss_fn: Any = cross_entropy, optimizer: Any = "adam") -> Report:
    optimizer = adam(model) if optimizer == "adam" else optimizer
    report = health.checkup(model, batches, loss_fn, optimizer, only=[only], progress=False)
    assert report.outcomes[0].status != "failed", report.outcomes
    return report


def the(report: Report, kind: str) -> health.Finding:
    found = [each for each in report.findings if each.id == kind]
    assert len(found) == 1, report.findings
    return found[0]


def clean(report: Report) -> bool:
    return report.outcomes[0].status == "passed" and not report.findings


def test_healthy_tasks_are_silent() -> None:
    report = health.checkup(mlp(), pairs(), cross_entropy, adam(mlp()), minutes=0.3, progress=False)
    assert [each.id for each in report.findings] == ["not-optimised"]  # the optimiser of another model
    model = mlp()
    report = health.checkup(model, pairs(), cross_entropy, adam(model), minutes=0.3, progress=False)
    assert not report.findings
    assert report.healthy


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
        assert "softmax (test_checkup_experiments.py:" in found.message
        assert "Mask the keys" in found.remedy
        assert clean(tried("first-loss", Rows(1), short_texts()))


class TestRandomness:
    @pytest.mark.parametrize("how", ["forgotten", "attention"])
    def test_dropout_that_goes_on(self, how: str) -> None:
        found = the(tried("randomness", Dropping(how), pairs()), "eval-dropout")
        assert found.severity == "warning"
        assert found.where == ("Dropping",)

    def test_dropout_that_is_meant(self) -> None:
        assert the(tried("randomness", Dropping("meant"), pairs()), "eval-randomness").severity == "info"
        assert clean(tried("randomness", Dropping("right"), pairs()))
        assert clean(tried("randomness", nn.Sequential(nn.Dropout(0.5), *mlp()), pairs()))


class TestSharedNorm:
    def test_one_norm_for_two_places(self) -> None:
        found = the(tried("shared-norm", Norms(shared=True), pairs(12, 32)), "shared-norm")
        assert found.where == ("norm",)
        assert found.value > found.limit
        assert tried("shared-norm", Norms(shared=False), pairs(12, 32)).outcomes[0].status == "not applicable"

    def test_twins_are_spared(self) -> None:
        assert clean(tried("shared-norm", Twins(), pairs(12, 32)))


class TestParameters:
    def test_layers_in_a_plain_list(self) -> None:
        found = the(tried("parameters", Hidden(listed=False), pairs()), "unregistered")
        assert set(found.where) == {f"layers[{i}].{part}" for i in range(2) for part in ("weight", "bias")}
        assert clean(tried("parameters", Hidden(listed=True), pairs()))

    def test_layers_in_a_plain_list_that_the_optimiser_holds(self) -> None:
        model = Hidden(listed=False)
        optimizer = torch.optim.Adam([*model.parameters(), *(p for layer in model.layers for p in layer.parameters())])
        assert the(tried("parameters", model, pairs(), optimizer=optimizer), "unregistered").severity == "info"

    def test_a_cut(self) -> None:
        found = the(tried("parameters", Cut(detached=True), pairs()), "no-gradient")
        assert found.where == ("body.weight", "body.bias")
        assert clean(tried("parameters", Cut(detached=False), pairs()))

    def test_what_the_optimiser_does_not_hold_may_be_cut_off(self) -> None:
        model = Cut(detached=True)
        assert clean(tried("parameters", model, pairs(), optimizer=adam(model.out)))

    def test_what_nobody_steps(self) -> None:
        model = Cut(detached=False)
        found = the(tried("parameters", model, pairs(), optimizer=adam(model.out)), "not-optimised")
        assert set(found.where) == {"body.weight", "body.bias"}

    def test_parts_the_loss_does_not_use_are_no_fault(self) -> None:
        model = mlp()
        model.pooler = nn.Linear(3, 3)
        model.forward = lambda x: model[2](model[1](model[0](x)))  # type: ignore[method-assign]
        assert clean(tried("parameters", model, pairs()))

    def test_nothing_to_go_back_through(self) -> None:
        def number(model: nn.Module, batch: Any) -> torch.Tensor:
            return cross_entropy(model(batch[0]).detach(), batch[1])

        assert the(tried("parameters", mlp(), pairs(), number), "no-gradient").severity == "critical"


class TestOptimiser:
    def test_eps_that_is_nothing_in_half_precision(self) -> None:
        model = mlp().half()
        batches = [(x.half(), y) for x, y in pairs()]
        found = the(tried("optimiser", model, batches, lambda o, t: cross_entropy(o.float(), t)), "eps-underflow")
        assert "float16" in found.message
        wide = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-4)
        assert clean(tried("optimiser", model, batches, lambda o, t: cross_entropy(o.float(), t), wide))

    def test_the_optimiser_of_another_model(self) -> None:
        assert the(tried("optimiser", mlp(), pairs(), optimizer=adam(mlp())), "not-optimised").severity == "critical"

    def test_steps_lost_in_rounding(self) -> None:
        model = mlp()
        found = the(tried("optimiser", model, pairs(), optimizer=torch.optim.SGD(model.parameters(), lr=1e-12)), "never-moved")
        assert set(found.where) >= {"0.weight", "2.weight"}

    def test_a_warm_up_begins_at_0(self) -> None:
        model = mlp()
        assert clean(tried("optimiser", model, pairs(), optimizer=torch.optim.SGD(model.parameters(), lr=0.0)))


class TestGates:
    @pytest.mark.parametrize("both", [True, False])
    def test_two_factors_that_begin_at_0(self, both: bool) -> None:
        class Gated(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.a, self.gate, self.out = nn.Linear(20, 8), nn.Sequential(nn.Linear(20, 8), nn.Linear(8, 8)), nn.Linear(8, 5)
                for each in self.gate if both else [self.gate[1]]:
                    nn.init.zeros_(each.weight)
                    nn.init.zeros_(each.bias)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.out(self.a(x) * torch.sigmoid(self.gate(x)))

        report = tried("optimiser", Gated(), pairs())
        if both:
            assert the(report, "symmetry").where == ("gate.0.weight", "gate.1.weight")
        else:
            assert clean(report)

    def test_units_that_began_alike(self) -> None:
        model = mlp()
        assert clean(tried("optimiser", model, pairs()))
        for each in model.parameters():
            nn.init.constant_(each, 0.1)
        assert "0.weight" in the(tried("optimiser", model, pairs()), "symmetry").where

    def test_a_softmax_over_one_unit_inside(self) -> None:
        class Pool(nn.Module):
            def __init__(self, axis: int) -> None:
                super().__init__()
                self.score, self.out, self.axis = nn.Linear(4, 1), nn.Linear(4, 5), axis

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                h = x.view(-1, 5, 4)
                return self.out((self.score(h).softmax(self.axis) * h).sum(1))

        found = the(tried("parameters", Pool(2), pairs()), "softmax-axis")
        assert found.where == ("score.weight", "score.bias")
        assert "test_checkup_experiments.py:" in found.message
        assert clean(tried("parameters", Pool(1), pairs()))

    def test_a_softmax_of_one_unit_is_named_before_what_it_shuts(self) -> None:
        model = nn.Sequential(nn.Linear(20, 8), nn.Linear(8, 1), nn.Softmax(1))
        batches = [(x, (y > 2).float()[:, None]) for x, y in pairs()]
        found = the(tried("parameters", model, batches, nn.functional.binary_cross_entropy), "softmax-axis")
        assert found.where[:2] == ("2", "0.weight")
        assert "2 takes a softmax along an axis of one entry" in found.message


class TestFirstLoss:
    def test_reference_is_the_entropy_of_the_shares(self) -> None:
        target = torch.tensor([0, 0, 0, 1])
        report = tried("first-loss", nn.Linear(3, 2), [(torch.randn(4, 3), target)])
        seen = report.trace.seen("experiment:first-loss")[0]
        assert seen.figure("reference") == pytest.approx(-0.75 * log(0.75) - 0.25 * log(0.25), abs=1e-4)

    @pytest.mark.parametrize(
        ("end", "loss_fn"),
        [
            (nn.LogSoftmax(1), nn.functional.nll_loss),
            (nn.Softmax(1), lambda out, y: nn.functional.nll_loss(out.log(), y)),
            (nn.Sequential(nn.Flatten(0), nn.Sigmoid()), lambda out, y: nn.functional.binary_cross_entropy(out, y.float())),
            (nn.Flatten(0), lambda out, y: nn.functional.binary_cross_entropy_with_logits(out, y.float())),
        ],
    )
    def test_reference_is_the_entropy_however_the_network_ends(self, end: nn.Module, loss_fn: Any) -> None:
        target = torch.tensor([0, 0, 0, 1])
        model = nn.Sequential(nn.Linear(3, 2 if isinstance(end, nn.Softmax | nn.LogSoftmax) else 1), end)
        report = tried("first-loss", model, [(torch.randn(4, 3), target)], loss_fn)
        seen = report.trace.seen("experiment:first-loss")[0]
        assert seen.figure("reference") == pytest.approx(-0.75 * log(0.75) - 0.25 * log(0.25), abs=1e-4)

    def test_reference_is_the_variance_of_the_targets(self) -> None:
        target = torch.tensor([[1.0], [2.0], [3.0], [6.0]])
        report = tried("first-loss", nn.Linear(3, 1), [(torch.randn(4, 3), target)], nn.MSELoss())
        assert report.trace.seen("experiment:first-loss")[0].figure("reference") == pytest.approx(3.5, abs=1e-4)

    def test_broadcast(self) -> None:
        model = nn.Linear(20, 1)
        wrong = [(x, x.sum(1)) for x, _ in pairs()]
        found = the(tried("first-loss", model, wrong, nn.MSELoss()), "broadcast")
        assert "(16, 1)" in found.message
        assert "(16,)" in found.message
        right = [(x, y[:, None]) for x, y in wrong]
        assert "broadcast" not in {each.id for each in tried("first-loss", model, right, nn.MSELoss()).findings}

    def test_a_broadcast_of_maps(self) -> None:
        batches = [(x.reshape(16, 1, 4, 5), x.reshape(16, 4, 5)) for x, _ in pairs()]
        model = nn.Conv2d(1, 1, 3, padding=1)
        assert the(tried("first-loss", model, batches, nn.MSELoss()), "broadcast").severity == "critical"
        right = [(x, y[:, None]) for x, y in batches]
        assert "broadcast" not in {each.id for each in tried("first-loss", model, right, nn.MSELoss()).findings}

    def test_targets_out_of_reach(self) -> None:
        batches = [(x, 5 + 3 * x[:, :1]) for x, _ in pairs()]
        found = the(tried("first-loss", nn.Sequential(nn.Linear(20, 1), nn.Sigmoid()), batches, nn.MSELoss()), "target-range")
        assert found.where == ("1",)

    def test_targets_under_which_a_loss_has_no_floor(self) -> None:
        grades = [(x, (2 * x[:, :1]).clamp(0, 4).round()) for x, _ in pairs()]
        found = the(tried("first-loss", nn.Linear(20, 1), grades, nn.BCEWithLogitsLoss()), "target-range")
        assert "go from 0 to 4" in found.message or "go from 0 to 3" in found.message
        right = [(x, y / 4) for x, y in grades]
        assert "target-range" not in {
            each.id for each in tried("first-loss", nn.Linear(20, 1), right, nn.BCEWithLogitsLoss()).findings
        }

    def test_targets_of_which_one_part_alone_is_asked_for_by_a_binary_cross_entropy(self) -> None:
        """A box: the first number is its place among four, the others are its measures."""

        def detection(z: torch.Tensor, y: torch.Tensor, *, scale: float = 1.0) -> torch.Tensor:
            there = scale * nn.functional.one_hot(y[:, 0].long(), 4).float()
            return nn.functional.binary_cross_entropy_with_logits(z[:, :4], there) + nn.functional.mse_loss(z[:, 4:], y[:, 1:])

        boxes = [(x, torch.cat([torch.arange(len(x))[:, None] % 4.0, 3 * x[:, :2]], 1)) for x, _ in pairs()]
        right = tried("first-loss", nn.Linear(20, 6), boxes, detection)
        assert "target-range" not in {each.id for each in right.findings}
        wrong = tried("first-loss", nn.Linear(20, 6), boxes, partial(detection, scale=2.0))
        assert "25 % of these are beyond (they go from 0 to 2)" in the(wrong, "target-range").message

    def test_a_cross_entropy_written_by_hand_has_no_floor_either(self) -> None:
        def clamped(p: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            p = p.clamp(1e-7, 1 - 1e-7)
            return -(y * p.log() + (1 - y) * (1 - p).log()).mean()

        def guarded(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            p = z.sigmoid()
            return -(y * torch.log(p + 1e-7) + (1 - y) * torch.log(1 - p + 1e-7)).sum(1).mean()

        def poisson(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            rate = z.exp()
            return (rate - y * torch.log(rate + 1e-7)).mean()  # counts belong under this one

        counts = [(x, torch.arange(len(x))[:, None] % 9.0) for x, _ in pairs()]
        yes_no = [(x, (y > 4).float()) for x, y in counts]

        def ids(loss_fn: Any, batches: Any) -> list[str]:
            return [each.id for each in tried("first-loss", nn.Linear(20, 1), batches, loss_fn).findings]

        for loss_fn in (clamped, guarded):
            assert "target-range" in ids(loss_fn, counts)
            assert "target-range" not in ids(loss_fn, yes_no)
        assert "target-range" not in ids(poisson, counts)

    def test_values_that_are_not_finite(self) -> None:
        class Root(nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return (x - 10).sqrt()

        model = nn.Sequential(nn.Linear(20, 5), Root(), nn.Linear(5, 5))
        found = the(tried("first-loss", model, pairs()), "non-finite")
        assert found.where == ("1",)
        assert "sqrt (test_checkup_experiments.py:" in found.message


class Norming(nn.Module):
    """A network that standardises its inputs itself."""

    def __init__(self, x: torch.Tensor, *, used: bool) -> None:
        super().__init__()
        self.mean, self.std, self.used = x.mean(0), x.std(0), used
        self.body = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body((x - self.mean) / self.std if self.used else x).squeeze(1)


@pytest.mark.parametrize("used", [True, False])
def test_inputs_that_the_network_standardises_itself(used: bool) -> None:
    """Standardised twice they would be next to nothing, and the answer the mean: better than a network on its way to it."""
    torch.manual_seed(0)
    sizes = torch.logspace(0, 3, 20)
    batches = [(sizes * (x + 5), x[:, 0] + 2) for x, _ in pairs(12, 32)]
    model = Norming(torch.cat([x for x, _ in batches]), used=used)
    report = tried("scales", model, batches, nn.functional.mse_loss, torch.optim.Adam(model.parameters(), 2e-3))
    assert ("input-scale" in [each.id for each in report.findings]) is not used


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
