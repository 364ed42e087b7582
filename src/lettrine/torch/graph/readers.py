"""All readers of looks: importing this makes them known to every watch that is made afterwards."""

from lettrine.torch.graph import broadcasts, inputs, leaks, loss, operations, targets  # noqa: F401
