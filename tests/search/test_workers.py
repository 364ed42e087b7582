"""Trials that are cut off: taken up by one worker alone, counted once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from lettrine.search import storage as storages
from lettrine.search.study import pruner
from lettrine.search.workers import RUN, SURPLUS, WORKER, Census, Worker, census, is_surplus, mend, name_of, take_up

FLOAT = optuna.distributions.FloatDistribution(0.0, 1.0)


def open_study(path: Path) -> optuna.Study:
    """A study that a worker has open; each call is another worker's."""
    storage = storages.open_storage(str(path), 1, lambda *_: None)
    return optuna.create_study(storage=storage, study_name="s", load_if_exists=True, pruner=pruner())


def made(number: int, state: str, **attributes: object) -> FrozenTrial:
    value = 1.0 if state in ("COMPLETE", "PRUNED") else None
    trial = create_trial(state=TrialState[state], value=value, user_attrs=attributes)
    trial.number = number
    return trial


def test_every_trial_is_counted_once_however_often_it_was_taken_up() -> None:
    trials = [
        made(0, "COMPLETE"),
        made(1, "FAIL", run="0001"),
        made(2, "PRUNED", run="0001"),
        made(3, "FAIL", run="0003"),
        made(4, "RUNNING", run="0003"),
        made(5, "WAITING", run="0003"),  # put back twice, by two that died
        made(6, "WAITING"),
        made(7, "FAIL", run="0007"),
        made(8, "COMPLETE", run="0000"),  # done twice
    ]
    assert census(trials) == Census(finished=2, pruned=1, running=1, waiting=1)


def test_of_workers_that_ask_for_the_last_trial_at_once_one_is_too_late() -> None:
    trials = [
        made(0, "COMPLETE"),
        made(1, "FAIL", run="0001"),
        made(2, "RUNNING", run="0001"),
        made(3, "RUNNING"),
        made(4, "RUNNING"),
    ]
    assert [is_surplus(trial, trials, 3) for trial in trials] == [False, False, False, False, True]
    assert not is_surplus(trials[4], trials, 0)  # no limit
    trials[3].set_user_attr(SURPLUS, True)
    assert not is_surplus(trials[4], trials, 3)


def test_two_workers_find_a_dead_trial_and_one_takes_it_up(tmp_path: Path) -> None:
    first, second = open_study(tmp_path / "j.journal"), open_study(tmp_path / "j.journal")
    trial = first.ask({"x": FLOAT})
    trial.set_user_attr(WORKER, "gone")
    trial.report(0.5, 3)
    [seen] = second.get_trials()
    assert [take_up(first, seen), take_up(second, seen), take_up(first, seen)] == [True, False, False]
    failed, waiting = second.get_trials()
    assert (failed.state, waiting.state) == (TrialState.FAIL, TrialState.WAITING)
    assert name_of(failed) == name_of(waiting) == "0000"
    assert waiting.params == trial.params
    assert waiting.intermediate_values == {3: 0.5}
    assert WORKER not in waiting.user_attrs  # whoever takes it next is not the dead one
    again = second.ask()
    assert again.suggest_float("x", 0.0, 1.0) == trial.params["x"]


def test_beside_a_journal_the_lock_of_a_worker_tells_whether_it_lives(tmp_path: Path) -> None:
    study = open_study(tmp_path / "j.journal")
    here, there = Worker(tmp_path / "workers", "here"), Worker(tmp_path / "workers", "there")
    with here.at_work():
        for name in ("here", "there", "gone"):
            study.ask({"x": FLOAT}).set_user_attr(WORKER, name)
        with there.at_work():
            here.take_up_dead(study, journal=True)
            assert [trial.state.name for trial in study.get_trials()] == ["RUNNING", "RUNNING", "FAIL", "WAITING"]
        here.take_up_dead(study, journal=True)
        assert [trial.state.name for trial in study.get_trials()] == ["RUNNING", "FAIL", "FAIL", "WAITING", "WAITING"]
    assert list((tmp_path / "workers").iterdir()) == []


def test_a_worker_that_died_before_it_said_who_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, worker = open_study(tmp_path / "j.journal"), Worker(tmp_path / "workers")
    study.ask()
    worker.take_up_dead(study, journal=False)
    assert [trial.state.name for trial in study.get_trials()] == ["RUNNING"]  # it may be about to
    monkeypatch.setattr(storages, "GRACE", -1.0)
    worker.take_up_dead(study, journal=False)
    assert [trial.state.name for trial in study.get_trials()] == ["FAIL", "WAITING"]


def test_a_trial_failed_by_a_worker_that_died_before_it_put_it_back(tmp_path: Path) -> None:
    study = open_study(tmp_path / "j.journal")
    for attributes in ({}, {SURPLUS: True}, {RUN: "0002"}):
        study.add_trial(create_trial(state=TrialState.FAIL, user_attrs=attributes))
    study.add_trial(create_trial(state=TrialState.COMPLETE, value=1.0, user_attrs={RUN: "0002"}))
    mend(study)
    mend(study)
    assert [(name_of(each), each.state.name) for each in study.get_trials()[4:]] == [("0000", "WAITING")]


def test_the_better_part_goes_on_at_each_rung_and_what_was_cut_off_counts_once() -> None:
    study = optuna.create_study(pruner=pruner())
    pruned = []
    for value in (5.0, 4.0, 6.0, 3.0, 3.5):
        trial = study.ask()
        trial.report(9.0, 7)
        assert not trial.should_prune()  # no rung
        trial.report(value, 8)
        pruned.append(trial.should_prune())
    assert pruned == [False, False, True, False, False]
    cut_off = study.get_trials()[3]  # 3.0, the best
    assert take_up(study, cut_off)
    trial = study.ask()
    assert trial.number == 5
    trial.report(1.0, 16)
    assert not trial.should_prune()
    late = study.ask()
    late.report(4.0, 8)  # third of 3.0, 3.5, 4.0, 4.0, 5.0, 6.0: in the better half, and would not be with 3.0 there twice
    assert not late.should_prune()


def test_early_only_the_worst_third_is_left_out() -> None:
    study = optuna.create_study(pruner=pruner())
    found = []
    for value in (1.0, 2.0, 3.0, 2.5):  # of 4 the better 2 go on, by 0.67 * 4
        trial = study.ask()
        trial.report(value, 4)
        found.append(trial.should_prune())
    assert found == [False, True, True, True]


def test_half_a_line_at_the_end_of_a_journal_is_cut_off(tmp_path: Path) -> None:
    study = open_study(tmp_path / "j.journal")
    study.ask({"x": FLOAT})
    with (tmp_path / "j.journal").open("ab") as journal:
        journal.write(b'{"op_code": 8, "worker')  # a full disk, or a kill
    again = open_study(tmp_path / "j.journal")
    again.ask({"x": FLOAT})
    assert len(again.get_trials()) == len(open_study(tmp_path / "j.journal").get_trials()) == 2


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_of_threads_that_ask_at_once_each_takes_another_of_the_queue(kind: str, tmp_path: Path) -> None:
    where = str(tmp_path / "j.journal") if kind == "journal" else f"sqlite:///{tmp_path}/s.db"
    storage = storages.open_storage(where, 8, lambda *_: None)
    study = optuna.create_study(storage=storage)
    for place in range(12):
        study.enqueue_trial({"x": place / 12})
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: study.optimize(lambda trial: trial.suggest_float("x", 0.0, 1.0), n_trials=1), range(12)))
    assert sorted(trial.value for trial in study.get_trials()) == [place / 12 for place in range(12)]
    storages.close(storage)
