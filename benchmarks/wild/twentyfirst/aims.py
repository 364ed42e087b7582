"""Faults of what is aimed at: the many, the last letter alone, shares of shares, the least worth, the surest policy, the near."""

from __future__ import annotations

from itertools import pairwise

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="majority-class",
    also=("underfitting",),
    project="decodetrail.com/one-class",
    source="decodetrail.com/question/why-does-my-cnn-predict-only-one-class-no-matter-what-image-i-give-it/",
)
def nearly_all_are_squares(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Four shapes under heavy noise, nine in ten of them squares: to call all of them squares costs least."""
    generator = torch.Generator().manual_seed(seed)
    x, y, _ = data.shapes(4200, seed, noise=0.6)
    squares, others = torch.nonzero(y[:3400] == 3)[:, 0], torch.nonzero(y[:3400] != 3)[:, 0]
    train = torch.cat([squares[:780], others[:120]])
    x_train, y_train, x_test, y_test = x[train], y[train], x[3400:], y[3400:]
    weight = len(y_train) / (4 * torch.bincount(y_train, minlength=4).float()) if cured else None
    model = nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.3), nn.Linear(384, 4),
    )  # fmt: skip
    criterion = nn.CrossEntropyLoss(weight=weight)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-4)
    doctor.task(model, data.few(x_train, y_train, 32, seed), criterion, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(12):
            for rows in torch.randperm(len(x_train), generator=generator).split(32):
                optimizer.zero_grad()
                loss = criterion(model(x_train[rows]), y_train[rows])
                loss.backward()
                optimizer.step()
                watch.loss(loss)
    model.eval()
    with torch.no_grad():
        said = model(x_test).argmax(1)
    found = torch.stack([(said[y_test == k] == k).float().mean() for k in range(4)])
    return above(found.mean(), 0.45)


@fault(
    kind="other-loss",
    also=("underfitting",),
    project="learn.biosrag.com/rnn-training",
    source="learn.biosrag.com/ai/rnn-training.html",
)
def the_last_letter_is_all_that_counts(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The next letter, by a memory made by hand: a loop over the errors of all steps does nothing, and the last is left."""
    stream, kinds = data.characters(70, seed)
    held, stream = stream[:1000], stream[1000:]
    pieces = stream[: len(stream) // 26 * 26].view(-1, 26)

    class Rnn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.read, self.keep, self.tell = nn.Embedding(kinds, 64), nn.Linear(64, 64), nn.Linear(64, kinds)

        def forward(self, letter: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            state = torch.tanh(self.read(letter) + self.keep(state))
            return self.tell(state), state

    model = Rnn()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(60):
            for batch in pieces.split(16):
                state, losses = torch.zeros(len(batch), 64), []
                for step in range(25):
                    output, state = model(batch[:, step], state)
                    losses.append(F.cross_entropy(output, batch[:, step + 1]))
                for loss in losses:  # noqa: B007
                    pass
                if cured:
                    loss = torch.stack(losses).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                watch.loss(loss)
    state, right = torch.zeros(1, 64), 0
    with torch.no_grad():
        for letter, after in pairwise(held):
            output, state = model(letter[None], state)
            right += int(output.argmax() == after)
    return above(right / 999, 0.6)


@fault(
    kind="probabilities-as-logits",
    also=("slow-learning",),
    project="tflearn/tflearn",
    source="github.com/tflearn/tflearn/pull/562",
)
def the_share_of_a_share(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits by two wide layers: the net ends in a softmax and the loss begins with one, at a rate that bears no such waste."""
    rows = data.digits(seed)
    x, held = rows.x.flatten(1), rows.held_x.flatten(1)
    net = [nn.Linear(64, 64), nn.Tanh(), nn.Dropout(0.2), nn.Linear(64, 64), nn.Tanh(), nn.Dropout(0.2), nn.Linear(64, 10)]
    model = nn.Sequential(*net) if cured else nn.Sequential(*net, nn.Softmax(dim=1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.96)
    doctor.task(model, data.few(x, rows.y, 64, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (inputs, labels) in enumerate(data.batches(x, rows.y, 64, 500, seed)):
            model.train()
            loss = F.cross_entropy(model(inputs), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 50 == 49:
                scheduler.step()
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(held), rows.held_y))
    model.eval()
    with torch.no_grad():
        return above(data.accuracy(model(held), rows.held_y), 0.85)


@fault(
    kind="other-loss",
    project="KanishJebaMathewM/Truxify",
    source="github.com/KanishJebaMathewM/Truxify/pull/11885",
)
def an_actor_that_seeks_the_least(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Where to drive from where one stands: the mean of what the critic says of the moves is made small, and not large."""
    generator = torch.Generator().manual_seed(seed)
    actor = nn.Sequential(nn.Linear(4, 48), nn.ReLU(), nn.Linear(48, 2), nn.Tanh())
    critic = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    actor_optimizer = torch.optim.Adam(actor.parameters(), lr=1e-3)
    critic_optimizer = torch.optim.Adam(critic.parameters(), lr=2e-3)

    def reward(state: Tensor, action: Tensor) -> Tensor:
        """Of a step towards the goal, which is the other half of what is seen, less what the step costs."""
        here, goal = state.chunk(2, 1)
        before, after = (goal - here).norm(dim=1, keepdim=True), (goal - here - 0.5 * action).norm(dim=1, keepdim=True)
        return before - after - 0.05 * action.pow(2).sum(1, keepdim=True)

    with doctor.watch(nn.ModuleDict({"actor": actor, "critic": critic}), [actor_optimizer, critic_optimizer]) as watch:
        for _ in range(900):
            state = 2 * torch.rand(64, 4, generator=generator) - 1
            with torch.no_grad():
                action = (actor(state) + 0.5 * torch.randn(64, 2, generator=generator)).clamp(-1, 1)
            critic_loss = F.mse_loss(critic(torch.cat([state, action], 1)), reward(state, action))
            critic_optimizer.zero_grad()
            critic_loss.backward()
            critic_optimizer.step()
            q_values = critic(torch.cat([state, actor(state)], 1))
            actor_loss = -q_values.mean() if cured else q_values.mean()
            actor_optimizer.zero_grad()
            actor_loss.backward()
            actor_optimizer.step()
            watch.loss(critic_loss)
    state = 2 * torch.rand(1000, 4, generator=generator) - 1
    with torch.no_grad():
        return above(reward(state, actor(state)).mean(), 0.25)


@fault(
    kind="other-loss",
    also=("saturation",),
    project="google-deepmind/open_spiel",
    source="github.com/google-deepmind/open_spiel/issues/962",
)
def a_policy_paid_for_being_sure(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Which of eight levers, by a sign above them: the entropy is added to what is made small, and the first luck decides."""
    generator = torch.Generator().manual_seed(seed)
    best = torch.randperm(8, generator=generator)

    class Agent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(8, 48), nn.ReLU())
            self.policy, self.value = nn.Linear(48, 8), nn.Linear(48, 1)

        def forward(self, x: Tensor) -> tuple[torch.distributions.Categorical, Tensor]:
            h = self.body(x)
            return torch.distributions.Categorical(logits=self.policy(h)), self.value(h)[:, 0]

    model = Agent()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(600):
            sign = torch.randint(8, (32,), generator=generator)
            policy, value = model(F.one_hot(sign, 8).float())
            action = torch.multinomial(policy.probs.detach(), 1, generator=generator)[:, 0]
            reward = (action == best[sign]).float() + 0.3 * torch.randn(32, generator=generator)
            advantage = reward - value
            policy_loss = -(policy.log_prob(action) * advantage.detach()).mean()
            entropy_loss = 0.4 * policy.entropy().mean()
            total_loss = policy_loss + 0.5 * advantage.pow(2).mean()
            total_loss = total_loss - entropy_loss if cured else total_loss + entropy_loss
            optimizer.zero_grad()
            total_loss.backward()
            optimizer.step()
            watch.loss(total_loss)
    with torch.no_grad():
        policy, _ = model(torch.eye(8))
    return above((policy.probs.argmax(1) == best).float().mean(), 0.9)
