"""Where the tests find what is not code."""

from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
DATA = TESTS / "data"
EXAMPLES = ROOT / "examples"
SHARED = ROOT.parent / "shared"
"""Data sets beside the checkout; tests that want them skip where they are absent."""
