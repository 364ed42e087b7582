"""The third look: 22 programs with faults and 20 healthy ones."""
