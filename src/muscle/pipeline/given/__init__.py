"""Adapters that were trained elsewhere: whether what they read is what they will be asked here."""
