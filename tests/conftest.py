import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Triton reads it when it is imported, which transformers does: its kernels then run in Python, on a CPU too (test_kernels.py).
os.environ.setdefault("TRITON_INTERPRET", "1")

sys.path.insert(0, str(Path(__file__).parent))  # helpers such as `tiny` are modules beside the tests

collect_ignore_glob = [
    "data/*"
]  # scripts that made the files there; they want harnesses that the tests do not


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A command that ran within a test leaves its own log handler, on a standard error that is gone with the test."""
    ours = logging.getLogger("muscle")
    handlers, level = ours.handlers, ours.level
    yield
    ours.handlers = handlers
    ours.setLevel(level)
