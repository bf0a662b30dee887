"""Eq. 1 and the methods on tokens in training loops of other libraries, a file for each; docs/integrations.md."""
