"""Modes, dropout, norms, masks and axes in small trainings: each fault beside its cure and beside what looks like it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from trainings import adam, batches, checked, named, remarks, train

from lettrine import health
from lettrine.health.findings import Report


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(3)


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.drop, self.last = nn.Linear(12, 16), nn.BatchNorm1d(16), nn.Dropout(0.2), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.drop(torch.relu(self.norm(self.first(x)))))


def evaluated(model: nn.Module, steps: int = 12, every: int = 4) -> Report:
    """Train, and evaluate in eval mode as it should be done; the model may have ideas of its own."""
    optimiser = adam(model)
    with health.watch(model, optimiser) as watch:
        for number, (x, y) in enumerate(batches(steps)):
            loss = functional.cross_entropy(model(x), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
            if number % every == every - 1:
                mode = model.training
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(functional.cross_entropy(model(x), y))
                model.train(mode)
    return checked(watch.report())


def test_a_part_in_eval_mode() -> None:
    model = Normed()
    model.norm.eval()
    finding = named(train(model, steps=6))["wrong-mode"]
    assert finding.where == ("norm",)
    assert named(train(Normed(), steps=6)) == {}


def test_parts_that_are_kept_in_eval_mode_on_purpose() -> None:
    model = Normed()
    train(model, steps=30)
    model.norm.eval()  # statistics that were trained
    assert "wrong-mode" not in named(train(model, steps=6))
    model.norm.train()
    model.drop.eval()
    assert remarks(train(model, steps=6))["wrong-mode"].where == ("drop",)
    model.first.requires_grad_(False)
    model.norm.requires_grad_(False)
    assert "wrong-mode" not in remarks(train(model, steps=6))  # a frozen body needs none


def test_a_norm_that_stays_in_training_mode() -> None:
    class Stubborn(Normed):
        def train(self, mode: bool = True) -> Stubborn:
            super().train(mode)
            self.norm.training = True
            return self

    report = evaluated(Stubborn())
    assert named(report)["wrong-mode"].where == ("norm",)
    assert "batch-mixing" not in named(report)  # the same once more
    assert "wrong-mode" not in named(evaluated(Normed()))


def test_a_model_whose_eval_reaches_only_a_part_of_it() -> None:
    class Partly(Normed):
        def eval(self) -> Partly:
            self.training = False
            self.first.eval()
            return self

    assert set(named(evaluated(Partly()))["wrong-mode"].where) == {"norm", "drop"}


class Dropping(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.first, self.last, self.drop, self.how = nn.Linear(12, 16), nn.Linear(16, 4), nn.Dropout(0.5), how

    def train(self, mode: bool = True) -> Dropping:
        super().train(mode)
        if self.how == "monte carlo":
            self.drop.training = True
        return self

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        if self.how == "default":
            return self.last(functional.dropout(x, 0.5))
        if self.how == "spread over lines":
            return self.last(
                functional.dropout(
                    torch.cat([x[:, :1], x[:, 1:]], dim=1),
                    p=0.5,
                )
            )
        if self.how == "on purpose":
            return self.last(functional.dropout(x, 0.5, training=True))
        if self.how == "asked for":
            return self.last(functional.dropout(x, 0.5, training=self.training))
        if self.how == "by place":
            return self.last(functional.dropout(x, 0.5, bool(self.how)))
        return self.last(self.drop(x))


@pytest.mark.parametrize("how", ["default", "spread over lines"])
def test_dropout_that_knows_no_mode(how: str) -> None:
    finding = named(evaluated(Dropping(how)))["eval-dropout"]
    assert finding.where == ("Dropping",)
    assert "(test_verdict_modes.py, line" in finding.message


@pytest.mark.parametrize("how", ["on purpose", "asked for", "module", "monte carlo", "by place"])
def test_dropout_that_is_meant(how: str) -> None:
    report = evaluated(Dropping(how))
    assert "eval-dropout" not in named(report)
    assert ("eval-dropout" in remarks(report)) == (how == "by place")


@pytest.mark.parametrize("fixed", [True, False])
def test_attention_that_drops_in_eval_mode(*, fixed: bool) -> None:
    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(3, 8), nn.Linear(32, 4)

        def forward(self, x: Tensor) -> Tensor:
            h = self.first(x.reshape(-1, 4, 3))
            rate = 0.3 if self.training or not fixed else 0.0
            return self.last(functional.scaled_dot_product_attention(h, h, h, dropout_p=rate).flatten(1))

    assert ("eval-dropout" in named(evaluated(Attends()))) == (not fixed)


class Places(nn.Module):
    """Two layers with batch norm: one for both, or one each; or two inputs through the same layers."""

    def __init__(self, *, shared: bool, twins: bool = False) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(12, 12), nn.Linear(12, 12), nn.Linear(12, 4)
        self.norm = nn.BatchNorm1d(12)
        self.other = self.norm if shared else nn.BatchNorm1d(12)
        self.twins = twins
        with torch.no_grad():
            self.second.bias.add_(3.0)

    def forward(self, x: Tensor) -> Tensor:
        if self.twins:
            return self.last(torch.relu(self.norm(self.first(x))) + torch.relu(self.norm(self.first(-x))))
        return self.last(torch.relu(self.other(self.second(torch.relu(self.norm(self.first(x)))))))


def test_one_norm_in_two_places() -> None:
    finding = named(train(Places(shared=True), steps=5))["shared-norm"]
    assert finding.where == ("norm",)
    assert "2 places" in finding.message
    assert "shared-norm" not in named(train(Places(shared=False), steps=5))
    assert "shared-norm" not in named(train(Places(shared=True, twins=True), steps=5))


class Masked(nn.Module):
    def __init__(self, *, inverted: bool, classes: int = 0) -> None:
        super().__init__()
        self.embed, self.attend, self.last = nn.Embedding(9, 8), nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 4)
        self.front, self.inverted, self.classes = nn.Parameter(0.1 * torch.randn(1, 1, 8)), inverted, classes

    def forward(self, tokens: Tensor) -> Tensor:
        padding = tokens == 0
        h = self.embed(tokens)
        mask = ~padding if self.inverted else padding
        if self.classes:
            h = torch.cat([self.front.expand(len(h), -1, -1), h], 1)
            mask = functional.pad(mask, (1, 0), value=self.inverted)
        return self.last(self.attend(h, h, h, key_padding_mask=mask, need_weights=False)[0][:, 0])


def padded(x: Tensor) -> Tensor:
    tokens = (x * 3).abs().long().clamp(0, 7) + 1
    lengths = 3 + torch.arange(len(x)) % 7
    return tokens * (torch.arange(12) < lengths[:, None])


@pytest.mark.parametrize("classes", [0, 1])
@pytest.mark.parametrize("inverted", [True, False])
def test_a_padding_mask_the_wrong_way_round(*, inverted: bool, classes: int) -> None:
    model = Masked(inverted=inverted, classes=classes)
    report = train(model, steps=5, make=lambda x, y: functional.cross_entropy(model(padded(x)), y))
    assert ("padding-mask" in named(report)) == inverted
    if inverted:
        assert report.findings[0].id == "padding-mask"
        assert report.findings[0].where == ("attend",)


@pytest.mark.parametrize("inverted", [True, False])
def test_the_mask_of_a_whole_encoder(*, inverted: bool) -> None:
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.embed, self.encode = nn.Embedding(9, 8), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.last = nn.Linear(8, 4)

        def forward(self, tokens: Tensor) -> Tensor:
            mask = (tokens != 0) if inverted else (tokens == 0)
            return self.last(self.encode(self.embed(tokens), src_key_padding_mask=mask).mean(1))

    model = Encoder()
    report = train(model, steps=5, make=lambda x, y: functional.cross_entropy(model(padded(x)), y))
    found = named(report).get("padding-mask")
    assert (found is not None) == inverted
    if found is not None:
        assert found.where == ("encode.layers.0.self_attn", "encode.layers.1.self_attn")


def test_sequences_without_any_padding() -> None:
    model = Masked(inverted=False)
    report = train(model, steps=5, make=lambda x, y: functional.cross_entropy(model(padded(x).clamp(min=1)), y))
    assert "padding-mask" not in named(report)


@pytest.mark.parametrize("first", [True, False])
def test_the_batch_taken_for_time(*, first: bool) -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.last = nn.GRU(3, 8, batch_first=first), nn.Linear(8, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.rnn(x)[0][:, -1])

    model = Recurrent()
    report = train(model, steps=5, make=lambda x, y: functional.cross_entropy(model(x.reshape(32, 4, 3)), y))
    found = {**named(report), **remarks(report)}
    assert ("batch-mixing" in found) == (not first)


@pytest.mark.parametrize("layout", ["batch, time", "time, batch", "square"])
def test_the_batch_taken_for_time_where_each_place_has_a_target(layout: str) -> None:
    """Pictures (B, 1, 3, T) read column by column, and a class for each column."""

    class Columns(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.last = nn.GRU(3, 8), nn.Linear(8, 4)

        def forward(self, x: Tensor) -> Tensor:
            columns = x[:, 0].transpose(1, 2)  # (B, T, 3)
            if layout == "time, batch":
                return self.last(self.rnn(columns.transpose(0, 1))[0]).permute(1, 2, 0)
            return self.last(self.rnn(columns)[0]).transpose(1, 2)

    model, width = Columns(), 32 if layout == "square" else 4

    def make(x: Tensor, y: Tensor) -> Tensor:
        pictures = x.reshape(32, 1, 3, 4).repeat(1, 1, 1, width // 4)
        return functional.cross_entropy(model(pictures), y[:, None].expand(-1, width))

    report = train(model, steps=5, make=make)
    assert ("batch-mixing" in {**named(report), **remarks(report)}) == (layout == "batch, time")


@pytest.mark.parametrize("layout", ["batch, time", "batch first", "time, batch", "same texts"])
def test_the_batch_taken_for_time_where_words_have_targets(layout: str) -> None:
    """Texts (B, T) and a class for each word. Only where the same texts come back in other company is it known what a row is."""

    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.rnn = nn.Embedding(12, 8), nn.LSTM(8, 8, batch_first=layout == "batch first")
            self.last = nn.Linear(8, 4)

        def forward(self, ids: Tensor) -> Tensor:
            return self.last(self.rnn(self.embed(ids))[0]).movedim(-1, 1)

    model, generator = Words(), torch.Generator().manual_seed(0)
    texts = torch.randint(12, (40, 9), generator=generator)
    answers = torch.randint(4, (40, 9), generator=generator)  # by heart at best: nothing is learned in these steps

    def make(_: Tensor, __: Tensor) -> Tensor:
        rows = torch.arange(25) if layout == "same texts" else torch.randperm(40, generator=generator)[:25]
        ids, y = texts[rows], answers[rows]
        return functional.cross_entropy(model(ids.T), y.T) if layout == "time, batch" else functional.cross_entropy(model(ids), y)

    found = train(model, steps=6, make=make)
    assert ("batch-mixing" in {**named(found), **remarks(found)}) == (layout == "batch, time")


class Full(nn.Linear):
    """A layer that leaves autocast."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float())


@pytest.mark.parametrize(("places", "told"), [((2,), ("2",)), ((), ()), ((4,), ()), ((0,), ())])
def test_a_layer_left_in_float32(places: tuple[int, ...], told: tuple[str, ...]) -> None:
    """The first and the last are often kept there on purpose."""
    sizes = [(12, 24), (24, 24), (24, 4)]
    layers = [(Full if 2 * place in places else nn.Linear)(*size) for place, size in enumerate(sizes)]
    model = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])

    def make(x: Tensor, y: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return functional.cross_entropy(model(x), y)

    found = [each for each in train(model, steps=20, make=make).findings if each.id == "wrong-mode"]
    assert [each.where for each in found] == ([told] if told else [])
    assert all(each.severity == "info" and "bfloat16" in each.message for each in found)


def test_no_layer_in_half_precision() -> None:
    model = nn.Sequential(nn.Linear(12, 24), nn.ReLU(), Full(24, 24), nn.ReLU(), nn.Linear(24, 4))
    assert train(model, steps=20).trace.seen("precision") == ()
