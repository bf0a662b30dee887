"""Rules over the likelihoods of the options, in plain numpy."""
