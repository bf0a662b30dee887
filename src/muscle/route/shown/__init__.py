"""What a rule is worth, as people read it: in a terminal, and as a page."""
