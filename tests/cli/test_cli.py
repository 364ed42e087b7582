"""The command line as a person types it: what it prints where, and one line for every mistake."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from rich.console import Console
from tests.cli.conftest import QUICK
from typer.main import get_command

import lettrine
from lettrine.cli.app import HOMES, build, main
from lettrine.cli.progress import progress
from lettrine.training.checkpoint import Checkpoint
from lettrine.training.diagnosis import load_health
from lettrine.training.folder import read_description
from lettrine.training.progress import Progress


def json_of(capsys) -> dict:
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.count("\n") == 1
    return json.loads(captured.out)


def test_train_json_has_what_a_script_needs(tmp_path, words, few_words, capsys) -> None:
    assert main(["train", str(words), "--out", str(tmp_path / "run"), "--json", *QUICK]) == 0
    result = json_of(capsys)
    assert result["run"] == str(tmp_path / "run")
    assert result["device"] == "cpu"
    assert result["engine"] in ("native", "reference")
    assert result["vocabulary_size"] == len(set("".join(few_words))) + 1
    assert sum(result["examples"].values()) == sum(map(len, few_words)) + len(few_words)
    simpler = {f"{name}_test" for name in ("unigram", "bigram", "trigram", "counts", "network")}
    assert set(result["loss"]) == {"expected_initial", "initial", "train", "dev", "test", "counts_dev", "network_dev", *simpler}
    assert result["steps"] == 60
    assert result["seconds"] > 0
    assert result["steps_per_second"] > 0
    v = result["vocabulary_size"]
    assert result["parameters"] == v * 4 + 12 * 16 + 16 + 16 * v + v


def test_train_tells_a_person_the_same(tmp_path, words, capsys) -> None:
    assert main(["train", str(words), "--out", str(tmp_path / "run"), *QUICK]) == 0
    captured = capsys.readouterr()
    for piece in ("300 words", "a uniform guess: ln", "never looked at", "new words:", f"lettrine sample {tmp_path / 'run'}"):
        assert piece in captured.out
    assert captured.err == ""  # no progress bar where there is no terminal


def test_where_nothing_was_compiled_it_says_so_once(tmp_path, words, capsys, monkeypatch) -> None:
    monkeypatch.setattr("lettrine.engine.choice.native_built", lambda: False)
    assert main(["train", str(words), "--out", str(tmp_path / "a"), *QUICK, "--no-report"]) == 0
    shown = capsys.readouterr()
    assert "reference engine)" in shown.out
    assert shown.err.count("\n") == shown.err.count("C++ compiler") == 1
    asked_for = ["train", str(words), "--out", str(tmp_path / "b"), *QUICK, "--engine", "reference"]
    for quiet in (["sample", str(tmp_path / "a")], asked_for):
        assert main(quiet) == 0
        assert "compiler" not in capsys.readouterr().err


def test_without_out_runs_are_numbered(tmp_path, words, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert main(["train", str(words), "--json", *QUICK]) == 0
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["few", "few-2"]


def test_sample(run, capsys) -> None:
    assert main(["sample", str(run), "-n", "7", "--seed", "3", "--prefix", "ma"]) == 0
    words = capsys.readouterr().out.splitlines()
    assert len(words) == 7
    assert all(word.startswith("ma") for word in words)
    assert main(["sample", str(run), "-n", "7", "--seed", "3", "--prefix", "ma", "--json"]) == 0
    assert json_of(capsys)["words"] == words


def test_sample_new_leaves_out_the_training_list(run, few_words, capsys) -> None:
    assert main(["sample", str(run), "-n", "500", "--temperature", "0.5", "--new", "--unique"]) == 0
    words = capsys.readouterr().out.splitlines()
    assert words
    assert not set(words) & set(few_words)
    assert len(set(words)) == len(words)


def test_score(run, capsys) -> None:
    assert main(["score", str(run), "anna", "jjq", "--json"]) == 0
    anna, odd = json_of(capsys)["scores"]
    assert anna["word"] == "anna"
    assert anna["log_likelihood"] == pytest.approx(sum(each["log_probability"] for each in anna["characters"]))
    assert anna["per_character"] > odd["per_character"]
    assert main(["score", str(run), "anna"]) == 0
    assert "anna" in capsys.readouterr().out


def test_sample_under_wishes(run, capsys) -> None:
    wishes = [
        "--suffix",
        "a",
        "--contains",
        "n",
        "--without",
        "l",
        "--min-length",
        "4",
        "--max-length",
        "6",
        "--match",
        ".*[aeiou]na",
    ]
    assert main(["sample", str(run), "-n", "30", *wishes]) == 0
    words = capsys.readouterr().out.split()
    assert len(words) == 30
    assert all(re.fullmatch("[^l]{1,3}[aeiou]na", word) and 4 <= len(word) <= 6 for word in words)
    assert main(["sample", str(run), "-n", "20", "--like", "anna", "--near", "1", "--unique"]) == 0
    assert all(len(set(word) & set("an")) for word in capsys.readouterr().out.split())


def test_sample_in_every_form(run, capsys) -> None:
    command = ["sample", str(run), "-n", "5", "--scores", "--sort", "score"]
    assert main([*command, "--json"]) == 0
    scores = json_of(capsys)["scores"]
    likelihoods = [row["log_likelihood"] for row in scores]
    assert likelihoods == sorted(likelihoods, reverse=True)
    assert main([*command, "--format", "jsonl"]) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == scores
    for form, separator in (("csv", ","), ("text", "\t")):
        assert main([*command, "--format", form]) == 0
        rows = list(csv.DictReader(capsys.readouterr().out.splitlines(), delimiter=separator))
        assert [(row["word"], float(row["log_likelihood"])) for row in rows] == [(r["word"], r["log_likelihood"]) for r in scores]
    assert main(["sample", str(run), "-n", "5", "--sort", "word", "--format", "csv"]) == 0
    head, *words = capsys.readouterr().out.splitlines()
    assert head == "word"
    assert words == sorted(words)


def test_score_reads_files_and_standard_input(run, words, few_words, capsys, monkeypatch) -> None:
    assert main(["score", str(run), "--file", str(words), "--format", "jsonl"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["word"] for row in rows] == few_words
    assert main(["score", str(run), "anna", "a\u4e00", "--json"]) == 0
    captured = capsys.readouterr()
    anna, strange = json.loads(captured.out)["scores"]
    assert strange["unknown"] == ["\u4e00"]
    assert "never saw \u4e00" in captured.err
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("anna\na\u4e00\n".encode())))
    assert main(["score", str(run), "--file", "-", "--format", "csv"]) == 0
    captured = capsys.readouterr()
    first, second = csv.DictReader(captured.out.splitlines())
    assert float(first["log_likelihood"]) == pytest.approx(anna["log_likelihood"], abs=1e-3)
    assert (first["unknown"], second["unknown"], second["character"]) == ("0", "1", "\u4e00")
    assert "1 of 2 words" in captured.err


def test_errors_are_json_where_json_was_asked_for(run, capsys) -> None:
    assert main(["sample", str(run), "--max-length", "0", "--json"]) == 2
    captured = capsys.readouterr()
    error = json.loads(captured.out)["error"]
    assert error["kind"] == "ConfigError"
    assert error["exit_code"] == 2
    assert captured.err == f"lettrine: {error['message']}\n"


def test_info_without_a_run_lists_those_there_are(run, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["info"]) == 0
    assert "there is no run" in capsys.readouterr().err
    shutil.copytree(run, tmp_path / "runs" / "one")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "run.json").write_text("{}")
    assert main(["info", "--json"]) == 0
    rows = {row["run"]: row["status"] for row in json_of(capsys)["runs"]}
    assert rows == {"runs/one": "finished", "odd": "damaged"}
    assert main(["info"]) == 0
    assert "runs/one" in capsys.readouterr().out


def test_a_shell_completes_commands_options_and_runs(run, tmp_path) -> None:
    shutil.copytree(run, tmp_path / "runs" / "one")
    for typed, wanted in (("sam", "sample"), ("sample --suf", "--suffix"), ("sample run", "runs/one")):
        variables = {"_LETTRINE_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": f"lettrine {typed}"}
        command = [sys.executable, "-c", "import sys; sys.argv = ['lettrine']; from lettrine.cli.app import main; main()"]
        done = subprocess.run(command, env={**os.environ, **variables}, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert wanted in done.stdout, (typed, done)


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 200])
def test_progress_fits_the_terminal(columns, monkeypatch) -> None:
    drawn = io.StringIO()
    terminal = Console(file=drawn, force_terminal=True, width=columns, color_system=None)
    monkeypatch.setattr("lettrine.cli.progress.console", lambda **_: terminal)
    with progress(quiet=False) as listener:
        listener(Progress(19_999, 20_000, 2.1234, 2.2345, 12_345.0))
    lines = [re.sub(r"\x1b\[[0-9?]*[a-zA-Z]", "", line) for line in re.split("[\r\n]", drawn.getvalue())]
    assert max(map(len, lines)) <= columns
    if columns >= 40:
        assert any("dev 2.23" in line and "19999/20000" in line for line in lines)


def test_eval_holds_the_network_against_counting(run, words, capsys) -> None:
    assert main(["eval", str(run), "--json"]) == 0
    losses = json_of(capsys)["losses"]
    assert set(losses) == {"dev", "test"}
    for table in losses.values():
        assert list(table) == ["uniform", "unigram", "bigram", "trigram", "kneser-ney", "network alone", "model"]
        assert table["uniform"]["nats"] > table["unigram"]["nats"] > table["model"]["nats"]
        assert table["model"]["bits_per_character"] == pytest.approx(table["model"]["nats"] / 0.6931471805599453)
    assert main(["eval", str(run), str(words)]) == 0
    assert "trigram" in capsys.readouterr().out


def test_health_reads_the_run_again(run, tmp_path, capsys) -> None:
    assert main(["health", str(run), "--json", "--save", str(tmp_path / "health.txt")]) == 0
    report = json_of(capsys)
    assert report["healthy"]
    assert report["facts"]["classes"] == lettrine.load(run).model.vocabulary.size
    assert {each["check"] for each in report["outcomes"]} >= {"initial-loss", "saturation", "leak"}
    assert "activations.0" in (tmp_path / "health.txt").read_text()
    assert (run / "report.html").stat().st_size < 5_000_000


def test_health_is_critical_for_a_sick_run(tmp_path, words, capsys) -> None:
    sick = ["--activation", "tanh", "--init", "naive", "--optimizer", "sgd", "--lr", "50", "--schedule", "constant"]
    assert main(["train", str(words), "--out", str(tmp_path / "run"), *QUICK, *sick]) == 0
    assert "update-too-large" in {each.id for each in load_health(tmp_path / "run").findings}
    assert f"tried in seconds: lettrine health {tmp_path / 'run'} --try" in capsys.readouterr().out.replace("\n", "")
    assert main(["health", str(tmp_path / "run")]) == 1
    assert "learning rate" in capsys.readouterr().out


def test_an_unwatched_run_says_so(tmp_path, words, capsys) -> None:
    assert main(["train", str(words), "--out", str(tmp_path / "run"), *QUICK, "--no-health", "--no-report"]) == 0
    assert not (tmp_path / "run" / "report.html").exists()
    capsys.readouterr()
    assert main(["health", str(tmp_path / "run")]) == 2
    assert "--no-health" in capsys.readouterr().err


def test_info(run, capsys) -> None:
    assert main(["info", str(run), "--json"]) == 0
    described = json_of(capsys)
    assert described["status"] == "finished"
    assert described["config"]["hidden"] == [16]
    assert main(["info", str(run)]) == 0
    assert "loss dev" in capsys.readouterr().out
    assert main(["info", "--engine", "--json"]) == 0
    assert json_of(capsys)["auto"] in ("native", "reference")


def test_corpora(capsys) -> None:
    assert main(["corpora", "--json"]) == 0
    names = [each["name"] for each in json_of(capsys)["corpora"]]
    assert "first-names" in names
    assert "words:fr" in names


def test_like_takes_over_and_can_be_overruled(run, words, tmp_path, capsys) -> None:
    assert (
        main(["train", str(words), "--like", str(run), "--out", str(tmp_path / "b"), "--hidden", "8x2", "--norm", "batch"]) == 0
    )
    capsys.readouterr()
    assert main(["info", str(tmp_path / "b"), "--json"]) == 0
    described = json_of(capsys)
    assert described["config"]["context"] == 3
    assert described["config"]["hidden"] == [8, 8]
    assert described["config"]["hidden_bias"] is False
    assert described["settings"]["steps"] == 600


def test_standard_input(tmp_path, few_words) -> None:
    command = [sys.executable, "-m", "lettrine", "train", "-", "--out", str(tmp_path / "run"), "--json", *QUICK]
    done = subprocess.run(command, input="\n".join(few_words), capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["words"] == 300


def test_ctrl_c_before_there_is_a_run_says_so(monkeypatch, capsys, words) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lettrine.training.api.train", interrupted)
    assert main(["train", str(words)]) == 130
    assert capsys.readouterr().err == "lettrine: stopped\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["int", "term"])
def test_a_signal_keeps_what_was_learned(tmp_path, words, number, code) -> None:
    folder = tmp_path / "run"
    settings = ["--context", "3", "--embedding", "4", "--hidden", "16", "--steps", "2000000"]
    command = [sys.executable, "-m", "lettrine", "train", str(words), "--out", str(folder), "--json", *settings]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (folder / "trainer.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.01)  # written after the first steps
    process.send_signal(number)
    out, err = process.communicate(timeout=240)
    assert process.returncode == code
    assert "go on with: lettrine train --resume" in err
    assert json.loads(out)["status"] == "interrupted"
    kept = lettrine.load(folder).results.steps
    assert kept > 0
    _, _, config, _, settings, _ = read_description(folder)
    assert Checkpoint.read(folder, config, settings).step == kept, "the last checkpoint is of the last step"


def test_version_and_help(capsys) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"lettrine {lettrine.__version__}\n"
    every = [command for commands in HOMES.values() for command in commands]
    assert list(get_command(build()).commands) == every
    for command in every:
        assert main([command, "--help"]) == 0
        assert command == "recipe" or "Example: lettrine" in " ".join(capsys.readouterr().out.split())


def test_a_reader_that_leaves_early_is_no_error(run) -> None:
    command = f"{sys.executable} -m lettrine sample {run} -n 20000 | head -n 1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode == 0
