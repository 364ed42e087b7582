"""Faults of wiring: steps never made, the wrong net's parameters, layers in a plain dict, sums that keep their graphs."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

SYLLABLES = (
    "ka to mi ra shi no ku ya sa ne",
    "ov ski na ich dra vla mir ko sta pe",
    "mac don ald son ley ton wick er ham rob",
    "el la zzi ni gio ro mar chi ba tti",
)
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def surnames(count: int, generator: torch.Generator) -> list[tuple[Tensor, int]]:
    """Names of two to four syllables as letters, and of which of four languages each one is."""
    said = []
    for _ in range(count):
        kind = int(torch.randint(4, (1,), generator=generator))
        parts = SYLLABLES[kind].split()
        picks = torch.randint(10, (int(torch.randint(2, 4, (1,), generator=generator)),), generator=generator)
        name = "".join(parts[int(k)] for k in picks)
        said.append((torch.tensor([LETTERS.index(each) for each in name]), kind))
    return said


class Rnn(nn.Module):
    """Letter by letter: what was read and the letter make what is read next."""

    def __init__(self) -> None:
        super().__init__()
        self.i2h, self.i2o = nn.Linear(26 + 48, 48), nn.Linear(48, 4)

    def forward(self, name: Tensor) -> Tensor:
        hidden = torch.zeros(48)
        for letter in F.one_hot(name, 26).float():
            hidden = self.i2h(torch.cat([letter, hidden])).tanh()
        return self.i2o(hidden)


@fault(
    kind="not-optimised",
    also=("never-moved",),
    project="spro/practical-pytorch",
    source="github.com/spro/practical-pytorch/issues/9",
)
def a_net_made_once_more(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Of which language a name is, one name a step: the optimiser was made, and then the net was made once more."""
    generator = torch.Generator().manual_seed(seed)
    names, held = surnames(400, generator), surnames(200, generator)
    rnn = Rnn()
    optimizer = torch.optim.SGD(rnn.parameters(), lr=0.05)
    rnn = Rnn()
    if cured:
        optimizer = torch.optim.SGD(rnn.parameters(), lr=0.05)
    with doctor.watch(rnn, optimizer) as watch:
        for _ in range(1300):
            name, kind = names[int(torch.randint(400, (1,), generator=generator))]
            loss = F.cross_entropy(rnn(name), torch.tensor(kind))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        right = sum(int(rnn(name).argmax()) == kind for name, kind in held)
    return above(right / 200, 0.6)


