"""Run folders from strangers: whatever stands in them, a refusal or a right answer; no traceback, no hang, no memory taken."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from strangers import FEW_ODD_VALUES, HEALTH, ODD_VALUES, RESUME, check_message, copy_run, make_run, places, put, safetensors, use

from lettrine.cli.app import main
from lettrine.errors import LettrineError, RunDamagedError
from lettrine.training.diagnosis import load_health
from lettrine.training.folder import load_run, load_splits, read_description
from lettrine.training.storage import MAX_JSON, read_arrays, read_json, write_arrays, write_bytes

ARRAY_FILES = ("model.safetensors", "trainer.safetensors", "history.safetensors", "counts.safetensors")
MEMORY = 1 << 30  # bytes of address space that a refusal may need beyond what importing takes

bounded = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return make_run(tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("work") / "run"


@pytest.fixture(autouse=True)
def numbers_of_strangers_may_overflow():
    """In checks and pictures of absurd figures numpy may warn; what is held here is that nothing breaks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def test_the_run_these_tests_spoil_is_whole(run, work) -> None:
    folder = copy_run(run, work)
    assert load_run(folder).sample(3, new=True)
    assert load_health(folder).findings is not None
    use(folder, to_the_end=True)
    assert read_description(folder)[1]["status"] == "finished"


# ---- run.json ------------------------------------------------------------------------------------------------------


def test_any_value_anywhere_in_run_json_is_read_or_refused(run, work) -> None:
    folder = copy_run(run, work)
    whole = json.loads((folder / "run.json").read_text())
    count = 0
    for path in places(whole):
        if len(path) > 1 and path[0] == "vocabulary" and path[1] > 2:
            continue  # one entry is like another
        for value in FEW_ODD_VALUES:
            (folder / "run.json").write_text(json.dumps(put(whole, path, value)))
            try:
                read_description(folder)
            except LettrineError as error:
                check_message(str(error))
            count += 1
    assert count > 500


@bounded
@given(st.data())
def test_a_run_with_a_changed_description_is_used_or_refused(run, work, data) -> None:
    whole = json.loads((run / "run.json").read_text())
    changed = whole
    for _ in range(data.draw(st.integers(1, 3))):
        known = list(places(changed))
        changed = put(changed, data.draw(st.sampled_from(known[1:] or known)), data.draw(st.sampled_from(ODD_VALUES)))
    folder = copy_run(run, work)
    (folder / "run.json").write_text(json.dumps(changed))
    use(folder)
    main(["info", str(folder)])
    main(["info", str(folder), "--json"])


@pytest.mark.parametrize(
    "text",
    [
        "[" * 1_000_000,
        '{"a":' * 200_000,
        "9" * 5_000,
        '{"format": ' + "9" * 5_000 + "}",
        '{"format": 1e999}',
        '{"format": Infinity}',
        '{"format": NaN}',
        '{"format": true}',
        '{"format": 99}',
        '"\\ud800"',
        "\ufeff{}",
        "\0" * 100,
        "",
        "{}",
        "null",
        '{"format": 1, "format": 1}',
    ],
    ids=lambda text: text[:20].encode("unicode_escape").decode(),
)
def test_odd_json_is_refused(run, work, text: str) -> None:
    folder = copy_run(run, work)
    (folder / "run.json").write_text(text, encoding="utf-8")
    with pytest.raises(RunDamagedError) as refusal:
        read_description(folder)
    check_message(str(refusal.value))


def test_a_description_of_many_gigabytes_is_not_read(tmp_path) -> None:
    with (tmp_path / "run.json").open("wb") as file:
        file.truncate(MAX_JSON + 1)  # sparse: it takes no room on the disk
    with pytest.raises(RunDamagedError, match="larger than"):
        read_json(tmp_path / "run.json")


@pytest.mark.parametrize("character", ["\x1b", "\x9b", "\n", "\u2028", "\ud800"], ids=ascii)
def test_a_vocabulary_with_control_characters_is_refused(run, work, character: str) -> None:
    folder = copy_run(run, work)
    whole = json.loads((folder / "run.json").read_text())
    whole["vocabulary"] = sorted([*whole["vocabulary"][1:], character])
    (folder / "run.json").write_text(json.dumps(whole))
    with pytest.raises(RunDamagedError, match="control character"):
        read_description(folder)


