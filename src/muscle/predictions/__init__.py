"""Predictions: the one record format, and a reader for each format that a harness writes."""

from muscle.predictions.read import read_run
from muscle.predictions.run import Run
from muscle.predictions.writers.records import write_records

__all__ = ["Run", "read_run", "write_records"]
