"""One clear line for every mistake: bad input, a folder that cannot be written, a disk that is full."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.cli.conftest import QUICK

import lettrine
from lettrine.cli.app import main

# What is typed -> what the one line must say. {run}: a run, {words}: a word list, {tmp}: an empty folder with some odd files.
BAD_INPUT = {
    "train {tmp}/absent.txt": "absent.txt",
    "train {tmp}": "folder",
    "train {tmp}/empty.txt": "empty",
    "train {tmp}/blanks.txt": "blank",
    "train {tmp}/binary.bin": "binary",
    "train {tmp}/latin.txt": "line 2",
    "train {tmp}/two.txt": "words",
    "train {tmp}/aaa.txt": "one character",
    "train {tmp}/table.csv --column nothing": "nothing",
    "train {tmp}/table.csv --column 9": "9",
    "train --column name": "column",
    "train {words} --corpus first-names": "one or the other",
    "train --corpus klingon": "klingon",
    "train --corpus words:xx": "words:xx",
    "train --top 0": "0",
    "train {words} --context 0": "context got 0",
    "train {words} --context -1": "context got -1",
    "train {words} --context 99999999": "context got 99999999",
    "train {words} --embedding 0": "embedding got 0",
    "train {words} --hidden 0": "hidden got 0",
    "train {words} --hidden 200x": "200x",
    "train {words} --hidden abc": "abc",
    "train {words} --hidden 200x0": "200x0",
    "train {words} --hidden 900000x9": "parameters",
    "train {words} --activation swish": "swish",
    "train {words} --norm layer": "layer",
    "train {words} --init xavier": "xavier",
    "train {words} --optimizer lion": "lion",
    "train {words} --lr -0.1": "learning rate got -0.1",
    "train {words} --lr 0": "learning rate got 0",
    "train {words} --lr nan": "learning rate got nan",
    "train {words} --lr inf": "learning rate got inf",
    "train {words} --lr much": "--lr",
    "train {words} --schedule linear": "linear",
    "train {words} --momentum 1": "momentum got 1",
    "train {words} --momentum -0.5": "momentum got -0.5",
    "train {words} --weight-decay -1": "weight decay got -1",
    "train {words} --l2 hid=3": "hid",
    "train {words} --l2 hidden=x": "hidden=x",
    "train {words} --l2 -1": "-1",
    "train {words} --batch 0": "batch got 0",
    "train {words} --batch 1.5": "--batch",
    "train {words} --steps 0": "steps got 0",
    "train {words} --steps -3": "steps got -3",
    "train {words} --eval-every -1": "eval every got -1",
    "train {words} --seed -1": "seed got -1",
    "train {words} --split-seed -1": "split seed got -1",
    "train {words} --fractions 0.8": "0.8",
    "train {words} --fractions 0.9,0.2": "0.9",
    "train {words} --fractions a,b": "a,b",
    "train {words} --threads 0": "threads got 0",
    "train {words} --engine gpu": "gpu",
    "train {words} --out {run}": "already holds a run",
    "train {words} --out {tmp}": "not empty",
    "train {words} --out {words}": "is a file",
    "train {words} --out {words}/below": "few.txt",
    "train {words} --like {tmp}": "run.json is missing",
    "train {words} --like {tmp}/absent": "does not exist",
    "train --resume {run}": "is finished",
    "train --resume {tmp}": "run.json is missing",
    "train --resume {run} --lr 0.1": "leave out lr",
    "train {words} --no-such-option": "no-such-option",
    "sample": "RUN",
    "sample {tmp}": "run.json is missing",
    "sample {tmp}/absent": "does not exist",
    "sample {words}": "is a file",
    "sample {run} -n 0": "count got 0",
    "sample {run} -n many": "--count",
    "sample {run} --temperature -1": "temperature got -1",
    "sample {run} --temperature nan": "temperature got nan",
    "sample {run} --top-k -1": "top-k got -1",
    "sample {run} --top-p 0": "top-p got 0",
    "sample {run} --top-p 2": "top-p got 2",
    "sample {run} --max-length 0": "max length got 0",
    "sample {run} --min-length -1": "min length got -1",
    "sample {run} --min-length 9 --max-length 8": "min length got 9",
    "sample {run} --suffix Q!": "Q",
    "sample {run} --contains Q!": "Q",
    "sample {run} --suffix anna --max-length 3": "4 characters or more",
    "sample {run} --suffix anna --without n": "no word of this model's characters meets suffix 'anna', without 'n'",
    "sample {run} --prefix an --match b.*": "begins with 'an'",
    "sample {run} --match (a": "a bracket left open",
    "sample {run} --match (a|b)*a(a|b){{25}}": "too complicated",
    "sample {run} --like aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa": "expected at most 40",
    "sample {run} --like anna --near 9": "near got 9",
    "sample {run} --not-near 9": "not near got 9",
    "sample {run} --temperature 0 --suffix zzz": "meets these wishes",
    "sample {run} --sort size": "sort got 'size'",
    "sample {run} --format xml": "format got 'xml'",
    "sample {run} --prefix Q!": "Q",
    "sample {run} --seed -1": "seed got -1",
    "sample {run} --engine gpu": "gpu",
    "score {run}": "WORD",
    "score {run} anna --file {words}": "both words and --file",
    "score {run} --file {tmp}/absent.txt": "absent.txt",
    "score {run} --file {tmp}/table.csv": "--column",
    "score {run} anna --format xml": "format got 'xml'",
    "score {run} --file {words} --threads 0": "threads got 0",
    "score {tmp} anna": "run.json is missing",
    "eval {run} {tmp}/absent.txt": "absent.txt",
    "eval {run} {tmp}/latin.txt": "line 2",
    "eval {tmp}": "run.json is missing",
    "health {tmp}": "run.json is missing",
    "health {run} --save {tmp}/report.pdf": "report.pdf",
    "info {tmp}/absent": "does not exist",
    "nonsense": "nonsense",
    "lr-range {tmp}/absent.txt": "absent.txt",
    "lr-range {tmp}/two.txt": "words",
    "lr-range {words} --low 0": "0 to 10",
    "lr-range {words} --low 1 --high 0.1": "the lower one first",
    "lr-range {words} --low nan": "nan",
    "lr-range {words} --high inf": "inf",
    "lr-range {words} --steps 3": "steps got 3",
    "lr-range {words} --steps -1": "steps got -1",
    "lr-range {words} --steps 1e3": "--steps",
    "lr-range {words} --steps 99999999999999999999": "steps got 99999999999999999999",
    "lr-range {words} --hidden 0": "hidden got 0",
    "lr-range {words} --batch 0": "batch got 0",
    "lr-range {words} --momentum 2": "momentum got 2",
    "lr-range {words} --activation swish": "swish",
    "lr-range {words} --engine gpu": "gpu",
    "lr-range {words} --threads 0": "threads got 0",
    "lr-range {words} --like {tmp}": "run.json is missing",
    "lr-range --run {tmp}/absent": "does not exist",
    "lr-range --run {run} --batch 4": "leave out batch",
    "lr-range --run {run} --engine gpu": "gpu",
    "lr-range {words} --steps 40 --html {tmp}/curve.pdf": "curve.pdf",
    "lr-range {words} --steps 40 --html {words}/curve.html": "few.txt",
    "gains --fan-in 0": "0",
    "gains --fan-in -1": "-1",
    "gains --fan-in many": "--fan-in",
    "gains --fan-in 10000000000": "10000000000",
    "gains --html {tmp}/gains.pdf": "gains.pdf",
    "gains extra": "extra",
    "compare": "RUN",
    "compare {run} {tmp}": "run.json is missing",
    "compare {tmp}/absent {run}": "does not exist",
    "compare {words} {run}": "is a file",
    "compare {run} {run} --html {words}/page.html": "few.txt",
    "compare {run} {run} --html {tmp}/page.txt": "page.txt",
    "norms": "RUN",
    "norms {run}": "batch norm",
    "norms {tmp}": "run.json is missing",
    "norms {tmp}/absent": "does not exist",
    "norms {run} --engine gpu": "gpu",
    "recipe nonsense": "nonsense",
    "recipe show": "NAME",
    "recipe show nothing": "nothing",
    "recipe run": "recipe",
    "recipe run nothing": "nothing",
    "recipe run naive {tmp}/absent.txt": "absent.txt",
    "recipe run naive {words} --steps -1": "steps got -1",
    "recipe run naive {words} --steps 2.5": "--steps",
    "recipe run naive {words} --seed -1": "seed got -1",
    "recipe run naive {words} --engine gpu": "gpu",
    "recipe run naive {words} --threads 0": "threads got 0",
    "recipe run naive {words} --html {tmp}/page.pdf": "page.pdf",
    "recipe run --fault nothing": "nothing",
    "recipe run --fault target-in-context {words} {words}": "at most one word list",
    "recipe run --fault target-in-context {tmp}/absent.txt": "absent.txt",
}


@pytest.fixture(scope="module")
def odd_files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("odd")
    (folder / "empty.txt").write_bytes(b"")
    (folder / "blanks.txt").write_bytes(b"\n  \n\t\n")
    (folder / "binary.bin").write_bytes(bytes(range(256)) * 4)
    (folder / "latin.txt").write_bytes("anna\nren\u00e9e\n".encode("latin-1"))
    (folder / "two.txt").write_text("anna\nbob\n")
    (folder / "aaa.txt").write_text("a\n" * 100)
    (folder / "table.csv").write_text("name,count\nanna,3\nbob,4\n")
    return folder


@pytest.mark.parametrize("typed", BAD_INPUT)
def test_bad_input_gets_one_clear_line(typed: str, run, words, odd_files, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = [part.format(run=run, words=words, tmp=odd_files) for part in typed.split()]
    before = sorted(path.stat().st_mtime_ns for path in odd_files.rglob("*"))
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("lettrine: ")
    assert captured.err.count("\n") == 1
    assert BAD_INPUT[typed] in captured.err
    assert "Traceback" not in captured.err
    assert list(tmp_path.iterdir()) == [], "something was written"
    assert sorted(path.stat().st_mtime_ns for path in odd_files.rglob("*")) == before


def test_a_read_only_folder_is_named(tmp_path, words, capsys, monkeypatch) -> None:
    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)  # root may write anywhere, so the refusal is simulated
    assert main(["train", str(words), "--out", str(tmp_path / "run"), *QUICK]) == 2
    assert "Permission denied" in capsys.readouterr().err


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path, words, capsys, monkeypatch) -> None:
    real = os.fsync
    written = []

    def fills_up(descriptor: int) -> None:
        name = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        if "trainer" in name and written.append(name) is None and len(written) > 1:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fills_up)
    monkeypatch.setattr("lettrine.training.trainer.CHECKPOINT_SECONDS", 0.0)
    folder = tmp_path / "run"
    assert main(["train", str(words), "--out", str(folder), *QUICK]) == 2
    error = capsys.readouterr().err
    assert "No space left on device" in error
    assert "free some space" in error
    assert not list(folder.glob("*.partial"))
    monkeypatch.undo()
    assert lettrine.resume(folder).status == "finished"