# ---- safetensors ---------------------------------------------------------------------------------------------------

HEADERS = {
    "a million million numbers": {"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}},
    "a million million numbers in four bytes": {"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4]}},
    "a product that overflows": {"a": {"dtype": "F32", "shape": [2**62, 2**62, 0], "data_offsets": [0, 0]}},
    "a negative axis": {"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}},
    "a hundred axes": {"a": {"dtype": "F32", "shape": [1] * 100, "data_offsets": [0, 4]}},
    "a fractional axis": {"a": {"dtype": "F32", "shape": [0.5], "data_offsets": [0, 4]}},
    "offsets that overlap": {
        "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
        "b": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
    },
    "offsets beyond the file": {"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}},
    "offsets backwards": {"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}},
    "no such type": {"a": {"dtype": "PICKLE", "shape": [1], "data_offsets": [0, 4]}},
    "bfloat16": {"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}},
    "eight bits": {"a": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}},
    "four bits": {"a": {"dtype": "F4", "shape": [8], "data_offsets": [0, 4]}},
    "a name cut in half": b'{"\\ud800":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "not an object": b"[" * 10_000,
    "metadata that is not text": {"__metadata__": {"health": 3}},
    "nothing": b"",
}


@pytest.mark.parametrize("header", HEADERS)
def test_a_header_that_lies_is_refused(tmp_path, header: str) -> None:
    (tmp_path / "x.safetensors").write_bytes(safetensors(HEADERS[header], b"\0" * 4))
    with pytest.raises(RunDamagedError) as refusal:
        read_arrays(tmp_path / "x.safetensors")
    check_message(str(refusal.value))


@pytest.mark.parametrize("content", [b"", b"\0" * 8, b"\xff" * 8, b"\xff" * 100, b"\x80\x04N."], ids=repr)
def test_what_is_no_safetensors_file_is_refused(tmp_path, content: bytes) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(RunDamagedError):
        read_arrays(tmp_path / "x.safetensors")


def test_a_name_that_stands_twice_is_read_once(tmp_path) -> None:
    one = b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
    (tmp_path / "x.safetensors").write_bytes(safetensors(b"{" + one + b"," + one + b"}", b"\0" * 4))
    arrays, _ = read_arrays(tmp_path / "x.safetensors")
    assert list(arrays) == ["a"]


def test_metadata_and_arrays_of_any_name_lead_nowhere(run, work) -> None:
    folder = copy_run(run, work)
    arrays, about = read_arrays(folder / "trainer.safetensors")
    names = ("../../evil", "/etc/passwd", "health/../x", "parameters/", "/", "", "\x1b[31m", "__reduce__")
    write_arrays(folder / "trainer.safetensors", arrays | {name: np.zeros(2) for name in names}, about)
    before = sorted(folder.parent.rglob("*"))
    use(folder)
    assert sorted(path for path in folder.parent.rglob("*") if not path.name.endswith(".safetensors")) == [
        path for path in before if not path.name.endswith(".safetensors")
    ]


SPOILT: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "whole numbers": lambda a: np.zeros(a.shape, np.int64),
    "half precision": lambda a: np.zeros(a.shape, np.float16),
    "complex numbers": lambda a: np.zeros(a.shape, np.complex64),
    "yes or no": lambda a: np.zeros(a.shape, np.bool_),
    "one axis more": lambda a: a[None],
    "one number": lambda a: np.zeros((), a.dtype),
    "no numbers": lambda a: a.reshape(-1)[:0],
    "no numbers, a million million times": lambda a: np.zeros((10**12, 0), a.dtype),
    "one row less": lambda a: a[1:] if a.ndim else a,
    "twice": lambda a: np.concatenate([a, a]) if a.ndim else a,
    "NaN": lambda a: np.full_like(a, np.nan if a.dtype.kind == "f" else -1),
    "infinite": lambda a: np.full_like(a, np.inf if a.dtype.kind == "f" else np.iinfo(a.dtype).max // 2),
    "negative": lambda a: np.full_like(a, -3),
    "largest": lambda a: np.full_like(a, np.finfo(a.dtype).max if a.dtype.kind == "f" else np.iinfo(a.dtype).max),
    "smallest": lambda a: np.full_like(a, np.finfo(a.dtype).smallest_subnormal if a.dtype.kind == "f" else np.iinfo(a.dtype).min),
}


@settings(bounded, max_examples=15)  # each goes on to the end of a training
@given(st.data())
def test_any_array_may_be_spoilt_or_missing(run, work, data) -> None:
    folder = copy_run(run, work)
    file = data.draw(st.sampled_from(ARRAY_FILES))
    arrays, about = read_arrays(folder / file)
    for _ in range(data.draw(st.integers(1, 2))):
        name = data.draw(st.sampled_from(sorted(arrays)))
        how = data.draw(st.sampled_from(["missing", *SPOILT]))
        arrays = {key: value for key, value in arrays.items() if key != name or how != "missing"}
        if how != "missing":
            arrays[name] = SPOILT[how](arrays[name])
    write_arrays(folder / file, arrays, about)
    use(folder, to_the_end=True)


@pytest.mark.parametrize("how", SPOILT)
def test_every_number_of_a_checkpoint_may_be_spoilt(run, work, how: str) -> None:
    whole, about = read_arrays(run / "trainer.safetensors")
    folder = copy_run(run, work)
    for name in whole:
        group, _, rest = name.partition("/")
        if group in ("parameters", "best", "moments") and "output." not in rest:
            continue  # one weight is like another
        if group == "health":
            continue  # looked at below
        write_arrays(folder / "trainer.safetensors", whole | {name: SPOILT[how](whole[name])}, about)
        use(folder, only=RESUME)


@pytest.mark.parametrize("value", [-1.0, 1e300, np.nan, np.inf, -np.inf, 0.5])
@pytest.mark.parametrize("place", range(5))
def test_absurd_numbers_in_a_checkpoint_are_refused_or_harmless(run, work, place: int, value: float) -> None:
    folder = copy_run(run, work)
    arrays, about = read_arrays(folder / "trainer.safetensors")
    numbers = np.array(arrays["numbers"])
    numbers[place] = value
    write_arrays(folder / "trainer.safetensors", arrays | {"numbers": numbers}, about)
    use(folder, only=RESUME)


def test_weights_that_are_not_finite_are_refused(run, work) -> None:
    folder = copy_run(run, work)
    arrays, _ = read_arrays(folder / "model.safetensors")
    broken = np.array(arrays["output.weight"])
    broken[0, 0] = np.nan
    write_arrays(folder / "model.safetensors", arrays | {"output.weight": broken})
    with pytest.raises(RunDamagedError, match=r"not finite, in output\.weight"):
        load_run(folder)


def test_weights_that_overflow_give_an_answer_without_warnings(run, work) -> None:
    folder = copy_run(run, work)
    arrays, _ = read_arrays(folder / "model.safetensors")
    write_arrays(folder / "model.safetensors", {name: np.full_like(value, 1e38) for name, value in arrays.items()})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened = load_run(folder, engine="reference")
        assert len(opened.sample(3, max_length=4)) == 3
        assert len(opened.model.score(["anna"])[0].characters) == 5
        assert main(["score", str(folder), "anna", "--json", "--engine", "reference"]) == 0


@bounded
@given(st.data())
def test_any_value_anywhere_in_a_stored_health_trace(run, work, data) -> None:
    folder = copy_run(run, work)
    arrays, about = read_arrays(folder / "history.safetensors")
    values = json.loads(about["health"])
    for _ in range(data.draw(st.integers(1, 3))):
        known = list(places(values))
        values = put(values, data.draw(st.sampled_from(known)), data.draw(st.sampled_from(ODD_VALUES)))
    write_arrays(folder / "history.safetensors", arrays, {"health": json.dumps(values)})
    write_arrays(folder / "trainer.safetensors", read_arrays(run / "trainer.safetensors")[0], {"health": json.dumps(values)})
    use(folder, only=HEALTH, to_the_end=True)


@pytest.mark.parametrize("text", ["[]", "3", "null", "[" * 100_000, "{", '{"format": 1}', "\x1b"], ids=lambda text: text[:8])
def test_a_health_trace_that_is_none_is_refused(run, work, text: str) -> None:
    folder = copy_run(run, work)
    write_arrays(folder / "history.safetensors", read_arrays(folder / "history.safetensors")[0], {"health": text})
    with pytest.raises(LettrineError) as refusal:
        load_health(folder)
    check_message(str(refusal.value))


# ---- any file ------------------------------------------------------------------------------------------------------


@bounded
@given(st.data())
@example(None)
def test_any_bytes_may_be_changed(run, work, data) -> None:
    folder = copy_run(run, work)
    if data is None:  # every file emptied in turn, before chance has its say
        for path in sorted(folder.iterdir()):
            copy_run(run, work)
            path.write_bytes(b"")
            use(folder)
        return
    path = folder / data.draw(st.sampled_from(("run.json", "words.txt", *ARRAY_FILES)))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        where = data.draw(st.integers(0, max(min(len(content) - 1, 4000), 0)))
        match data.draw(st.sampled_from(["change", "cut", "insert"])):
            case "change":
                content[where : where + 1] = data.draw(st.binary(min_size=1, max_size=1))
            case "cut":
                del content[where : where + data.draw(st.integers(1, 1000))]
            case "insert":
                content[where:where] = data.draw(st.binary(max_size=30))
    path.write_bytes(bytes(content))
    use(folder)


def test_other_words_than_those_trained_on_are_refused(run, work) -> None:
    folder = copy_run(run, work)
    (folder / "words.txt").write_text((folder / "words.txt").read_text() + "ada\n")
    for attempt in (lambda: load_run(folder).sample(3, new=True), lambda: load_splits(load_run(folder))):
        with pytest.raises(RunDamagedError, match="was changed"):
            attempt()
    assert load_run(folder).sample(2)


@pytest.mark.parametrize("name", ["run.json", "words.txt", *ARRAY_FILES])
@pytest.mark.parametrize("kind", ["link out", "link in a circle", "pipe", "folder", "link to a device", "missing"])
def test_only_the_files_of_the_folder_itself_are_read(run, work, tmp_path, name: str, kind: str) -> None:
    folder = copy_run(run, work)
    path = folder / name
    content = path.read_bytes()
    path.unlink()
    match kind:
        case "link out":
            (tmp_path / "elsewhere").write_bytes(content)
            path.symlink_to(tmp_path / "elsewhere")
        case "link in a circle":
            path.symlink_to(path)
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "link to a device":
            path.symlink_to("/dev/zero")
    use(folder)  # and does not wait for a pipe that no one writes to
    if name in ("run.json", "model.safetensors"):
        with pytest.raises(RunDamagedError) as refusal:
            load_run(folder)
        assert name in str(refusal.value)


def test_nothing_is_written_through_a_link(run, work, tmp_path) -> None:
    folder = copy_run(run, work)
    precious = tmp_path / "precious"
    precious.write_text("mine")
    for name in ("trainer.safetensors", "model.safetensors", "run.json", "report.html"):
        (folder / f"{name}.partial").symlink_to(precious)
    (folder / "report.html").symlink_to(precious)
    assert main(["train", "--resume", str(folder), "--json"]) == 0
    assert precious.read_text() == "mine"
    assert not (folder / "report.html").is_symlink()
    (folder / "x.partial").symlink_to(precious)
    write_bytes(folder / "x", b"ours")
    assert precious.read_text() == "mine"


# ---- memory --------------------------------------------------------------------------------------------------------

GREEDY = {
    "wide": {"config": {"hidden": [900_000, 1_000]}},
    "wide output": {"config": {"hidden": [20_000, 40_000]}},
    "many steps": {"settings": {"steps": 10**9}},
    "large batch": {"settings": {"batch": 2**24}, "config": {"hidden": [100_000]}},
}


@pytest.mark.parametrize("claim", GREEDY)
def test_a_description_that_claims_too_much_is_refused_before_memory_is_taken(run, work, claim: str) -> None:
    folder = copy_run(run, work)
    whole = json.loads((folder / "run.json").read_text())
    for part, values in GREEDY[claim].items():
        whole[part] |= values
    (folder / "run.json").write_text(json.dumps(whole))
    (folder / "trainer.safetensors").unlink()  # it would be refused by its shapes alone
    code = (
        "import resource, sys, lettrine.training.watch\n"
        "from lettrine.cli.app import main\n"
        "taken = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        f"resource.setrlimit(resource.RLIMIT_AS, (taken + {MEMORY}, taken + {MEMORY}))\n"
        "main(['sample', sys.argv[1]]); sys.exit(main(['train', '--resume', sys.argv[1], '--no-report']))"
    )
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False, env=environment, timeout=120
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert all(line.startswith("lettrine: ") for line in done.stderr.splitlines()), done.stderr
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 < 2 * MEMORY
