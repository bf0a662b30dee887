"""Teachers: online, or run once and stored."""
