"""Training and scoring models: a whole update, and each step alone."""
