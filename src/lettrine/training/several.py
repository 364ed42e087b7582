"""The networks beside the first: same shape, same words, other seeds. They are trained in parallel threads, and the best
weights of each are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from lettrine.engine.base import Engine
from lettrine.model.config import MLPConfig
from lettrine.model.parameters import Parameters
from lettrine.text.stored_windows import Examples
from lettrine.text.windows import Windows
from lettrine.training.interrupt import Requests
from lettrine.training.settings import Settings
from lettrine.training.sizes import processors
from lettrine.training.trainer import Trainer

APART: Final = 2**40  # distance between the seeds of a run's networks, so that they do not meet the seed of another run


def other_networks(
    config: MLPConfig,
    settings: Settings,
    engine: Engine,
    train: Examples,
    dev: Windows,
    requests: Requests,
    on_progress: Callable[[int], None] = lambda _: None,
) -> list[Parameters]:
    """`settings.networks` - 1 more networks, determined by the settings alone; fewer if a signal comes.

    on_progress: called with the number of steps taken by all of them together. A network whose loss stops being finite is left
    out.
    """
    taken = [0] * (settings.networks - 1)

    def trained(place: int) -> Parameters | None:
        own = replace(settings, seed=(settings.seed + (place + 1) * APART) % 2**63, health=False, threads=1)

        def tell(step: int) -> None:
            taken[place] = step
            on_progress(sum(taken))

        trainer = Trainer(config, own, engine, train, dev, on_progress=lambda progress: tell(progress.step))
        outcome = trainer.run(requests)
        return trainer.kept() if outcome.status == "finished" else None

    # Every trainer sets a limit on numpy's threads. A limit around all of them restores the original one at the end.
    with threadpool_limits(1), np.errstate(all="ignore"), ThreadPoolExecutor(max(1, min(processors(), len(taken)))) as pool:
        return [made for made in pool.map(trained, range(len(taken))) if made is not None]
