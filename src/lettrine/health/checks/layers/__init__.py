"""Activations, gradients and parameters."""
