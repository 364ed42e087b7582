"""Watching and experiments in one report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from checkup_tasks import Dropping, adam, mlp, pairs  # noqa: E402
from torch import nn  # noqa: E402

from lettrine import health  # noqa: E402
from lettrine.errors import HealthError  # noqa: E402
from lettrine.health.checks.reading import rounded  # noqa: E402
from lettrine.health.combining import combine, suggesting  # noqa: E402
from lettrine.health.evidence import EXPERIMENT  # noqa: E402
from lettrine.health.findings import Finding, Outcome, Report  # noqa: E402
from lettrine.report.experiments import experiment_rows  # noqa: E402
from lettrine.torch import checkup as room  # noqa: E402
from lettrine.torch.checkup import confirming  # noqa: E402
from lettrine.torch.checkup.attempts import usual_norm  # noqa: E402
from lettrine.torch.checkup.making import make_task  # noqa: E402
from lettrine.torch.checkup.trials import MORE_SEEDS, SEEDS, Trial  # noqa: E402

cross_entropy = nn.functional.cross_entropy


def suspicion(kind: str, severity: str = "warning") -> Finding:
    return Finding(kind, severity, ("a",), (3, 9), 1.0, 2.0, f"It may be {kind}.", "why", "remedy", "source")


def report(findings: tuple[Finding, ...], outcomes: tuple[Outcome, ...]) -> Report:
    model = mlp()
    plain = health.checkup(model, pairs(), cross_entropy, adam(model), only=["data"], progress=False)
    return replace(plain, findings=findings, outcomes=outcomes)


@pytest.mark.parametrize(
    ("status", "severity"),
    [
        ({"causality": "passed", "independence": "passed", "answer": "passed"}, "info"),
        ({"causality": "not applicable", "independence": "passed", "answer": "not applicable"}, "info"),
        ({"causality": "not run", "independence": "passed", "answer": "passed"}, "warning"),
        ({"causality": "not applicable", "independence": "not applicable", "answer": "not applicable"}, "warning"),
        ({"causality": "failed", "independence": "passed", "answer": "passed"}, "warning"),
        ({}, "warning"),
    ],
)
def test_a_suspicion_is_withdrawn_only_by_experiments_that_ran(status: dict[str, str], severity: str) -> None:
    watched = report((suspicion("leak"),), (Outcome("leak", "found"),))
    tried = report((), tuple(Outcome(name, each) for name, each in status.items()))
    both = combine(watched, tried)
    assert [each.severity for each in both.findings] == [severity]
    assert ("not confirmed by experiment" in both.findings[0].message) is (severity == "info")
    assert len(both.outcomes) == 1 + len(status)


@pytest.mark.parametrize("severity", ["warning", "info"])
def test_a_freeze_that_does_no_harm_is_told_with_the_figures_of_its_trial(severity: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 64), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 5))
    model[0].requires_grad_(requires_grad=False)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    tried = health.checkup(model, pairs(24, 32), cross_entropy, optimizer, only=["frozen"], progress=False)
    both = combine(report((suspicion("frozen-random", severity),), ()), tried)
    (remark,) = both.findings
    assert remark.severity == "info"
    said = tried.trace.evidence[0].words["said"]
    assert "Unfrozen, tried for" in said
    assert remark.message.endswith(f"Suspected, and not confirmed by experiment (frozen). {said}")


def test_a_proof_takes_the_place_of_a_remark_too() -> None:
    watched = report((suspicion("frozen-random", "info"),), ())
    both = combine(watched, report((suspicion("frozen-random"),), (Outcome("frozen", "found"),)))
    assert [each.severity for each in both.findings] == ["warning"]


def test_a_proof_takes_the_place_of_the_suspicion() -> None:
    watched = report((suspicion("leak"), suspicion("saturation")), ())
    proof = replace(suspicion("future-leak", "critical"), message="Proved.")
    both = combine(watched, report((proof,), (Outcome("causality", "found"),)))
    assert [each.id for each in both.findings] == ["future-leak", "saturation"]


@pytest.mark.parametrize(
    ("kind", "experiment"), [("weight-decay", "decay"), ("input-scale", "scales"), ("target-scale", "scales")]
)
def test_a_short_experiment_disproves_nothing_that_a_long_run_has_measured(kind: str, experiment: str) -> None:
    both = combine(report((suspicion(kind),), ()), report((), (Outcome(experiment, "passed"),)))
    assert [each.severity for each in both.findings] == ["warning"]


def test_a_check_with_the_name_of_an_experiment_is_no_experiment() -> None:
    model = mlp()
    plain = health.checkup(model, pairs(), cross_entropy, adam(model), only=["data"], progress=False)
    watched = replace(plain, outcomes=(Outcome("shared-norm", "passed"), Outcome("data", "not run", "no batches")))
    both = health.checkup(
        model, pairs(), cross_entropy, adam(model), only=["data", "shared-norm"], progress=False, watched=watched
    )
    rows = [(each.id, each.status, each.said) for each in experiment_rows(both)]
    assert [row[:2] for row in rows] == [("data", "passed"), ("shared-norm", "not applicable")]
    assert "6 of 6 batches differ" in rows[0][2]


@pytest.mark.parametrize(
    ("with_more", "said"), [(5.0, "seeds differ too much to say"), (1.0, "(± 1). Also tried, without help:")]
)
def test_a_gain_within_its_noise_is_tried_with_more_seeds(with_more: float, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def contest(_: Any, made: dict[str, Any], steps: int, seeds: Any = SEEDS, **__: Any) -> dict[str, Trial]:
        asked.append((len(made), seeds))
        error = with_more if seeds == MORE_SEEDS else 5.0
        return {name: Trial(20.0, 18.0, 8.0 + place, 10.0 - place, error, steps, True) for place, name in enumerate(made)}

    monkeypatch.setattr(confirming, "contest", contest)
    model = mlp()
    task = make_task(model, pairs(), cross_entropy, torch.optim.SGD(model.parameters(), lr=0.1), minutes=5)
    (found,), (seen,) = confirming.confirmed([suspicion("update-too-large")], task)
    assert asked[1:] == [(1, MORE_SEEDS)]
    assert asked[0][0] > 1
    assert said in found.remedy
    assert "do not help" not in found.remedy
    assert seen.figure("error") == with_more


@pytest.mark.parametrize(
    ("kind", "remedy"), [("weight-decay", "no weight decay"), ("no-warmup", "a rate that rises from 0 over the first half")]
)
def test_what_takes_thousands_of_steps_is_not_disproved_by_a_few(kind: str, remedy: str) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=1e-3)
    given: dict[str, Any] = {"only": ["data"], "progress": False, "minutes": 9}
    plain = health.checkup(model, pairs(12), cross_entropy, optimizer, **given)
    late = replace(suspicion(kind, "critical"), steps=(0, 5996))
    (found,) = health.checkup(
        model, pairs(12), cross_entropy, optimizer, watched=replace(plain, findings=(late,)), **given
    ).findings
    assert found.severity == "critical"
    assert found.remedy.startswith(f"remedy So soon it makes little difference: with {remedy}, tried for 340 steps")
    assert "It was seen after 5,996 steps." in found.remedy
    assert "the cause first" not in found.remedy


def test_what_no_experiment_settles_stands() -> None:
    both = combine(report((suspicion("spike"),), ()), report((), (Outcome("causality", "passed"),)))
    assert [each.severity for each in both.findings] == ["warning"]


def test_a_watch_with_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = room.checkup
    quick: dict[str, Any] = {"only": ["parameters", "randomness"], "progress": False}
    tried: list[Report] = []

    def noting(*args: Any, watched: Report, minutes: float) -> Report:
        assert minutes == 7.0
        tried.append(whole(*args, watched=watched, **quick))
        return tried[-1]

    monkeypatch.setattr(room, "checkup", noting)
    model = Dropping("forgotten")
    optimizer = adam(model)
    batches = pairs()
    with health.watch(model, optimizer, task=(batches, cross_entropy), minutes=7.0) as watch:
        for number in range(30):
            x, y = batches[number % len(batches)]
            optimizer.zero_grad()
            loss = cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
        assert not [each for each in watch.report().trace.evidence if each.kind.startswith(EXPERIMENT)]  # it still listens
    both = watch.report()
    assert "eval-dropout" in {each.id for each in both.findings}
    assert {f"{EXPERIMENT}parameters", f"{EXPERIMENT}randomness"} <= {each.kind for each in both.trace.evidence}
    assert len(both.trace.steps) > 0  # and the pictures of the training are there
    assert watch.report().findings == both.findings
    assert len(tried) == 1  # once is enough


def test_a_suspicion_says_how_it_is_settled() -> None:
    found = suggesting(report((suspicion("leak"), suspicion("saturation")), ())).findings
    assert ["run health.checkup: it takes a minute" in each.remedy for each in found] == [True, False]


def test_a_remedy_of_the_watch_is_tried() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-5)
    plain = health.checkup(model, pairs(12), cross_entropy, optimizer, only=["data"], progress=False)
    watched = replace(plain, findings=(suspicion("update-too-small"), suspicion("divergence")), outcomes=())
    optimizer.param_groups[0]["lr"] = 1e-2
    both = health.checkup(model, pairs(12), cross_entropy, optimizer, only=["data"], progress=False, watched=watched)
    small, large = both.findings
    assert "With a rate 10 times higher, tried for 40 steps: held-out loss 1.5" in small.remedy
    assert "In 43 steps from the start it did not come" in large.remedy or "were tried and do not help" in large.remedy
    told = [each.words["said"] for each in both.trace.evidence if each.kind == f"{EXPERIMENT}remedy of update-too-small"]
    assert len(told) == 1


def quartic(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (output - target).pow(4).mean()


@pytest.mark.parametrize(
    ("kind", "remedy"), [("divergence", ""), ("non-finite", "Lower it, or clip it."), ("non-finite", "Guard the root.")]
)
def test_clipping_is_tried_where_gradients_explode(kind: str, remedy: str) -> None:
    """The gradient of a fourth power grows with the third power of the distance: no lower rate is low enough here, a norm is."""
    torch.manual_seed(0)
    model = nn.Linear(20, 5)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    batches = [(x, 30.0 * x[:, :5]) for x, _ in pairs(12, 32)]
    plain = health.checkup(model, batches, quartic, optimizer, only=["data"], progress=False)
    found = replace(suspicion(kind, "critical"), remedy=remedy)
    both = health.checkup(
        model, batches, quartic, optimizer, only=["data"], progress=False, minutes=9, watched=replace(plain, findings=(found,))
    )
    told = both.findings[0].remedy
    if "root" in remedy:
        assert told == remedy  # no rate and no clipping cures that
        return
    assert "With the gradient's norm clipped at 1, tried for 43 steps: held-out loss not finite → " in told
    assert "Also tried, without help: a rate 10 times lower, a rate 3.33 times lower" in told


def test_a_fault_that_came_late_is_not_judged_by_a_short_trial() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    plain = health.checkup(model, pairs(12), cross_entropy, optimizer, only=["data"], progress=False)
    late = replace(suspicion("spike", "critical"), steps=(10**9, 10**9))
    (found,) = health.checkup(
        model,
        pairs(12),
        cross_entropy,
        optimizer,
        only=["data"],
        progress=False,
        minutes=9,
        watched=replace(plain, findings=(late,)),
    ).findings
    assert found.remedy.startswith("remedy In ")
    assert "from the start it did not come, so no remedy could be tried on it" in found.remedy


def test_a_schedule_that_ended_at_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The experiments run at the first rate; the trial sets other schedules against the one that was seen."""
    whole = room.checkup
    quick: dict[str, Any] = {"only": ["optimiser"], "progress": False, "minutes": 9}
    monkeypatch.setattr(room, "checkup", lambda *args, watched, **_: whole(*args, watched=watched, **quick))
    torch.manual_seed(0)
    model = nn.Linear(20, 5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    batches = pairs(12, 32)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=5, gamma=0.1)
    with health.watch(model, optimizer, task=(batches, cross_entropy)) as watch:
        for number in range(240):
            x, y = batches[number % len(batches)]
            optimizer.zero_grad()
            loss = cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            schedule.step()
    both = watch.report()
    assert [each.id for each in both.findings if each.severity != "info"] == ["schedule-to-zero"]
    assert "With the schedule's first rate, kept, tried for 40 steps: held-out loss 1." in both.findings[0].remedy
    assert "without help" not in both.findings[0].remedy


