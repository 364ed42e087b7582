"""Healthy programs: sequences, generation, contrast, games."""

from __future__ import annotations

import copy
import math

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils.rnn import pack_padded_sequence


class Moods(nn.Module):
    """Sentences of different length: embedding with padding, packed two-way GRU, last states."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.rnn = nn.Embedding(60, 24, padding_idx=0), nn.GRU(24, 24, bidirectional=True, batch_first=True)
        self.dropout, self.fc = nn.Dropout(0.3), nn.Linear(48, 1)

    def forward(self, x: Tensor) -> Tensor:
        packed = pack_padded_sequence(self.dropout(self.embedding(x)), (x > 0).sum(1), batch_first=True, enforce_sorted=False)
        _, hidden = self.rnn(packed)
        return self.fc(self.dropout(torch.cat([hidden[0], hidden[1]], 1)))[:, 0]


def sentences(count: int, length: int, seed: int) -> tuple[Tensor, Tensor]:
    """Words 1..59 padded with 0; good words below 10, bad ones below 20, and word 20 turns the next one round: (N, T), (N,)."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(1, 60, (count, length), generator=generator)
    turned = torch.cat([torch.ones(count, 1), torch.where(x[:, :-1] == 20, -1.0, 1.0)], 1)
    worth = (x < 10).float() - ((x >= 10) & (x < 20)).float()
    long = torch.randint(length // 3, length + 1, (count, 1), generator=generator)
    kept = torch.arange(length) < long
    return x * kept, ((worth * turned * kept).sum(1) > 0).float()


@healthy(project="bentrevett/pytorch-sentiment-analysis", source="github.com/bentrevett/pytorch-sentiment-analysis")
def moods_by_packed_gru(doctor: Doctor, seed: int) -> Score:
    """Sentiment by a packed two-way GRU with dropout."""
    rows = data.split(*sentences(2400, 18, seed), seed)
    model = Moods()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    doctor.task(model, data.few(rows.x, rows.y, 48, seed), F.binary_cross_entropy_with_logits, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 48, 300, seed)):
            optimizer.zero_grad()
            loss = F.binary_cross_entropy_with_logits(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 60 == 59:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.binary_cross_entropy_with_logits(model(rows.held_x), rows.held_y))
                model.train()
    model.eval()
    return above(((model(rows.held_x) > 0) == (rows.held_y == 1)).float().mean(), 0.85)


