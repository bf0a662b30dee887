"""Bases and adapters: loading, saving, and whether they fit."""
