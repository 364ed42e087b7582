"""No error inside the health code ever reaches the user's training."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any, Final

from lettrine.health.recorder import Recorder
from lettrine.torch.private import without_modes

_PATIENCE: Final = 5  # after so many errors of its own the health code stops


class Guard:
    """Calls functions of the health code. An error in them is noted for the report. After several errors it calls `give_up`.

    No function mode of the user sees these calls, since they do not belong to the training.
    """

    def __init__(self, recorder: Recorder, give_up: Callable[[], None]) -> None:
        self._recorder, self._give_up = recorder, give_up
        self._errors = 0

    def __call__(self, function: Callable[..., None], *args: Any) -> None:
        """Call it."""
        with without_modes():
            self.within(function, *args)

    def within(self, function: Callable[..., None], *args: Any) -> None:
        """The same, if the function modes are off already."""
        try:
            function(*args)
        except Exception as error:  # noqa: BLE001  whatever happens here, the user's training goes on; the report shows the error
            place = traceback.extract_tb(error.__traceback__)[-1:]
            at = f" ({place[0].name}, line {place[0].lineno})" if place else ""
            self._recorder.note_error(f"{type(error).__name__}: {error}{at}")
            self._errors += 1
            if self._errors >= _PATIENCE:
                self._give_up()
