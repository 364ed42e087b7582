"""Generators, judges and agents."""
