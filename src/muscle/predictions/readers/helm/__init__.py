"""HELM's run folders: one run, or several of one model below a folder."""

from muscle.predictions.readers.helm.reader import read, recognises

__all__ = ["read", "recognises"]