class Reader(nn.Module):
    """A post-norm encoder with a padding mask that hides the padding, and the mean of what is left."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(60, 32, padding_idx=0), nn.Parameter(torch.randn(18, 32) * 0.02)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, batch_first=True), 2)
        self.out = nn.Linear(32, 1)

    def forward(self, x: Tensor) -> Tensor:
        padded = x == 0
        h = self.encoder(self.embed(x) * 32**0.5 + self.place, src_key_padding_mask=padded)
        h = h.masked_fill(padded[:, :, None], 0)
        return self.out(h.sum(1) / (~padded).sum(1, keepdim=True))[:, 0]


@healthy(project="harvardnlp/annotated-transformer", source="github.com/harvardnlp/annotated-transformer")
def post_norm_with_noam(doctor: Doctor, seed: int) -> Score:
    """A post-norm transformer with the warm-up of the paper, reading sentences with padding."""
    rows = data.split(*sentences(2400, 18, seed), seed)
    model = Reader()
    optimizer = torch.optim.Adam(model.parameters(), lr=1.0, betas=(0.9, 0.98), eps=1e-9)
    noam = lambda step: 0.35 * 32**-0.5 * min((step + 1) ** -0.5, (step + 1) * 80**-1.5)  # noqa: E731
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, noam)
    doctor.task(model, data.few(rows.x, rows.y, 48, seed), F.binary_cross_entropy_with_logits, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 48, 400, seed):
            loss = F.binary_cross_entropy_with_logits(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            watch.loss(loss)
    model.eval()
    return above(((model(rows.held_x) > 0) == (rows.held_y == 1)).float().mean(), 0.85)


@healthy(project="martinarjovsky/WassersteinGAN", source="github.com/martinarjovsky/WassersteinGAN")
def wasserstein_with_clipped_critic(doctor: Doctor, seed: int) -> Score:
    """Five steps of a critic with clipped weights to one of the generator; losses have no floor and may be negative."""
    generator = torch.Generator().manual_seed(seed)
    g = nn.Sequential(nn.Linear(4, 48), nn.ReLU(), nn.Linear(48, 1))
    d = nn.Sequential(nn.Linear(1, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 1))
    g_opt, d_opt = torch.optim.RMSprop(g.parameters(), lr=2e-3), torch.optim.RMSprop(d.parameters(), lr=2e-3)
    with doctor.watch(nn.ModuleDict({"g": g, "critic": d}), [d_opt, g_opt]) as watch:
        for _ in range(250):
            for _ in range(5):
                real = 2 + 0.5 * torch.randn(64, 1, generator=generator)
                fake = g(torch.randn(64, 4, generator=generator)).detach()
                d_loss = d(fake).mean() - d(real).mean()
                d_opt.zero_grad()
                d_loss.backward()
                d_opt.step()
                for parameter in d.parameters():
                    parameter.data.clamp_(-0.1, 0.1)
            g_loss = -d(g(torch.randn(64, 4, generator=generator))).mean()
            g_opt.zero_grad()
            g_loss.backward()
            g_opt.step()
            watch.loss(d_loss)
    return below((g(torch.randn(800, 4, generator=generator)).mean() - 2).abs(), 0.4)


class Flow(nn.Module):
    """Four affine couplings on the plane."""

    def __init__(self) -> None:
        super().__init__()
        net = lambda: nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 2))  # noqa: E731
        self.nets = nn.ModuleList(net() for _ in range(6))

    def forward(self, x: Tensor) -> Tensor:
        log_det = torch.zeros(len(x))
        for net in self.nets:
            kept, moved = x.chunk(2, 1)
            log_scale, shift = net(kept).chunk(2, 1)
            log_scale = torch.tanh(log_scale) * 2
            x, log_det = torch.cat([moved * log_scale.exp() + shift, kept], 1), log_det + log_scale[:, 0]
        return -(log_det - 0.5 * x.pow(2).sum(1) - math.log(2 * math.pi))


@healthy(project="kamenbliznashki/normalizing_flows", source="github.com/kamenbliznashki/normalizing_flows")
def flow_of_two_moons(doctor: Doctor, seed: int) -> Score:
    """A normalising flow; its loss is a negative log-density, which has no floor."""
    from sklearn.datasets import make_moons  # noqa: PLC0415

    points = torch.tensor(make_moons(3000, noise=0.06, random_state=seed)[0], dtype=torch.float32) - 0.4
    rows = data.split(points, points, seed)
    model = Flow()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    doctor.task(model, data.few(rows.x, rows.y, 128, seed), lambda out, _: out.mean(), optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, _ in data.batches(rows.x, rows.y, 128, 600, seed):
            loss = model(x).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    cloud = torch.distributions.MultivariateNormal(rows.x.mean(0), torch.cov(rows.x.T))
    return below(model(rows.held_x).mean() + cloud.log_prob(rows.held_x).mean(), -0.5)


@healthy(project="pytorch/examples", source="github.com/pytorch/examples/tree/main/reinforcement_learning")
def reinforce_on_a_pole(doctor: Doctor, seed: int) -> Score:
    """REINFORCE with returns made standard: balance a stick; the loss wanders about 0 and says nothing of progress."""
    generator = torch.Generator().manual_seed(seed)
    policy = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 2))
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.01)
    lengths = []
    with doctor.watch(policy, optimizer) as watch:
        for _ in range(200):
            tilt, speed = torch.rand(2, generator=generator).sub(0.5).mul(0.2).tolist()
            logs, steps = [], 0
            while abs(tilt) < 0.5 and steps < 60:
                chance = policy(torch.tensor([tilt * 4, speed * 2])).log_softmax(0)
                move = int(torch.multinomial(chance.detach().exp(), 1, generator=generator))
                speed += 0.12 * tilt + 0.04 * (2 * move - 1)
                tilt, steps = tilt + 0.5 * speed, steps + 1
                logs.append(chance[move])
            lengths.append(steps)
            back = torch.tensor([(1 - 0.97 ** (steps - k)) / 0.03 for k in range(steps)])
            back = (back - back.mean()) / (back.std() + 1e-6) if steps < 60 else back - back
            loss = -(torch.stack(logs) * (back - (0 if steps < 60 else -1.0))).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(sum(lengths[-40:]) / 40, 1.5 * sum(lengths[:20]) / 20)


@healthy(project="facebookresearch/simsiam", source="github.com/facebookresearch/simsiam")
def siamese_without_negatives(doctor: Doctor, seed: int) -> Score:
    """SimSiam: two views, stop-gradient, a predictor; the loss goes from 0 towards -1."""
    rows = data.digits(seed)
    encoder = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 64), nn.BatchNorm1d(64, affine=False)
    )
    predictor = nn.Sequential(nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 64))
    model = nn.ModuleDict({"encoder": encoder, "predictor": predictor})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    view = lambda x: torch.roll(x, int(torch.randint(-1, 2, (1,))), 3) + 0.15 * torch.randn_like(x)  # noqa: E731
    with doctor.watch(model, optimizer) as watch:
        for x, _ in data.batches(rows.x, rows.y, 128, 300, seed):
            a, b = encoder(view(x)), encoder(view(x))
            loss = (
                -(F.cosine_similarity(predictor(a), b.detach()).mean() + F.cosine_similarity(predictor(b), a.detach()).mean()) / 2
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    encoder.eval()
    with torch.no_grad():
        known, asked = F.normalize(encoder(rows.x)), F.normalize(encoder(rows.held_x))
    return above((rows.y[(asked @ known.T).argmax(1)] == rows.held_y).float().mean(), 0.9)


@healthy(project="CuriousAI/mean-teacher", source="github.com/CuriousAI/mean-teacher")
def student_follows_its_own_average(doctor: Doctor, seed: int) -> Score:
    """Mean teacher: few labels, and agreement with a moving average of itself on all pictures."""
    rows = data.digits(seed)
    student = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 10)
    )
    teacher = copy.deepcopy(student).requires_grad_(requires_grad=False)
    optimizer = torch.optim.Adam(student.parameters(), lr=1e-3)
    few_x, few_y = rows.x[:120], rows.y[:120]
    pairs = zip(data.batches(few_x, few_y, 24, 400, seed), data.batches(rows.x, rows.y, 48, 400, seed), strict=True)
    with doctor.watch(student, optimizer) as watch:
        for step, ((x, y), (more, _)) in enumerate(pairs):
            noisy = more + 0.1 * torch.randn_like(more)
            agree = F.mse_loss(student(noisy).softmax(1), teacher(more).softmax(1))
            loss = F.cross_entropy(student(x), y) + min(1.0, step / 200) * 10 * agree
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            for slow, fast in zip(teacher.parameters(), student.parameters(), strict=True):
                slow.data.lerp_(fast.data, 0.02)
    return above(data.accuracy(teacher(rows.held_x), rows.held_y), 0.85)


class Words(nn.Module):
    """Skip-gram with negative samples."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.inside, self.outside = nn.Embedding(count, 16), nn.Embedding(count, 16)
        nn.init.uniform_(self.inside.weight, -0.5 / 16, 0.5 / 16)
        nn.init.zeros_(self.outside.weight)

    def forward(self, middle: Tensor, near: Tensor, far: Tensor) -> Tensor:
        v = self.inside(middle)
        good = F.logsigmoid((v * self.outside(near)).sum(1))
        bad = F.logsigmoid(-torch.einsum("bd,bkd->bk", v, self.outside(far))).sum(1)
        return -(good + bad).mean()


