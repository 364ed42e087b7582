"""What goes on inside recurrent modules, against torch's own modules step by step, and the verdicts on it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from trainings import named, remarks, train

from lettrine import health
from lettrine.torch.graph.layers.recurrent import _run


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase], scale: float) -> None:
        super().__init__()
        self.rnn, self.last = kind(3, 16, batch_first=True), nn.Linear(16, 4)
        with torch.no_grad():
            for name, parameter in self.rnn.named_parameters():
                parameter.mul_(scale if name.startswith("weight") else 1.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.rnn(x.reshape(-1, 4, 3))[0][:, -1])


def trained(kind: type[nn.RNNBase], scale: float, inputs: float = 1.0) -> nn.Module:
    torch.manual_seed(3)
    model = Recurrent(kind, scale)
    return train(
        model, torch.optim.SGD(model.parameters(), lr=1e-3), 80, make=lambda x, y: functional.cross_entropy(model(inputs * x), y)
    )


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_saturated_from_the_start(kind: type[nn.RNNBase]) -> None:
    found = {**named(trained(kind, 40.0)), **remarks(trained(kind, 40.0))}
    assert found["saturation"].where == ("rnn",)
    assert found["saturation"].steps == (0, 0)
    assert "rnn.weight_hh_l0" in found["saturation"].remedy
    large = {**named(trained(kind, 1.0, 100.0)), **remarks(trained(kind, 1.0, 100.0))}
    assert "whose std is 97" in large["saturation"].remedy
    healthy = trained(kind, 1.0)
    assert "saturation" not in {**named(healthy), **remarks(healthy)}


@pytest.mark.parametrize("first", [True, False])
def test_states_are_those_of_torch(*, first: bool) -> None:
    torch.manual_seed(5)
    rnn, x, start = nn.RNN(3, 5, num_layers=1, batch_first=first), 3 * torch.randn(7, 6, 3), torch.randn(1, 7 if first else 6, 5)
    states = rnn(x, start)[0]
    assert _run(rnn, x, start)[0] == pytest.approx(float((states.abs() > 0.97).float().mean()))
    assert _run(nn.RNN(3, 5, nonlinearity="relu"), x, None) is None


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_the_last_state_is_that_of_torch(kind: type[nn.RNNBase], monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(5)
    rnn, x = kind(3, 5, batch_first=True), torch.randn(7, 6, 3)
    given = []
    linear = functional.linear
    monkeypatch.setattr(functional, "linear", lambda *args: (given.append(args[0]), linear(*args))[1])
    _run(rnn, x, None)
    monkeypatch.undo()
    torch.testing.assert_close(given[-1], rnn(x)[0][:, -2])  # what the last place is given


@pytest.mark.parametrize("last", [True, False])
def test_the_last_place_has_seen_one_step_from_the_end(last: bool) -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.head = nn.GRU(3, 16, batch_first=True, bidirectional=True), nn.Linear(32, 4)

        def forward(self, x: Tensor) -> Tensor:
            out, state = self.rnn(x.reshape(-1, 4, 3))
            return self.head(out[:, -1] if last else state.transpose(0, 1).flatten(1))

    torch.manual_seed(3)
    model = Both()
    watched = train(model, torch.optim.SGD(model.parameters(), lr=1e-3), 80)
    found = {**named(watched), **remarks(watched)}
    assert ("no-gradient" in found) is last
    if last:
        assert found["no-gradient"].where == ("rnn.weight_hh_l0_reverse",)
        assert "h_n" in found["no-gradient"].remedy


@pytest.mark.parametrize("state", [True, False])
def test_the_state_handed_to_a_recurrent_layer_is_no_row_for_all_examples(state: bool) -> None:
    torch.manual_seed(0)
    parts = nn.ModuleDict({"read": nn.GRU(4, 16, batch_first=True), "answer": nn.Linear(16, 3)})
    if not state:  # one row for all: a new one at each step
        parts["read"] = Added()
    optimiser = torch.optim.Adam(parts.parameters(), lr=1e-3)
    with health.watch(parts, optimiser) as watch:
        for _ in range(60):
            x, y = torch.randn(8, 5, 4), torch.randint(3, (8,))
            given = torch.randn(1, 8, 16) if state else torch.randn(1, 5, 4)
            loss = functional.cross_entropy(parts["answer"](parts["read"](x, given)[0][:, -1]), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    assert any(each.id == "broadcast" for each in watch.report().findings) is not state


class Added(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.GRU(4, 16, batch_first=True)

    def forward(self, x: torch.Tensor, other: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.inner(x + other)
