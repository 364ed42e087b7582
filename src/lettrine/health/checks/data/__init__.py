"""Inputs and targets."""
