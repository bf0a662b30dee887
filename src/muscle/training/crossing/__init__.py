"""From an old model's tokens to a new one's where their tokenizers differ: positions and distributions, by text."""
