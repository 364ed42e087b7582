"""A search as a whole: trials are runs, it goes on where it was stopped, and the best is kept."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial

import lettrine
from lettrine.cli.app import main
from lettrine.errors import ConfigError, MissingExtraError, RunExistsError, StorageError
from lettrine.search import api, best, searching, study
from lettrine.search.best import better, networks_within
from lettrine.search.space import Space
from lettrine.search.trial import CRITICAL
from lettrine.search.tuned import Tuned
from lettrine.search.workers import name_of
from lettrine.training.interrupt import Requests
from lettrine.training.storage import read_arrays

SMALL = lettrine.Shape(hidden=(16,))
SHORT = lettrine.Settings(steps=60, batch=32)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "LOOK", 0.02)


def tuned(words: list[str], out: Path, **how: object) -> Tuned:
    return lettrine.tune(words[:200], **{"out": out, "jobs": 1, "page": False, "shape": SMALL, "settings": SHORT, **how})


def outcome(found: Tuned) -> list[tuple[str, dict[str, float], float | None]]:
    """Every trial once: what came of it, what it chose, its value."""
    assert found.study is not None
    trials = [each for each in found.study.get_trials() if each.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    names = [name_of(each) for each in trials]
    assert len(set(names)) == len(names)
    return [(each.state.name, each.params, each.value) for each in trials]


def test_the_first_trial_is_lettrines_own_training_and_the_best_is_a_run(few_words: list[str], tmp_path: Path) -> None:
    found = tuned(few_words, tmp_path / "t", trials=3)
    own = lettrine.train(few_words[:200], shape=SMALL, settings=SHORT)
    first = lettrine.load(tmp_path / "t" / "trials" / "0000")
    for name, array in own.model.parameters.items():
        np.testing.assert_array_equal(first.model.parameters[name], array)
    assert own.results is not None
    assert found.default == own.results.loss["dev"]
    assert found.best <= found.default
    kept = lettrine.load(tmp_path / "t" / "best")
    assert kept.status == "finished"
    assert len(kept.model.others) == 7  # as many as `--effort best` averages
    assert kept.sample(3)
    assert sorted(each.name for each in (tmp_path / "t").iterdir()) == [
        "best",
        "ending",
        "study.journal",
        "trials",
        "tune.json",
        "workers",
    ]


@pytest.mark.parametrize("only", [True, False])
def test_what_is_not_better_by_more_than_noise_leaves_exactly_the_run_of_train(
    few_words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, only: bool
) -> None:
    """Also where lettrine's own choice is the best trial, and only networks could be added."""
    settings = lettrine.Settings(batch=32)
    words = few_words[:120]
    own = lettrine.train(words, settings=settings, page=False)
    compared: list[tuple[int, int]] = []

    def no_better(run: lettrine.Run, than: lettrine.Run) -> bool:
        compared.append((len(run.model.others), len(than.model.others)))
        return False

    monkeypatch.setattr(searching, "better", no_better)
    monkeypatch.setattr(searching.Search, "_networks", lambda *_: 6)
    if not only:  # the second trial counts as the best
        monkeypatch.setattr(searching.Search, "best", lambda _, trials: trials[1] if len(trials) > 1 else None)
    found = lettrine.tune(words, out=tmp_path / "t", trials=1 if only else 2, jobs=1, page=False, settings=settings)
    kept = lettrine.load(tmp_path / "t" / "best")
    assert compared == [(5, len(own.model.others))]
    assert found.kept_default
    assert found.run is not None
    assert own.results is not None
    assert found.run.results is not None
    assert found.run.results.loss == own.results.loss
    assert [each.log_likelihood for each in kept.model.score(words)] == [each.log_likelihood for each in own.model.score(words)]


def test_the_run_of_train_is_trained_where_no_trial_of_it_is_finished(few_words: list[str], tmp_path: Path) -> None:
    found = tuned(few_words, tmp_path / "t", trials=1)
    search = searching.Search.__new__(searching.Search)
    search.space = Space.around(lettrine.Session(few_words[:200]).words, SMALL, SHORT)
    search.words, search.folder, search.requests = lettrine.Session(few_words[:200]).words, tmp_path / "t", Requests()
    search.work = type("Work", (), {"healthy": False})()
    own = lettrine.train(few_words[:200], shape=SMALL, settings=SHORT, page=False)
    assert found.study is not None
    assert own.results is not None
    for trials in (found.study.get_trials(), []):
        plain = search._plain(trials)
        assert plain is not None
        assert plain.results is not None
        assert plain.results.loss == own.results.loss
    lost = create_trial(state=TrialState.PRUNED, params=search.space.default, distributions=found.study.trials[0].distributions)
    assert search._plain([lost]) is None


