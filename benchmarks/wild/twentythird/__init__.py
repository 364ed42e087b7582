"""The twenty-third look: ten questions, ten issues, as plain words for symptoms list them; 20 healthy programs."""
