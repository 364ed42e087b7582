"""The weights a training starts from."""

from __future__ import annotations

from typing import Final

from lettrine.engine.calibration import calibrate
from lettrine.model.config import MLPConfig
from lettrine.model.initialisation import initialise
from lettrine.model.parameters import Parameters
from lettrine.text.stored_windows import Examples
from lettrine.training.batches import CALIBRATION, INITIALISATION, stream
from lettrine.training.settings import Settings

CALIBRATION_EXAMPLES: Final = 1024  # with this many outputs the std of a layer is known to a few per cent


def starting_parameters(config: MLPConfig, settings: Settings, train: Examples) -> Parameters:
    """Drawn by the settings' scheme and seed; with a calibrated scheme then scaled layer by layer on training examples."""
    scheme = settings.initialisation
    parameters = initialise(config, scheme, stream(settings.seed, INITIALISATION))
    if not scheme.calibrated:
        return parameters
    rows = stream(settings.seed, CALIBRATION).integers(0, len(train), CALIBRATION_EXAMPLES)
    contexts, targets, rows = train.batch(rows)
    return calibrate(config, parameters, contexts[rows], targets[rows]).parameters
