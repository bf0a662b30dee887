"""Inspect AI's logs: `.eval` archives (deflate or zstd), `.json`, and folders of them."""

from muscle.predictions.readers.inspect.reader import read, recognises

__all__ = ["read", "recognises"]
