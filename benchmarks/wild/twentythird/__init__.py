"""The twenty-third look: nine questions, eleven issues, as plain words for symptoms list them; 20 healthy programs."""
