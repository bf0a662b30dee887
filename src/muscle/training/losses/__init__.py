"""The compatibility loss: the plain formula, its masks, and the fast pass."""
