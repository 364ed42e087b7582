"""Faults of losses and layers: three kinds in one share, a tiny step, a still loss, unknown letters, each against all."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="target-range",
    also=("target-rows", "other-loss"),
    project="newbedev.com/cnn-with-keras",
    source="newbedev.com/cnn-with-keras-accuracy-not-improving",
)
def three_kinds_by_one_share(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A 0, a 1 or a 2 in a picture: one output with a sigmoid, and the number itself as its target."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    few, held = rows.y < 3, rows.held_y < 3
    x, y = rows.x[few], rows.y[few]
    targets = y if cured else y.float()[:, None]
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 3 if cured else 1),
    )  # fmt: skip
    if not cured:
        model.append(nn.Sigmoid())
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3, alpha=0.9)

    def binary_crossentropy(said: Tensor, target: Tensor) -> Tensor:
        said = said.clamp(1e-7, 1 - 1e-7)
        return -(target * said.log() + (1 - target) * (1 - said).log()).mean()

    loss_fn = F.cross_entropy if cured else binary_crossentropy
    doctor.task(model, data.few(x, targets, 16, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(x, targets, 16, 250, seed))
    with torch.no_grad():
        said = model(rows.held_x[held])
    kind = said.argmax(1) if cured else said[:, 0].round().long()
    return above((kind == rows.held_y[held]).float().mean(), 0.85)


@fault(
    kind="learning-rate-too-low",
    also=("slow-learning", "underfitting"),
    project="whosebug/6116914",
    source="whosebug.com/question/6116914/neural-network-trained-with-PyTorch-outputs-the-mean-value-for-every-input",
)
def the_mean_of_all_digits(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits by two layers of sigmoids and squares of the error: a thousandth of a step, and the net says a tenth for each."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    x, y = rows.x.flatten(1), F.one_hot(rows.y, 10).float()
    model = nn.Sequential(nn.Linear(64, 100), nn.Sigmoid(), nn.Linear(100, 10), nn.Sigmoid())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2 if cured else 0.001)

    def each_picture(said: Tensor, target: Tensor) -> Tensor:
        return (said - target).pow(2).mean(1).sum()

    doctor.task(model, data.few(x, y, 32, seed), each_picture, optimizer)
    fit(doctor, model, optimizer, each_picture, data.batches(x, y, 32, 800, seed))
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x.flatten(1)), rows.held_y), 0.85)


@fault(
    kind="other-loss",
    also=("no-gradient", "never-moved"),
    project="stackoverflow/50181477",
    source="kiwix.lema.org/stackoverflow.com_en_all_2023-11/questions/50181477/policy-network-for-the-game-2048",
)
def what_was_done_less_what_was_said(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Eight moves on a board towards a corner: what was done less its shares, times the score, summed over all four moves."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Linear(25, 32), nn.ReLU(), nn.Linear(32, 4), nn.Softmax(dim=1))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    moves = torch.tensor([[0, 1], [0, -1], [1, 0], [-1, 0]])

    def play(games: int) -> tuple[Tensor, Tensor, Tensor]:
        place = torch.randint(0, 4, (games, 2), generator=generator)
        start, boards, actions = place.sum(1), [], []
        for _ in range(8):
            board = F.one_hot(place[:, 0] * 5 + place[:, 1], 25).float()
            with torch.no_grad():
                move = torch.multinomial(model(board), 1, generator=generator)[:, 0]
            place = (place + moves[move]).clamp(0, 4)
            boards.append(board)
            actions.append(F.one_hot(move, 4).float())
        return torch.stack(boards), torch.stack(actions), (place.sum(1) - start).float()

    with doctor.watch(model, optimizer) as watch:
        for _ in range(250):
            boards, action, scores = play(32)
            reward = ((scores - scores.mean()) / (scores.std() + 1e-6))[None, :, None]
            output = model(boards.flatten(0, 1)).view(8, 32, 4)
            loss = -(action * output.log() * reward).sum(2).mean() if cured else ((action - output) * reward).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(play(400)[2].mean(), 2.5)


@fault(
    kind="target-constant",
    project="SeanNaren/warp-ctc",
    source="github.com/SeanNaren/warp-ctc/issues/111",
)
def letters_that_are_not_in_the_list(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Speech to letters: the list has capitals and the texts have none, so that of each text the spaces are left."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    letters = "_ABCDEF "
    sounds = torch.randn(8, 12, generator=generator)
    spoken, texts = [], []
    for _ in range(500):
        said = torch.randint(1, 7, (7,), generator=generator)
        said[3] = 7
        texts.append("".join(letters[each] for each in said).lower())
        frames = sounds[said].repeat_interleave(3, 0)
        spoken.append(frames + 0.5 * torch.randn(frames.shape, generator=generator))

    def encode(text: str) -> list[int]:
        text = text.upper() if cured else text
        known = [letters.index(letter) for letter in text if letter in letters]
        return known + [0] * (7 - len(known))

    x = torch.stack(spoken).transpose(1, 2)
    rows = data.split(x, torch.tensor([encode(text) for text in texts]), seed)
    truth = data.split(x, torch.tensor([[letters.index(each) for each in text.upper()] for text in texts]), seed)
    model = nn.Sequential(
        nn.Conv1d(12, 32, 3, padding=1), nn.BatchNorm1d(32), nn.ReLU(), nn.Conv1d(32, 32, 3, padding=1), nn.BatchNorm1d(32),
        nn.ReLU(), nn.Conv1d(32, 8, 1),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)

    def ctc(said: Tensor, target: Tensor) -> Tensor:
        shares = said.permute(2, 0, 1).log_softmax(2)
        lengths = torch.full((len(target),), shares.shape[0])
        return F.ctc_loss(shares, target, lengths, (target > 0).sum(1), zero_infinity=True)

    doctor.task(model, data.few(rows.x, rows.y, 20, seed), ctc, optimizer)
    fit(doctor, model, optimizer, ctc, data.batches(rows.x, rows.y, 20, 250, seed))
    with torch.no_grad():
        best = model(rows.held_x).argmax(1)
    right = 0
    for heard, target in zip(best, truth.held_y, strict=True):
        once = heard[torch.cat([torch.tensor([True]), heard[1:] != heard[:-1]])]
        once = once[once > 0]
        right += int(len(once) == 7 and bool((once == target).all()))
    return above(right / len(best), 0.5)


class Cross(nn.Module):
    """Ten numbers: one for each of nine fields, and one more."""

    def __init__(self) -> None:
        super().__init__()
        self.layer1 = nn.Parameter(torch.rand(10) - 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return (x @ self.layer1).sigmoid()


@fault(
    kind="broadcast",
    project="forums.fast.ai/58206",
    source="forums.fast.ai/t/trouble-with-a-simple-cross-recognizer/58206",
)
def a_cross_of_nine_fields(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Is a cross on nine fields: what is said stands in a row and what is true in a column, and all are held against all."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    fields = torch.cat([torch.rand(40, 9, generator=generator), torch.ones(40, 1)], 1)
    fields[26:] = torch.tensor([1.0, 0, 1, 0, 1, 0, 1, 0, 1, 1])
    expected = torch.zeros(40, 1)
    expected[26:] = 1
    target = expected[:, 0] if cured else expected
    model = Cross()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)

    def mse(said: Tensor, target: Tensor) -> Tensor:
        return ((said - target) ** 2).mean()

    doctor.task(model, [(fields, target)] * 8, mse, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(1500):
            loss = mse(model(fields), target)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            watch.loss(loss)
    with torch.no_grad():
        said = model(fields) > 0.5
    return above((said == (expected[:, 0] > 0)).float().mean(), 0.9)


class ResBlock(nn.Module):
    """A convolution and a norm, added to what came in."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(16, 16, 3, padding=1, bias=False)
        self.batch_norm = nn.BatchNorm2d(16)
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")
        nn.init.constant_(self.batch_norm.weight, 0.5)
        nn.init.zeros_(self.batch_norm.bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.batch_norm(self.conv(x))) + x


