"""Wiring and modes."""
