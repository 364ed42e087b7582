"""The loss, and how predictions reach it."""
