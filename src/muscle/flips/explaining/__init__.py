"""Why answers flipped: causes, what changed in the texts, closeness of likelihoods, judges."""