def test_stopped_in_the_ending_it_keeps_nothing_and_the_next_call_ends_it(
    few_words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grown = searching.grown
    calls: list[int] = []

    def stopped(*given: object) -> lettrine.Run:
        calls.append(given[5])  # type: ignore[arg-type]
        if len(calls) == 2:  # the run of train is made; the other is cut off
            given[6].signal = signal.SIGINT  # type: ignore[attr-defined]
        return grown(*given)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(searching, "grown", stopped)
        first = tuned(few_words, tmp_path / "t", trials=1)
    assert calls == [1, 8]
    assert (first.run, first.signal) == (None, signal.SIGINT)
    assert not list((tmp_path / "t").glob("*best*"))
    again = tuned(few_words, tmp_path / "t", trials=1)
    assert again.run is not None
    assert again.run.status == "finished"


def test_a_finished_search_trains_nothing_again(few_words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "better", lambda *_: True)  # whatever the noise: the run of more networks is kept
    first = tuned(few_words, tmp_path / "t", trials=2)
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "t" / "best").iterdir()}
    taken: list[str] = []
    with monkeypatch.context() as patched:
        patched.setattr(searching, "grown", lambda *_: taken.append("grown"))
        again = tuned(few_words, tmp_path / "t", trials=2)
    assert not taken
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "t" / "best").iterdir()} == written
    assert again.run is not None
    assert first.run is not None
    assert again.summary() == first.summary()
    assert again.run.health is not None
    for time_for, others in ((3, 7), (9, 8)):  # fewer networks than are there, and more
        monkeypatch.setattr(searching, "networks_within", lambda *_, many=time_for: many)
        kept = tuned(few_words, tmp_path / "t", trials=2).run
        assert kept is not None
        assert len(kept.model.others) == others


def test_a_run_grown_from_a_trial_is_the_run_as_if_trained_so(
    few_words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "better", lambda *_: True)
    tuned(few_words, tmp_path / "t", trials=1)
    grown = read_arrays(tmp_path / "t" / "best" / "networks.safetensors")[0]
    lettrine.train(
        few_words[:200], shape=SMALL, settings=lettrine.Settings(steps=60, batch=32, networks=8), out=tmp_path / "r", page=False
    )
    trained = read_arrays(tmp_path / "r" / "networks.safetensors")[0]
    assert grown.keys() == trained.keys()
    for name, array in trained.items():
        np.testing.assert_array_equal(grown[name], array)


def test_stopped_in_the_middle_of_a_trial_it_goes_on_to_the_same_end(
    few_words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "RANDOM", 3)
    whole = outcome(tuned(few_words, tmp_path / "whole", trials=5))
    report = optuna.Trial.report

    def interrupted(trial: optuna.Trial, value: float, step: int) -> None:
        report(trial, value, step)
        if trial.number == 2 and step == 9:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.3)  # until the main thread has noted it

    with monkeypatch.context() as patched:
        patched.setattr(optuna.Trial, "report", interrupted)
        stopped = tuned(few_words, tmp_path / "t", trials=5)
    assert stopped.signal == signal.SIGINT
    assert stopped.run is None
    assert (stopped.census.finished, stopped.census.waiting) == (2, 1)
    assert stopped.study is not None
    assert stopped.study.get_trials()[2].state == TrialState.FAIL
    assert outcome(tuned(few_words, tmp_path / "t", trials=5)) == whole


def test_trials_side_by_side_are_as_many_as_were_asked_for(few_words: list[str], tmp_path: Path) -> None:
    found = tuned(few_words, tmp_path / "t", trials=5, jobs=3, storage=f"sqlite:///{tmp_path}/s.db", study="mine")
    assert len(outcome(found)) == 5 == found.census.finished
    assert found.name == "mine"


def test_time_that_is_up_ends_it_and_a_trial_is_put_back(few_words: list[str], tmp_path: Path) -> None:
    began = time.monotonic()
    long = lettrine.Settings(steps=10**6, batch=32)
    found = tuned(few_words, tmp_path / "t", minutes=0.02, settings=long)
    assert time.monotonic() - began < 30
    assert (found.census.finished, found.census.waiting, found.run) == (0, 1, None) or found.census.waiting >= 1
    assert found.summary()["best"]["trial"] == -1


