"""What a release is: one version everywhere, sources that install without a compiler, a wheel that installs as it is."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

import lettrine

HOUSE = Path(__file__).parents[1]
KEPT = ("src", "native", "CMakeLists.txt", "pyproject.toml", "README.md", "LICENSE")
needs_builder = pytest.mark.skipif(
    importlib.util.find_spec("scikit_build_core") is None, reason="scikit-build-core is not installed"
)


def test_one_version_everywhere() -> None:
    project = tomllib.loads((HOUSE / "pyproject.toml").read_text())["project"]
    assert project["version"] == lettrine.__version__
    changes = re.findall(r"^## (.+)$", (HOUSE / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert changes[0] == "Unreleased"
    for heading in changes[1:]:
        assert re.fullmatch(r"\d+\.\d+\.\d+ \(\d{4}-\d\d-\d\d\)", heading), f"{heading} has no version and date"
    assert changes[1].startswith(f"{lettrine.__version__} ")


def run(*command: str, cwd: Path, **more: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON", "SKBUILD"))}
    done = subprocess.run(command, cwd=cwd, env={**kept, **more}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def environment(place: Path) -> str:
    """A fresh environment that has what lettrine needs from where the tests run, but not lettrine; its Python."""
    venv.create(place, symlinks=True, with_pip=False)
    python = place / "bin" / "python"
    site = Path(run(str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=place).strip())
    (site / "needed.pth").write_text("\n".join(each for each in sys.path if "site-packages" in each) + "\n")
    return str(python)


def installed(place: Path, wheel: Path) -> str:
    """The Python of an environment with the wheel in it; a wheel is an archive to be unpacked."""
    python = environment(place)
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=place).strip()
    with zipfile.ZipFile(wheel) as archive:
        assert archive.testzip() is None
        archive.extractall(site)
    return python


def built(folder: Path, *settings: str, **more: str) -> Path:
    """The wheel that the build backend makes of a copy of the sources."""
    source, out = folder / "source", folder / "out"
    source.mkdir()
    out.mkdir()
    ignore = shutil.ignore_patterns("__pycache__", "*.so")
    for name in KEPT:
        whole = HOUSE / name
        (shutil.copytree(whole, source / name, ignore=ignore) if whole.is_dir() else shutil.copy(whole, source / name))
    chosen = ", ".join(f"{each.split('=', 1)[0]!r}: {each.split('=', 1)[1]!r}" for each in settings)
    script = f"from scikit_build_core.build import build_wheel; build_wheel({str(out)!r}, {{{chosen}}})"
    run(sys.executable, "-c", script, cwd=source, **more)
    (wheel,) = out.glob("*.whl")
    return wheel


def trained(python: str, place: Path) -> str:
    """Train and draw words with what was installed; returns which engine there is."""
    run(python, "-m", "lettrine", "train", "--steps", "20", "--no-report", "--out", "run", cwd=place)
    assert run(python, "-m", "lettrine", "sample", "run", cwd=place).strip()
    where = run(python, "-c", "import lettrine; print(lettrine.__file__)", cwd=place).strip()
    assert where.startswith(str(place)), f"imported {where}"
    return run(python, "-m", "lettrine", "info", "--engine", "--json", cwd=place)


@needs_builder
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_wheel_installs_where_there_is_no_compiler(tmp_path: Path) -> None:
    if shutil.which("c++") is None:
        pytest.skip("no compiler here to build the wheel with")
    wheel = built(tmp_path, "cmake.define.LETTRINE_OPTIMISE=-O0", "cmake.define.LETTRINE_PORTABLE=ON", "cmake.build-type=Debug")
    names = zipfile.ZipFile(wheel).namelist()
    assert any(re.fullmatch(r"lettrine/_native\..*\.so", name) for name in names)
    assert {"lettrine/py.typed", "lettrine/_native.pyi", "lettrine/text/data/first-names.txt"} <= set(names)
    assert {name.split("/")[0] for name in names} == {"lettrine", f"lettrine-{lettrine.__version__}.dist-info"}
    place = tmp_path / "with"
    python = installed(place, wheel)
    assert '"native"' in trained(python, place)


@needs_builder
@pytest.mark.timeout(900)
def test_without_a_compiler_the_sources_install_all_the_same(tmp_path: Path) -> None:
    wheel = built(tmp_path, CC="/bin/false", CXX="/bin/false")
    assert not any("_native." in name and name.endswith(".so") for name in zipfile.ZipFile(wheel).namelist())
    place = tmp_path / "without"
    python = installed(place, wheel)
    assert '"auto": "reference"' in trained(python, place)
