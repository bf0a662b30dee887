"""All numbers of a task between two versions: flips, rates, scores, tallies."""
