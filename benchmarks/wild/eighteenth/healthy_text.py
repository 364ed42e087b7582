"""Healthy programs over sequences: letters turned round, digits sorted, words tagged, strips read, series told on."""

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
    project="jadore801120/attention-is-all-you-need-pytorch",
    source="github.com/jadore801120/attention-is-all-you-need-pytorch",
)
def letters_turned_round(doctor: Doctor, seed: int) -> Score:
    """Eight letters read by one stack of attention and written backwards by another; warm-up, then the root; smoothed labels."""
    generator = torch.Generator().manual_seed(seed)

    class Transformer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.place = nn.Embedding(13, 48), nn.Embedding(9, 48)
            self.body = nn.Transformer(48, 4, 1, 1, 96, dropout=0.0, batch_first=True)
            self.out = nn.Linear(48, 13, bias=False)
            self.out.weight = self.words.weight
            nn.init.normal_(self.words.weight, std=48**-0.5)

        def forward(self, source: Tensor, target: Tensor) -> Tensor:
            read, said = (self.words(each) * 48**0.5 + self.place(torch.arange(each.shape[1])) for each in (source, target))
            mask = nn.Transformer.generate_square_subsequent_mask(target.shape[1])
            return self.out(self.body(read, said, tgt_mask=mask))

    def phrases(count: int) -> tuple[Tensor, Tensor, Tensor]:
        source = torch.randint(1, 13, (count, 8), generator=generator)
        target = source.flip(1)
        return source, torch.cat([torch.zeros(count, 1, dtype=torch.long), target[:, :-1]], 1), target

    model = Transformer()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3, betas=(0.9, 0.98), eps=1e-9)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min((step + 1) / 60, (60 / (step + 1)) ** 0.5))
    with doctor.watch(model, optimizer) as watch:
        for step in range(200):
            source, begun, target = phrases(48)
            loss = F.cross_entropy(model(source, begun).flatten(0, 1), target.flatten(), label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            watch.loss(loss)
            if step % 40 == 39:
                source, begun, target = phrases(100)
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(source, begun).flatten(0, 1), target.flatten(), label_smoothing=0.1))
    source, begun, target = phrases(300)
    with torch.no_grad():
        return above((model(source, begun).argmax(2) == target).float().mean(), 0.85)


