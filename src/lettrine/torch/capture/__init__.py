"""What a step of the training shows of modules, parameters, losses and targets: hooks, captures, looks."""
