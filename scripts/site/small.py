"""Small programs for what no program of benchmarks/wild shows: each is sick, and healthy where `cured`.

The docstring tells what is wrong. They train on scikit-learn's pictures of digits and on made-up tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from benchmarks.wild import data
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  as everybody calls it

Batches = Iterable[tuple[Tensor, Tensor]]


def train(doctor: Doctor, model: nn.Module, optimizer: torch.optim.Optimizer, batches: Batches) -> None:
    """The usual loop, watched."""
    with doctor.watch(model, optimizer) as watch:
        for x, y in batches:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)


def digits(seed: int, steps: int = 300) -> Batches:
    """Batches of 32 flat pictures of digits, mean 0 and standard deviation 1."""
    rows = data.digits(seed)
    x = rows.x.flatten(1)
    return data.batches((x - x.mean()) / x.std(), rows.y, 32, steps, seed)


def tower(width: int = 64, depth: int = 5, activation: Callable[[], nn.Module] = nn.Tanh) -> nn.Sequential:
    """So many layers of one width on 64 inputs, and ten outputs."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(64 if not layers else width, width), activation()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def weights_too_large_in_every_layer(doctor: Doctor, seed: int, cured: bool) -> None:
    """Five ReLU layers whose weights are drawn four times too large: outputs grow from layer to layer."""
    model = tower(activation=nn.ReLU)
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu").mul_(1 if cured else 4)
        model[-1].weight.mul_(0.1)
    train(doctor, model, torch.optim.SGD(model.parameters(), lr=0.02), digits(seed))


def every_parameter_drawn_small(doctor: Doctor, seed: int, cured: bool) -> None:
    """Each parameter, the gains of the norms too, is drawn with a standard deviation of 0.02."""
    model = nn.Sequential(*(nn.Sequential(nn.Linear(64, 64), nn.LayerNorm(64), nn.ReLU()) for _ in range(5)), nn.Linear(64, 10))
    for module in model.modules():
        if isinstance(module, nn.Linear) or (isinstance(module, nn.LayerNorm) and not cured):
            nn.init.normal_(module.weight, std=0.02)
    train(doctor, model, torch.optim.SGD(model.parameters(), lr=0.05), digits(seed))


def one_layer_drawn_too_large(doctor: Doctor, seed: int, cured: bool) -> None:
    """One of six weight matrices begins 60 times as large as the others, behind a norm that hides it."""
    model = nn.Sequential(*(nn.Sequential(nn.Linear(64, 64, bias=False), nn.BatchNorm1d(64), nn.Tanh()) for _ in range(6)))
    model.append(nn.Linear(64, 10))
    if not cured:
        with torch.no_grad():
            model[2][0].weight.mul_(60)
    train(doctor, model, torch.optim.SGD(model.parameters(), lr=0.1), digits(seed))


def maximised_after_a_while(doctor: Doctor, seed: int, cured: bool) -> None:
    """A learning rate with a wrong sign from step 150 on, as a schedule without a floor gives it."""
    model = tower(depth=2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)

    def batches() -> Batches:
        for step, pair in enumerate(digits(seed)):
            optimizer.param_groups[0]["lr"] = 0.05
            optimizer.param_groups[0]["maximize"] = not cured and step >= 150
            yield pair

    train(doctor, model, optimizer, batches())


def one_broken_batch(doctor: Doctor, seed: int, cured: bool) -> None:
    """One batch in 300 was stored without dividing it: its inputs are 3,000 times too large."""
    model = tower(depth=2, activation=nn.ReLU)
    batches = (((x if cured or step != 200 else 3_000 * x), y) for step, (x, y) in enumerate(digits(seed)))
    train(doctor, model, torch.optim.SGD(model.parameters(), lr=0.05), batches)


