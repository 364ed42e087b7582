"""Padding that is counted, in small trainings: each fault beside its cure and beside what looks like it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from trainings import adam, checked, named, remarks

from lettrine import health
from lettrine.health.findings import Report


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(3)


def texts(count: int, places: int = 24, longest: int = 6, rows: int = 32) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows of words 1 to 15 that end in padding (0), and their lengths."""
    for _ in range(count):
        ids = torch.randint(1, 16, (rows, places))
        length = 2 + ((longest - 1) * torch.rand(rows, 1).pow(2)).long()  # most are short
        yield ids.masked_fill(torch.arange(places) >= length, 0), length[:, 0]


def trained(model: nn.Module, loss_of: Callable[[Tensor, Tensor], Tensor], steps: int, rate: float = 0.0, **shape: int) -> Report:
    optimiser = adam(model, rate) if rate else torch.optim.SGD(model.parameters(), lr=0.1)
    with health.watch(model, optimiser) as watch:
        for ids, length in texts(steps, **shape):
            loss = loss_of(ids, length)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    return checked(watch.report())


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.out = nn.Embedding(16, 8, padding_idx=0), nn.Conv1d(8, 5, 3, padding=1)

    def forward(self, ids: Tensor) -> Tensor:
        return self.out(self.words(ids).transpose(1, 2))  # (B, tags, T)


def tags(ids: Tensor) -> Tensor:
    return (1 + ids * 7 % 4).masked_fill(ids == 0, 0)


def test_padding_that_the_loss_asks_for() -> None:
    model = Tagger()

    def counted(ids: Tensor, _: Tensor) -> Tensor:
        return functional.cross_entropy(model(ids), tags(ids))

    finding = named(trained(model, counted, 60))["padding-counted"]
    assert "ignore_index=0" in finding.remedy
    assert finding.value > finding.limit > 1.0  # nats: words are tagged by guessing among four
    # What was written is learned all the same.
    report = trained(model, counted, 120, 2e-2)
    assert "padding-counted" not in named(report)
    assert "padding-counted" in remarks(report)


@pytest.mark.parametrize("way", ["ignore_index", "weight", "mask", "picked"])
def test_padding_that_the_loss_leaves_out(way: str) -> None:
    model = Tagger()

    def left_out(ids: Tensor, _: Tensor) -> Tensor:
        output, target = model(ids), tags(ids)
        if way == "ignore_index":
            return functional.cross_entropy(output, target, ignore_index=0)
        if way == "weight":
            return functional.cross_entropy(output, target, weight=torch.tensor([0.0, 1, 1, 1, 1]))
        if way == "mask":
            written = target > 0
            return (functional.cross_entropy(output, target, reduction="none") * written).sum() / written.sum()
        return functional.cross_entropy(output.transpose(1, 2)[target > 0], target[target > 0])

    report = trained(model, left_out, 20)
    assert "padding-counted" not in {**named(report), **remarks(report)}


@pytest.mark.parametrize("ignored", [False, True])
def test_padding_after_the_next_token_is_asked_for(ignored: bool) -> None:
    """The model is given whole rows; its answers at all places but the last are held against all but the first."""
    model = nn.Sequential(nn.Embedding(16, 8), nn.Linear(8, 16))

    def following(ids: Tensor, _: Tensor) -> Tensor:
        asked = ids[:, 1:].masked_fill(ids[:, 1:] == 0, -100) if ignored else ids[:, 1:]
        return functional.cross_entropy(model(ids)[:, :-1].flatten(0, 1), asked.flatten(), ignore_index=-100)

    report = trained(model, following, 60, 2e-2)
    assert ("padding-counted" in {**named(report), **remarks(report)}) is not ignored


class Mean(nn.Module):
    def __init__(self, way: str) -> None:
        super().__init__()
        self.words, self.out = nn.Embedding(16, 8), nn.Linear(8, 1)
        self.way = way

    def forward(self, ids: Tensor) -> Tensor:
        h, mask = torch.tanh(self.words(ids)), (ids != 0)[..., None]
        if self.way == "masked":
            return self.out((h * mask).sum(1) / mask.sum(1))[:, 0]
        return self.out((h * mask).mean(1) if self.way == "zeros" else h.mean(1))[:, 0]


def test_a_mean_over_padding() -> None:
    worth = torch.randn(16)

    def run(model: nn.Module) -> Report:
        def squares(ids: Tensor, length: Tensor) -> Tensor:
            value = (worth[ids] * (ids != 0)).sum(1) / length
            return functional.mse_loss(model(ids), value)

        return trained(model, squares, 220, 3e-2, longest=23)

    finding = named(run(Mean("plain")))["padding-counted"]
    assert "mask = (tokens != 0)" in finding.remedy
    assert "over all 24 places" in finding.message
    for way in ("masked", "zeros"):  # what is set to 0 on purpose is somebody's own way of counting
        report = run(Mean(way))
        assert "padding-counted" not in {**named(report), **remarks(report)}, way


class Reader(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.out = nn.Embedding(16, 8), nn.Linear(8, 2)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)

    def forward(self, ids: Tensor, padding: Tensor | None) -> Tensor:
        return self.out(self.layer(self.words(ids), src_key_padding_mask=padding)[:, 0])


