"""Words in: reading and cleaning lists, the vocabulary, contexts and targets."""
