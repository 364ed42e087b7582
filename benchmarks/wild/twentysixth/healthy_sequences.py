"""Healthy programs on what comes in a row: covered letters, a line of digits, copied words, a clean tone, half the figures."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="kuleshov-group/mdlm", source="github.com/kuleshov-group/mdlm")
def letters_uncovered_at_random(doctor: Doctor, seed: int) -> Score:
    """Small sentences with a random share of letters covered: the covered ones are told, and count more where few are."""
    torch.manual_seed(seed)
    stream, letters = data.characters(500, seed)
    held, _ = data.characters(60, seed + 1000)

    class Uncover(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.letter, self.gru = nn.Embedding(letters + 1, 48), nn.GRU(48, 64, batch_first=True, bidirectional=True)
            self.norm, self.say = nn.LayerNorm(128), nn.Linear(128, letters)

        def forward(self, x: Tensor) -> Tensor:
            return self.say(self.norm(self.gru(self.letter(x))[0]))

    model = Uncover()
    nn.init.zeros_(model.say.weight)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1, (step + 1) / 50))
    with doctor.watch(model, optimizer) as watch:
        for x, _ in data.windows(stream, 24, 32, 450, seed):
            share = (torch.rand(1) + torch.arange(32) / 32).remainder(1)[:, None].clamp(min=0.02)
            covered = torch.rand(32, 24) < share
            each = F.cross_entropy(model(x.masked_fill(covered, letters)).transpose(1, 2), x, reduction="none")
            loss = (each * covered / share).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            watch.loss(loss)
    with torch.no_grad():
        x, _ = next(data.windows(held, 24, 200, 1, seed))
        covered = torch.rand(200, 24) < 0.25
        return above(data.accuracy(model(x.masked_fill(covered, letters))[covered], x[covered]), 0.6)


@healthy(project="githubharald/SimpleHTR", source="github.com/githubharald/SimpleHTR")
def a_line_of_handwritten_digits(doctor: Doctor, seed: int) -> Score:
    """Three digits on a line, with gaps: pictures squeezed to a row, both ways through a memory, all ways to lay them out."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)

    def lines(x: Tensor, y: Tensor, count: int) -> tuple[Tensor, Tensor]:
        pick = torch.randint(len(x), (count, 3), generator=generator)
        paper = torch.zeros(count, 1, 8, 32)
        for i in range(count):
            at = int(torch.randint(3, (), generator=generator))
            for each in pick[i]:
                paper[i, :, :, at : at + 8] = x[each]
                at += 8 + int(torch.randint(2, (), generator=generator))
        return paper, y[pick] + 1

    x, y = lines(rows.x, rows.y, 1500)
    held_x, held_y = lines(rows.held_x, rows.held_y, 200)

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.look = nn.Sequential(nn.Conv2d(1, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2))
            self.more = nn.Sequential(nn.Conv2d(24, 48, 3, padding=1), nn.BatchNorm2d(48), nn.ReLU(), nn.MaxPool2d((4, 1)))
            self.lstm, self.say = nn.LSTM(48, 48, batch_first=True, bidirectional=True), nn.Linear(96, 11)

        def forward(self, x: Tensor) -> Tensor:
            return self.say(self.lstm(self.more(self.look(x))[:, :, 0].transpose(1, 2))[0])

    def laid_out(said: Tensor, y: Tensor) -> Tensor:
        log = said.log_softmax(2).transpose(0, 1)
        return F.ctc_loss(log, y, torch.full((len(y),), 16), torch.full((len(y),), 3))

    model = Reader()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=3e-3)
    doctor.task(model, data.few(x, y, 32, seed), laid_out, optimizer)
    held = data.Split(x, y, held_x, held_y)
    fit(doctor, model, optimizer, laid_out, data.batches(x, y, 32, 500, seed), held=held, every=100)
    with torch.no_grad():
        best = model(held_x).argmax(2)
    right = 0
    for line, true in zip(best.tolist(), held_y.tolist(), strict=True):
        right += [each for at, each in enumerate(line) if each and (at == 0 or line[at - 1] != each)] == true
    return above(right / len(best), 0.6)


