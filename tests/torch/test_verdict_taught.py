"""A student that is taught by a divergence: given logarithms and probabilities as it takes them, and given others."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from trainings import checked  # noqa: E402

from lettrine import health  # noqa: E402


def divergence(form: str, said: Tensor, taught: Tensor) -> Tensor:
    """said, taught: outputs of the student and the teacher, (B, classes)."""
    said, taught = said / 2, taught / 2
    answers = said.softmax(1) if form == "shares" else said.log_softmax(1)
    logarithms = form in ("logarithms", "logarithms told", "shares told as logarithms")
    targets = taught.log_softmax(1) if form in ("logarithms", "logarithms told") else taught.softmax(1)
    if form == "outputs":
        targets = taught
    told = logarithms and form != "logarithms"
    return functional.kl_div(answers, targets, reduction="batchmean", log_target=told)


def found(form: str) -> list[tuple[str, str]]:
    torch.manual_seed(0)
    student, teacher = (nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 4)) for _ in range(2))
    optimiser = torch.optim.Adam(student.parameters(), lr=1e-3)
    with health.watch(student, optimiser) as watch:
        for _ in range(40):
            x = torch.randn(32, 6)
            with torch.no_grad():
                taught = 8 * teacher(x)
            loss = divergence(form, student(x), taught)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    return [(each.id, each.message) for each in checked(watch.report()).findings if each.severity != "info"]


@pytest.mark.parametrize(
    ("form", "check", "told"),
    [
        ("shares", "probabilities-as-logits", "each row given to kl_div sums to 1"),
        ("logarithms", "target-range", "it takes them for probabilities"),
        ("outputs", "target-range", "it takes them for probabilities"),
        ("shares told as logarithms", "target-range", "log_target=True"),
    ],
)
def test_what_a_divergence_takes_for_another_thing(form: str, check: str, told: str) -> None:
    first = found(form)[0]
    assert first[0] == check
    assert told in first[1]


@pytest.mark.parametrize("form", ["as it should be", "logarithms told"])
def test_a_divergence_that_is_given_what_it_takes(form: str) -> None:
    assert found(form) == []
