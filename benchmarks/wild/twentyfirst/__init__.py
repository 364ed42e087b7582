"""The twenty-first look: eleven questions of forums and nine issues, as plain words for symptoms list them; 20 healthy programs."""
