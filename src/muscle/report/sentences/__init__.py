"""Sentences that every form of the report shares."""
