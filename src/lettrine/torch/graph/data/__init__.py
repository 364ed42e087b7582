"""What a network is given: inputs and targets, and what each tells of the other."""
