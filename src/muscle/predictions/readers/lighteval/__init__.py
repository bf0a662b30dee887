"""lighteval's details: `details_TASK_DATE.parquet`, or the output folder that holds them."""

from muscle.predictions.readers.lighteval.reader import read, recognises

__all__ = ["read", "recognises"]
