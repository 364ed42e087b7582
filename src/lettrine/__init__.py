"""lettrine: character-level neural language models in seconds, and a health check for any network that trains."""

__version__ = "0.1.0"
