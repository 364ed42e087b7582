"""Held-out data."""
