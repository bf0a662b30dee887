"""One process at a time: files that a process holds while it makes what others wait for."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from muscle import distributed
from muscle.errors import OutputError

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_LOOKS = 2.0


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the place of a file or folder for this command, once no other one does.

    The lock is a hidden file beside it, which stays; the system lets go of it when the process dies, however it does.
    Of several processes of one command the main one holds it for all. What is there already may be read in a folder
    that takes no file.

    Args:
        path: what is to be made.

    Raises:
        OutputError: the lock cannot be written.
    """
    lock = FileLock(path.with_name(f".{path.name}.lock"), blocking=False)
    distributed.from_main(lambda: _acquire(lock, path))
    try:
        yield
    finally:
        lock.release()  # nothing where another process of the command holds it


def _acquire(lock: FileLock, path: Path) -> None:
    said = False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                lock.acquire()
                return
            except Timeout:
                if not said:
                    logger.info("waiting for another process that is at %s", path)
                said = True
                time.sleep(_SECONDS_BETWEEN_LOOKS)
    except OSError as error:
        if path.exists():
            return
        raise OutputError(f"{path.parent}: cannot be written: {error.strerror}") from error