@fault(
    kind="never-moved",
    also=("not-optimised",),
    project="ClementPinard/SfmLearner-Pytorch",
    source="github.com/ClementPinard/SfmLearner-Pytorch/issues/5",
)
def a_schedule_instead_of_a_step(doctor: Doctor, seed: int, cured: bool) -> Score:
    """How far the camera moved, from how well one picture moved so looks like the other: with a schedule no step is made."""
    generator = torch.Generator().manual_seed(seed)

    def frames(count: int) -> Tensor:
        """Two pictures of one scene (N, 2, 16, 16), the second one moved by up to three pixels."""
        scene = F.avg_pool2d(torch.randn(count, 1, 30, 30, generator=generator), 7, 1) * 5
        moved = torch.randint(-3, 4, (count, 2), generator=generator)
        at = torch.arange(16) + 4
        row, column = at + moved[:, :1], at + moved[:, 1:]
        second = scene[torch.arange(count)[:, None, None], 0, row[:, :, None], column[:, None]]
        return torch.stack([scene[:, 0, 4:20, 4:20], second], 1)

    def lost(pair: Tensor, pose: Tensor) -> Tensor:
        """What is left when the second picture is moved back by a pose (N, 2), inside a border."""
        turn = torch.eye(2, 3).repeat(len(pair), 1, 1)
        turn = turn + torch.cat([torch.zeros(len(pair), 2, 2), pose[:, :, None]], 2)
        grid = F.affine_grid(turn, [len(pair), 1, 16, 16], align_corners=False)
        back = F.grid_sample(pair[:, 1:], grid, align_corners=False)
        return (back - pair[:, :1])[:, :, 3:-3, 3:-3].abs().mean()

    posenet = nn.Sequential(
        nn.Conv2d(2, 16, 5, padding=2), nn.ReLU(), nn.Conv2d(16, 16, 5, stride=2, padding=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(1024, 64), nn.ReLU(), nn.Linear(64, 2),
    )  # fmt: skip
    optimizer = torch.optim.Adam(posenet.parameters(), lr=2e-3)
    scheduler: torch.optim.lr_scheduler.StepLR | None = torch.optim.lr_scheduler.StepLR(optimizer, 200, gamma=0.5)
    x = frames(1500)
    with doctor.watch(posenet, optimizer) as watch:
        for step in range(300):
            pair = x[torch.randint(1500, (24,), generator=generator)]
            loss = lost(pair, posenet(pair))
            optimizer.zero_grad()
            loss.backward()
            if scheduler is not None:
                scheduler.step()
                if cured:
                    optimizer.step()
            else:
                optimizer.step()
            watch.loss(loss)
            if step % 60 == 59:
                with torch.no_grad():
                    watch.dev_loss(lost(x[:200], posenet(x[:200])))
    held = frames(300)
    with torch.no_grad():
        return below(lost(held, posenet(held)) / lost(held, torch.zeros(300, 2)), 0.75)


@fault(
    kind="unregistered",
    where="item_conv",
    also=("frozen-random", "not-optimised", "never-moved"),
    project="xiaxin1998/COTREC",
    source="github.com/xiaxin1998/COTREC/issues/15",
)
def a_dict_of_layers_nobody_found(doctor: Doctor, seed: int, cured: bool) -> Score:
    """What is clicked next in a shop: the layers through which things tell what goes with them lie in a plain dict."""
    generator = torch.Generator().manual_seed(seed)
    group = torch.arange(60) % 12
    follow = torch.randperm(12, generator=generator)

    def visits(count: int) -> tuple[Tensor, Tensor]:
        """Five things clicked (N, 5) and the next one (N,): each time one of the group that follows, or any."""
        now = torch.randint(12, (count,), generator=generator)
        clicked = []
        for _ in range(6):
            luck = torch.rand(count, generator=generator) < 0.1
            now = torch.where(luck, torch.randint(12, (count,), generator=generator), now)
            clicked.append(now + 12 * torch.randint(5, (count,), generator=generator))
            now = follow[now]
        whole = torch.stack(clicked, 1)
        return whole[:, :5], whole[:, 5]

    facts = F.one_hot(group, 12).float().repeat(1, 4) + 0.4 * torch.randn(60, 48, generator=generator)

    class ItemConv(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layers = {"w_item0": nn.Linear(48, 8, bias=False), "w_item1": nn.Linear(8, 8, bias=False)}
            self.w_item = nn.ModuleDict(layers) if cured else layers

        def forward(self, h: Tensor, goes_with: Tensor) -> Tensor:
            for k in range(2):
                h = F.normalize(goes_with @ self.w_item[f"w_item{k}"](h), dim=1)
            return h

    class Cotrec(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.item_conv = ItemConv()
            self.place, self.mix = nn.Embedding(5, 8), nn.Linear(16, 8)

        def forward(self, clicked: Tensor, goes_with: Tensor) -> Tensor:
            items = self.item_conv(facts, goes_with)
            seen = torch.cat([items[clicked], self.place.weight.expand(len(clicked), 5, 8)], 2)
            return F.normalize(self.mix(seen).tanh().sum(1), dim=1) @ items.T * 12

    x, y = visits(3000)
    together = torch.eye(60)
    together.index_put_((x[:, 3], y), torch.full((3000,), 0.01), accumulate=True)
    goes_with = together / together.sum(1, keepdim=True)
    model = Cotrec()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(x, y, 50, 300, seed):
            loss = F.cross_entropy(model(a, goes_with), b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    x, y = visits(600)
    with torch.no_grad():
        first = model(x, goes_with).topk(5)[1]
    return above((first == y[:, None]).any(1).float().mean(), 0.55)


@fault(
    kind="growing-graph",
    project="pai4451/ML2021",
    source="github.com/pai4451/ML2021/issues/2",
    certain="the sum of the losses keeps the graph of every step; what is learned is the same.",
)
def a_sum_of_losses_for_the_log(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Where in a text the answer is, by attention: losses are summed up for the log with all that led to them."""
    generator = torch.Generator().manual_seed(seed)

    def asked(count: int) -> tuple[Tensor, Tensor]:
        """A question and a text of words (N, 17), and where the answer begins and ends (N, 2): behind the word asked for."""
        text = torch.randint(20, 40, (count, 16), generator=generator)
        word, at = torch.randint(20, (count,), generator=generator), torch.randint(12, (count,), generator=generator)
        text[torch.arange(count), at] = word
        long = torch.randint(1, 4, (count,), generator=generator)
        text[torch.arange(count), at + long] = 40 + long
        return torch.cat([word[:, None], text], 1), torch.stack([at + 1, at + long], 1)

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.place = nn.Embedding(44, 32), nn.Embedding(17, 32)
            layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, batch_first=True)
            self.body, self.ends = nn.TransformerEncoder(layer, 2), nn.Linear(32, 2)

        def forward(self, read: Tensor) -> Tensor:
            return self.ends(self.body(self.words(read) + self.place.weight))[:, 1:]

    x, y = asked(1500)
    model = Reader()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    train_loss = torch.zeros(())
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(x, y, 32, 220, seed):
            said = model(a)
            loss = (F.cross_entropy(said[..., 0], b[:, 0]) + F.cross_entropy(said[..., 1], b[:, 1])) / 2
            train_loss = train_loss + (loss.detach() if cured else loss)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            watch.loss(loss)
    x, y = asked(300)
    model.eval()
    with torch.no_grad():
        return above((model(x).argmax(1) == y).float().mean(), 0.6)
