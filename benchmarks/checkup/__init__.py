"""The check-up on public models that are healthy, and on small tasks that are sick in one known place."""
