"""The script that draws charts in a browser: Vega, Vega-Lite and vega-embed, as vl-convert carries them."""

from __future__ import annotations

import contextlib
import os
import tempfile
from functools import cache
from pathlib import Path

from lettrine.report.figure import need


@cache
def charts_script() -> str:
    """One script for all of them. Building it takes seconds, so it is kept in the user's cache, by version."""
    vl_convert = need("vl_convert", "a live page")
    kept = _cache() / f"charts-{vl_convert.__version__}.js"
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return kept.read_text(encoding="utf-8")
    script: str = vl_convert.javascript_bundle()
    with contextlib.suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=kept.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(script)
        Path(name).replace(kept)
    return script


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lettrine"
