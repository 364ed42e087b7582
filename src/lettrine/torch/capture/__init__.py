"""Listening: what a step of the training shows of modules, parameters, losses and targets."""
