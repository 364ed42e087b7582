"""Language models: what came out of a training."""
