"""Healthy programs over time and text: names by letters, a small translation, letters without borders, the next days."""

from __future__ import annotations

import math

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(
    project="pytorch/names-tutorial",
    source="pytorch.org/tutorials/intermediate/char_rnn_classification_tutorial.html",
)
def names_by_their_letters(doctor: Doctor, seed: int) -> Score:
    """Names of four made-up tongues, letter by letter through a plain recurrent net; the gradient is clipped at 3."""
    generator = torch.Generator().manual_seed(seed)
    tongue = torch.randint(4, (1600,), generator=generator)
    habit = (torch.randn(4, 14, 14, generator=generator) * 3).softmax(2)
    letters = [torch.randint(14, (1600,), generator=generator)]
    for _ in range(7):
        letters.append(torch.multinomial(habit[tongue, letters[-1]], 1, generator=generator)[:, 0])
    rows = data.split(F.one_hot(torch.stack(letters, 1), 14).float(), tongue, seed)

    class Rnn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.h2o = nn.RNN(14, 64, batch_first=True), nn.Linear(64, 4)

        def forward(self, name: Tensor) -> Tensor:
            return self.h2o(self.rnn(name)[1][0]).log_softmax(1)

    model = Rnn()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 32, 1200, seed)):
            loss = F.nll_loss(model(a), b)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 3.0)
            optimizer.step()
            watch.loss(loss)
            if step % 100 == 99:
                with torch.no_grad():
                    watch.dev_loss(F.nll_loss(model(rows.held_x), rows.held_y))
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.75)


