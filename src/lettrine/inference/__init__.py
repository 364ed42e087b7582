"""Uses of a trained model: losses, new words, scores."""
