"""The embedded default: a world written by hand, and a pair of tiny bases really pre-trained on its text."""
