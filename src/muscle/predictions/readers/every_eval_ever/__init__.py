"""Every Eval Ever, the community's shared schema (0.3.0): an aggregate `UUID.json` with its `UUID_samples.jsonl`."""

from muscle.predictions.readers.every_eval_ever.reader import read, recognises

__all__ = ["read", "recognises"]