def low_and_high_digits_in_turn(doctor: Doctor, seed: int, cured: bool) -> None:
    """Ten batches with the digits 0 to 4 take turns with ten batches with 5 to 9."""
    model = tower(depth=2, activation=nn.GELU)
    rows = data.digits(seed)
    x = rows.x.flatten(1)
    x, generator = (x - x.mean()) / x.std(), torch.Generator().manual_seed(seed + 1)
    halves = [torch.nonzero(each)[:, 0] for each in (rows.y < 5, rows.y >= 5)]

    def batches() -> Batches:
        for step in range(600):
            half = torch.arange(len(x)) if cured else halves[step // 10 % 2]
            chosen = half[torch.randint(len(half), (32,), generator=generator)]
            yield x[chosen], rows.y[chosen]

    train(doctor, model, torch.optim.SGD(model.parameters(), lr=0.02), batches())


def labels_of_other_pictures(doctor: Doctor, seed: int, cured: bool) -> None:
    """The labels were dealt anew to the pictures in each batch."""
    model = tower(depth=2)
    batches = ((x, y if cured else y[torch.randperm(len(y))]) for x, y in digits(seed, 400))
    train(doctor, model, torch.optim.SGD(model.parameters(), lr=0.05), batches)


def letters_after_other_words(doctor: Doctor, seed: int, cured: bool) -> None:
    """The next letter is that of another place of the text: all that can be learned is how frequent letters are."""
    stream, letters = data.characters(400, seed)
    model = nn.Sequential(nn.Embedding(letters, 16), nn.Flatten(), nn.Linear(128, 64), nn.Tanh(), nn.Linear(64, letters))
    batches = ((x, y[:, -1] if cured else y[torch.randperm(32), -1]) for x, y in data.windows(stream, 8, 32, 400, seed))
    train(doctor, model, torch.optim.AdamW(model.parameters(), lr=3e-3), batches)


def head_drawn_too_large(doctor: Doctor, seed: int, cured: bool) -> None:
    """The last layer begins 30 times too large: the untrained network is sure of its wrong answers."""
    model = tower(depth=2)
    with torch.no_grad():
        model[-1].weight.mul_(1 if cured else 60)
    train(doctor, model, torch.optim.SGD(model.parameters(), lr=1e-3), digits(seed))


def tanh_fed_with_too_much(doctor: Doctor, seed: int, cured: bool) -> None:
    """Weights of standard deviation 1 under tanh, whatever the number of inputs."""
    model = tower(depth=5)
    if not cured:
        for layer in model[:-1]:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight)
    train(doctor, model, torch.optim.SGD(model.parameters(), lr=0.05), digits(seed))


def sigmoids_nine_deep(doctor: Doctor, seed: int, cured: bool) -> None:
    """Nine layers of sigmoids: at each one the gradient shrinks by a factor of four or more. GELU where cured."""
    model = tower(depth=9, activation=nn.GELU if cured else nn.Sigmoid)
    train(doctor, model, torch.optim.AdamW(model.parameters(), lr=1e-3), digits(seed))


def biases_far_below_zero(doctor: Doctor, seed: int, cured: bool) -> None:
    """The biases of a ReLU layer begin at -8, where no picture reaches above 0."""
    model = tower(depth=2, activation=nn.ReLU)
    if not cured:
        nn.init.constant_(model[2].bias, -8.0)
    train(doctor, model, torch.optim.SGD(model.parameters(), lr=0.05), digits(seed))


