"""EleutherAI's lm-evaluation-harness: a run folder, one of its `results_*.json`, or one file of samples."""

from muscle.predictions.readers.lm_eval.reader import read, recognises

__all__ = ["read", "recognises"]
