"""Tools around a training: gains, norms, comparison of runs, embeddings, faults to plant and cure."""
