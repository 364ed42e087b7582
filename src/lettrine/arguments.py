"""What Python code hands in, held against the annotations of what it calls, in one place for every public name.

    @checked
    def load_run(path: str | Path, *, engine: str = "auto") -> Run: ...

A wrong type, a missing argument or an unknown one is an ArgumentError before anything is done; so functions need to check
ranges only. Numbers of numpy become Python's own, lists become the tuples that are annotated, path-like things become paths.
"""

from __future__ import annotations

import builtins
import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, SimpleNamespace, UnionType
from typing import Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

from lettrine.errors import ArgumentError, quote

T = TypeVar("T")

LARGEST: Final = 1024  # bits of a whole number: what lies above fits no float, and may be too long to be printed
LOOKS: Final = 32  # of one function's calls, remembered
NAME, PATH = 255, 4096  # bytes of one name and of a whole path that systems allow
FILE_NAME: Final = f"a name a file can have: no NUL, no half of a surrogate pair, at most {NAME} bytes in each part"
_UNFIT: Final = object()
_PLAIN: Final = {
    "bool": bool,
    "int": int,
    "float": float,
    "str": str,
    "Any": Any,
    "str | Path": str | Path,
    "str | None": str | None,
    "float | None": float | None,
    "int | None": int | None,
    "None": NoneType,
}
_NOUNS: Final[dict[Any, str]] = {
    NoneType: "None",
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a string",
    Path: "a path",
    tuple: "a tuple",
    Callable: "a function",
    Mapping: "a mapping",
    Iterable: "a list",
    Sequence: "a list",
}


def checked(target: T) -> T:
    """Check every call of a function, or every construction of a class, against the annotations. Use it as a decorator.

    What the call is then given, and what it returns or raises, is the target's own affair. What is annotated by a name that
    is only imported for type checkers is not checked.
    """
    if isinstance(target, type):
        target.__init__ = _guarded(target.__init__, target.__qualname__)  # type: ignore[misc]
        return target
    guarded: T = _guarded(target, target.__qualname__)  # type: ignore[attr-defined]
    return guarded


def _guarded(function: Any, name: str) -> Any:
    known: list[tuple[inspect.Signature, dict[str, Any]]] = []  # filled by the first call: importing stays cheap
    seen: set[Any] = set()  # what calls in order looked like, which need not be held against the annotations again

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        looks = *map(_look, args), *kwargs, *map(_look, kwargs.values())
        if looks in seen:
            return function(*args, **kwargs)
        if not known:
            known.append((inspect.signature(function), _hints(function)))
        bound = _bound(*known[0], name, args, kwargs)
        if None not in looks and len(seen) < LOOKS and not any(Path in (hint, *get_args(hint)) for hint in known[0][1].values()):
            seen.add(looks)
        return function(*bound.args, **bound.kwargs)

    return call


def _look(value: Any) -> Any:
    """The type of a value, where any other value of that look is as right or wrong and needs no settling; else None."""
    kind = type(value)
    if kind is int:
        return kind if value.bit_length() <= LARGEST else None
    if kind is tuple:
        inner = tuple(map(_look, value[:LOOKS]))
        return None if None in inner or len(inner) < len(value) else (kind, inner)
    return kind if kind in (str, float, bool, NoneType) or kind.__module__.startswith("lettrine.") else None


def _hints(function: Any) -> dict[str, Any]:
    """The annotations of a function; those in plain words need not be compiled, which takes longer than the call."""
    hints = {name: _PLAIN.get(hint, hint) for name, hint in function.__annotations__.items()}
    left = SimpleNamespace(__annotations__={name: hint for name, hint in hints.items() if isinstance(hint, str)})
    return hints | get_type_hints(left, globalns=function.__globals__, localns=_Names(function.__globals__))


class _Names(dict[str, Any]):
    """Stands in for what a module does not know at run time."""

    def __init__(self, known: Mapping[str, Any]) -> None:
        super().__init__()
        self._known = known

    def __missing__(self, name: str) -> Any:
        if name in self._known or hasattr(builtins, name):
            raise KeyError(name)  # looked for there next
        return Any