@healthy(project="abisee/pointer-generator", source="github.com/abisee/pointer-generator")
def words_that_are_pointed_at(doctor: Doctor, seed: int) -> Score:
    """The marked words of a text, in order: said from a small list or pointed at, where looking twice at a word costs."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)

    def texts(count: int) -> tuple[Tensor, Tensor]:
        words = torch.stack([torch.randperm(40, generator=generator)[:10] + 2 for _ in range(count)])
        marked = torch.stack([torch.randperm(10, generator=generator)[:3].sort().values for _ in range(count)])
        flag = torch.zeros(count, 10, dtype=torch.long).scatter(1, marked, 1)
        return torch.stack([words, flag], 2), words.gather(1, marked)

    x, y = texts(2500)
    held_x, held_y = texts(200)
    known = 22  # words from here on are in no list and can be pointed at only

    class Pointing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.word, self.flag = nn.Embedding(42, 32), nn.Embedding(2, 32)
            self.encoder, self.cell = nn.GRU(32, 32, batch_first=True, bidirectional=True), nn.GRUCell(32 + 64, 64)
            self.key, self.query, self.seen = nn.Linear(64, 48), nn.Linear(64, 48, bias=False), nn.Linear(1, 48, bias=False)
            self.look, self.say, self.gate = nn.Linear(48, 1, bias=False), nn.Linear(128, known), nn.Linear(160, 1)

        def forward(self, x: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
            words = x[:, :, 0]
            memory, last = self.encoder(self.word(words) + self.flag(x[:, :, 1]))
            h, seen, context = last.transpose(0, 1).flatten(1), torch.zeros(words.shape), torch.zeros(len(x), 64)
            chances, twice = [], torch.zeros(())
            for i in range(before.shape[1]):
                h = self.cell(torch.cat([self.word(before[:, i]), context], 1), h)
                energy = self.key(memory) + self.query(h)[:, None] + self.seen(seen[:, :, None])
                at = self.look(energy.tanh())[:, :, 0].softmax(1)
                twice = twice + torch.minimum(at, seen).sum(1).mean()
                seen = seen + at
                context = (at[:, :, None] * memory).sum(1)
                gate = self.gate(torch.cat([h, context, self.word(before[:, i])], 1)).sigmoid()
                listed = F.pad(self.say(torch.cat([h, context], 1)).softmax(1), (0, 42 - known))
                chances.append((gate * listed).scatter_add(1, words, (1 - gate) * at))
            return torch.stack(chances, 1), twice

    model = Pointing()
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.05, initial_accumulator_value=0.1)
    with doctor.watch(model, optimizer) as watch:
        for seen, true in data.batches(x, y, 50, 250, seed):
            before = torch.cat([torch.ones(50, 1, dtype=torch.long), true[:, :-1]], 1)
            chances, twice = model(seen, before)
            loss = -(chances.gather(2, true[:, :, None]) + 1e-9).log().mean() + twice / 3
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 2.0)
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        said = torch.ones(200, 1, dtype=torch.long)
        for _ in range(3):
            said = torch.cat([said, model(held_x, said)[0][:, -1:].argmax(2)], 1)
        return above((said[:, 1:] == held_y).float().mean(), 0.8)


@healthy(project="facebookresearch/denoiser", source="github.com/facebookresearch/denoiser")
def a_tone_without_its_hiss(doctor: Doctor, seed: int) -> Score:
    """Tones in a hiss: down, through a memory, and up again with ways across; errors in time and in two sizes of spectrum."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(256.0)
    pitch = 0.05 + 0.35 * torch.rand(800, 3, 1, generator=generator)
    phase = 6.2832 * torch.rand(800, 3, 1, generator=generator)
    clean = 0.3 * (pitch * time + phase).sin().sum(1, keepdim=True)
    rows = data.split(clean + 0.3 * torch.randn(clean.shape, generator=generator), clean, seed)

    class Cleaner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.ModuleList(self.layer(*each) for each in ((1, 16), (16, 32)))
            self.lstm = nn.LSTM(32, 32, batch_first=True)
            self.up = nn.ModuleList(
                nn.Sequential(nn.Conv1d(i, 2 * i, 1), nn.GLU(1), nn.ConvTranspose1d(i, o, 8, 4, 2))
                for i, o in ((32, 16), (16, 1))
            )
            for module in self.modules():
                if isinstance(module, nn.Conv1d | nn.ConvTranspose1d):
                    scale = (module.weight.std().detach() / 0.1).sqrt()
                    module.weight.data /= scale
                    module.bias.data /= scale

        @staticmethod
        def layer(inputs: int, outputs: int) -> nn.Module:
            first = nn.Conv1d(inputs, outputs, 8, 4, 2)
            return nn.Sequential(first, nn.ReLU(), nn.Conv1d(outputs, 2 * outputs, 1), nn.GLU(1))

        def forward(self, x: Tensor) -> Tensor:
            loud = x.std(2, keepdim=True) + 1e-3
            h, across = x / loud, []
            for layer in self.down:
                h = layer(h)
                across.append(h)
            h = self.lstm(h.transpose(1, 2))[0].transpose(1, 2)
            for i, layer in enumerate(self.up):
                h = layer(h + across.pop())
                h = F.relu(h) if i == 0 else h
            return h * loud

    def spectra(said: Tensor, y: Tensor) -> Tensor:
        total = F.l1_loss(said, y)
        for size in (32, 64):
            window = torch.hann_window(size)
            one, two = (torch.stft(z[:, 0], size, size // 4, window=window, return_complex=True) for z in (said, y))
            one, two = ((z.real.pow(2) + z.imag.pow(2)).clamp(min=1e-2).sqrt() for z in (one, two))
            total = total + 0.1 * ((two - one).norm() / two.norm() + F.l1_loss(one.log(), two.log()))
        return total

    model = Cleaner()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, betas=(0.9, 0.999))
    doctor.task(model, data.few(rows.x, rows.y, 16, seed), spectra, optimizer)
    fit(doctor, model, optimizer, spectra, data.batches(rows.x, rows.y, 16, 350, seed), held=rows, every=70)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x).flatten(), rows.held_y.flatten()), 0.7)


