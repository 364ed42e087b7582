"""The house's rules: who may import whom, what start-up may load, which names are public."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import lettrine

SOURCE = Path(lettrine.__file__).parent

GROUND = ("errors", "arguments", "activations")  # what every room may import
# Room -> rooms it may import, itself and the ground floor aside.
ALLOWED = {
    "errors": set(),
    "arguments": set(),
    "activations": set(),
    "text": set(),
    "model": set(),
    "engine": {"model"},
    "inference": {"text", "model", "engine"},
    "training": {"text", "model", "engine", "inference", "health"},
    "search": {"text", "model", "engine", "inference", "health", "training"},
    "health": set(),
    "report": {"health"},
    "torch": {"health", "model", "engine"},
    "integrations": {"torch", "health", "report"},
    "live": {"report", "health"},
    "recipes": None,  # everything
    "tools": None,
    "cli": None,
}
PLAYS = {
    "live/play.py",
    "live/form.py",
    "live/faults.py",
    "live/plane.py",
}  # what a page may do to a training of ours, and shows of it alone; all else there knows traces only
HEAVY = {"torch", "altair", "vl_convert", "jinja2", "starlette", "uvicorn", "optuna", "matplotlib", "pyarrow", "pandas", "polars"}


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> list[tuple[str, int]]:
    """Every imported module, also inside functions, as a dotted name; with the line."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            found += [(node.module, node.lineno)]
            if node.module == "lettrine":
                found += [(f"lettrine.{alias.name}", node.lineno) for alias in node.names]
    return found


FILES = [path for path in sorted(SOURCE.rglob("*.py")) if path.parent != SOURCE or path.stem in GROUND]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_rooms_import_only_what_the_table_allows(path: Path) -> None:
    room = room_of(path)
    allowed = ALLOWED[room]
    for name, line in imports_of(path):
        parts = name.split(".")
        if parts[0] == "torch":
            assert room == "torch", f"{path}:{line} imports torch outside lettrine.torch"
        if parts[0] != "lettrine" or len(parts) == 1:
            continue
        target = parts[1]
        if target == "_native":
            assert path.relative_to(SOURCE).as_posix() in ("engine/native.py", "health/moments.py"), f"{path}:{line}"
        elif (path.relative_to(SOURCE).as_posix(), target) == ("health/__init__.py", "torch"):
            continue  # hands out `watch` lazily: the one door from the health check to torch
        elif path.relative_to(SOURCE).as_posix() in PLAYS:
            assert target != "torch", f"{path}:{line}"
        elif target in ALLOWED and target not in (*GROUND, room) and allowed is not None:
            assert target in allowed, f"{path}:{line}: {room} may not import {target}"


def test_the_table_names_every_room() -> None:
    rooms = {path.name.removesuffix(".py") for path in SOURCE.iterdir() if not path.name.startswith(("_", "."))}
    assert {room for room in rooms if not room.endswith((".typed", ".so", ".pyi"))} == set(ALLOWED) - (set(ALLOWED) - rooms)
    assert set(ALLOWED) <= rooms


IN_EACH_FRAMEWORK = {"HealthCheck"}


def test_one_word_is_one_thing() -> None:
    """No public class has a name that another one has, in whatever room."""
    homes: dict[str, list[str]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(str(path.relative_to(SOURCE)))
    twice = {name: places for name, places in homes.items() if len(places) > 1}
    assert set(twice) == IN_EACH_FRAMEWORK, twice
    assert all(place.startswith("integrations/") for name in IN_EACH_FRAMEWORK for place in twice[name])


IN_FLOAT64 = {
    "engine.py": 1,  # of a device that was chosen for it
    "checkup/task.py": 1,  # where `devices.has_float64` was asked before: here, and below
    "checkup/values.py": 1,
    "checkup/experiments/one_batch.py": 1,
}


def test_float64_is_taken_only_where_it_is() -> None:
    """Graphics cards of Apple have none: values go there by `devices.double`, or after `cpu()`."""
    found: dict[str, int] = {}
    for path in sorted((SOURCE / "torch").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            method = node.func if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else None
            if method is None or not (method.attr == "double" or any("float64" in ast.unparse(each) for each in node.args)):
                continue
            of = ast.unparse(method.value)
            if method.attr in ("double", "to") and not of.endswith(".cpu()") and not of.startswith(("exact(", "torch.")):
                name = path.relative_to(SOURCE / "torch").as_posix()
                found[name] = found.get(name, 0) + 1
    assert found == IN_FLOAT64


def loaded_by(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_lettrine_loads_nothing_else() -> None:
    assert not loaded_by("import lettrine") & (HEAVY | {"numpy", "typer", "rich"})


def test_the_command_line_answers_help_without_numpy() -> None:
    code = (
        "import io, contextlib\nfrom lettrine.cli.app import main\n"
        "with contextlib.redirect_stdout(io.StringIO()): main(['train', '--help'])"
    )
    assert not loaded_by(code) & (HEAVY | {"numpy"})


def test_a_command_loads_no_other_commands() -> None:
    loaded = loaded_by("from lettrine.cli.app import main; main(['sample', 'nowhere'])")
    assert {name for name in loaded if name.startswith("lettrine.cli.")} == {
        f"lettrine.cli.{name}" for name in ("app", "runs", "sample", "show", "writing")
    }


def test_public_names() -> None:
    assert lettrine.__all__ == [
        "Initialisation",
        "MLPConfig",
        "Optimiser",
        "Run",
        "Session",
        "Settings",
        "Shape",
        "__version__",
        "health",
        "init",
        "load",
        "resume",
        "score",
        "train",
        "tune",
    ]
    for name in lettrine.__all__:
        assert getattr(lettrine, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = lettrine.nothing


def test_opening_a_run_loads_neither_the_checks_nor_the_pictures() -> None:
    loaded = loaded_by("import lettrine.training.folder, lettrine.cli.ask, lettrine.cli.sample")
    assert not loaded & HEAVY
    assert not {name for name in loaded if name.startswith(("lettrine.health", "lettrine.report"))}
