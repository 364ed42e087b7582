"""Healthy programs on words and rows in time: a memory that fades, letters heard, edits, facts, a board, a field."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Titan(nn.Module):
    """Attention over a short window, and a memory of pairs that is written by a gated rule, for letters."""

    def __init__(self, letters: int, width: int = 48) -> None:
        super().__init__()
        self.letter, self.place = nn.Embedding(letters, width), nn.Parameter(0.1 * torch.randn(32, width))
        self.norm = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.window = nn.MultiheadAttention(width, 4, batch_first=True)
        self.pair, self.gate = nn.Linear(width, 3 * width), nn.Linear(width, 1)
        self.feed = nn.Sequential(nn.Linear(width, 96), nn.GELU(), nn.Linear(96, width))

    def forward(self, x: Tensor) -> Tensor:
        count = x.shape[1]
        h = self.letter(x) + self.place[:count]
        row = torch.arange(count)
        blind = (row[None] > row[:, None]) | (row[None] < row[:, None] - 7)
        seen = self.norm[0](h)
        h = h + self.window(seen, seen, seen, attn_mask=blind, need_weights=False)[0]
        seen = self.norm[1](h)
        query, key, value = self.pair(seen).chunk(3, 2)
        kept = F.logsigmoid(self.gate(seen) + 3)[:, :, 0].cumsum(1)
        fade = (kept[:, :, None] - kept[:, None]).masked_fill(row[None] > row[:, None], -1e9).exp()
        h = h + (F.normalize(query, dim=2) @ F.normalize(key, dim=2).transpose(1, 2) * fade) @ value / 4
        return F.linear(h + self.feed(self.norm[2](h)), self.letter.weight)


@healthy(project="Taderich73/Titans-Pytorch", source="github.com/Taderich73/Titans-Pytorch")
def letters_with_a_fading_memory(doctor: Doctor, seed: int) -> Score:
    """The next letter of small sentences; the same table reads and says the letters; the rate rises, then falls."""
    torch.manual_seed(seed)
    stream, letters = data.characters(600, seed)
    held, _ = data.characters(60, seed + 1000)
    model = Titan(letters)
    nn.init.normal_(model.letter.weight, std=0.1)
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=3e-3, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=500, pct_start=0.1)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.windows(stream, 32, 24, 500, seed):
            loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        x, y = next(data.windows(held, 32, 64, 1, seed))
        return below(F.cross_entropy(model(x).flatten(0, 1), y.flatten()), 1.2)


@healthy(project="jinserk/pytorch-asr", source="github.com/jinserk/pytorch-asr")
def letters_heard_in_a_row(doctor: Doctor, seed: int) -> Score:
    """Four letters in twenty-four frames, by a recurrent net both ways and a loss over all ways to lay them out."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    letters = torch.randint(1, 7, (1200, 4), generator=generator)
    start = torch.arange(4) * 6 + torch.randint(0, 3, (1200, 4), generator=generator)
    frames = torch.zeros(1200, 24, dtype=torch.long)
    for late in range(3):
        frames.scatter_(1, start + late, letters)
    shape = torch.randn(7, 8, generator=generator)
    sound = shape[frames] + 0.4 * torch.randn(1200, 24, 8, generator=generator)
    rows = data.split(sound, letters, seed)

    class Ear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hear = nn.Sequential(nn.Conv1d(8, 32, 3, padding=1), nn.BatchNorm1d(32), nn.Hardtanh(0, 20))
            self.gru, self.say = nn.GRU(32, 32, batch_first=True, bidirectional=True), nn.Linear(64, 7)

        def forward(self, x: Tensor) -> Tensor:
            return self.say(self.gru(self.hear(x.transpose(1, 2)).transpose(1, 2))[0])

    model = Ear()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)

    def laid_out(said: Tensor, y: Tensor) -> Tensor:
        many = len(y)
        log = said.log_softmax(2).transpose(0, 1)
        return F.ctc_loss(log, y, torch.full((many,), 24), torch.full((many,), 4), zero_infinity=True)

    doctor.task(model, data.few(rows.x, rows.y, 32, seed), laid_out, optimizer)
    fit(doctor, model, optimizer, laid_out, data.batches(rows.x, rows.y, 32, 350, seed), held=rows)
    with torch.no_grad():
        best = model(rows.held_x).argmax(2)
    right = 0
    for line, true in zip(best.tolist(), rows.held_y.tolist(), strict=True):
        said = [each for at, each in enumerate(line) if each and (at == 0 or line[at - 1] != each)]
        right += said == true
    return above(right / len(best), 0.6)


