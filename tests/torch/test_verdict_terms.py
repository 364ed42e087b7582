"""Terms of a loss that train nothing, and numbers that are left out of the loss, beside healthy trainings that look alike."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from trainings import adam, batches, checked, named

from lettrine import health


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.kind, self.size = nn.Linear(12, 16), nn.Linear(16, 4), nn.Linear(16, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.tanh(self.body(x))
        return self.kind(hidden), self.size(hidden)[:, 0]


@pytest.mark.parametrize("term", ["left out", "for itself"])
def test_a_term_that_is_computed_and_left_out_of_the_sum(term: str) -> None:
    torch.manual_seed(0)
    model = TwoHeads()
    optimiser = adam(model)
    with health.watch(model, optimiser) as watch:
        for x, y in batches(30):
            kind, size = model(x)
            loss = functional.cross_entropy(kind, y)
            error = functional.l1_loss(size, x[:, 5])
            optimiser.zero_grad()
            if term == "for itself":
                error.backward(retain_graph=True)
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    report = checked(watch.report())
    assert ("no-gradient" in named(report)) is (term == "left out")
    if term == "left out":
        finding = named(report)["no-gradient"]
        assert finding.where == ("size.weight", "size.bias")


@pytest.mark.parametrize("sloped", [True, False])
def test_a_bias_of_an_energy_of_which_only_the_slope_is_learned(sloped: bool) -> None:
    torch.manual_seed(0)
    model = TwoHeads()
    optimiser = adam(model)
    with health.watch(model, optimiser) as watch:
        for x, y in batches(30):
            x.requires_grad_()
            kind, size = model(x)
            total = size.sum()
            loss = functional.cross_entropy(kind, y)
            if sloped:
                loss = loss + (torch.autograd.grad(total, x, create_graph=True)[0] - x.detach()).pow(2).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    findings = checked(watch.report()).findings
    assert [each.where for each in findings if each.severity != "info"] == ([] if sloped else [("size.weight", "size.bias")])


@pytest.mark.parametrize("factor", [1.0, 0.25, 0.3])
def test_a_reward_that_multiplies_is_no_term(factor: float) -> None:
    torch.manual_seed(0)
    policy = nn.Sequential(nn.Linear(12, 4), nn.Softmax(dim=-1))
    optimiser = adam(policy)
    with health.watch(policy, optimiser) as watch:
        for x, _ in batches(30, size=1):
            shares = policy(x[0])
            part = (shares / shares.sum() * factor).sum()  # the sum of all shares: 1, and a part of it
            loss = -torch.log(shares[torch.multinomial(shares.detach(), 1)].sum()) * part.item()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    assert "no-gradient" not in named(checked(watch.report()))  # what multiplies is a weight


@pytest.mark.parametrize("way", ["detached", "gathered over steps"])
def test_a_judge_that_hears_a_detached_copy_in_the_pass_of_the_maker(way: str) -> None:
    torch.manual_seed(0)
    maker, judge = nn.Linear(12, 12), nn.Linear(12, 1)
    first, second = adam(maker), adam(judge)
    with health.watch(nn.ModuleDict({"maker": maker, "judge": judge}), [first, second]) as watch:
        for step, (x, _) in enumerate(batches(30)):
            made = maker(x)
            told = judge(made.detach())
            loss = functional.mse_loss(told, torch.ones_like(told)) + functional.l1_loss(made, x)
            first.zero_grad()
            loss.backward()
            first.step()
            if way == "gathered over steps":
                if step % 5 == 4:
                    second.step()
                    second.zero_grad()
            else:
                real, false = judge(x), judge(made.detach())
                wrong = functional.mse_loss(real, torch.ones_like(real)) + functional.mse_loss(false, torch.zeros_like(false))
                second.zero_grad()
                wrong.backward()
                second.step()
            watch.loss(loss)
    found = named(checked(watch.report()))
    assert ("detached-generator" in found) is (way == "detached")
    if way == "detached":
        assert found["detached-generator"].where == ("maker",)
        assert "(mse_loss) reaches only weights of judge" in found["detached-generator"].message
        assert "give judge the output itself" in found["detached-generator"].remedy


@pytest.mark.parametrize("way", ["detached", "shared", "one pass"])
def test_a_judge_called_once_before_both_backward_passes(way: str) -> None:
    """What it says of a detached copy is in the loss of the maker, and its gradients are cleared before its own pass; or it
    hears the copy itself; or one pass is for both.
    """
    torch.manual_seed(0)
    maker, judge = nn.Linear(12, 12), nn.Linear(12, 1)
    first, second = adam(maker), adam(judge)
    with health.watch(nn.ModuleDict({"maker": maker, "judge": judge}), [first, second]) as watch:
        for x, _ in batches(30):
            made = maker(x)
            told, real = judge(made if way == "shared" else made.detach()), judge(x)
            loss = functional.mse_loss(told, torch.ones_like(told)) + functional.l1_loss(made, x)
            wrong = functional.mse_loss(real, torch.ones_like(real)) + functional.mse_loss(told, torch.zeros_like(told))
            for optimiser in (first, second):
                optimiser.zero_grad()
            (loss + wrong if way == "one pass" else loss).backward(retain_graph=way != "one pass")
            first.step()
            if way != "one pass":
                second.zero_grad()
                wrong.backward()
            second.step()
            watch.loss(loss)
    found = named(checked(watch.report()))
    assert ("detached-generator" in found) is (way == "detached")


@pytest.mark.parametrize("how", ["apart", "frozen", "in one of two", "taught"])
def test_a_term_between_two_tensors_without_a_graph(how: str) -> None:
    """A student beside its teacher; the teacher is compared with itself, in each round or in every other one."""
    torch.manual_seed(0)
    model, teacher = TwoHeads(), TwoHeads()
    optimiser = adam(model)
    if how == "frozen":  # nothing of the term is to be learned, and that is meant
        model.size.requires_grad_(False)
    with health.watch(model, optimiser) as watch:
        for step, (x, y) in enumerate(batches(40)):
            kind, _ = model(x)
            with torch.no_grad():
                big = teacher(x)[0]
            asked = kind if how == "taught" or (how == "in one of two" and step % 2) else big
            soft = functional.mse_loss(asked, big)
            loss = functional.cross_entropy(kind, y) + 0.5 * soft
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    told = [each for each in checked(watch.report()).findings if "of two tensors" in each.message]
    assert len(told) == (how == "apart")
    if told:
        assert (told[0].id, told[0].severity) == ("no-gradient", "warning")
        assert "Look at the two arguments of this mse_loss" in told[0].remedy
