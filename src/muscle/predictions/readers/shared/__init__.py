"""What the readers of foreign formats have in common."""