@healthy(project="NVIDIA/DeepLearningExamples", source="github.com/NVIDIA/DeepLearningExamples")
def letters_with_half_the_figures(doctor: Doctor, seed: int) -> Score:
    """A letter model goes on with new sentences, its table frozen: half the figures, a loss blown up, two batches to a step."""
    torch.manual_seed(seed)
    stream, letters = data.characters(500, seed)
    held, _ = data.characters(60, seed + 1000)

    class Letters(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.gru = nn.Embedding(letters, 48), nn.GRU(48, 96, batch_first=True)
            self.norm, self.mix, self.say = nn.LayerNorm(96), nn.Linear(96, 48), nn.Linear(48, letters, bias=False)
            self.say.weight = self.table.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.say(F.gelu(self.mix(self.norm(self.gru(self.table(x))[0]))))

    model = Letters()
    first = torch.optim.Adam(model.parameters(), lr=5e-3)
    for x, y in data.windows(stream.flip(0), 32, 16, 80, seed):
        first.zero_grad()
        F.cross_entropy(model(x).flatten(0, 1), y.flatten()).backward()
        first.step()
    model.table.requires_grad_(requires_grad=False)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=5e-3)
    blown = 1024.0
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.windows(stream, 32, 12, 240, seed)):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                said = model(x)
            loss = F.cross_entropy(said.float().flatten(0, 1), y.flatten())
            (loss * blown / 2).backward()
            watch.loss(loss)
            if step % 2:
                for p in trained:
                    p.grad.div_(blown)
                nn.utils.clip_grad_norm_(trained, 1.0)
                optimizer.step()
                optimizer.zero_grad()
    with torch.no_grad():
        x, y = next(data.windows(held, 32, 64, 1, seed))
        return below(F.cross_entropy(model(x).flatten(0, 1), y.flatten()), 1.1)
