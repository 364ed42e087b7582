"""The twenty-second look: thirteen questions, seven issues, as plain words for symptoms list them; 20 healthy programs."""
