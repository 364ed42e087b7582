"""What a trained model is asked: losses, new words, scores."""
