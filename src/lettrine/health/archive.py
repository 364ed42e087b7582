"""A trace as named arrays and JSON-able values, to be stored (safetensors has no pickle) and read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import isfinite, isnan, nan
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lettrine.errors import HealthError
from lettrine.health.evidence import Evidence
from lettrine.health.trace import (
    BINS,
    GRADIENT_STATS,
    NORM_STATS,
    OUTPUT_STATS,
    PARAMETER_STATS,
    STEP_STATS,
    Curve,
    Facts,
    Floats,
    Histogram,
    ModuleInfo,
    NonFinite,
    ParameterInfo,
    Trace,
    Units,
)

FORMAT: Final = 1
Arrays: TypeAlias = dict[str, NDArray[Any]]

_TABLES: Final = {"outputs": OUTPUT_STATS, "gradients": GRADIENT_STATS, "parameter_stats": PARAMETER_STATS, "norms": NORM_STATS}
_CURVES: Final = ("loss", "recent", "dev")
_HISTOGRAMS: Final = ("output_histograms", "gradient_histograms")


def trace_to_arrays(trace: Trace) -> tuple[Arrays, dict[str, Any]]:
    """Contiguous arrays by name, and what JSON can hold of the rest. The inverse of `trace_from_arrays`."""
    arrays: Arrays = {"steps": trace.steps.astype(np.int64)}
    names: dict[str, list[str]] = {}
    arrays["step_stats"] = np.array([trace.step_stats[name] for name in STEP_STATS], dtype=np.float64)
    for kind in _TABLES:
        table: Mapping[str, Floats] = getattr(trace, kind)
        names[kind] = list(table)
        if table:
            arrays[kind] = np.array(list(table.values()), dtype=np.float64)
    for kind in _HISTOGRAMS:
        names[kind] = list(getattr(trace, kind))
        for place, histogram in enumerate(getattr(trace, kind).values()):
            arrays[f"{kind}.{place}.steps"] = histogram.steps.astype(np.int64)
            arrays[f"{kind}.{place}.counts"] = histogram.counts.astype(np.float64)
            arrays[f"{kind}.{place}.range"] = np.array([histogram.low, histogram.high], dtype=np.float64)
    names["units"] = list(trace.units)
    for place, units in enumerate(trace.units.values()):
        arrays[f"units.{place}"] = np.array([units.dead, units.saturated, units.last_dead, units.streak], dtype=np.float64)
        arrays[f"units.{place}.size"] = np.array([units.steps, units.rows], dtype=np.int64)
    names["maps"] = list(trace.maps)
    for place, pair in enumerate(trace.maps.values()):
        for when in ("first", "last"):
            arrays[f"maps.{place}.{when}"] = np.ascontiguousarray(pair[when], dtype=np.float16)
    for kind in _CURVES:
        curve: Curve = getattr(trace, kind)
        arrays[kind] = np.array([curve.step, curve.mean, curve.high, curve.peak], dtype=np.float64)
    ranks = []
    for rank, each in enumerate(trace.ranks):
        own, told = trace_to_arrays(each)
        arrays |= {f"ranks.{rank}.{name}": value for name, value in own.items()}
        ranks.append(told)
    values = {
        "format": FORMAT,
        **({"ranks": ranks} if ranks else {}),
        "names": names,
        "modules": [asdict(info) for info in trace.modules],
        "parameters": [asdict(info) for info in trace.parameters],
        "evidence": [
            asdict(each) | {"figures": {key: value if isfinite(value) else None for key, value in each.figures.items()}}
            for each in trace.evidence
        ],
        "facts": {
            key: None if isinstance(value, float) and isnan(value) else value for key, value in asdict(trace.facts).items()
        },
        "first_nonfinite": None if trace.first_nonfinite is None else asdict(trace.first_nonfinite),
    }
    return arrays, values


def trace_from_arrays(arrays: Mapping[str, NDArray[Any]], values: Mapping[str, Any]) -> Trace:
    """The trace that `trace_to_arrays` took apart.

    Raises HealthError if something is missing, of the wrong type or shape, or written by a newer version.
    """
    written = values.get("format")
    if written != FORMAT:
        raise HealthError(f"trace has format {written!r}; expected {FORMAT}: it is damaged, or a newer lettrine wrote it")
    reader = _Reader(arrays, values)
    steps = reader.array("steps", (None,), np.int64)
    count = len(steps)
    stats = reader.array("step_stats", (len(STEP_STATS), count))
    tables: dict[str, dict[str, Floats]] = {}
    for kind, columns in _TABLES.items():
        names = reader.names(kind)
        table = reader.array(kind, (len(names), count, len(columns))) if names else np.empty((0, count, len(columns)))
        tables[kind] = dict(zip(names, table, strict=True))
    facts = reader.record(Facts, values.get("facts"), "facts")
    nonfinite = values.get("first_nonfinite")
    return Trace(
        modules=tuple(reader.record(ModuleInfo, each, "modules") for each in reader.sequence("modules")),
        parameters=tuple(reader.record(ParameterInfo, each, "parameters") for each in reader.sequence("parameters")),
        facts=facts,
        steps=steps,
        step_stats=dict(zip(STEP_STATS, stats, strict=True)),
        outputs=tables["outputs"],
        gradients=tables["gradients"],
        parameter_stats=tables["parameter_stats"],
        norms=tables["norms"],
        output_histograms=reader.histograms("output_histograms"),
        gradient_histograms=reader.histograms("gradient_histograms"),
        units=reader.units(),
        maps={
            name: {when: reader.array(f"maps.{place}.{when}", (None, None), np.float16) for when in ("first", "last")}
            for place, name in enumerate(reader.names("maps"))
        },
        loss=reader.curve("loss"),
        recent=reader.curve("recent"),
        dev=reader.curve("dev"),
        first_nonfinite=None if nonfinite is None else reader.record(NonFinite, nonfinite, "first_nonfinite"),
        # Runs written before there was evidence have none.
        evidence=tuple(reader.record(Evidence, each, "evidence") for each in reader.sequence("evidence"))
        if "evidence" in values
        else (),
        ranks=tuple(_rank(arrays, each, rank) for rank, each in enumerate(reader.sequence("ranks"))) if "ranks" in values else (),
    )


def _rank(arrays: Mapping[str, NDArray[Any]], values: Any, rank: int) -> Trace:
    """The trace of one process. A rank holds no ranks of its own."""
    if not isinstance(values, Mapping) or "ranks" in values:
        raise HealthError(f"trace of rank {rank} is not one of a single process; it is damaged: train again")
    prefix = f"ranks.{rank}."
    return trace_from_arrays(
        {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}, values
    )


_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "bool | None": (bool, type(None)),
    "tuple[int, int]": (list, tuple),
    "tuple[int, ...]": (list, tuple),
    "tuple[str, ...]": (list, tuple),
    "Mapping[str, str]": (dict,),
    "Mapping[str, float]": (dict,),
}
"""Which JSON values may stand for a field, by the field's annotation."""


