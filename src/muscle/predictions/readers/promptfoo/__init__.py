"""promptfoo's results: `.json` (versions 2 and 3) and `.jsonl`."""

from muscle.predictions.readers.promptfoo.reader import read, recognises

__all__ = ["read", "recognises"]
