"""Which disagreements to label, and the labels that come back."""
