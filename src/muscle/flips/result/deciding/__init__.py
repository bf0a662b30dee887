"""What to do with an update: the recommendation, how sure it is, what next, and the ways out."""
