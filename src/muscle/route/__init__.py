"""Two models, or a record of the old one's answers beside a new model, behind one answer."""