def test_a_warm_up_is_tried_and_norms_are_put_back() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(20, 2, 16, dropout=0.0, batch_first=True)
    model = nn.Sequential(layer, nn.Linear(20, 5))
    batches = [(x[:, None], y[:, None]) for x, y in pairs(8, 16)]

    def loss_fn(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return cross_entropy(output.flatten(0, 1), target.flatten())

    optimizer = torch.optim.Adam(model.parameters(), lr=0.3)
    plain = health.checkup(model, batches, loss_fn, optimizer, only=["data"], progress=False)
    both = health.checkup(
        model,
        batches,
        loss_fn,
        optimizer,
        only=["data"],
        progress=False,
        minutes=9,
        watched=replace(plain, findings=(suspicion("no-warmup", "critical"),)),
    )
    (told,) = [each.words["said"] for each in both.trace.evidence if each.kind == f"{EXPERIMENT}remedy of no-warmup"]
    assert "With a rate that rises from 0 over the first half, tried for" in told
    assert "With the norms before the blocks, tried for" in told
    assert "a rate 10 times lower, tried for 49 steps: held-out loss" in both.findings[0].remedy
    assert layer.norm_first is False


def test_a_cause_that_a_trial_proved_takes_over_its_symptoms() -> None:
    watched = report((suspicion("update-too-small", "critical"), suspicion("leak")), ())
    cause = suspicion("learning-rate-too-low")
    for message, found in (("lr=3, tried for 40 steps", ["learning-rate-too-low", "leak"]), ("It may be", None)):
        both = combine(watched, report((replace(cause, message=message),), ()))
        assert [each.id for each in both.findings] == (found or ["learning-rate-too-low", "update-too-small", "leak"])
        assert (both.findings[0].severity == "critical") is (found is not None)
        assert ("It may be update-too-small." in both.findings[0].explains) is (found is not None)


@pytest.mark.parametrize(
    ("remedy", "kinds"),
    [
        ("Lower the learning rate about 10 times.", ["learning-rate-too-high"]),
        ("Guard the root.", ["learning-rate-too-high", "non-finite"]),
    ],
)
def test_a_rate_that_a_trial_proved_explains_values_that_it_broke(remedy: str, kinds: list[str]) -> None:
    broken = replace(suspicion("non-finite", "critical"), remedy=remedy)
    cause = replace(suspicion("learning-rate-too-high"), message="lr=0.07, tried for 40 steps")
    assert [each.id for each in combine(report((broken,), ()), report((cause,), ())).findings] == kinds


def test_the_norm_to_clip_at_leaves_out_the_one_that_broke_the_run() -> None:
    with health.watch(model := nn.Linear(20, 5), optimizer := torch.optim.SGD(model.parameters(), lr=0.01), every=1) as watch:
        for number, (x, y) in enumerate(pairs(6)):
            optimizer.zero_grad()
            loss = cross_entropy(model(x), y) * (1e6 if number == 5 else 1.0)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    trace = watch.report().trace
    norms = trace.step_stats["gradient_norm"]
    assert norms[-1] > 1e4
    assert usual_norm(replace(suspicion("non-finite"), steps=(6, 6)), trace) == rounded(float(sorted(norms[:-1])[2]))


def test_clipping_in_the_right_order_is_tried() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    plain = health.checkup(model, pairs(12), cross_entropy, optimizer, only=["data"], progress=False)
    early = replace(suspicion("clip-before-unscale"), value=1 / 65536, limit=1.0)
    both = health.checkup(
        model, pairs(12), cross_entropy, optimizer, only=["data"], progress=False, watched=replace(plain, findings=(early,))
    )
    assert "With clipping at 1 after unscaling, tried for 40 steps" in both.findings[0].remedy


def tower(act: type[nn.Module], layers: int) -> nn.Sequential:
    torch.manual_seed(1)
    made: list[nn.Module] = []
    for width in (20, *([32] * (layers - 1))):
        made += [nn.Linear(width, 32), act()]
    return nn.Sequential(*made, nn.Linear(32, 5))


def saturated() -> nn.Module:
    model = tower(nn.Tanh, 3)
    with torch.no_grad():
        for place in (0, 2, 4):
            model[place].weight.mul_(50)
    return model


def dead() -> nn.Module:
    model = tower(nn.ReLU, 2)
    torch.nn.init.constant_(model[0].bias, -100.0)
    return model


def dying_out() -> nn.Module:
    model = tower(nn.ReLU, 5)
    with torch.no_grad():
        for place in (0, 2, 4, 6, 8):
            model[place].weight.mul_(0.05)
            model[place].bias.zero_()
    return model


@pytest.mark.parametrize(
    ("kind", "build", "rate", "said"),
    [
        ("saturation", saturated, 0.01, "at 1"),
        ("dead-units", dead, 0.1, "drawn anew"),
        ("dead-units", lambda: tower(nn.ReLU, 4), 3.0, "times lower"),
        ("gradient-scale", dying_out, 0.1, "at 1"),
        ("activation-scale", dying_out, 0.1, "at 1"),
    ],
)
def test_another_start_or_rate_is_tried_for_what_only_a_watch_sees(kind: str, build: Any, rate: float, said: str) -> None:
    model = build()
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    plain = health.checkup(model, pairs(12, 32), cross_entropy, optimizer, only=["data"], progress=False)
    watched = replace(plain, findings=(suspicion(kind, "critical"),))
    both = health.checkup(model, pairs(12, 32), cross_entropy, optimizer, only=["data"], progress=False, watched=watched)
    (found,) = both.findings
    assert found.severity == "critical"
    assert said in found.remedy
    assert "tried for 40 steps: held-out loss 1." in found.remedy


class Beside(nn.Module):
    """A layer that is enough, and beside it a part that saturates and hardly counts."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.enough, self.part = nn.Linear(20, 5), nn.Sequential(nn.Linear(20, 32), nn.Tanh(), nn.Linear(32, 5))
        with torch.no_grad():
            self.part[0].weight.mul_(factor)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.enough(x) + 1e-3 * self.part(x)


@pytest.mark.parametrize(("factor", "severity"), [(50.0, "info"), (1.0, "warning")])
def test_a_symptom_that_costs_nothing_is_withdrawn(factor: float, severity: str) -> None:
    model = Beside(factor)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    plain = health.checkup(model, pairs(12, 32), cross_entropy, optimizer, only=["data"], progress=False)
    watched = replace(plain, findings=(suspicion("saturation"),))
    (found,) = health.checkup(
        model, pairs(12, 32), cross_entropy, optimizer, only=["data"], progress=False, watched=watched
    ).findings
    assert found.severity == severity
    assert ("this is gone, and the loss is no lower" in found.message) is (severity == "info")
    assert ("do not help" in found.remedy) is (severity == "warning")  # it did not show, so nothing was proved about it


def test_a_model_that_is_being_watched_is_not_tried() -> None:
    model = mlp()
    optimizer = adam(model)
    with health.watch(model, optimizer), pytest.raises(HealthError, match="close the watch first"):
        health.checkup(model, pairs(), cross_entropy, optimizer, progress=False)
    assert health.checkup(model, pairs(), cross_entropy, optimizer, only=["data"], progress=False).healthy
