"""Tiny models made on the spot, and updates of them: for the tests that train or score. Needs torch."""