@healthy(project="sdrobert/pydrobert-pytorch", source="github.com/sdrobert/pydrobert-pytorch")
def the_fewest_edits(doctor: Doctor, seed: int) -> Score:
    """Words turned round letter by letter: likelihood first, then samples paid by how many of their letters are right."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    word = torch.randint(8, (1500, 5), generator=generator)
    rows = data.split(word, word.flip(1), seed)

    class Turner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.letter, self.read = nn.Embedding(9, 32), nn.GRU(32, 64, batch_first=True)
            self.write, self.say = nn.GRUCell(32, 64), nn.Linear(64, 8)

        def forward(self, x: Tensor, told: Tensor | None = None) -> tuple[Tensor, Tensor]:
            h = self.read(self.letter(x))[1][0]
            last, scores, said = torch.full((len(x),), 8), [], []
            for at in range(5):
                h = self.write(self.letter(last), h)
                scores.append(self.say(h).log_softmax(1))
                last = torch.multinomial(scores[-1].detach().exp(), 1)[:, 0] if told is None else told[:, at]
                said.append(last)
            return torch.stack(scores, 1), torch.stack(said, 1)

    model = Turner()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 48, 650, seed)):
            if step < 550:
                loss = F.nll_loss(model(x, y)[0].flatten(0, 1), y.flatten())
            else:
                scores, said = model(x.repeat(4, 1))
                paid = (said == y.repeat(4, 1)).float().mean(1).view(4, -1)
                log = scores.gather(2, said[:, :, None])[:, :, 0].sum(1)
                gain = (paid - paid.mean(0)).flatten()
                loss = -(gain * log).mean() + 0.5 * F.nll_loss(model(x, y)[0].flatten(0, 1), y.flatten())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return above((model(rows.held_x)[1] == rows.held_y).float().mean(), 0.75)


@healthy(project="facebookresearch/PyTorch-BigGraph", source="github.com/facebookresearch/PyTorch-BigGraph")
def facts_against_made_up_ones(doctor: Doctor, seed: int) -> Score:
    """Places on two circles and turns between them: true triples rank before fifty made-up ones, each table with its own step."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    head, turn = torch.meshgrid(torch.arange(40), torch.arange(6), indexing="ij")
    facts = torch.stack([head, turn, (head + 3 * turn + 1) % 40], 2).view(-1, 3)
    facts = facts[torch.randperm(240, generator=generator)]

    class Graph(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.thing, self.turn = nn.Embedding(40, 32), nn.Embedding(6, 16)
            nn.init.normal_(self.thing.weight, std=0.3)

        def forward(self, head: Tensor, turn: Tensor) -> Tensor:
            a, b = self.thing(head).chunk(2, 1)
            cosine, sine = self.turn(turn).cos(), self.turn(turn).sin()
            return torch.cat([a * cosine - b * sine, a * sine + b * cosine], 1) @ self.thing.weight.T

    model = Graph()
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.1)
    train, held = facts[:200], facts[200:]
    with doctor.watch(model, optimizer) as watch:
        for rows, _ in data.batches(train, train, 40, 500, seed):
            loss = F.cross_entropy(model(rows[:, 0], rows[:, 1]), rows[:, 2])
            loss = loss + 0.002 * model.thing.weight.pow(2).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        score = model(held[:, 0], held[:, 1])
        rank = (score > score.gather(1, held[:, 2:])).sum(1)
        return above((rank < 5).float().mean(), 0.7)


@healthy(project="official-stockfish/nnue-pytorch", source="github.com/official-stockfish/nnue-pytorch")
def a_board_seen_by_both(doctor: Doctor, seed: int) -> Score:
    """What a position is worth: one table of pieces seen from both sides, activations cut at 1, weights kept within bounds."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    mine, yours = ((torch.rand(3000, 96, generator=generator) < 0.12).float() for _ in range(2))
    worth = torch.randn(96, generator=generator).abs()
    score = mine @ worth - yours @ worth + 1.5 * mine[:, 0] * mine[:, 1:9].sum(1)
    rows = data.split(torch.cat([mine, yours], 1), (score / 4).sigmoid()[:, None], seed)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.l1, self.out = nn.Linear(96, 32), nn.Linear(64, 16), nn.Linear(16, 1)

        def forward(self, x: Tensor) -> Tensor:
            both = torch.cat([self.table(x[:, :96]), self.table(x[:, 96:])], 1).clamp(0, 1)
            return self.out(self.l1(both).clamp(0, 1))

    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 60, gamma=0.8)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 64, 600, seed):
            loss = (model(x).sigmoid() - y).abs().pow(2.5).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                model.l1.weight.clamp_(-2, 2)
            watch.loss(loss)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x).sigmoid(), rows.held_y), 0.8)


@healthy(project="earthnet2021/earthnet-models-pytorch", source="github.com/earthnet2021/earthnet-models-pytorch")
def green_under_clouds(doctor: Doctor, seed: int) -> Score:
    """How green a field grows: weather leads, clouded days count nothing, the net adds to its own last word."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    rain = torch.randn(900, 16, 2, generator=generator)
    green = [torch.randn(900, generator=generator)]
    for day in range(16):
        green.append(0.85 * green[-1] + 0.4 * (rain[:, day, 0] + rain[:, day, 1] * rain[:, day, 0].sign()))
    field = torch.stack(green[1:], 1)
    clear = (torch.rand(900, 16, generator=generator) < 0.6).float()
    rows = data.split(torch.cat([rain, (field * clear)[:, :, None], clear[:, :, None]], 2), field, seed)

    class Growth(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.read, self.grow, self.say = nn.GRUCell(4, 48), nn.GRUCell(3, 48), nn.Linear(48, 1)

        def forward(self, x: Tensor) -> Tensor:
            h = x.new_zeros(len(x), 48)
            for day in range(6):
                h = self.read(x[:, day], h)
            last, said = self.say(h), []
            for day in range(6, 16):
                h = self.grow(torch.cat([x[:, day, :2], last], 1), h)
                last = last + self.say(h)
                said.append(last)
            return torch.cat(said, 1)

    model = Growth()
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 48, 400, seed):
            seen = x[:, 6:, 3]
            loss = ((model(x) - y[:, 6:]).pow(2) * seen).sum() / seen.sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y[:, 6:]), 0.7)
