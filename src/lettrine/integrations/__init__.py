"""One small file a framework. Nothing here is imported by the rest of the house."""
