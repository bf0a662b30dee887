"""Runs written in another format."""