@healthy(project="karpathy/minGPT", source="github.com/karpathy/minGPT")
def digits_put_in_order(doctor: Doctor, seed: int) -> Score:
    """Six digits and then the same ones sorted: a small decoder whose loss leaves the question out."""
    generator = torch.Generator().manual_seed(seed)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ln_1, self.ln_2 = nn.LayerNorm(48), nn.LayerNorm(48)
            self.attn, self.proj = nn.Linear(48, 144), nn.Linear(48, 48)
            self.mlp = nn.Sequential(nn.Linear(48, 192), nn.GELU(), nn.Linear(192, 48))

        def forward(self, h: Tensor) -> Tensor:
            q, k, v = (each.unflatten(2, (3, 16)).transpose(1, 2) for each in self.attn(self.ln_1(h)).split(48, 2))
            h = h + self.proj(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
            return h + self.mlp(self.ln_2(h))

    class Gpt(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wte, self.wpe = nn.Embedding(4, 48), nn.Embedding(11, 48)
            self.blocks, self.ln_f = nn.Sequential(Block(), Block()), nn.LayerNorm(48)
            self.head = nn.Linear(48, 4, bias=False)
            for each in self.modules():
                if isinstance(each, nn.Linear | nn.Embedding):
                    nn.init.normal_(each.weight, std=0.02)
                if isinstance(each, nn.Linear) and each.bias is not None:
                    nn.init.zeros_(each.bias)

        def forward(self, seen: Tensor) -> Tensor:
            h = self.wte(seen) + self.wpe(torch.arange(seen.shape[1]))
            return self.head(self.ln_f(self.blocks(h))).transpose(1, 2)

    def lists(count: int) -> tuple[Tensor, Tensor]:
        asked = torch.randint(4, (count, 6), generator=generator)
        whole = torch.cat([asked, asked.sort(1).values], 1)
        wanted = whole[:, 1:].clone()
        wanted[:, :5] = -100
        return whole[:, :-1], wanted

    model = Gpt()
    plain = [p for p in model.parameters() if p.ndim == 1]
    decayed = [p for p in model.parameters() if p.ndim > 1]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=2e-3, betas=(0.9, 0.95))
    with doctor.watch(model, optimizer) as watch:
        for _ in range(180):
            seen, wanted = lists(48)
            loss = F.cross_entropy(model(seen), wanted, ignore_index=-100)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            watch.loss(loss)
    seen, wanted = lists(300)
    with torch.no_grad():
        return above((model(seen).argmax(1) == wanted)[:, 5:].float().mean(), 0.9)


@healthy(project="allenai/allennlp", source="github.com/allenai/allennlp")
def words_and_what_they_are(doctor: Doctor, seed: int) -> Score:
    """The part of speech of each word of sentences of different length, packed for an LSTM, padding masked in the loss."""
    generator = torch.Generator().manual_seed(seed)

    def sentences(count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Words (N, 12), tags (N, 12), lengths (N,): words 60 and up are nouns after an article and verbs otherwise."""
        words = torch.randint(4, 90, (count, 12), generator=generator)
        words[torch.rand(count, 12, generator=generator) < 0.25] = 1
        after = F.pad(words[:, :-1], (1, 0)) == 1
        tags = torch.where(words == 1, 0, torch.where(words < 40, 1, torch.where(words < 60, 2, torch.where(after, 3, 4))))
        size = torch.randint(4, 13, (count,), generator=generator)
        pad = torch.arange(12) >= size[:, None]
        return words.masked_fill(pad, 0), tags.masked_fill(pad, -1), size

    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(90, 16, padding_idx=0)
            self.encoder, self.tags = nn.LSTM(16, 24, batch_first=True), nn.Linear(24, 5)

        def forward(self, words: Tensor, size: Tensor) -> Tensor:
            packed = nn.utils.rnn.pack_padded_sequence(self.words(words), size, batch_first=True, enforce_sorted=False)
            out, _ = nn.utils.rnn.pad_packed_sequence(self.encoder(packed)[0], batch_first=True, total_length=12)
            return self.tags(out).transpose(1, 2)

    model = Tagger()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    with doctor.watch(model, optimizer) as watch:
        for step in range(160):
            words, tags, size = sentences(24)
            loss = F.cross_entropy(model(words, size), tags, ignore_index=-1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 40 == 39:
                words, tags, size = sentences(100)
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(words, size), tags, ignore_index=-1))
    words, tags, size = sentences(300)
    with torch.no_grad():
        right = model(words, size).argmax(1) == tags
    return above(right[tags >= 0].float().mean(), 0.9)


@healthy(project="meijieru/crnn.pytorch", source="github.com/meijieru/crnn.pytorch")
def strips_read_without_places(doctor: Doctor, seed: int) -> Score:
    """One to three signs on a strip, anywhere, read by filters and an LSTM; the loss knows the signs and not their places."""
    generator = torch.Generator().manual_seed(seed)
    looks = (torch.rand(5, 6, 4, generator=generator) < 0.5).float()

    def strips(count: int) -> tuple[Tensor, Tensor, Tensor]:
        picture, said = 0.2 * torch.randn(count, 1, 6, 20, generator=generator), torch.zeros(count, 3, dtype=torch.long)
        size = torch.randint(1, 4, (count,), generator=generator)
        for n in range(count):
            gaps = torch.randint(3, (3,), generator=generator).cumsum(0)
            for k in range(int(size[n])):
                sign, at = int(torch.randint(5, (1,), generator=generator)), int(4 * k + gaps[k])
                said[n, k] = sign + 1
                picture[n, 0, :, at : at + 4] += looks[sign]
        return picture, said, size

    class Crnn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cnn = nn.Sequential(nn.Conv2d(1, 24, (6, 4), padding=(0, 2)), nn.BatchNorm2d(24), nn.ReLU())
            self.rnn, self.out = nn.LSTM(24, 24, bidirectional=True, batch_first=True), nn.Linear(48, 6)

        def forward(self, picture: Tensor) -> Tensor:
            return self.out(self.rnn(self.cnn(picture)[:, :, 0].transpose(1, 2))[0]).log_softmax(2)

    x, y, size = strips(900)
    model = Crnn()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(250):
            pick = torch.randint(800, (24,), generator=generator)
            said = model(x[pick])
            steps = torch.full((24,), said.shape[1])
            loss = F.ctc_loss(said.transpose(0, 1), y[pick], steps, size[pick], zero_infinity=True)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        best = model(x[800:]).argmax(2)
    right = 0
    for line, wanted, many in zip(best.tolist(), y[800:].tolist(), size[800:].tolist(), strict=True):
        read = [now for before, now in zip([0, *line], line, strict=False) if now not in (0, before)]
        right += read == wanted[:many]
    return above(right / 100, 0.75)


@healthy(project="yuqinie98/PatchTST", source="github.com/yuqinie98/PatchTST")
def series_in_patches(doctor: Doctor, seed: int) -> Score:
    """Eight values ahead of forty: patches of eight by attention, each window brought to mean 0 and spread 1 and back."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(3000.0)
    series = torch.sin(time * 0.5) + 0.6 * torch.sin(time * 1.1 + 1) + time / 300 + 0.1 * torch.randn(3000, generator=generator)
    windows = series.unfold(0, 48, 1)
    x, y, held_x, held_y = windows[:2200, :40], windows[:2200, 40:], windows[2300:, :40], windows[2300:, 40:]
    rows = data.Split(x, y, held_x, held_y)

    class Patch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.place = nn.Linear(8, 32), nn.Parameter(torch.randn(9, 32) * 0.02)
            self.body = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, activation="gelu", batch_first=True)
            self.head = nn.Linear(9 * 32, 8)

        def forward(self, seen: Tensor) -> Tensor:
            mean, std = seen.mean(1, keepdim=True), seen.std(1, keepdim=True) + 1e-5
            patches = ((seen - mean) / std).unfold(1, 8, 4)
            return self.head(self.body(self.embed(patches) + self.place).flatten(1)) * std + mean

    model = Patch()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 32, 150, seed), rows)
    with torch.no_grad():
        naive = F.mse_loss(held_x[:, -1:].expand_as(held_y), held_y)
        return below(F.mse_loss(model(held_x), held_y) / naive, 0.2)


