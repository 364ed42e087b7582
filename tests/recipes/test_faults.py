"""Every fault is named by the health check, and gone with its remedy."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from lettrine.cli.app import main
from lettrine.engine.base import Optimiser, TrainState
from lettrine.engine.reference import ReferenceEngine, observe
from lettrine.errors import ConfigError
from lettrine.health.checks import CHECKS
from lettrine.model.config import MLPConfig
from lettrine.model.initialisation import SCHEMES, initialise
from lettrine.text.corpora import load_corpus
from lettrine.tools.fault_trials import try_fault
from lettrine.tools.faults import FAULTS, find_fault, healthy_recipe
from lettrine.tools.planting import VarianceFromMean

BUILT = importlib.util.find_spec("lettrine._native") is not None
OWN = {"never-ends", "shared-generator"}  # what no trace shows


@pytest.mark.skipif(not BUILT, reason="minutes on the reference engine")
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_fault_is_found_and_the_remedy_cures_it(fault) -> None:
    if fault.torch:
        pytest.importorskip("torch")
    case = try_fault(fault, load_corpus("first-names"))
    assert case.found, [finding.id for finding in case.before.findings]
    assert case.cured
    serious = [finding.id for finding in case.after.findings if finding.severity != "info"]
    assert serious == [], serious
    worst = case.before.findings[0]
    assert fault.finding in {finding.id for finding in case.before.findings} or worst.explains, "only named as a consequence"
    assert json.dumps(case.to_dict(), allow_nan=True)


def test_faults_are_told_apart_and_known() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    for fault in FAULTS:
        assert fault.finding in set(CHECKS) | OWN
        assert healthy_recipe(fault)
        assert fault.planted.endswith(".")
        assert fault.remedy.endswith(".")
    assert sum(fault.source == "sources" for fault in FAULTS) == 6
    with pytest.raises(ConfigError, match="expected one of fan-in-squared"):
        find_fault("nothing")


def test_the_faulty_norm_does_just_what_the_notebook_does() -> None:
    config = MLPConfig(9, context=2, embedding=3, hidden=(5,), activation="tanh", norm="batch", norm_momentum=0.2)
    random = np.random.default_rng(0)
    parameters = initialise(config, SCHEMES["kaiming"], random, np.float64)
    parameters["norms.0.running_mean"][:] = random.normal(size=5)
    before = parameters["norms.0.running_mean"].copy()
    contexts = random.integers(0, 9, (20, 2)).astype(np.int32)
    targets = random.integers(0, 9, 20).astype(np.int32)
    _, variance = observe(config, parameters, contexts[:8], targets[:8]).statistics["norms.0"]
    optimiser = Optimiser("sgd")
    state = TrainState.fresh(config, parameters, optimiser)
    VarianceFromMean(ReferenceEngine()).train(
        config, optimiser, state, contexts, targets, np.arange(8, dtype=np.int64)[None], np.array([0.1])
    )
    np.testing.assert_allclose(parameters["norms.0.running_var"], 0.8 * before + 0.2 * variance * 8 / 7)


def test_before_and_after_on_one_page(tmp_path: Path, few_words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("vl_convert")
    words, page = tmp_path / "words.txt", tmp_path / "case.html"
    words.write_text("\n".join(few_words))
    assert main(["recipe", "run", "--fault", "zero-init", str(words), "--html", str(page)]) == 0
    told = capsys.readouterr().out
    assert "found: yes (symmetry)" in told
    assert "cured: yes" in told
    text = page.read_text()
    assert text.index("With the fault") < text.index("critical: symmetry") < text.index("With the remedy")
    assert main(["recipe", "run", "--fault", "zero-init", "a", "b"]) == 2
    assert main(["recipe", "run", "--fault", "nothing"]) == 2
    assert main(["recipe", "faults", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out.splitlines()[-1])["faults"]) == len(FAULTS)
