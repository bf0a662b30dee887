import gc
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Triton reads it when it is imported, which transformers does: its kernels then run in Python, on a CPU too
# (training/head/test_kernels.py).
os.environ.setdefault("TRITON_INTERPRET", "1")

sys.path.insert(0, str(Path(__file__).parent))  # for the packages `helpers` and `tiny`

# A worker that waits for its core is not slow: no time limit for an example. The same examples in every run, so that a
# change fails by what it did; `make search` looks for others.
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

# Scripts that made the files there; they want harnesses that the tests do not.
collect_ignore_glob = ["data/*"]


def pytest_collection_finish() -> None:
    """Take what was imported out of the garbage collector's rounds.

    Accelerate collects before each training, and a round over the objects of torch and transformers takes longer than a
    tiny training.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A command that ran within a test leaves its own log handler, on a standard error that is gone with the test."""
    ours = logging.getLogger("muscle")
    handlers, level = ours.handlers, ours.level
    yield
    ours.handlers = handlers
    ours.setLevel(level)
