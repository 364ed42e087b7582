"""Every error that can reach a user is one of ours, is documented, is raised somewhere, and says what to do."""

from __future__ import annotations

import ast
import inspect
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from strangers import ESCAPES, check_message

import lettrine
from lettrine import errors
from lettrine.errors import LettrineError, MissingExtraError, StorageError, install_line, quote

SOURCE = Path(lettrine.__file__).parent
CLASSES = {name: kind for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, LettrineError)}
BASES = {"LettrineError", "RunError"}  # caught by, not raised

# Exceptions of Python's own that are raised on purpose, and why none of them reaches a user as an error.
OTHERS = {
    "CancelFitException": "fastai's way to end a training",
    "KeyboardInterrupt": "skorch's way to end a training",
    "AttributeError": "what Python expects of a module's __getattr__",
    "_Stopped": "Ctrl-C where there is nothing to resume, told in one line by the command itself",
    "KeyError": "what a mapping raises, and Python catches, where a name is missing",
    "Exit": "typer's way to end with an exit code",
    "Skip": "one check telling the registry that it has nothing to judge by",
    "ValueError": "raised and caught in one function, which tells it on as RunDamagedError",
    "TypeError": "raised and caught in one function, which tells it on as RunDamagedError",
    "error": "the variable of an except clause, raised again",
    "RuntimeError": "raised inside the probe, which notes it in the report and goes on",
    "AssertionError": "what a test of the user's expects of assert_healthy",
    "NotCalled": "one experiment telling another that the loss function never calls the model",
    "TrialPruned": "Optuna's way to end a trial",
    "CutOffError": "a trial telling its search that it was stopped, and can go on",
    "SurplusError": "a trial telling its search that it is one too many",
    "_Late": "an experiment out of time, raised and caught in it",
    "_Unrelated": "a loss function that its argument does not reach, raised and caught in one experiment",
    "cause": "one of ours that a worker of Ray raised and Ray wrapped, raised again",
    "?": "a choice between two of these",
}
# One of these says what to do; a message that has none of them leaves the reader alone.
REMEDY = re.compile(
    r"expected|did you mean|install|lower|choose|train |try |again|give|take|put |call |convert|look for|ask for|resume|"
    r"upgrade|free some|wait|leave out|draw|use |write |make |add |pass |run |set |see |build|hand |"
    r"watch (it|the)|Give|go on|remedy|_advice"
)


def raised() -> Iterator[tuple[str, str, str]]:
    """(where, class, text) of every raise statement."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) and node.exc is not None:
                call = node.exc
                target = call.func if isinstance(call, ast.Call) else call
                name = target.attr if isinstance(target, ast.Attribute) else target.id if isinstance(target, ast.Name) else "?"
                text = " ".join(
                    part.value if isinstance(part, ast.Constant) else part.id
                    for part in ast.walk(call)
                    if isinstance(part, ast.Name) or (isinstance(part, ast.Constant) and isinstance(part.value, str))
                )
                yield f"{path.relative_to(SOURCE)}:{node.lineno}", name, text


RAISED = list(raised())
MAKERS = {"storage_error": "StorageError"}  # functions that make an error for others to raise


def test_the_tree_is_drawn_where_it_is_defined() -> None:
    drawn = set(re.findall(r"[├└│ ]*[├└]── (\w+)", errors.__doc__)) | {"LettrineError"}
    assert drawn == set(CLASSES)
    for kind in CLASSES.values():
        assert kind.__doc__


def test_every_class_is_raised_somewhere() -> None:
    names = {MAKERS.get(name, name) for _, name, _ in RAISED}
    assert set(CLASSES) - BASES <= names
    assert not BASES & names, "a base is too vague to raise"


def test_nothing_else_is_raised() -> None:
    strange = [(where, name) for where, name, _ in RAISED if name not in CLASSES and name not in OTHERS and not is_helper(name)]
    assert not strange


def is_helper(name: str) -> bool:
    """A function that returns an error for its caller to raise."""
    return name in MAKERS or any(
        isinstance(node, ast.FunctionDef)
        and node.name == name
        and isinstance(node.returns, ast.Name)
        and node.returns.id in CLASSES
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    )


@pytest.mark.parametrize(
    ("where", "name", "text"),
    [row for row in RAISED if row[1] in CLASSES and row[2] not in (row[1], f"{row[1]} str error")],
    ids=lambda value: value[:40],
)
def test_every_message_says_what_to_do(where: str, name: str, text: str) -> None:
    assert name == "MissingExtraError" or not text or REMEDY.search(text), f"{where}: {text}"


@pytest.mark.parametrize(
    "kind", [kind for kind in CLASSES.values() if kind is not MissingExtraError], ids=lambda kind: kind.__name__
)
def test_every_message_is_one_printable_line(kind: type[LettrineError]) -> None:
    error = kind(f"{ESCAPES} {quote(ESCAPES)} " + "x" * 100_000)
    check_message(str(error))
    assert "\\x1b" in str(error), "shown, not swallowed"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert kind.exit_code in (2, 3)


def test_the_line_that_installs_an_extra_works_from_a_checkout_and_from_an_index(tmp_path, monkeypatch) -> None:
    checkout = Path(__file__).parents[2]
    assert install_line("torch") == f"pip install -e '{checkout}[torch]'"
    monkeypatch.setattr("lettrine.errors.__file__", str(tmp_path / "site-packages" / "lettrine" / "errors.py"))
    assert install_line("torch") == "pip install 'lettrine[torch]'"


def test_errors_are_what_python_code_expects_too() -> None:
    assert issubclass(StorageError, OSError)
    assert issubclass(MissingExtraError, ImportError)
    assert str(MissingExtraError("x", "torch")).endswith(f"install it with: {install_line('torch')}")
    for name in ("WordListError", "ConfigError", "EngineError"):
        assert issubclass(CLASSES[name], ValueError)


def test_nothing_in_the_source_runs_code_from_files_or_reaches_the_network() -> None:
    banned_modules = {"pickle", "marshal", "shelve", "socket", "ssl", "http", "requests", "ctypes", "subprocess", "ftplib"}
    banned_calls = {"eval", "exec", "compile", "__import__", "load_pickle"}
    found = []
    listens = (SOURCE / "live" / "server.py", "socket")  # the one file that listens, on this machine; none reaches out
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
                found += [(path, name) for name in names if name.split(".")[0] in banned_modules or name == "urllib.request"]
            elif isinstance(node, ast.Call):
                called = node.func
                if isinstance(called, ast.Name) and called.id in banned_calls:
                    found.append((path, called.id))
                where = called.value.id if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) else ""
                if where in ("np", "numpy", "torch") and called.attr in ("load", "loads", "fromfile"):
                    found.append((path, f"{where}.{called.attr}"))
    assert found == [listens]
