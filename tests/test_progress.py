"""Progress on work that lasts, and none on work that does not."""

from __future__ import annotations

import io
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import redirect_stderr

import pytest

from muscle import progress
from muscle.progress import told_once


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let bars come at once, so that the tests need not last."""
    monkeypatch.setattr(progress, "_SECONDS_BEFORE_BAR", 0.05)
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_FRAMES", 0.02)
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.1)
    monkeypatch.setenv("TERM", "xterm")
    progress.set_quiet(False)
    yield
    progress.set_quiet(False)


def shown(seconds: float, stream: io.StringIO) -> str:
    """Return what stands on standard error after two steps of so many seconds each."""
    with redirect_stderr(stream), progress.step_bar({"reading": 1.0, "comparing": 1.0}) as begin:
        begin("reading")
        time.sleep(seconds)
        begin("comparing")
        time.sleep(seconds)
    return stream.getvalue()


def test_work_that_lasts_shows_its_step_its_share_and_the_time_left(soon: None) -> None:
    text = shown(0.6, Terminal())
    assert all(part in text for part in ("reading", "comparing", "%", "s left"))


def test_a_long_name_leaves_room_for_what_changes(soon: None) -> None:
    name = "reading 1 of 2: " + "a/very/long/path/" * 12 + "old.jsonl"
    stream = Terminal()
    with redirect_stderr(stream), progress.step_bar({name: 1.0}) as begin:
        begin(name)
        time.sleep(0.6)
    assert "%" in stream.getvalue() and "s left" in stream.getvalue()


def test_work_that_is_soon_done_shows_nothing(soon: None) -> None:
    assert shown(0.0, Terminal()) == ""


def test_quiet_shows_nothing(soon: None) -> None:
    progress.set_quiet(True)
    assert shown(0.2, Terminal()) == ""


def test_a_log_file_gets_lines_instead_of_a_bar(soon: None, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "muscle.progress"):
        assert shown(0.6, io.StringIO()) == ""
    assert any("reading: " in line and "% done, about" in line for line in caplog.messages)


def test_an_error_ends_the_bar(soon: None) -> None:
    with pytest.raises(ValueError, match="no"), progress.step_bar({"reading": 1.0}) as begin:
        begin("reading")
        raise ValueError("no")
    assert not any("_watch" in thread.name for thread in threading.enumerate())


def test_a_message_is_told_once_while_the_block_runs_and_again_after_it(caplog):
    caplog.set_level("INFO", logger="muscle")
    ours, other = logging.getLogger("muscle.some.jobs"), logging.getLogger("muscle.others")
    for _ in range(2):
        with told_once("muscle.some.jobs"):
            for each in (ours, ours, other, other):
                each.info("34 of %d are left out", 120)
            ours.info("35 of %d are left out", 120)
    assert [record.name for record in caplog.records] == [*[ours.name, other.name, other.name, ours.name] * 2]
