"""Weights that are loaded while the model trains: by a server with its clients, from a best epoch, from the start."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from trainings import checked  # noqa: E402

from lettrine import health  # noqa: E402
from lettrine.health.findings import Finding, Report  # noqa: E402

CLIENTS, ROUNDS = 4, 12


def federated(form: str) -> Report:
    """Clients train from the weights of the server one after another, and the mean of theirs is loaded."""
    torch.manual_seed(0)
    middles = 1.2 * torch.randn(4, 16)
    labels = torch.randint(4, (2048,))
    data = middles[labels] + torch.randn(2048, 16)
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.03)
    with health.watch(model, optimiser) as watch:
        for _ in range(ROUNDS):
            start, trained = copy.deepcopy(model.state_dict()), []
            for client in range(CLIENTS):
                model.load_state_dict(start)
                for batch in torch.randint(1024 // CLIENTS, (10, 32)):
                    rows = CLIENTS * batch + client
                    loss = functional.cross_entropy(model(data[rows]), labels[rows])
                    optimiser.zero_grad()
                    loss.backward()
                    optimiser.step()
                    watch.loss(loss)
                trained.append(copy.deepcopy(model.state_dict()))
            count = {"by the wrong number": 12, "a sum": 1}.get(form, CLIENTS)
            mean = {name: sum(each[name] for each in trained) / count for name in start}
            model.load_state_dict({"nothing": start, "the last client": trained[-1]}.get(form, mean))
            with torch.no_grad():
                watch.dev_loss(functional.cross_entropy(model(data[1024:]), labels[1024:]))
    assert not model._load_state_dict_pre_hooks
    assert not model._load_state_dict_post_hooks
    return checked(watch.report())


def told(report: Report) -> list[Finding]:
    return [each for each in report.findings if "loaded" in each.message]


def test_a_server_that_keeps_its_weights() -> None:
    report = federated("nothing")
    (found,) = told(report)
    assert report.findings[0] is found
    assert (found.id, found.severity) == ("never-moved", "warning")
    assert "loaded 48 times" in found.message
    assert "about 10 steps" in found.message


@pytest.mark.parametrize(("form", "size"), [("by the wrong number", "0.33"), ("a sum", "4")])
def test_a_mean_that_is_none(form: str, size: str) -> None:
    (found,) = told(federated(form))
    assert found.id == "update-too-large"
    assert f"were {size} times as large" in found.message


@pytest.mark.parametrize("form", ["a mean", "the last client"])
def test_a_server_that_learns(form: str) -> None:
    report = federated(form)
    assert told(report) == []
    assert report.verdict.startswith("healthy")


@pytest.mark.parametrize("form", ["the best epoch", "its own", "once"])
def test_weights_of_an_earlier_epoch(form: str) -> None:
    """What is learned within an epoch is enough: a remark. A state_dict() that was not copied is the model itself."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    kept = None
    with health.watch(model, optimiser) as watch:
        for step in range(240):
            x = torch.randn(32, 8)
            loss = functional.mse_loss(model(x), x[:, :1])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
            if step % 30 == 29 and (kept is None or form != "once"):
                kept = kept or (model.state_dict() if form == "its own" else copy.deepcopy(model.state_dict()))
                model.load_state_dict(kept)
    found = told(checked(watch.report()))
    assert [each.severity for each in found] == (["info"] if form == "the best epoch" else [])
