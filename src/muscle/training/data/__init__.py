"""Tokenized examples, batches, packing."""
