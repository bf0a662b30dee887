"""Two runs brought together item by item, and what is missing of them."""
