"""The nineteenth look: reports as plain words for symptoms list them, and 20 healthy programs."""
