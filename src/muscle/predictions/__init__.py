"""Predictions: the one record format, and a reader for each format that a harness writes."""

from muscle.predictions.read import read_run
from muscle.predictions.records import write_records
from muscle.predictions.run import Run

__all__ = ["Run", "read_run", "write_records"]
