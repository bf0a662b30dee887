"""Items by slice, and where flips concentrate."""
