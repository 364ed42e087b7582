"""An Optuna study for one word list: its name, how it is begun and joined, and how it draws trials."""

from __future__ import annotations

import hashlib
import re
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lettrine.errors import ConfigError, quote
from lettrine.search.space import Space
from lettrine.search.storage import optuna
from lettrine.search.workers import name_of
from lettrine.text.words import WordList

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial

WORDS, SPACE, BEGUN = "words", "space", "begun"  # attributes of a study
RANDOM: Final = 5  # trials, including the first points, before the tree-structured Parzen estimator has enough data
RUNGS: Final = {4: 0.67, 8: 0.5, 16: 0.5}
"""Number of a run's twenty evaluations, and the share of runs that continues after it. At first it is large: early, a high
learning rate looks worse than it is, and only very bad runs can be recognised.
"""
BEGIN: Final = 10.0  # seconds for the worker that made a study to queue its first trials


def name_for(words: WordList) -> str:
    """The name of the study of these words, such as names-1a2b3c4d."""
    stem = re.sub(r"[^\w-]+", "-", Path(words.source).stem).strip("-") or "words"
    return f"{stem}-{words.digest[:8]}"


def join(storage: BaseStorage, name: str, words: WordList, space: Space) -> Study:
    """The study of that name, begun if it is not there yet.

    Raises ConfigError for one of other words or other options.
    """
    engine = optuna()
    study: Study = engine.create_study(
        storage=storage,
        study_name=name,
        load_if_exists=True,
        direction="minimize",
        sampler=sampler(space.settings.seed),
        pruner=pruner(),
    )
    written = hashlib.sha256(space.written().encode()).hexdigest()
    known = study.user_attrs
    if WORDS not in known:
        study.set_user_attr(WORDS, words.digest)
        study.set_user_attr(SPACE, written)
        known = study.user_attrs
    if known[WORDS] != words.digest:
        raise ConfigError(
            f"the study {quote(name)} is of other words than {quote(words.source)}; choose another name for this one with --study"
        )
    if known.get(SPACE, written) != written:
        raise ConfigError(
            f"the study {quote(name)} was begun with other options; type the same ones, or choose another name with --study"
        )
    _begin(study, space)
    return study


def _begin(study: Study, space: Space) -> None:
    """Make sure that the first trials are queued once, whichever worker comes first."""
    if not study.get_trials(deepcopy=False):
        mine = f"{time.time_ns()}"
        study.set_user_attr(BEGUN, mine)  # of several at the same moment, the last one to sign does it
        time.sleep(0.05)
        if study.user_attrs[BEGUN] == mine:
            for point in space.first:
                study.enqueue_trial(point, skip_if_exists=True)
            return
    until = time.monotonic() + BEGIN
    while not study.get_trials(deepcopy=False) and time.monotonic() < until:
        time.sleep(0.1)


def sampler(seed: int) -> BaseSampler:
    """Optuna's TPE with a new generator for each trial, made from the seed and the trial's number.

    So workers with the same seed draw differently, and a study of one worker is the same every time, even if it was stopped.
    """
    from optuna.samplers import BaseSampler as Base  # noqa: PLC0415 - an extra
    from optuna.samplers import TPESampler  # noqa: PLC0415

    def drawing(study: Study, trial: FrozenTrial, what: str = "") -> TPESampler:
        place = len({name_of(each) for each in study.get_trials(deepcopy=False) if each.number < trial.number})
        return TPESampler(n_startup_trials=RANDOM, seed=zlib.crc32(f"{seed} {place} {what}".encode()))

    class Numbered(Base):
        def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
            return drawing(study, trial).infer_relative_search_space(study, trial)

        def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
            return drawing(study, trial).sample_relative(study, trial, search_space)

        def sample_independent(
            self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
        ) -> Any:
            drawn = drawing(study, trial, param_name)
            return drawn.sample_independent(study, trial, param_name, param_distribution)

    return Numbered()


def pruner() -> BasePruner:
    """Asynchronous successive halving (Li et al. 2018) at RUNGS: the better part of the runs that reach a rung continues.

    Optuna's own version compares a continued trial with its earlier self; here each trial counts once.
    """
    from optuna.pruners import BasePruner as Base  # noqa: PLC0415 - an extra

    class Halving(Base):
        def prune(self, study: Study, trial: FrozenTrial) -> bool:
            rung = trial.last_step
            if rung not in RUNGS:
                return False
            shown = {
                name_of(each): each.intermediate_values[rung]
                for each in study.get_trials(deepcopy=False)
                if each.state.name != "FAIL" and rung in each.intermediate_values
            }
            shown[name_of(trial)] = mine = trial.intermediate_values[rung]
            return mine > sorted(shown.values())[max(int(RUNGS[rung] * len(shown)), 1) - 1]

    return Halving()
