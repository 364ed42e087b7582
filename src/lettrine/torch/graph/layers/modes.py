"""Modules in another mode than their model, dropout that ignores the mode, and one batch norm used in several places."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterable
from types import CodeType
from typing import Any, ClassVar, Final

import torch
from torch import Tensor, nn

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.catalogue import kind_of, role_of
from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.capture.outputs import BatchNorm

_DROPOUTS: Final = ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout")
_EPS: Final = 1e-12


@reader
class Modes:
    """Evidence "mode": modules in another mode than the model that is called.

    where: one name. figures: training (mode of the module: 1 or 0); held_out (1 if the model itself was in eval mode); looks
    (number in a row, up to the last look of that kind); fresh (1 if its running statistics are still the initial ones); trained
    (1 if it has trained parameters or, for a dropout, if the module before it has). words: kind.
    """

    whole: ClassVar[bool] = True

    def __init__(self) -> None:
        self._found: dict[tuple[str, bool], tuple[int, int, int, dict[str, float], str]] = {}
        self._looks = {False: 0, True: 0}

    def look(self, look: Look) -> Iterable[Evidence]:
        """A pass in training."""
        if all(root.module.training for root in look.roots):
            self._note(look, held_out=False)
        return ()

    def held_out(self, look: Look) -> Iterable[Evidence]:
        """A pass in eval mode."""
        self._note(look, held_out=True)
        return ()

    def _note(self, look: Look, *, held_out: bool) -> None:
        if look.place:
            return
        self._looks[held_out] += 1
        number, before = self._looks[held_out], None
        for call in look.modules:
            module, role = call.module, role_of(call.module)
            if (isinstance(module, BatchNorm) or role == "dropout") and module.training is held_out:
                owner = module if isinstance(module, BatchNorm) else before
                trained = owner is not None and any(parameter.requires_grad for parameter in owner.parameters())
                figures = {"fresh": float(_fresh(module)), "trained": float(trained)}
                first, last, row = self._found.get((call.name, held_out), (look.step, number - 1, 0, {}, ""))[:3]
                if last < number:  # several calls in one pass count once
                    row = row + 1 if last == number - 1 else 1
                self._found[call.name, held_out] = first, number, row, figures, kind_of(module)
            if role not in ("dropout", "activation") and any(True for _ in module.parameters(recurse=False)):
                before = module

    def finish(self) -> Iterable[Evidence]:
        """Modules that had the wrong mode at the last look of their kind."""
        for (name, held_out), (first, last, row, figures, kind) in self._found.items():
            if last == self._looks[held_out]:
                told = {"training": float(held_out), "held_out": float(held_out), "looks": float(row), **figures}
                yield Evidence("mode", (name,) if not held_out else (name, "eval"), (first, first), told, {"kind": kind})


def _fresh(module: nn.Module) -> bool:
    mean, var = getattr(module, "running_mean", None), getattr(module, "running_var", None)
    if not isinstance(mean, Tensor) or not isinstance(var, Tensor):
        return False
    return not bool(mean.count_nonzero()) and bool((var == 1).all())


@reader
class EvalDropout:
    """Evidence "eval dropout": dropout called as a function drops values although the model is in eval mode.

    where: the modules it is called in. figures: calls, rate (highest), passes (in eval mode, looked at). words: given
    ("default": the call leaves `training` out, or passes the training mode but still drops values; "on purpose": it says
    True; "unknown"), line (file and line).

    Dropout modules that the user put into training mode (Monte Carlo dropout) are not reported.
    """

    def __init__(self) -> None:
        self._calls: list[tuple[str, float, str, str]] = []
        self._passes = 0
        self._step = 0

    def held_out(self, look: Look) -> Iterable[Evidence]:
        """Find the calls."""
        self._passes += 1
        self._step = look.step
        modes = {call.name: call.module for call in look.modules}
        for call in look.calls:
            inside = modes.get(call.where)
            if call.root < 0 or (inside is not None and role_of(inside) == "dropout"):
                continue
            rate = _rate(call)
            if rate > 0:
                given, line = _given(call)
                self._calls.append((call.where, rate, given, line))
        return ()

    def finish(self) -> Iterable[Evidence]:
        """The calls found. If they differ in how they are meant, the worst is reported."""
        if not self._calls:
            return
        given = next((each for each in ("default", "unknown", "on purpose") if any(call[2] == each for call in self._calls)), "")
        chosen = [call for call in self._calls if call[2] == given]
        where = tuple(dict.fromkeys(call[0] for call in chosen))
        figures = {"calls": len(chosen) / self._passes, "rate": max(call[1] for call in chosen), "passes": float(self._passes)}
        yield Evidence("eval dropout", where, (self._step, self._step), figures, {"given": given, "line": chosen[0][3]})


def _rate(call: FunctionCall) -> float:
    """Share of values that a call drops."""
    if call.name in _DROPOUTS and bool(call.given(2, "training", default=True)):
        return float(call.given(1, "p", 0.5))
    return float(call.given(4, "dropout_p", 0.0)) if call.name == "scaled_dot_product_attention" else 0.0


def _given(call: FunctionCall) -> tuple[str, str]:
    """How the call sets `training`, read from its source text, and the line of the call."""
    if call.site is None:
        return "unknown", ""
    text, line = source_of(*call.site)
    if call.name == "scaled_dot_product_attention":
        return "default", line  # This function knows no mode: the user who gives a rate must set it.
    try:
        tree = ast.parse(f"({text})", mode="eval").body
    except (SyntaxError, ValueError):
        tree = None
    return (_meant(tree) if isinstance(tree, ast.Call) else "unknown"), line


def _meant(call: ast.Call) -> str:
    modes = [each.value for each in call.keywords if each.arg == "training"] + call.args[2:3]
    if not modes or "training" in ast.unparse(modes[0]):
        return "default"  # left out, or meant to follow the mode, which it does not
    return "on purpose" if isinstance(modes[0], ast.Constant) and modes[0].value is True else "unknown"


def source_of(code: CodeType, instruction: int) -> tuple[str, str]:
    """The source text of the call that an instruction makes, and "file, line 12"; empty if the source is not available."""
    positions = list(code.co_positions())[instruction // 2 : instruction // 2 + 1]
    first, last, left, right = positions[0] if positions else (None, None, None, None)
    if first is None or last is None:
        return "", ""
    lines = [linecache.getline(code.co_filename, number) for number in range(first, last + 1)]
    if not lines or not lines[0]:
        return "", ""
    lines[-1] = lines[-1].encode()[:right].decode(errors="ignore")
    lines[0] = lines[0].encode()[left:].decode(errors="ignore")
    name = code.co_filename.replace("\\", "/").rpartition("/")[2]
    return "".join(lines), f"{name}, line {first}"


@reader
class SharedNorms:
    """Evidence "shared norm": one batch norm normalises inputs with different statistics within one call of the model.

    where: its name. figures: places (calls in one call of the model), gap (largest distance between the means of two places, rms
    over channels, in standard deviations), ratio (of their variances, geometric mean over channels, largest), looks.

    Not reported: the two branches of a siamese network, whose statistics do not differ; several calls of the model, which are
    not places.
    """

    whole: ClassVar[bool] = True

    def __init__(self) -> None:
        self._found: dict[str, list[tuple[int, float, float]]] = {}
        self._steps = (0, 0)

    def look(self, look: Look) -> Iterable[Evidence]:
        """Compare the inputs of the calls of one module."""
        if look.place:
            return ()
        self._steps = (self._steps[0] if self._found else look.step, look.step)
        calls: dict[tuple[str, int], list[tuple[Tensor, Tensor]]] = {}
        for call in look.modules:
            if isinstance(call.module, BatchNorm) and call.module.training and call.args:
                given: Any = call.args[0]
                if isinstance(given, Tensor) and given.is_floating_point() and given.ndim > 1 and given.numel() > given.shape[1]:
                    table = given.detach().float().transpose(0, 1).reshape(given.shape[1], -1)
                    calls.setdefault((call.name, call.root), []).append((table.mean(1), table.var(1)))
        for (name, _), stats in calls.items():
            if len(stats) > 1:
                self._found.setdefault(name, []).append((len(stats), *_apart(stats)))
        return ()

    def finish(self) -> Iterable[Evidence]:
        """The median over the looks."""
        for name, found in self._found.items():
            gaps, ratios = (sorted(values)[len(found) // 2] for values in list(zip(*found, strict=True))[1:])
            figures = {"places": float(found[-1][0]), "gap": gaps, "ratio": ratios, "looks": float(len(found))}
            yield Evidence("shared norm", (name,), self._steps, figures)


def _apart(stats: list[tuple[Tensor, Tensor]]) -> tuple[float, float]:
    gap = ratio = 0.0
    for place, (mean, var) in enumerate(stats):
        for other_mean, other_var in stats[:place]:
            scale = ((var + other_var) / 2 + _EPS).sqrt()
            gap = max(gap, float(((mean - other_mean) / scale).square().mean().sqrt()))
            logs = torch.log((var + _EPS) / (other_var + _EPS))
            ratio = max(ratio, float(logs.mean().abs().exp()))
    return gap, ratio