@pytest.mark.parametrize("way", ["nothing", "padding", "none", "full rows"])
def test_a_mask_that_leaves_nothing_out(way: str) -> None:
    model = Reader()

    def asked(ids: Tensor, length: Tensor) -> Tensor:
        ids = ids.where(ids > 0, torch.randint_like(ids, 1, 16)) if way == "full rows" else ids
        mask = {"padding": ids == 0, "none": None}.get(way, torch.zeros_like(ids, dtype=torch.bool))
        return functional.cross_entropy(model(ids, mask), (length > 3).long())

    report = trained(model, asked, 12)
    if way == "nothing":
        finding = named(report)["padding-mask"]
        assert finding.where == ("layer.self_attn",)
        assert "masks nothing" in finding.message
        assert "(tokens == 0)" in finding.remedy
    else:
        assert "padding-mask" not in {**named(report), **remarks(report)}


class Pooling(nn.Module):
    """One query for each class attends to the words of a text."""

    def __init__(self, way: str, *, inverted: bool) -> None:
        super().__init__()
        self.words, self.query, self.out = nn.Embedding(16, 8), nn.Parameter(torch.randn(2, 8)), nn.Linear(8, 1)
        self.way, self.inverted = way, inverted

    def forward(self, ids: Tensor) -> Tensor:
        h = self.words(ids)
        taken = ((ids == 0) if self.inverted else (ids != 0))[:, None]  # (B, 1, T)
        query = self.query.expand(len(ids), -1, -1)
        if self.way == "scaled":
            return self.out(functional.scaled_dot_product_attention(query, h, h, attn_mask=taken))[..., 0]
        if self.way == "added":
            added = torch.zeros(taken.shape).masked_fill(~taken, -1e9)
            return self.out(functional.scaled_dot_product_attention(query, h, h, attn_mask=added))[..., 0]
        scores = (query @ h.transpose(1, 2)).masked_fill(~taken, -torch.inf)
        return self.out(scores.softmax(-1) @ h)[..., 0]


@pytest.mark.parametrize("way", ["scaled", "added", "written"])
@pytest.mark.parametrize("inverted", [True, False])
def test_a_query_that_attends_to_the_padding(way: str, *, inverted: bool) -> None:
    model = Pooling(way, inverted=inverted)
    report = trained(model, lambda ids, length: functional.cross_entropy(model(ids), (length > 3).long()), 12)
    finding = named(report).get("padding-mask")
    assert (finding is not None) == inverted
    if finding is not None:
        assert finding.where == ("Pooling",)
        assert ("masked_fill" if way == "written" else "attn_mask") in finding.remedy


def test_moves_that_are_not_allowed_are_no_padding() -> None:
    """On a board that fills, places that are taken are hidden: all that is left holds one token."""
    model = nn.Sequential(nn.Embedding(3, 8), nn.Flatten(), nn.Linear(72, 9))

    def moves(ids: Tensor, _: Tensor) -> Tensor:
        board = torch.where(torch.rand(len(ids), 9) < 0.4, torch.randint(1, 3, (len(ids), 9)), 0)
        shares = model(board).masked_fill(board != 0, -torch.inf).softmax(-1)
        best = (board == 0).long().argmax(1)
        return -shares.gather(1, best[:, None]).clamp_min(1e-6).log().mean()

    assert "padding-mask" not in named(trained(model, moves, 12))


class Looking(nn.Module):
    """Each word attends to the words of its text; the padding is hidden as queries, as keys, or as both."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.words, self.out, self.way = nn.Embedding(16, 8), nn.Linear(8, 2), way

    def forward(self, ids: Tensor) -> Tensor:
        h, there = self.words(ids), ids != 0
        queries, keys = there[:, :, None], there[:, None]
        scores = h @ h.transpose(1, 2)
        if self.way == "scaled":
            h = functional.scaled_dot_product_attention(*(3 * [h[:, None]]), attn_mask=queries.expand_as(scores)[:, None])[:, 0]
            return self.out(h[:, 0])
        if self.way == "one after the other":
            scores = scores.masked_fill(~keys, -1e4)
        mask = {"keys": keys, "both": queries & keys}.get(self.way, queries)
        return self.out((scores.masked_fill(~mask, -1e4).softmax(-1) @ h)[:, 0])


@pytest.mark.parametrize("way", ["queries", "scaled", "keys", "both", "one after the other"])
def test_padding_hidden_as_queries(way: str) -> None:
    model = Looking(way)
    report = trained(model, lambda ids, length: functional.cross_entropy(model(ids), (length > 3).long()), 12)
    finding = named(report).get("padding-mask")
    assert (finding is not None) == (way in ("queries", "scaled"))
    if finding is not None:
        assert finding.where == ("Looking",)
        assert "not as keys" in finding.message


class Adding(nn.Module):
    """As before, by numbers that are added to the scores: 0 where a place is seen, -1e4 where not."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.words, self.out, self.way = nn.Embedding(16, 8), nn.Linear(8, 2), way

    def forward(self, ids: Tensor) -> Tensor:
        h, there = self.words(ids), (ids != 0).float()
        if self.way in ("nothing", "causal"):
            there = torch.ones_like(there)
        scores = h @ h.transpose(1, 2) + (1 - (there[:, :, None] if self.way == "queries" else there[:, None])) * -1e4
        if self.way == "causal":
            scores = scores.masked_fill(torch.ones(24, 24).triu(1).bool(), -1e4)
        return self.out((scores.softmax(-1) @ h)[:, 1])


@pytest.mark.parametrize(
    ("way", "words"), [("queries", "not as keys"), ("nothing", "masks nothing"), ("keys", ""), ("causal", "")]
)
def test_masks_that_are_added(way: str, words: str) -> None:
    model = Adding(way)
    report = trained(model, lambda ids, length: functional.cross_entropy(model(ids), (length > 3).long()), 12, longest=16)
    finding = named(report).get("padding-mask")
    assert (finding is not None) == bool(words)
    if finding is not None:
        assert words in finding.message
        assert "scores + (tokens == 0)" in finding.remedy
