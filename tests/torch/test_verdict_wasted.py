"""A term of a generator's loss that reaches the judge alone, whose optimiser clears what it left."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from lettrine import health


def trained(form: str, order: str) -> list[health.Finding]:
    torch.manual_seed(0)
    maker, judge = nn.Linear(4, 8), nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
    model = nn.ModuleDict({"maker": maker, "judge": judge})
    making, judging = torch.optim.Adam(maker.parameters(), 1e-2), torch.optim.Adam(judge.parameters(), 1e-2)

    def make(x: Tensor, real: Tensor) -> Tensor:
        made = maker(x)
        fooled = F.softplus(-judge(made)).mean()
        seen = judge[0](made.detach() if form == "detached" else made)
        return fooled + F.l1_loss(made, real) + 0.1 * F.mse_loss(seen, judge[0](real).detach())

    def judged(x: Tensor, real: Tensor) -> Tensor:
        return F.softplus(judge(maker(x).detach())).mean() + F.softplus(-judge(real)).mean()

    with health.watch(model, [making, judging], every=4) as watch:
        for _ in range(40):
            x, real = torch.randn(32, 4), torch.randn(32, 8)
            if order == "together":
                making.zero_grad()
                judging.zero_grad()
                loss = make(x, real) + F.softplus(-judge(real)).mean()
                loss.backward()
                for optimiser in (making, judging):
                    optimiser.step()
                    optimiser.zero_grad()
            if order == "made once":
                made = maker(x)
                said, fooled = judge(made.detach()), judge(made)
                seen = judge[0](made.detach() if form == "detached" else made)
                making.zero_grad()
                loss = F.softplus(-fooled).mean() + F.mse_loss(seen, judge[0](real).detach())
                told = F.softplus(said).mean() + F.softplus(-judge(real)).mean()
                loss.backward(retain_graph=True)
                making.step()
                judging.zero_grad()
                told.backward()
                judging.step()
            turns = {"maker first": [(making, make), (judging, judged)], "judge first": [(judging, judged), (making, make)]}
            for optimiser, of in turns.get(order, ()):
                optimiser.zero_grad()
                loss = of(x, real)
                loss.backward()
                optimiser.step()
            watch.loss(loss)
    report = watch.report()
    assert report.trace.facts.errors == ()
    return [each for each in report.findings if each.id == "detached-generator"]


@pytest.mark.parametrize("order", ["maker first", "judge first", "made once"])
def test_a_term_that_moves_nothing(order: str) -> None:
    (finding,) = trained("detached", order)
    assert (finding.severity, finding.where) == ("warning", ("maker",))
    assert "(mse_loss) reaches only weights of judge.0" in finding.message
    assert trained("whole", order) == []


@pytest.mark.parametrize("form", ["detached", "whole"])
def test_both_are_stepped_after_it(form: str) -> None:
    assert trained(form, "together") == []
