"""The sixteenth look: the next reports of the same searches as the fifteenth, and 20 healthy programs."""