def _bound(
    signature: inspect.Signature, hints: Mapping[str, Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> inspect.BoundArguments:
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        names = [each for each in signature.parameters if each != "self"]
        strange = [each for each in kwargs if each not in names]
        close = get_close_matches(strange[0], names, n=1) if strange else []
        advice = f"did you mean {close[0]}?" if close else f"it takes {', '.join(names) or 'no arguments'}"
        raise ArgumentError(f"{name} was called wrongly: {error}; {advice}; see help({name})") from None
    for key, value in bound.arguments.items():
        wanted, kind = hints.get(key, Any), signature.parameters[key].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            settled: Any = tuple(_settled(name, key, each, wanted) for each in value)
        elif kind is inspect.Parameter.VAR_KEYWORD:
            settled = {each: _settled(name, each, given, wanted) for each, given in value.items()}
        else:
            settled = _settled(name, key, value, wanted)
        bound.arguments[key] = settled
    return bound


def _settled(name: str, key: str, value: Any, wanted: Any) -> Any:
    settled = _settle(value, wanted)
    if settled is _UNFIT:
        named = isinstance(value, str | os.PathLike) and not _possible(value)
        expected = FILE_NAME if named and Path in (wanted, *get_args(wanted)) else _described(wanted)
        raise ArgumentError(f"{key} got {_shown(value)}; expected {expected}, see help({name})")
    return settled


def _settle(value: Any, wanted: Any) -> Any:
    """The value as the annotation has it, or _UNFIT."""
    kind = get_origin(wanted) or wanted
    if kind is Any or kind is object or isinstance(kind, TypeVar | str):
        return value
    if kind is Union or kind is UnionType:
        if Path in get_args(wanted) and isinstance(value, str | os.PathLike) and not _possible(value):
            return _UNFIT
        settled = (_settle(value, each) for each in get_args(wanted))
        return next((each for each in settled if each is not _UNFIT), _UNFIT)
    if kind in _SETTLERS:
        return _SETTLERS[kind](value, get_args(wanted))
    if getattr(kind, "_is_protocol", False) and kind.__module__ != "typing":
        fits = all(hasattr(value, each) for each in vars(kind) if not each.startswith("_"))
    elif isinstance(kind, type) and issubclass(kind, Iterable) and issubclass(list, kind):
        fits = isinstance(value, kind) and not isinstance(value, str | bytes | bytearray)  # a word is no list of words
        if fits and isinstance(value, list | tuple) and issubclass(kind, Sequence):  # one of each type speaks for all
            inner = (get_args(wanted) or (Any,))[0]
            fits = all(_settle(each, inner) is not _UNFIT for each in dict(zip(map(type, value), value, strict=True)).values())
    else:
        fits = callable(value) if kind is Callable else isinstance(value, kind)
    return value if fits else _UNFIT


def _flag(value: Any, _: Any) -> Any:
    return bool(value) if isinstance(value, bool) or type(value) is getattr(sys.modules.get("numpy"), "bool_", bool) else _UNFIT


def _whole(value: Any, _: Any) -> Any:
    fits = isinstance(value, Integral) and not isinstance(value, bool) and int(value).bit_length() <= LARGEST
    return int(value) if fits else _UNFIT


def _number(value: Any, _: Any) -> Any:
    if isinstance(value, Integral):
        return _whole(value, _)  # as it is: 1 stays 1 in what is shown and stored
    return float(value) if isinstance(value, Real) else _UNFIT


def _text(value: Any, _: Any) -> Any:
    return str(value) if isinstance(value, str) else _UNFIT


def _path(value: Any, _: Any) -> Any:
    return Path(value) if isinstance(value, os.PathLike) and _possible(value) else _UNFIT


def _possible(path: str | os.PathLike[Any]) -> bool:
    """Whether a file could have that name. A name that no system can look for is refused here."""
    try:
        name = os.fsencode(path)
    except (TypeError, UnicodeEncodeError):
        return False
    longest = max(map(len, name.replace(os.fsencode(os.sep), b"/").split(b"/")))
    return isinstance(os.fspath(path), str) and b"\0" not in name and longest <= NAME and len(name) < PATH


def _tuple(value: Any, kinds: tuple[Any, ...]) -> Any:
    numbers = bool(kinds) and kinds[0] in (int, float)
    values = value.tolist() if numbers and hasattr(value, "tolist") else value  # an array of numpy
    if not isinstance(values, Sequence) or isinstance(values, str | bytes):
        return _UNFIT
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(values)
    if kinds and len(kinds) != len(values):
        return _UNFIT
    settled = tuple(_settle(each, kind) for each, kind in zip(values, kinds or (Any,) * len(values), strict=True))
    return _UNFIT if any(each is _UNFIT for each in settled) else settled


def _mapping(value: Any, kinds: tuple[Any, ...]) -> Any:
    if not isinstance(value, Mapping):
        return _UNFIT
    of_keys, of_values = kinds or (Any, Any)
    settled = {_settle(key, of_keys): _settle(each, of_values) for key, each in value.items()}
    unfit = any(key is _UNFIT or each is _UNFIT for key, each in settled.items())
    return _UNFIT if unfit else value if all(settled.get(key) is each for key, each in value.items()) else settled


_SETTLERS: Final[dict[Any, Callable[[Any, tuple[Any, ...]], Any]]] = {
    bool: _flag,
    int: _whole,
    float: _number,
    str: _text,
    Path: _path,
    tuple: _tuple,
    Mapping: _mapping,
    dict: _mapping,
}


def _shown(value: Any) -> str:
    """A value as a message names it; nothing long, and nothing that calls code of the caller's."""
    if type(value) is str:
        return quote(value)
    if type(value) is int and value.bit_length() > LARGEST:
        return f"a whole number of {value.bit_length():,} bits"
    if value is None or type(value) in (bool, int, float, complex):
        return repr(value)
    return f"a {type(value).__name__}"


def _described(wanted: Any) -> str:
    kind, kinds = get_origin(wanted) or wanted, get_args(wanted)
    if kind is Union or kind is UnionType:
        return " or ".join(dict.fromkeys(_described(each) for each in kinds))
    noun = _NOUNS.get(kind) or f"a {kind.__module__.partition('.')[0]} {kind.__name__}"
    if kind in (Callable, Mapping):
        return noun
    inner = dict.fromkeys(_described(each) for each in kinds if each not in (Any, Ellipsis))
    fixed = kind is tuple and Ellipsis not in kinds and bool(kinds)
    counted = noun if not fixed else "a pair" if len(kinds) == 2 else f"a tuple of {len(kinds)}"
    plain = all(each in _PLURALS for each in inner)
    return f"{counted} of {' and '.join(_PLURALS[each] for each in inner)}" if inner and plain else counted


_PLURALS: Final = {"a whole number": "whole numbers", "a number": "numbers", "a string": "strings", "a path": "paths"}
