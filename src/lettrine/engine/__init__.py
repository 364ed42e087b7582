"""The arithmetic of training: `reference` is the definition, `native` its fast twin."""
