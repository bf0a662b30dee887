"""Cases in a process of their own, which is ended when it hangs or takes too much memory.

A case is a target's name and a number. The process tells on a pipe when it begins one and how it ended, in lines of
JSON.
"""

from __future__ import annotations

import json
import os
import resource
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.places import TESTS

MAX_SECONDS = 10.0
"""Of processor time; on a machine that does other things, too, a clock on the wall says little."""
MAX_WALL_SECONDS = 120.0
MAX_MEGABYTES = 1_024
_ADDRESS_SPACE = 16 << 30
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


Case = tuple[str, int]


def work(cases: Sequence[Case]) -> None:
    """Run cases in this process, telling of each."""
    from robust.targets import try_case

    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    warnings.simplefilter("ignore")
    root = Path(tempfile.mkdtemp())
    for place, (target, number) in enumerate(cases):
        _tell({"begin": place})
        begun, folder = time.process_time(), root / "case"
        _forget_peak()
        outcome = try_case(target, number, folder)
        cost = {"seconds": time.process_time() - begun, "megabytes": _peak_megabytes()}
        shutil.rmtree(folder, ignore_errors=True)
        _tell({"place": place, **outcome, **cost})
    shutil.rmtree(root, ignore_errors=True)


def _tell(line: dict[str, Any]) -> None:
    os.write(3, (json.dumps(line) + "\n").encode())


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _peak_megabytes() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


@dataclass
class _State:
    """What the watcher knows of the case that a process is at."""

    place: int
    begun: float
    processor: float
    megabytes: float = 0.0

    def ended(self, reason: str) -> dict[str, Any]:
        """Return the outcome of a case that did not end by itself."""
        return {"place": self.place, "way": "", "end": reason, "seconds": 0.0, "megabytes": self.megabytes}


def _usage(pid: int) -> tuple[float, float]:
    """Return a process's seconds of processor time, and its megabytes in memory."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0, 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS, pages * _PAGE / (1 << 20)


def watch(cases: Sequence[Case]) -> Iterator[dict[str, Any]]:
    """Run cases in a process of their own; yield what came of each, a hang or too much memory among it.

    Yields:
        `target`, `number`, `way` (what was done to the input), `end` ("read", "refused", or the fault), `seconds` of
        processor time and `megabytes` in memory at the most.
    """
    first = 0
    while first < len(cases):
        done = first
        for outcome in _one_process(cases[first:]):
            target, number = cases[first + outcome.pop("place")]
            done += 1
            yield {"target": target, "number": number, **outcome}
        if done == first:
            raise RuntimeError("the process that runs the cases did not begin one")
        first = done


_START = """\
import json, os, sys
os.dup2(int(sys.argv[1]), 3)
from robust.watched import work
work(json.loads(sys.argv[2]))
"""


def _one_process(cases: Sequence[Case]) -> Iterator[dict[str, Any]]:
    """Run cases until all are done, or the process had to be ended or died."""
    reading, writing = os.pipe()
    paths = [str(TESTS), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "POLARS_MAX_THREADS": "2", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    process = subprocess.Popen(
        [sys.executable, "-c", _START, str(writing), json.dumps(cases)],
        pass_fds=(writing,),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    os.close(writing)
    try:
        yield from _listen(process, reading)
    finally:
        process.kill()
        process.wait()
        os.close(reading)


def _listen(process: subprocess.Popen[bytes], reading: int) -> Iterator[dict[str, Any]]:
    state: _State | None = None
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(reading, selectors.EVENT_READ)
        while True:
            if selector.select(0.03):
                data = os.read(reading, 1 << 16)
                if not data:
                    break
                *lines, rest = (rest + data).split(b"\n")
                for line in map(json.loads, lines):
                    state = None
                    if "begin" in line:
                        state = _State(line["begin"], time.monotonic(), _usage(process.pid)[0])
                    else:
                        yield line
            if state is not None and (reason := _too_much(process.pid, state)):
                yield state.ended(reason)
                return
    if state is not None:
        yield state.ended(f"the process died ({process.wait()})")


def _too_much(pid: int, state: _State) -> str | None:
    processor, megabytes = _usage(pid)
    state.megabytes = max(state.megabytes, megabytes)
    if megabytes > MAX_MEGABYTES:
        return f"takes more than {MAX_MEGABYTES} MB"
    if processor - state.processor > MAX_SECONDS:
        return f"takes more than {MAX_SECONDS:.0f} s"
    if time.monotonic() - state.begun > MAX_WALL_SECONDS:
        return f"waits for more than {MAX_WALL_SECONDS:.0f} s"
    return None