@healthy(project="theeluwin/pytorch-sgns", source="github.com/theeluwin/pytorch-sgns")
def words_by_their_neighbours(doctor: Doctor, seed: int) -> Score:
    """word2vec: one table starts at zeros, as it does in the original."""
    said = data.text(2500, seed).replace(".", "").split()
    known = sorted(set(said))
    stream = torch.tensor([known.index(word) for word in said])
    model = Words(len(known))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    generator = torch.Generator().manual_seed(seed)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(600):
            at = torch.randint(2, len(stream) - 2, (128,), generator=generator)
            off = torch.tensor([-2, -1, 1, 2])[torch.randint(4, (128,), generator=generator)]
            far = stream[torch.randint(len(stream), (128, 5), generator=generator)]
            loss = model(stream[at], stream[at + off], far)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    vectors = F.normalize(model.inside.weight.detach(), dim=1)
    likeness = lambda a, b: float(vectors[known.index(a)] @ vectors[known.index(b)])  # noqa: E731
    alike = (likeness("cat", "dog") + likeness("small", "green") + likeness("sees", "takes")) / 3
    return above(alike - (likeness("cat", "green") + likeness("dog", "sees") + likeness("small", "takes")) / 3, 0.4)


@healthy(project="pytorch/tutorials", source="pytorch.org/tutorials/intermediate/seq2seq_translation_tutorial.html")
def sums_spelled_by_two_networks(doctor: Doctor, seed: int) -> Score:
    """Encoder and decoder with attention, an optimiser each, both stepping together; teacher forcing; last marks ignored."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(3, 13, (2500, 6), generator=generator)
    y = torch.cat([x.sort(1).values, torch.full((2500, 1), 2)], 1)
    rows = data.split(x, y, seed)

    class Decoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.gru, self.out = nn.Embedding(13, 24), nn.GRU(24, 48, batch_first=True), nn.Linear(96, 13)

        def forward(self, given: Tensor, states: Tensor, last: Tensor) -> Tensor:
            h, _ = self.gru(self.embed(given), last)
            return self.out(torch.cat([h, (h @ states.transpose(1, 2) / 7).softmax(-1) @ states], -1))

    encoder = nn.ModuleDict({"embed": nn.Embedding(13, 24), "gru": nn.GRU(24, 48, batch_first=True)})
    decoder = Decoder()
    optimizers = [torch.optim.Adam(each.parameters(), lr=4e-3) for each in (encoder, decoder)]
    criterion = nn.CrossEntropyLoss(ignore_index=0)

    def run(x: Tensor, y: Tensor) -> Tensor:
        states, last = encoder["gru"](encoder["embed"](x))
        return decoder(torch.cat([torch.ones(len(y), 1, dtype=torch.long), y[:, :-1]], 1), states, last)

    with doctor.watch(nn.ModuleDict({"encoder": encoder, "decoder": decoder}), optimizers) as watch:
        for x, y in data.batches(rows.x, rows.y, 64, 400, seed):
            loss = criterion(run(x, y).transpose(1, 2), y)
            for each in optimizers:
                each.zero_grad()
            loss.backward()
            for each in optimizers:
                each.step()
            watch.loss(loss)
    return above((run(rows.held_x, rows.held_y).argmax(-1) == rows.held_y).float().mean(), 0.85)


@healthy(project="pytorch/examples", source="github.com/pytorch/examples/tree/main/word_language_model")
def state_carried_and_cut(doctor: Doctor, seed: int) -> Score:
    """A GRU reads eight streams on and on; its state goes from batch to batch, cut off from its history."""
    stream, letters = data.characters(1600, seed)
    streams = stream[: len(stream) // 8 * 8].view(8, -1)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.drop = nn.Embedding(letters, 32), nn.Dropout(0.1)
            self.rnn, self.decoder = nn.GRU(32, 64, batch_first=True), nn.Linear(64, letters)

        def forward(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
            h, state = self.rnn(self.drop(self.encoder(x)), state)
            return self.decoder(self.drop(h)), state

    model, state = Model(), None
    optimizer = torch.optim.SGD(model.parameters(), lr=2.0)
    with doctor.watch(model, optimizer) as watch:
        for step in range(400):
            at = step * 25 % (streams.shape[1] - 26)
            out, state = model(streams[:, at : at + 25], None if state is None else state.detach())
            loss = F.cross_entropy(out.flatten(0, 1), streams[:, at + 1 : at + 26].flatten())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.25)
            optimizer.step()
            watch.loss(loss)
    model.eval()
    held = data.characters(60, seed + 1)[0][:1000][None]
    return below(F.cross_entropy(model(held[:, :-1], None)[0][0], held[0, 1:]), 1.6)
