"""One process at a time: files that a process holds while it makes what others wait for, or are refused.

The system lets go of a lock when its process dies, however it does; the hidden file stays.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from muscle import distributed
from muscle.errors import OutputError

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_LOOKS = 2.0


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the place of a file or folder for this command, once no other one does.

    The lock is a file beside it. Of several processes of one command the main one holds it for all. What is there
    already may be read in a folder that takes no file.

    Args:
        path: what is to be made.

    Raises:
        OutputError: the lock cannot be written.
    """
    lock = FileLock(beside(path))
    distributed.from_main(lambda: _acquire(lock, path))
    try:
        yield
    finally:
        lock.release()  # nothing where another process of the command holds it


def take(lock: Path, *, busy: str) -> AbstractContextManager[object]:
    """Take a lock at once, and hold it until the block of what is returned ends.

    Args:
        lock: its file.
        busy: what to say where another process holds it.

    Raises:
        OutputError: another process holds it.
        OSError: the file cannot be written.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        return FileLock(lock).acquire(blocking=False)
    except Timeout:
        raise OutputError(busy) from None


def beside(path: Path) -> Path:
    """Return the file that is the lock of a file or folder."""
    return path.with_name(f".{path.name}.lock")


def _acquire(lock: FileLock, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            logger.info("waiting for another process that is at %s", path)
            lock.acquire(poll_interval=_SECONDS_BETWEEN_LOOKS)
    except OSError as error:
        if path.exists():
            return
        raise OutputError(f"{path.parent}: cannot be written: {error.strerror}") from error
