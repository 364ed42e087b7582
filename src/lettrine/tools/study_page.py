"""The page of a search: the best trials, which choices mattered, and how they interact. The pictures are made by Optuna."""

from __future__ import annotations

import base64
import io
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lettrine.report.figure import need, page_path, write_bytes
from lettrine.report.html import Section, render_sections
from lettrine.search.tuned import Tuned
from lettrine.search.workers import name_of

if TYPE_CHECKING:
    from optuna.study import Study

SHOWN: Final = 20  # trials in the table
ENOUGH: Final = 4  # least number of finished trials for a picture


def write_study_page(path: str | Path, found: Tuned) -> Path:
    """Write the page of a search. Raises ConfigError, StorageError, MissingExtraError."""
    path = page_path(path)
    census = found.census
    facts = {
        "study": f"{found.name} at {found.storage}",
        "trials": f"{census.finished}, {census.pruned} of them pruned by successive halving",
        "lettrine's own choice": f"{found.default:.4f} nats on the dev words, one network",
        "best trial": f"{found.best:.4f} nats, one network (number {found.trial})",
    }
    if found.run is not None and found.run.results is not None:
        loss = found.run.results.loss
        facts["kept"] = f"{loss['dev']:.4f} nats on the dev words, {loss['test']:.4f} on the test words; {found.run.size}"
        if found.kept_default:
            facts["why"] = "no settings were better than lettrine's own by more than noise, so those are kept"
    sections = [Section("The search", facts=facts), *_trials(found)]
    write_bytes(path, render_sections(f"{found.name}: a search", sections).encode())
    return path


def _trials(found: Tuned) -> list[Section]:
    study = found.study
    if study is None:
        return []
    whole = [trial for trial in study.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]
    whole.sort(key=lambda trial: (trial.value, trial.number))
    names = sorted({name for trial in whole for name in trial.params})
    rows = [
        [name_of(trial), f"{trial.value:.4f}", *(f"{trial.params.get(name, math.nan):.4g}" for name in names)]
        for trial in whole[:SHOWN]
    ]
    sections = [Section("The best trials", header=["run", "dev loss", *names], rows=rows)]
    if len(whole) >= ENOUGH and len({trial.value for trial in whole}) > 1:
        sections.append(Section("What mattered", text=MATTERED, images=_pictures(study)))
    return sections


MATTERED: Final = (
    "Importance: how much of the difference between the better trials and the others is due to each choice (PED-ANOVA). "
    "Parallel coordinates: each line is a trial; darker is better."
)


def _pictures(study: Study) -> dict[str, str]:
    """Optuna's pictures as images for a page that loads nothing."""
    matplotlib = need("matplotlib", "the pictures of a search", "tune")
    matplotlib.use("agg", force=False)
    from optuna.visualization import matplotlib as drawn  # noqa: PLC0415 - an extra

    return {
        "Importance of each choice": _picture(drawn.plot_param_importances, study),
        "Parallel coordinates": _picture(drawn.plot_parallel_coordinate, study),
    }


def _picture(draw: Callable[[Study], Any], study: Study) -> str:
    import matplotlib.pyplot as plt  # noqa: PLC0415 - an extra

    with warnings.catch_warnings(), plt.rc_context({"font.size": 9}):
        warnings.simplefilter("ignore")  # Optuna warns that each is experimental
        axes = draw(study)
    figure = axes.get_figure()
    figure.set_size_inches(8, 4)
    file = io.BytesIO()
    figure.savefig(file, format="svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    return "data:image/svg+xml;base64," + base64.b64encode(file.getvalue()).decode()
