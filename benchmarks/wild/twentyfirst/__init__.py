"""The twenty-first look: eleven questions of forums, nine issues, as plain words for symptoms list them; 20 healthy programs."""