@healthy(
    project="pytorch/translation-tutorial",
    source="pytorch.org/tutorials/beginner/translation_transformer.html",
)
def sentences_into_another_tongue(doctor: Doctor, seed: int) -> Score:
    """Words of one tongue into another, adjectives behind: Xavier's weights, Adam with 0.98, padding masked and left out."""
    generator = torch.Generator().manual_seed(seed)
    long = 6

    def pairs(count: int) -> tuple[Tensor, Tensor]:
        """Sentences (N, 6) of pairs of adjective (1..6) and noun (7..12); begun by 13, nouns first, ended by 14 (N, 8)."""
        size = torch.randint(1, long // 2 + 1, (count, 1), generator=generator)
        first = torch.randint(1, 7, (count, long // 2), generator=generator)
        noun = torch.randint(7, 13, (count, long // 2), generator=generator)
        empty = torch.arange(long) >= 2 * size
        x = torch.stack([first, noun], 2).flatten(1).masked_fill(empty, 0)
        y = torch.stack([noun, first], 2).flatten(1).masked_fill(empty, 0)
        y = torch.cat([torch.full((count, 1), 13), y, torch.zeros(count, 1, dtype=torch.long)], 1)
        return x, y.scatter(1, 2 * size + 1, 14)

    class Seq2Seq(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.source, self.target = nn.Embedding(15, 32), nn.Embedding(15, 32)
            angle = torch.arange(8)[:, None] / 100 ** (torch.arange(16) / 16)
            self.register_buffer("places", torch.cat([angle.sin(), angle.cos()], 1))
            self.transformer = nn.Transformer(32, 4, 2, 2, 64, dropout=0.1, batch_first=True)
            self.generator = nn.Linear(32, 15)

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            later = torch.ones(y.shape[1], y.shape[1], dtype=torch.bool).triu(1)
            h = self.transformer(
                self.source(x) * math.sqrt(32) + self.places[: x.shape[1]],  # type: ignore[index]
                self.target(y) * math.sqrt(32) + self.places[: y.shape[1]],  # type: ignore[index]
                tgt_mask=later,
                src_key_padding_mask=x == 0,
                tgt_key_padding_mask=y == 0,
                memory_key_padding_mask=x == 0,
            )
            return self.generator(h)

    model = Seq2Seq()
    for each in model.parameters():
        if each.dim() > 1:
            nn.init.xavier_uniform_(each)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.98), eps=1e-9)
    with doctor.watch(model, optimizer) as watch:
        for step in range(300):
            x, y = pairs(48)
            loss = F.cross_entropy(model(x, y[:, :-1]).flatten(0, 1), y[:, 1:].flatten(), ignore_index=0)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 60 == 59:
                model.eval()
                x, y = pairs(64)
                with torch.no_grad():
                    said = model(x, y[:, :-1])
                    watch.dev_loss(F.cross_entropy(said.flatten(0, 1), y[:, 1:].flatten(), ignore_index=0))
                model.train()
    model.eval()
    x, y = pairs(300)
    with torch.no_grad():
        right = model(x, y[:, :-1]).argmax(2) == y[:, 1:]
    return above(right[y[:, 1:] > 0].float().mean(), 0.85)


@healthy(
    project="assemblyai/speech-tutorial",
    source="www.assemblyai.com/blog/end-to-end-speech-recognition-pytorch",
)
def letters_without_borders(doctor: Doctor, seed: int) -> Score:
    """Frames of sound into letters that nobody has marked: a loss over all ways to place them, one cycle of rates."""
    generator = torch.Generator().manual_seed(seed)
    letters, frames, long = 6, 16, 4
    sound = torch.randn(letters, 12, generator=generator)

    def speech(count: int) -> tuple[Tensor, Tensor]:
        """Sounds (N, 16, 12) and what is said (N, 4), 1..5; each letter is held for two to four frames, silence fills up."""
        said = torch.randint(1, letters, (count, long), generator=generator)
        held = torch.randint(2, 5, (count, long), generator=generator).cumsum(1)
        which = (torch.arange(frames)[None, :, None] >= held[:, None]).sum(2)
        spoken = torch.cat([said, torch.zeros(count, 1, dtype=torch.long)], 1).gather(1, which)
        return sound[spoken] + 0.5 * torch.randn(count, frames, 12, generator=generator), said

    class Speech(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cnn = nn.Conv1d(12, 32, 3, padding=1)
            self.gru, self.norm = nn.GRU(32, 32, batch_first=True, bidirectional=True), nn.LayerNorm(32)
            self.out = nn.Sequential(nn.Linear(64, 32), nn.GELU(), nn.Linear(32, letters))

        def forward(self, x: Tensor) -> Tensor:
            h = F.gelu(self.norm(self.cnn(x.transpose(1, 2)).transpose(1, 2)))
            return self.out(self.gru(h)[0]).log_softmax(2)

    def ctc(log: Tensor, said: Tensor) -> Tensor:
        sizes = torch.full((len(log),), frames), torch.full((len(log),), long)
        return F.ctc_loss(log.transpose(0, 1), said, *sizes)

    model = Speech()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=500, anneal_strategy="linear")
    with doctor.watch(model, optimizer) as watch:
        for _ in range(500):
            x, said = speech(24)
            loss = ctc(model(x), said)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            watch.loss(loss)
    x, said = speech(200)
    with torch.no_grad():
        return below(ctc(model(x), said), 1.0)


@healthy(project="curiousily/timeseries-tutorial", source="curiousily.com/posts/time-series-forecasting-with-lstms-pytorch")
def days_ahead_from_days_before(doctor: Doctor, seed: int) -> Score:
    """The next four days from the last sixteen: two LSTM layers with dropout, all windows scaled to 0..1."""
    generator = torch.Generator().manual_seed(seed)
    day = torch.arange(900).float()
    level = torch.sin(day / 20) + 0.5 * torch.sin(day / 3.5) + 0.1 * torch.randn(900, generator=generator)
    level = (level - level.min()) / (level.max() - level.min())
    at = torch.arange(880)[:, None]
    x, y = level[at + torch.arange(16)][..., None], level[at + 16 + torch.arange(4)]
    rows = data.Split(x[:660], y[:660], x[680:], y[680:])

    class Lstm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.out = nn.LSTM(1, 32, 2, dropout=0.1, batch_first=True), nn.Linear(32, 4)

        def forward(self, seen: Tensor) -> Tensor:
            return self.out(self.lstm(seen)[0][:, -1])

    model = Lstm()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 32, 500, seed), rows)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y), 0.75)
