"""The twentieth look: half from forums and Q&A, half from issues, as plain words for symptoms list them; 20 healthy programs."""
