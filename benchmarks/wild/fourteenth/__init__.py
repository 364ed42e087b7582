"""The fourteenth look: 20 programs with faults and 20 healthy ones, written without sight of any rule."""
