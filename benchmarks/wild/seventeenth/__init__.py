"""The seventeenth look: the next reports of plain searches for symptoms, by another author, and 20 healthy programs."""
