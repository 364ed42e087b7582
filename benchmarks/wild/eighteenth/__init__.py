"""The eighteenth look: reports as neutral searches for symptoms list them, by another author, and 20 healthy programs."""
