"""CONTRIBUTING.md carried out: each addition is made to a copy of the house as it is written there, with the tests it names.

Its blocks of code stand behind a sentence that says where they go: "In `file`, after `line`:", "before", "instead of",
"At the end of `file`:", "A new file `file`:". Or a sentence says it all: "In `file`, take out `text`.", "In `file`, `text`
becomes `text`."
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1]
COPIED = ("src", "tests", "native", "scripts", "benchmarks", "CMakeLists.txt", "Makefile", "pyproject.toml", "constraints.txt")
_PARTS = re.split(r"^### ", (HOUSE / "CONTRIBUTING.md").read_text().partition("## Adding things")[2], flags=re.MULTILINE)[1:]
ADDITIONS = dict(part.split("\n", 1) for part in _PARTS)
CODE = r"\n\n```\n(?P<code>.*?)```"
STEPS = re.compile(
    r"In `(?P<file>[^`]+)`, (?P<how>after|before|instead of) `(?P<line>[^`]+)`:" + CODE
    + r"|(?P<end>At the end of) `(?P<end_file>[^`]+)`:" + CODE.replace("code", "end_code")
    + r"|(?P<new>A new file) `(?P<new_file>[^`]+)`:" + CODE.replace("code", "new_code")
    + r"|In `(?P<cut_file>[^`]+)`, take out `(?P<cut>[^`]+)`"
    + r"|In `(?P<turned_file>[^`]+)`, `(?P<old>[^`]+)` becomes `(?P<fresh>[^`]+)`"
    + r"|(?P<native>`make native`)"
    + r"|`python (?P<script>-m scripts[^`]+)`"
    + r"|`lettrine (?P<command>[^`]+)`"
    + r"|[Rr]un `(?P<tests>pytest [^`]+)`",
    re.DOTALL,
)  # fmt: skip


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the house with an environment of its own, which imports the copy, and all else from where the tests run."""
    copy = tmp_path_factory.mktemp("house")
    ignore = shutil.ignore_patterns("__pycache__", "*.so")
    for name in COPIED:
        whole = HOUSE / name
        (shutil.copytree(whole, copy / name, ignore=ignore) if whole.is_dir() else shutil.copy(whole, copy / name))
    compiled = importlib.util.find_spec("lettrine._native")
    if compiled is not None and compiled.origin is not None:
        shutil.copy(compiled.origin, copy / "src" / "lettrine")
    venv.create(copy / ".venv", symlinks=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(copy / ".venv")}))
    paths = [each for each in sys.path if "site-packages" in each]
    (site / "all.pth").write_text("\n".join([str(copy / "src"), *paths]) + "\n")
    (copy / ".venv" / "test").touch()
    yield copy
    shutil.rmtree(copy, ignore_errors=True)


def run(house: Path, *command: str) -> None:
    """Run something in the copy, as somebody who works there would."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON", "COV"))}
    done = subprocess.run(command, cwd=house, env=kept, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {path}"
    path.write_text(text.replace(old, new))


def take(house: Path, step: re.Match[str]) -> None:
    """One step as it is written."""
    python = str(house / ".venv" / "bin" / "python")
    if step["how"]:
        kept = {"after": f"{step['line']}\n{step['code']}", "before": f"{step['code']}{step['line']}"}
        (line,) = (each for each in (house / step["file"]).read_text().splitlines(keepends=True) if step["line"] in each)
        whole = kept.get(step["how"], step["code"])
        if step["how"] == "after":
            assert line == f"{step['line']}\n"
        change(house / step["file"], f"{step['line']}\n" if step["how"] != "before" else step["line"], whole)
    elif step["end"]:
        path = house / step["end_file"]
        path.write_text(path.read_text() + "\n\n" + step["end_code"])
    elif step["new"]:
        (house / step["new_file"]).write_text(step["new_code"])
    elif step["cut"]:
        change(house / step["cut_file"], f"{step['cut']}\n", "")
    elif step["old"]:
        change(house / step["turned_file"], step["old"], step["fresh"])
    elif step["native"]:
        if importlib.util.find_spec("cmake") is None or shutil.which("c++") is None:
            pytest.skip("no CMake or no compiler here")
        shutil.copy(_ninja(), house / ".venv" / "bin" / "ninja")
        # Neither optimised nor for every instruction set, which compiles ten times sooner.
        run(house, "make", "native", "CMAKE_ARGS=-DLETTRINE_OPTIMISE=-O0 -DLETTRINE_PORTABLE=ON -DCMAKE_BUILD_TYPE=Debug")
    elif step["script"] or step["command"]:
        run(house, python, *shlex.split(step["script"] or f"-m lettrine {step['command']}"))
    else:
        run(house, python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *shlex.split(step["tests"])[1:])


def _ninja() -> str:
    found = shutil.which("ninja", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if found is None:
        pytest.skip("no ninja here")
    return found


@pytest.mark.timeout(900)
@pytest.mark.parametrize("addition", ADDITIONS)
def test_an_addition_is_made_as_it_is_written(house: Path, addition: str) -> None:
    steps = list(STEPS.finditer(ADDITIONS[addition]))
    blocks = ADDITIONS[addition].count("```") // 2
    assert blocks == sum(bool(step["how"] or step["end"] or step["new"]) for step in steps), "a block whose place is not told"
    assert steps[-1]["tests"], "the tests come last"
    for step in steps:
        take(house, step)


def test_what_can_be_added_is_all_there() -> None:
    assert list(ADDITIONS) == ["An activation", "A check", "A recipe", "A command-line option", "A schedule", "A word list"]


@pytest.mark.timeout(900)
def test_an_activation_without_a_kernel_does_not_compile(house: Path) -> None:
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("no compiler here")
    names = house / "native" / "activation_names.hpp"
    names.write_text(names.read_text().replace("each(relu, ", 'each(nothing, "nothing") each(relu, '))
    sizes = {"VECTOR_BYTES": "16", "TILE_ROWS": "6", "NAMESPACE": "portable", "NAME": '"portable"'}
    defined = [f"-DLETTRINE_{key}={value}" for key, value in sizes.items()]
    command = [compiler, "-std=c++17", "-fsyntax-only", *defined, str(house / "native" / "kernels.cpp")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "nothing" in done.stderr
    names.write_text(names.read_text().replace('each(nothing, "nothing") ', ""))
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
