"""Parts of a loss that never reach the weights they are meant for: each fault beside its cure and beside what looks like it."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812
from verdicts import alarms, batches, classes, net  # noqa: E402

from lettrine import health  # noqa: E402


class Heads(nn.Module):
    """One body; one head tells a class, the other one a number."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.kind, self.size = nn.Sequential(nn.Linear(6, 24), nn.Tanh()), nn.Linear(24, 4), nn.Linear(24, 1)

    def forward(self, x):
        inner = self.body(x)
        return self.kind(inner), self.size(inner)


def two_heads(how):
    x, y = classes()
    model = Heads()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    with health.watch(model, optimiser) as watch:
        for _, (inputs, labels) in zip(range(80), batches(x, y), strict=False):
            optimiser.zero_grad()
            kind, size = model(inputs)
            loss = F.cross_entropy(kind, labels)
            with torch.set_grad_enabled(how != "shown"):
                second = F.l1_loss(size[:, 0], inputs[:, 4]) if how != "unused" else None
            if how == "cured":
                loss = loss + second
            elif how == "metric":  # of what is trained, with its graph
                second = (kind.softmax(1).max(1).values - 1).abs().mean() + second
                loss = loss + 0.1 * second
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    return watch.report()


@pytest.mark.parametrize("how", ["left out", "cured", "metric", "shown", "unused"])
def test_an_error_that_is_left_out_of_the_loss(how):
    report = two_heads(how)
    assert alarms(report) == (["no-gradient"] if how == "left out" else [])
    if how == "left out":
        assert report.findings[0].where == ("size.weight", "size.bias")
        assert "is not in the loss" in report.findings[0].message


def game(how):
    """A maker and a judge, who are stepped in turns; or for one loss of both."""
    x, _ = classes()
    model = nn.ModuleDict({"maker": net(out=3), "judge": net(width=9, out=1)})
    first, second = (torch.optim.Adam(model[name].parameters(), lr=2e-3) for name in ("maker", "judge"))
    with health.watch(model, [first, second]) as watch:
        for _, (seen, _) in zip(range(60), batches(x, x), strict=False):
            real = torch.stack([seen[:, 0], seen[:, 1] * seen[:, 2], seen[:, 3]], 1)
            made = model["maker"](seen)
            shown = made.detach() if how == "detached" else made
            told = model["judge"](torch.cat([seen, shown], 1))
            loss = F.mse_loss(told, torch.ones_like(told)) + 0.5 * F.l1_loss(made, real)
            first.zero_grad()
            second.zero_grad()
            loss.backward()
            first.step()
            if how == "both":
                second.step()
                continue
            second.zero_grad()
            true, false = model["judge"](torch.cat([seen, real], 1)), model["judge"](torch.cat([seen, made.detach()], 1))
            wrong = F.mse_loss(true, torch.ones_like(true)) + F.mse_loss(false, torch.zeros_like(false))
            wrong.backward()
            second.step()
            watch.loss(loss)
    return watch.report()


@pytest.mark.parametrize("how", ["detached", "cured", "both"])
def test_a_term_that_reaches_only_another_network(how):
    report = game(how)
    assert alarms(report) == (["detached-generator"] if how == "detached" else [])
    if how == "detached":
        assert report.findings[0].where == ("maker",)
        assert "reaches only weights of judge" in report.findings[0].message
