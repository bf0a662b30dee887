"""A place is held by one process at a time, and by none once it is dead."""

import subprocess
import sys
import threading

import pytest

from muscle import locks
from muscle.errors import OutputError
from muscle.locks import held

HOLDS = """
import sys, time
from pathlib import Path
from muscle.locks import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_what_another_process_holds_is_waited_for_until_it_dies(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(locks, "_SECONDS_BETWEEN_LOOKS", 0.01)
    caplog.set_level("INFO", logger="muscle")
    place, entered, killed, done = tmp_path / "stores" / "new", threading.Event(), threading.Event(), []
    with subprocess.Popen([sys.executable, "-c", HOLDS, place], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"

        def enter():
            with held(place):
                done.append(killed.is_set())
            entered.set()

        thread = threading.Thread(target=enter)
        thread.start()
        while not caplog.records:
            assert not entered.wait(0.01), "two at a time"
        assert f"waiting for another process that is at {place}" in caplog.text
        killed.set()
        other.kill()
        thread.join()
    assert done == [True]


def test_a_place_is_free_again_after_an_error(tmp_path):
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), held(tmp_path / "x"):
            _ = 1 / 0


def test_a_place_that_cannot_be_written_is_refused_and_what_is_there_may_be_read(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match=r"file: cannot be written"), held(tmp_path / "file" / "new"):
        pytest.fail("held")
    (tmp_path / "made").mkdir()
    (tmp_path / ".made.lock").mkdir()  # a lock that cannot be
    with held(tmp_path / "made"):
        pass
