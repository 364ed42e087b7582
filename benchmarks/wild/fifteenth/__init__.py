"""The fifteenth look: faults as reports of them come in a search, not chosen for variety, and 20 healthy programs."""
