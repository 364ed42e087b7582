"""The twenty-sixth look: ten issues, ten questions and pages, as plain words for symptoms list them; 20 healthy programs."""
