"""An adapter made ready for others: its model card, the lines that serve it, and its weights merged into the base."""
