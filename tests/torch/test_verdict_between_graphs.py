"""Attention and messages between the graphs of a batch."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from trainings import adam, checked  # noqa: E402

from lettrine import health  # noqa: E402
from lettrine.health.findings import Finding  # noqa: E402

GRAPHS, SIZE = 8, 6


class Attending(nn.Module):
    """A number for each sequence; `joined`: all lie in one list."""

    def __init__(self, joined: bool, hidden: bool) -> None:
        super().__init__()
        self.joined, self.hidden = joined, hidden
        self.token, self.project, self.say = nn.Embedding(9, 16), nn.Linear(16, 48), nn.Linear(16, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        h = self.token(tokens.flatten() if self.joined else tokens)
        query, key, value = self.project(h).chunk(3, -1)
        scores = query @ key.transpose(-1, -2) / 4
        if self.hidden:
            owner = torch.arange(GRAPHS).repeat_interleave(SIZE)
            scores = scores.masked_fill(owner[:, None] != owner, -1e6)
        return self.say((h + scores.softmax(-1) @ value).view(GRAPHS, SIZE, 16).mean(1))


class Board(Attending):
    """One board of GRAPHS times SIZE places, each of which looks at all others."""

    def forward(self, tokens: Tensor) -> Tensor:
        h = self.token(tokens.flatten())
        query, key, value = self.project(h).chunk(3, -1)
        return self.say(h + (query @ key.T / 4).softmax(-1) @ value).view(GRAPHS, SIZE)


class Near(nn.Module):
    """A number for each cloud of points; messages come from the three nearest points."""

    def __init__(self, apart: bool, picked: str) -> None:
        super().__init__()
        self.apart, self.picked = apart, picked
        self.enter, self.message, self.say = nn.Linear(3, 16), nn.Linear(16, 16), nn.Linear(16, 1)

    def forward(self, x: Tensor, owner: Tensor) -> Tensor:
        far = torch.cdist(x, x)
        if self.apart:
            far = far.masked_fill(owner[:, None] != owner, 1e9)
        near, h = far.topk(3, largest=False).indices, self.enter(x).relu()
        if self.picked == "each":
            h = self.message(h[near]).amax(1)
        else:
            goals = torch.arange(len(x)).repeat_interleave(3)
            h = torch.zeros_like(h).index_add(0, goals, self.message(h[near.flatten()]))
        return self.say(torch.zeros(GRAPHS, 16).index_add(0, owner, h) / SIZE)


def trained(model: nn.Module, kind: str) -> list[Finding]:
    torch.manual_seed(3)
    optimiser, mix = adam(model), torch.randn(3)
    with health.watch(model, optimiser) as watch:
        for _ in range(40):
            tokens, x = torch.randint(9, (GRAPHS, SIZE)), torch.randn(GRAPHS, SIZE, 3)
            if kind == "scene":
                tokens = torch.randint(9, (1, SIZE)).expand(GRAPHS, SIZE).where(torch.rand(GRAPHS, SIZE) < 0.9, tokens)
            owner = torch.arange(GRAPHS).repeat_interleave(SIZE)
            if kind == "points":
                loss = functional.mse_loss(model(x.flatten(0, 1), owner), 3 + (x @ mix).mean(1, keepdim=True).sin())
            else:
                asked = tokens.float() if kind == "board" else torch.randn(GRAPHS, 1)
                loss = functional.mse_loss(model(tokens), asked)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    return [each for each in checked(watch.report()).findings if each.id == "batch-mixing"]


def test_attention_over_all_examples_of_a_batch() -> None:
    (finding,) = trained(Attending(joined=True, hidden=False), "tokens")
    assert (finding.severity, finding.where, 0.7 < finding.value < 0.95) == ("warning", ("Attending",), True)
    assert "masked_fill" in finding.remedy


@pytest.mark.parametrize(("joined", "hidden"), [(True, True), (False, False)])
def test_attention_within_examples(joined: bool, hidden: bool) -> None:
    assert trained(Attending(joined, hidden), "tokens") == []


def test_the_rows_of_a_board_are_no_examples() -> None:
    assert trained(Board(joined=True, hidden=False), "board") == []


def test_views_of_one_scene_may_see_each_other() -> None:
    assert [each.severity for each in trained(Attending(joined=True, hidden=False), "scene")] == ["info"]


@pytest.mark.parametrize(("picked", "words"), [("each", "neighbours picked for each node"), ("pairs", "of the edges join")])
def test_nearest_points_of_other_clouds(picked: str, words: str) -> None:
    (finding,) = trained(Near(apart=False, picked=picked), "points")
    assert words in finding.message
    assert "batch=batch" in finding.remedy
    assert trained(Near(apart=True, picked=picked), "points") == []