def workers_with_one_seed(doctor: Doctor, seed: int, cured: bool) -> None:
    """Three workers of a loader draw with the same seed: each hands out the batch that the other two have handed out."""
    model = tower(depth=2)
    pairs = list(digits(seed))
    drawn = (pairs[step if cured else step // 3] for step in range(len(pairs)))
    batches = ((x.clone(), y.clone()) for x, y in drawn)
    train(doctor, model, torch.optim.SGD(model.parameters(), lr=0.05), batches)


def labels_of_one_folder(doctor: Doctor, seed: int, cured: bool) -> None:
    """A comparison that is never true gives all pictures the label 0."""
    model = tower(depth=2)
    batches = ((x, (y > 4 if cured else y > 9).long()) for x, y in digits(seed))
    train(doctor, model, torch.optim.SGD(model.parameters(), lr=0.05), batches)


def softmax_over_the_batch(doctor: Doctor, seed: int, cured: bool) -> None:
    """The softmax is taken over axis 0, the examples, instead of over the classes."""
    model = tower(depth=2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with doctor.watch(model, optimizer) as watch:
        for x, y in digits(seed):
            optimizer.zero_grad()
            loss = F.nll_loss(F.log_softmax(model(x), dim=1 if cured else 0), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)


def running_mean_of_losses(doctor: Doctor, seed: int, cured: bool) -> None:
    """A softmax regression is trained on a running mean of its losses, which holds the graphs of all losses before."""
    model = nn.Linear(64, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    mean = torch.tensor(2.3)
    with doctor.watch(model, optimizer) as watch:
        for x, y in digits(seed, 120):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            mean = 0.9 * (mean.detach() if cured else mean) + 0.1 * loss
            mean.backward(retain_graph=not cured)
            optimizer.step()
            watch.loss(mean)


def only_padding_attended_to(doctor: Doctor, seed: int, cured: bool) -> None:
    """key_padding_mask marks the words instead of the padding. The task is to say whether token 1 or 2 comes more often."""
    model = nn.ModuleDict(
        {"embed": nn.Embedding(12, 24), "attend": nn.MultiheadAttention(24, 2, batch_first=True), "out": nn.Linear(24, 2)}
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(seed)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(400):
            tokens = torch.randint(1, 12, (32, 15), generator=generator)
            y = ((tokens == 1).sum(1) > (tokens == 2).sum(1)).long()
            tokens = torch.cat([tokens, torch.zeros(32, 5, dtype=torch.long)], 1)
            mask = tokens == 0 if cured else tokens != 0
            h = model["embed"](tokens)
            h, _ = model["attend"](h, h, h, key_padding_mask=mask, need_weights=False)
            optimizer.zero_grad()
            loss = F.cross_entropy(model["out"](h.mean(1)), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)


def adam_begun_anew(doctor: Doctor, seed: int, cured: bool) -> None:
    """Training goes on with the weights of a checkpoint, and without the state of the optimiser, at three times its rate."""
    model = tower(depth=2)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3 if cured else 3e-3)
    before = torch.optim.Adam(model.parameters(), lr=1e-3)
    for x, y in digits(seed, 400):
        before.zero_grad()
        F.cross_entropy(model(x), y).backward()
        before.step()
    if cured:
        optimizer.load_state_dict(before.state_dict())
    train(doctor, model, optimizer, digits(seed + 1))


def stopped_too_soon(doctor: Doctor, seed: int, cured: bool) -> None:
    """300 steps at a rate of 0.01, where 0.1 would have brought the loss down."""
    model = tower(depth=2)
    train(doctor, model, torch.optim.SGD(model.parameters(), lr=0.1 if cured else 0.01), digits(seed))


def label_among_the_columns(doctor: Doctor, seed: int, cured: bool) -> None:
    """The column that is to be predicted also stands among the inputs."""
    x, scores = data.teacher(1_500, 8, 1, seed, noise=0.5)
    y = (scores[:, 0] > 0).long()
    inputs = x if cured else torch.cat([x[:, :3], y[:, None].float(), x[:, 3:]], 1)
    model = nn.Sequential(nn.Linear(inputs.shape[1], 32), nn.Tanh(), nn.Linear(32, 2))
    train(doctor, model, torch.optim.AdamW(model.parameters(), lr=3e-3), data.batches(inputs, y, 32, 300, seed))


def rate_of_a_fine_tuning(doctor: Doctor, seed: int, cured: bool) -> None:
    """A fresh network is trained with the learning rate 1e-5, which was meant for a trained one."""
    model = tower(depth=2)
    train(doctor, model, torch.optim.AdamW(model.parameters(), lr=1e-3 if cured else 1e-5), digits(seed, 400))


def one_in_twenty(doctor: Doctor, seed: int, cured: bool) -> None:
    """One example in twenty is of the second class, and its ten numbers say little of it; the cure draws both as often."""
    generator = torch.Generator().manual_seed(seed)
    y = (torch.rand(6_000, generator=generator) < 0.05).long()
    x = torch.randn(6_000, 10, generator=generator)
    x[:, 0] += 0.8 * y
    chance = torch.tensor([0.05, 0.95])[y] if cured else torch.ones(6_000)
    rows = torch.multinomial(chance, 600 * 64, replacement=True, generator=generator).split(64)
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 2))
    train(doctor, model, torch.optim.Adam(model.parameters(), lr=1e-3), ((x[each], y[each]) for each in rows))


def bias_in_front_of_batch_norm(doctor: Doctor, seed: int, cured: bool) -> None:
    """Two layers with a bias, each in front of a batch norm that takes it away again."""
    blocks = [nn.Sequential(nn.Linear(64, 64, bias=not cured), nn.BatchNorm1d(64), nn.ReLU()) for _ in range(2)]
    model = nn.Sequential(*blocks, nn.Linear(64, 10))
    train(doctor, model, torch.optim.SGD(model.parameters(), lr=0.05), digits(seed))


def token_0_kept_for_padding(doctor: Doctor, seed: int, cured: bool) -> None:
    """Character models count their letters from 0, and the embedding keeps 0 for padding: the letter a never gets a vector."""
    stream, letters = data.characters(400, seed)
    model = nn.Sequential(
        nn.Embedding(letters, 16, padding_idx=None if cured else 0),
        nn.Flatten(),
        nn.Linear(128, 64),
        nn.Tanh(),
        nn.Linear(64, letters),
    )
    batches = ((x, y[:, -1]) for x, y in data.windows(stream, 8, 32, 300, seed))
    train(doctor, model, torch.optim.AdamW(model.parameters(), lr=3e-3), batches)


def rate_of_zero_for_the_body(doctor: Doctor, seed: int, cured: bool) -> None:
    """The body has a group of its own, with a learning rate that was left at 0."""
    model = tower(depth=2)
    groups = [{"params": model[:-1].parameters(), "lr": 0.05 if cured else 0.0}, {"params": model[-1].parameters()}]
    train(doctor, model, torch.optim.SGD(groups, lr=0.05), digits(seed))


def rate_that_decays_every_batch(doctor: Doctor, seed: int, cured: bool) -> None:
    """ExponentialLR(gamma=0.97) was meant for epochs and is stepped after every batch."""
    model = tower(depth=2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.97)

    def batches() -> Batches:
        for step, pair in enumerate(digits(seed, 600)):
            if step and (step % 42 == 0 or not cured):  # an epoch has 42 batches
                schedule.step()
            yield pair

    train(doctor, model, optimizer, batches())
