"""The twenty-fifth look: ten issues, nine questions and pages, as plain words for symptoms list them; 20 healthy programs."""
