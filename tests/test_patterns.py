"""A regular expression of the user's cannot hang a run."""

from __future__ import annotations

import re
import signal
import threading
import time
from unittest import mock

import pytest

from muscle.errors import ConfigError
from muscle.patterns import time_limit
from muscle.tasks.own.scorers import built_in_score
from muscle.tasks.own.settings import ScorerSettings

SLOW, TEXT = "(a+)+$", "a" * 40 + "!"


def test_a_pattern_that_takes_for_ever_is_stopped() -> None:
    begun = time.monotonic()
    with pytest.raises(ConfigError, match="x: expected a regular expression"), time_limit("x", seconds=0.2):
        re.search(SLOW, TEXT)
    assert time.monotonic() - begun < 5


def test_what_was_set_before_is_set_again() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with time_limit("x", seconds=5):
        re.search("a", "a")
    assert signal.getsignal(signal.SIGALRM) is before and signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_beside_the_main_thread_there_is_no_limit() -> None:
    done: list[bool] = []

    def work() -> None:
        with time_limit("x", seconds=0.001):
            time.sleep(0.05)
        done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]


def test_a_scorer_names_its_pattern() -> None:
    score = built_in_score(ScorerSettings(name="exact_match", regex=SLOW))
    with (
        mock.patch("muscle.patterns.SECONDS", 0.2),
        pytest.raises(ConfigError, match=r"scorer\.regex '\(a\+\)\+\$'"),
    ):
        score(TEXT, ("b",))
