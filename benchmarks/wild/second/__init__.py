"""The second look: 20 programs with faults and 20 healthy ones."""