def test_the_command_line_and_the_page(few_words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words, out = tmp_path / "words.txt", tmp_path / "t"
    words.write_text("\n".join(few_words[:200]))
    given = ["tune", str(words), "--trials", "6", "--jobs", "2", "--hidden", "8", "--steps", "60", "--out", str(out)]
    assert main([*given, "--healthy"]) == 0
    assert "kept in" in capsys.readouterr().out
    assert (out / "best" / "report.html").exists()
    assert main([*given, "--json", "--healthy", "--no-report"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["trials"] == {"finished": 6, "pruned": summary["trials"]["pruned"], "running": 0, "waiting": 0}
    assert summary["run"]["run"] == str(out / "best")
    page = (out / "report.html").read_text()
    assert page.count('src="data:image/svg+xml;base64,') == 2 * (6 - summary["trials"]["pruned"] >= 4)
    assert "default-src &#39;none&#39;" in page
    assert main([*given, "--json", "--context", "5"]) == 2
    assert "begun with other options" in capsys.readouterr().out


def test_where_no_best_run_is_at_hand_the_line_says_why(
    few_words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "words.txt").write_text("\n".join(few_words[:200]))
    given = ["tune", str(tmp_path / "words.txt"), "--trials", "1", "--hidden", "8", "--steps", "60", "--no-report"]
    sick = [*given, "--out", str(tmp_path / "sick"), "--healthy"]
    with monkeypatch.context() as patched:
        finding = type("Finding", (), {"severity": "critical"})
        patched.setattr("lettrine.search.trial.load_health", lambda _: type("Report", (), {"findings": [finding]}))
        assert main(sick) == 0
    assert "no trial without a critical finding" in capsys.readouterr().out
    monkeypatch.setattr(searching, "ending", lambda _: contextlib.nullcontext(False))
    monkeypatch.setattr(api, "ending", lambda _: contextlib.nullcontext(False))
    assert main([*given, "--out", str(tmp_path / "theirs")]) == 0
    assert "another worker trains the best of these" in capsys.readouterr().err


def test_what_cannot_be(few_words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tuned(few_words, tmp_path / "t", trials=1, study="one")
    journal = str(tmp_path / "t" / "study.journal")
    with pytest.raises(RunExistsError, match="holds the search one of other words"):
        tuned(few_words[1:], tmp_path / "t", trials=1)
    with pytest.raises(ConfigError, match="'one' is of other words"):
        tuned(few_words[1:], tmp_path / "other", trials=1, study="one", storage=journal)
    with pytest.raises(ConfigError, match="begun with other options"):
        tuned(few_words, tmp_path / "another", trials=1, study="one", storage=journal, settings=lettrine.Settings(steps=61))
    with pytest.raises(ConfigError, match=r"--storage got 'nosuch://x' .*sqlite:///study.db"):
        tuned(few_words, tmp_path / "url", storage="nosuch://x")
    with pytest.raises(
        StorageError, match=r"postgresql://me:\*\*\*@127.0.0.1:1/db' cannot be reached .*type the same command"
    ) as raised:
        tuned(few_words, tmp_path / "down", storage="postgresql://me:secret@127.0.0.1:1/db")
    assert "secret" not in str(raised.value)
    with pytest.raises(ConfigError, match="minutes got 0"):
        tuned(few_words, tmp_path / "never", minutes=0)
    broken = tmp_path / "broken.journal"
    for other in ('{"op_code":0}\nno journal\n{}\n', "1\n2", "anna"):
        broken.write_text(other)
        with pytest.raises(ConfigError, match="holds no study that can be read"):
            tuned(few_words, tmp_path / "broken", storage=str(broken))
        assert broken.read_text() == other
    for folder in ("other", "another", "url", "down", "broken"):
        assert not (tmp_path / folder).exists()  # free for the next attempt
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"a search needs .*\[tune\]"):
        tuned(few_words, tmp_path / "without")


def test_sick_trials_are_not_the_best(few_words: list[str]) -> None:
    words = lettrine.Session(few_words).words
    search = searching.Search.__new__(searching.Search)
    search.space = Space.around(words, SMALL, SHORT)
    trials = [create_trial(state=TrialState.COMPLETE, value=value) for value in (3.0, 1.0, 2.0)]
    for number, trial in enumerate(trials):
        trial.number = number
    assert search.best(trials) is trials[1]
    trials[1].set_constraint(CRITICAL, 1)
    trials[2].set_constraint(CRITICAL, 0)
    assert search.best(trials) is trials[2]


def test_better_means_beyond_noise(few_words: list[str], tmp_path: Path) -> None:
    run = lettrine.train(few_words[:200], shape=SMALL, settings=SHORT, out=tmp_path / "a", page=False)
    worse = lettrine.train(
        few_words[:200], shape=SMALL, settings=lettrine.Settings(steps=1, prior="none"), out=tmp_path / "b", page=False
    )
    assert not better(run, run)
    assert better(run, worse)
    assert not better(worse, run)


def test_so_many_networks_as_there_is_time_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(best, "processors", lambda: 2)
    assert networks_within(100.0, 10.0, 1) == 1 + 8 * 2
    assert networks_within(10.0, 10.0, 1) == 1
    assert networks_within(10.0, 10.0, 4) == 4  # no fewer than the default has
    assert networks_within(1e6, 1.0, 1) == best.MOST
    assert networks_within(float("inf"), 1.0, 8) == 8


def test_workers_that_begin_at_once_share_a_new_folder(few_words: list[str], tmp_path: Path) -> None:
    words = lettrine.Session(few_words).words
    for turn in range(30):
        with ThreadPoolExecutor(4) as pool:

            def begin(place: int, turn: int = turn, folder: Path = tmp_path / f"{turn}") -> None:
                time.sleep(place * turn * 2e-4)  # at once, or nearly so
                api._claim(folder, "s", words, f"w{place}")
                (folder / "workers").mkdir(exist_ok=True)

            list(pool.map(begin, range(4)))
        assert sorted(each.name for each in (tmp_path / f"{turn}").iterdir()) == ["tune.json", "workers"]
