"""Healthy and sick networks with known faults, and what a health check makes of them. Run with `python -m benchmarks.clinic`."""