class _Reader:
    """Takes checked values out of what may be damaged or hostile."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], values: Mapping[str, Any]) -> None:
        self._arrays = arrays
        self._values = values

    def array(self, name: str, shape: tuple[int | None, ...], dtype: Any = np.float64) -> NDArray[Any]:
        found = self._arrays.get(name)
        if found is None:
            raise HealthError(f"trace lacks the array {name!r}; it is damaged: train again")
        fits = found.ndim == len(shape) and all(want in (None, got) for want, got in zip(shape, found.shape, strict=True))
        if not fits or found.dtype != np.dtype(dtype):
            wanted = ", ".join("any" if size is None else str(size) for size in shape)
            raise HealthError(f"trace array {name!r} is {found.dtype} {found.shape}; expected {np.dtype(dtype)} ({wanted})")
        return found

    def sequence(self, name: str) -> Sequence[Any]:
        found = self._values.get(name)
        if not isinstance(found, list | tuple):
            raise HealthError(f"trace entry {name!r} is {type(found).__name__}; expected a list")
        return found

    def names(self, kind: str) -> list[str]:
        table = self._values.get("names")
        found = table.get(kind) if isinstance(table, Mapping) else None
        if not isinstance(found, list | tuple) or not all(isinstance(name, str) for name in found):
            raise HealthError(f"trace lacks the names of its {kind}; it is damaged: train again")
        if len(set(found)) != len(found):
            raise HealthError(f"trace names one of its {kind} twice; it is damaged: train again")
        return list(found)

    def record(self, kind: Any, found: Any, name: str) -> Any:
        known = {each: str(field.type) for each, field in kind.__dataclass_fields__.items()}
        if not isinstance(found, Mapping) or not set(found) <= set(known):
            raise HealthError(
                f"trace entry {name!r} is not a {kind.__name__}; it is damaged, or a newer lettrine wrote it: upgrade"
            )
        made: dict[str, Any] = {}
        for key, value in found.items():
            annotation = known[key]
            if annotation == "float" and value is None:
                made[key] = nan
                continue
            elements = {"tuple[int, int]": int, "tuple[int, ...]": int, "tuple[str, ...]": str}.get(annotation)
            wrong = not isinstance(value, _KINDS[annotation]) or (isinstance(value, bool) and "bool" not in annotation)
            wrong = wrong or (isinstance(value, int) and abs(value) >= 2**63)
            if wrong or (elements and not all(isinstance(each, elements) for each in value)):
                raise HealthError(f"trace entry {name}.{key} is {value!r}; expected {annotation}")
            if annotation == "Mapping[str, float]":
                value = {each: nan if number is None else number for each, number in value.items()}  # noqa: PLW2901
                if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in value.values()):
                    raise HealthError(f"trace entry {name}.{key} is {value!r}; expected {annotation}")
            made[key] = tuple(value) if elements else value
        try:
            return kind(**made)
        except TypeError as error:
            raise HealthError(f"trace entry {name!r} is incomplete ({error}); it is damaged: train again") from None

    def histograms(self, kind: str) -> dict[str, Histogram]:
        made = {}
        for place, name in enumerate(self.names(kind)):
            steps = self.array(f"{kind}.{place}.steps", (None,), np.int64)
            counts = self.array(f"{kind}.{place}.counts", (len(steps), BINS))
            low, high = self.array(f"{kind}.{place}.range", (2, len(steps)))
            made[name] = Histogram(steps, counts, low, high)
        return made

    def units(self) -> dict[str, Units]:
        made = {}
        for place, name in enumerate(self.names("units")):
            dead, saturated, last_dead, streak = self.array(f"units.{place}", (4, None))
            steps, rows = self.array(f"units.{place}.size", (2,), np.int64).tolist()
            made[name] = Units(steps, rows, dead, saturated, last_dead, streak)
        return made

    def curve(self, name: str) -> Curve:
        return Curve(*self.array(name, (4, None)))
