"""Memory and disk that ran out, in one line: each library that computes or writes has its own exception for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from muscle.errors import MuscleError, ResourceError

_OS_ERROR = re.compile(r"([^:]*) \(os error \d+\)")
_NO_MEMORY = re.compile(r"can't allocate memory|not enough memory|out of memory", re.IGNORECASE)
# safetensors and Polars pass the system's words on; torch's archive writer only tells that a file did not grow, or that
# its stream failed.
_NOT_WRITTEN = re.compile(
    r"no space left on device|disk quota exceeded|file too large|read-only file system"
    r"|inline_container\.cc|PytorchStreamWriter failed|iostream error",
    re.IGNORECASE,
)
_OF_TORCH = re.compile(r"inline_container|iostream error")


def write_failure(error: Exception) -> str | None:
    """Return why something could not be written, as far as an exception is about that; None for any other.

    >>> write_failure(ValueError("parquet: No space left on device (os error 28)"))
    'No space left on device'
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, MuscleError):
        return None
    text = " ".join(str(error).split())
    if found := _OS_ERROR.search(text):
        return found[1].strip()
    if not isinstance(error, OSError) and not _NOT_WRITTEN.search(text):
        return None
    return "the disk is full, or nearly" if _OF_TORCH.search(text) else text[:200]


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an exception says that memory ran out: Python's, or that of a CPU's or a GPU's allocator in torch.

    >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes."))
    True
    """
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error)) is not None


@contextmanager
def memory_for(what: str, *, advice: str) -> Iterator[None]:
    """Say in one line that memory ran out while the block ran, and what to do.

    Args:
        what: was done.
        advice: what makes it smaller.

    Raises:
        ResourceError: memory ran out.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        first = (str(error).strip().splitlines() or ["MemoryError"])[0][:200]
        raise ResourceError(f"{what}: out of memory ({first}); {advice}") from error
