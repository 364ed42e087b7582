"""Programs of others, re-created: with faults as people reported them, and healthy ones. `python -m benchmarks.wild`."""
