"""A chart: layers of marks over rows of values, as a Vega-Lite specification in plain values.

    plot(rows).encode(x=channel("step:Q"), y=channel("loss:Q", scale={"zero": False})).mark("line", strokeWidth=2)

`lettrine.report.draw.finish` makes one chart of several layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

Values: TypeAlias = list[dict[str, Any]]
Channel: TypeAlias = Mapping[str, Any]
TYPES: Final = {"Q": "quantitative", "N": "nominal"}


@dataclass(frozen=True)
class Plot:
    """One kind of mark over rows of values. Each method gives a new layer and leaves this one unchanged."""

    values: Values
    spec: Mapping[str, Any]

    def mark(self, kind: str, **style: Any) -> Plot:
        """Draw this mark: "line", "point", "text" and so on."""
        return self._with(mark={"type": kind, **style})

    def encode(self, **channels: Channel) -> Plot:
        """Set place, colour and so on; `channel` makes each."""
        return self._with(encoding={**self.spec.get("encoding", {}), **channels})

    def only(self, **equal: str) -> Plot:
        """Draw only the rows in which this field has this value."""
        return self._changed(*({"filter": {"field": field, "equal": value}} for field, value in equal.items()))

    def numbered(self, field: str) -> Plot:
        """Number the rows; the number is a field of each."""
        return self._changed({"window": [{"op": "row_number", "as": field}]})

    def called(self, name: str) -> Plot:
        """Name the layer, so that a script finds what it draws."""
        return self._with(name=name)

    def _changed(self, *steps: Mapping[str, Any]) -> Plot:
        return self._with(transform=[*self.spec.get("transform", ()), *steps])

    def _with(self, **parts: Any) -> Plot:
        return Plot(self.values, {**self.spec, **parts})


def plot(values: Values) -> Plot:
    """A layer over rows of plain values that draws nothing yet."""
    return Plot(values, {})


def channel(text: str, **more: Any) -> Channel:
    """A field and its type, such as "step:Q" (a quantity) or "layer:N" (a name), with its scale, axis, legend or title."""
    field, _, kind = text.partition(":")
    return {"field": field, **({"type": TYPES[kind]} if kind else {}), **more}


def by(**fields: str) -> dict[str, Channel]:
    """Channels that have only a field, such as x="step:Q"."""
    return {name: channel(text) for name, text in fields.items()}


def layered(layers: Sequence[Plot], **whole: Any) -> dict[str, Any]:
    """The specification of several layers, one above the other. Rows that several share are written once."""
    datasets: dict[int, Values] = {id(layer.values): layer.values for layer in layers}
    names = {key: f"rows-{i}" for i, key in enumerate(datasets)}
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "datasets": {names[key]: values for key, values in datasets.items()},
        "layer": [{"data": {"name": names[id(layer.values)]}, **layer.spec} for layer in layers],
        **whole,
    }
