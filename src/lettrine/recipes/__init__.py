"""Published experiments by name."""
