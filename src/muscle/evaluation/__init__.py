"""Scoring a model on a task through lm-evaluation-harness; the records are written by `muscle.predictions`."""
