"""Faults of training: nothing cleared, a plateau of the wrong sign, a rate of one, a word that goes in, a layer left out."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="missing-zero-grad",
    also=("learning-rate-too-high",),
    project="snakers4/silero-vad",
    source="github.com/snakers4/silero-vad/pull/699",
)
def voices_tuned_without_clearing(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Which frames hold a voice: the decoder is tuned, and no gradient is ever cleared."""
    generator = torch.Generator().manual_seed(seed)

    def sounds(count: int) -> tuple[Tensor, Tensor]:
        """Frames (N, 24, 12) of which some are spoken (N, 24): a slow tone that lasts, under noise that comes and goes."""
        drift = torch.randn(count, 24, generator=generator).cumsum(1)
        spoken = (F.avg_pool1d(F.pad(drift, (2, 2))[:, None], 5, 1)[:, 0] > 0).float()
        tone = torch.sin(torch.arange(24.0)[:, None] * torch.linspace(0.2, 1.4, 12))
        loud = 1 + torch.rand(count, 24, 1, generator=generator)
        noise = torch.randn(count, 24, 12, generator=generator) * loud
        return noise + 1.2 * spoken[..., None] * tone.abs(), spoken

    class Decoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.out = nn.LSTM(12, 32, batch_first=True), nn.Linear(32, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(F.relu(self.rnn(x)[0]))[..., 0]

    model = Decoder()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    held_x, held_y = sounds(200)
    with doctor.watch(model, optimizer) as watch:
        for step in range(400):
            x, y = sounds(24)
            if cured:
                optimizer.zero_grad()
            loss = F.binary_cross_entropy_with_logits(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 50 == 49:
                with torch.no_grad():
                    watch.dev_loss(F.binary_cross_entropy_with_logits(model(held_x), held_y))
    with torch.no_grad():
        return above(((model(held_x) > 0) == (held_y > 0)).float().mean(), 0.83)


@fault(
    kind="schedule-to-zero",
    also=("slow-learning", "learning-rate-too-low", "underfitting"),
    project="md-mohaiminul/ViS4mer",
    source="github.com/md-mohaiminul/ViS4mer/issues/4",
)
def a_rising_share_taken_for_a_plateau(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The rate falls if what is watched does not fall; what is watched is the share of right answers, and it rises."""
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)
    turns = torch.randint(4, (8,), generator=generator)
    x, held = (torch.stack([each.roll(int(t), 2) for t in turns], 1)[:, :, 0] for each in (rows.x, rows.held_x))

    class Film(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.into = nn.Linear(64, 32)
            self.pace, self.mix, self.out = nn.Parameter(torch.randn(32)), nn.Linear(32, 32), nn.Linear(32, 10)

        def forward(self, film: Tensor) -> Tensor:
            state, h = torch.zeros(len(film), 32), self.into(film.flatten(2))
            for moment in h.unbind(1):
                state = self.pace.sigmoid() * state + moment
            return self.out(F.gelu(self.mix(F.gelu(state))))

    model = Film()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "max" if cured else "min", factor=0.2, patience=1)
    with doctor.watch(model, optimizer) as watch:
        for epoch in range(14):
            model.train()
            for a, b in data.batches(x, rows.y, 32, 42, seed + epoch):
                loss = F.cross_entropy(model(a), b)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                watch.loss(loss)
            model.eval()
            with torch.no_grad():
                said = model(held)
            watch.dev_loss(F.cross_entropy(said, rows.held_y))
            plateau.step(data.accuracy(said, rows.held_y))
    with torch.no_grad():
        return above(data.accuracy(model(held), rows.held_y), 0.92)


@fault(
    kind="learning-rate-too-high",
    also=("saturation",),
    project="rajveermalviya/language-modeling",
    source="github.com/rajveermalviya/language-modeling/issues/3",
)
def adam_at_a_rate_of_one(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Letters by a GRU; the rate in the file of settings is 1.0, and the optimiser is Adam."""
    stream, kinds = data.characters(600, seed)
    cut = len(stream) * 3 // 4

    class Letters(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.rnn, self.out = nn.Embedding(kinds, 24), nn.GRU(24, 64, batch_first=True), nn.Linear(64, kinds)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.rnn(self.embed(x))[0]).transpose(1, 2)

    model = Letters()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3 if cured else 1.0)
    few = list(data.windows(stream[:cut], 32, 24, 8, seed))
    doctor.task(model, few, F.cross_entropy, optimizer)
    (held,) = data.windows(stream[cut:], 32, 64, 1, seed)
    rows = data.Split(*few[0], *held)
    fit(doctor, model, optimizer, F.cross_entropy, data.windows(stream[:cut], 32, 24, 300, seed), rows)
    with torch.no_grad():
        return below(F.cross_entropy(model(held[0]), held[1]), 1.3)


@fault(
    kind="future-leak",
    also=("leak",),
    project="code-gen/cscg",
    source="github.com/code-gen/cscg/issues/4",
)
def the_word_to_be_told_goes_in(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Lines are retold in words: the decoder is handed, at each step, the very word that it is to tell there."""
    generator = torch.Generator().manual_seed(seed)

    def pairs(count: int) -> tuple[Tensor, Tensor]:
        """Lines (N, 6) of ten signs, and the same backwards with each sign moved on by one."""
        x = torch.randint(10, (count, 6), generator=generator)
        return x, (x.flip(1) + 1) % 10

    class Retell(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.word = nn.Embedding(10, 24), nn.Embedding(11, 24)
            self.read, self.write = nn.GRU(24, 64, batch_first=True), nn.GRU(24, 64, batch_first=True)
            self.out = nn.Linear(64, 10)

        def forward(self, line: Tensor, words: Tensor) -> Tensor:
            start = torch.full((len(line), 1), 10)
            before = torch.cat([start, words[:, :-1]], 1) if cured else words
            return self.out(self.write(self.word(before), self.read(self.embed(line))[1])[0]).transpose(1, 2)

        def tell(self, line: Tensor) -> Tensor:
            """One word after the other, each from the one told before."""
            state, word, told = self.read(self.embed(line))[1], torch.full((len(line), 1), 10), []
            for _ in range(6):
                h, state = self.write(self.word(word), state)
                word = self.out(h).argmax(2)
                told.append(word)
            return torch.cat(told, 1)

    model = Retell()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    held_x, held_y = pairs(300)
    with doctor.watch(model, optimizer) as watch:
        for step in range(900):
            x, y = pairs(48)
            loss = F.cross_entropy(model(x, y), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 90 == 89:
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(held_x, held_y), held_y))
    with torch.no_grad():
        return above((model.tell(held_x) == held_y).float().mean(), 0.8)


@fault(
    kind="not-optimised",
    where="between",
    also=("never-moved", "frozen-random"),
    project="ImKeTT/PCAE",
    source="github.com/ImKeTT/PCAE/issues/5",
    certain="the layer that makes means and spreads is in no optimiser",
)
def the_layer_between_is_in_no_optimiser(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Sentences through a code: the optimiser is given the language model, and not the new layer that makes the code."""
    generator = torch.Generator().manual_seed(seed)

    def sentences(count: int) -> Tensor:
        start, pace = torch.randint(12, (count, 1), generator=generator), torch.randint(1, 4, (count, 1), generator=generator)
        return (start + pace * torch.arange(8)) % 12

    class Language(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(13, 24)
            self.read, self.write = nn.GRU(24, 48, batch_first=True), nn.GRU(24 + 6, 48, batch_first=True)
            self.out = nn.Linear(48, 12)

    class Through(nn.Module):
        """What a code of six numbers and the words before tell of each word."""

        def __init__(self, language: Language) -> None:
            super().__init__()
            self.language, self.between = language, nn.Linear(48, 12, bias=False)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            mean, spread = self.between(self.language.read(self.language.embed(x))[1][0]).chunk(2, 1)
            code = mean + spread.exp() * torch.randn(mean.shape, generator=generator)
            start = torch.full((len(x), 1), 12)
            words = self.language.embed(torch.cat([start, x[:, :-1]], 1))
            known = torch.cat([words, code[:, None].expand(-1, 8, -1)], 2)
            divergence = 0.5 * (mean**2 + (2 * spread).exp() - 1 - 2 * spread).sum(1).mean()
            return self.language.out(self.language.write(known)[0]).transpose(1, 2), divergence

    language = Language()
    model = Through(language)
    optimizer = torch.optim.AdamW((model if cured else language).parameters(), lr=3e-3)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(500):
            x = sentences(32)
            said, divergence = model(x)
            loss = F.cross_entropy(said, x) + 0.02 * divergence
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    x = sentences(300)
    with torch.no_grad():
        return below(F.cross_entropy(model(x)[0], x), 0.15)