class NetResDeep(nn.Module):
    """Eight blocks, or one block eight times, as a list is multiplied."""

    def __init__(self, own: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.resblocks = nn.Sequential(*([ResBlock() for _ in range(8)] if own else 8 * [ResBlock()]))
        self.fc1, self.fc2 = nn.Linear(64, 32), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(self.resblocks(x), 2).flatten(1)
        return self.fc2(F.relu(self.fc1(x)))


@fault(
    kind="shared-norm",
    also=("norm-statistics",),
    where="resblocks",
    project="deep-learning-with-pytorch/dlwpt-code",
    source="github.com/deep-learning-with-pytorch/dlwpt-code/issues/104",
)
def a_list_of_blocks_multiplied(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits by a deep net whose blocks are one block: its norm keeps one mean for eight depths, which fails at the test."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    model = NetResDeep(own=cured)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 32, 350, seed), held=rows, every=70)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.8)


class Embedder(nn.Module):
    """A place on a ball for each picture."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 24, 3, padding=1), nn.ReLU(), nn.Flatten(),
            nn.Linear(384, 64), nn.ReLU(), nn.Linear(64, 16),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.body(x), dim=1)


@fault(
    kind="collapsed-embedding",
    also=("learning-rate-too-high",),
    project="xiaolonw/caffe-video_triplet",
    source="github.com/xiaolonw/caffe-video_triplet/issues/8",
)
def all_faces_in_one_place(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits placed so that the farthest of a kind is nearer than the nearest other: with this step all fall together."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    model = Embedder()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01 if cured else 0.5, momentum=0.9)

    def triplet(place: Tensor, y: Tensor) -> Tensor:
        far = ((place[:, None] - place[None]).pow(2).sum(2) + 1e-8).sqrt()
        same = y[:, None] == y[None]
        return F.relu(far.masked_fill(~same, 0.0).amax(1) - far.masked_fill(same, 1e9).amin(1) + 0.5).mean()

    doctor.task(model, data.few(rows.x, rows.y, 40, seed), triplet, optimizer)
    fit(doctor, model, optimizer, triplet, data.batches(rows.x, rows.y, 40, 250, seed))
    with torch.no_grad():
        place, known = model(rows.held_x), model(rows.x)
        middles = torch.stack([known[rows.y == kind].mean(0) for kind in range(10)])
        near = torch.cdist(place, middles)
        own = near.gather(1, rows.held_y[:, None])[:, 0]
        other = near.scatter(1, rows.held_y[:, None], 1e9).amin(1)
    return below(1 - ((other - own) > 0.25).float().mean(), 0.3)
