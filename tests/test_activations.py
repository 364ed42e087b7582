"""The one table of activations: its formulas, what else is made from it, and who reads it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import lettrine
from lettrine.activations import ACTIVATIONS, TRAINABLE, activate, any_of, slope
from lettrine.cli.app import main
from lettrine.errors import ConfigError
from lettrine.model.config import MLPConfig
from lettrine.model.initialisation import SCHEMES, initialise
from lettrine.tools.gains import gain_row
from lettrine.torch.model import activation_module
from lettrine.training.watch import module_infos

NEW = ("softsign", "silu", "elu", "mish")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", TRAINABLE)
def test_formula_and_slope_equal_torch(name: str, dtype: type) -> None:
    x = np.concatenate([np.linspace(-12, 12, 400), [0.0, 1e-6, -1e-6, 19.9, 20.1, -90.0, 1e4, -1e4]]).astype(dtype)
    tensor = torch.from_numpy(x).requires_grad_()
    expected = activation_module(name)(tensor)
    expected.sum().backward()
    y = activate(name, x)
    assert y.dtype == dtype
    rtol, atol = (2e-6, 4e-6) if dtype is np.float32 else (1e-12, 1e-14)
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=rtol, atol=atol)
    found = slope(name, x, y)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, tensor.grad.numpy(), rtol=rtol, atol=atol)


def test_the_native_list_holds_the_same_names() -> None:
    native = pytest.importorskip("lettrine._native", reason="no compiler built the native engine here")
    assert sorted(native.activations()) == sorted(TRAINABLE)


def test_a_name_without_a_kernel_is_refused_by_name() -> None:
    native = pytest.importorskip("lettrine._native", reason="no compiler built the native engine here")
    config = MLPConfig(3, 1, 1, (1,), activation="tanh")
    parameters = initialise(config, SCHEMES["naive"], np.random.default_rng(0), np.float32)
    names = ["embedding.weight", None, "layers.0.weight", "layers.0.bias", None, None, "output.weight", "output.bias", None, None]
    arrays = [None if name is None else parameters[name] for name in names]
    contexts = np.zeros((1, 1), np.int32)
    with pytest.raises(ValueError, match=r"activation got 'swish'; expected one this build has a kernel for: .*mish.*"):
        native.evaluate((3, 1, 1, [1], "swish", 0.1, 1e-5), arrays, [None] * 4, contexts, None, 1, "")


@pytest.mark.parametrize("name", TRAINABLE)
def test_every_trainable_activation_is_known_everywhere(name: str) -> None:
    row = ACTIVATIONS[name]
    assert np.isfinite(row.gain)
    assert row.derivation
    kinds = {info.activation: info.kind for info in module_infos(MLPConfig(5, activation=name)) if info.role == "activation"}
    assert kinds == {name: type(activation_module(name)).__name__}


@pytest.mark.parametrize("name", [name for name in TRAINABLE if ACTIVATIONS[name].dead is not None])
def test_hardly_any_gradient_passes_where_a_unit_is_called_dead(name: str) -> None:
    x = np.linspace(-200, 200, 400_001)
    y = activate(name, x)
    dead = ACTIVATIONS[name].dead
    inside = (y >= dead.low) & (y <= dead.high) if dead.inside else (y <= dead.low) | (y >= dead.high)
    # Of gelu, silu and mish the value 0 has both the far negative inputs and 0 itself: a unit of only zeros is not met.
    inside &= (x < -1) | (x > 1)
    assert inside.any()
    steepest = abs(slope(name, x, y)).max()
    assert abs(slope(name, x[inside], y[inside])).max() <= 0.021 * steepest


def test_a_name_that_is_not_there_is_answered_with_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="activation got 'swish'; expected one of " + ", ".join(TRAINABLE)):
        MLPConfig(5, activation="swish")
    assert any_of(("tanh", "relu", "gelu")) == "tanh, relu or gelu"
    assert main(["train", "--help"]) == 0
    assert all(name in capsys.readouterr().out for name in ("softsign",))


@pytest.mark.parametrize("name", NEW)
def test_gains_of_those_torch_has_none_for_are_the_rule_of_relu(name: str) -> None:
    assert ACTIVATIONS[name].gain == pytest.approx(gain_row(name).exact, rel=1e-6)


def test_no_second_table_is_kept_elsewhere() -> None:
    """A file that names three activations as strings holds a table of its own."""
    source = Path(lettrine.__file__).parent
    rare = [name for name in TRAINABLE if name not in ("tanh", "relu", "identity", "sigmoid")]  # the others are also words
    for path in source.rglob("*.py"):
        if path.name != "activations.py" or path.parent != source:
            found = {name for name in rare if re.search(rf'["\']{name}["\']', path.read_text())}
            assert len(found) < 3, f"{path} names {', '.join(sorted(found))}; read them from lettrine.activations"
