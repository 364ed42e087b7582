"""Steps of the optimiser."""