@healthy(project="unit8co/darts", source="github.com/unit8co/darts")
def how_high_and_how_low(doctor: Doctor, seed: int) -> Score:
    """Demand whose spread grows with it: a GRU gives three quantiles of the next value, each with a loss tilted its way."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(2500.0)
    level = 1 + torch.sin(time * 2 * math.pi / 12) * 0.6
    series = level + 0.3 * level * torch.randn(2500, generator=generator)
    windows = series.unfold(0, 25, 1)
    parts = data.split(windows[:, :24, None], windows[:, 24:], seed)
    tilt = torch.tensor([0.1, 0.5, 0.9])

    class Quantiles(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.out = nn.GRU(1, 24, batch_first=True), nn.Linear(24, 3)

        def forward(self, seen: Tensor) -> Tensor:
            return self.out(self.rnn(seen)[0][:, -1])

    def pinball(said: Tensor, y: Tensor) -> Tensor:
        gap = y - said
        return torch.maximum(tilt * gap, (tilt - 1) * gap).sum(1).mean()

    model = Quantiles()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    doctor.task(model, data.few(parts.x, parts.y, 32, seed), pinball, optimizer)
    fit(doctor, model, optimizer, pinball, data.batches(parts.x, parts.y, 32, 250, seed), parts)
    with torch.no_grad():
        flat = pinball(parts.y.quantile(tilt).expand(len(parts.held_y), 3), parts.held_y)
        return below(pinball(model(parts.held_x), parts.held_y) / flat, 0.75)
