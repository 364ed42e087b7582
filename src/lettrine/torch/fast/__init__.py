"""The compiled path: steps measured in place, and steps without Python."""
