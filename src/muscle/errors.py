"""Every error that muscle raises on purpose.

The tree::

    MuscleError               exit code 3: bad input or configuration
    ├── ConfigError           a key of a YAML file or a command's option
    ├── DataError             task data or a file of predictions: file, line, field
    │   ├── JoinError         two runs that cannot be compared item by item
    │   ├── UnclearColumns    a table of which nobody can tell what decides: says which options would
    │   └── UnfinishedError   a file that is not there, empty or cut off: it may still be written to
    ├── EndpointError         a model behind an endpoint that refuses or does not answer
    ├── ModelError            a base, an adapter or their fit
    ├── OutputError           something that cannot be written
    └── ResourceError         memory that is too small for what was asked

A message says where, what was expected, what was found and what to do, in one line.
"""

from __future__ import annotations

from typing import Literal


class MuscleError(Exception):
    """Root of all errors that a user can mend."""


class ConfigError(MuscleError):
    """A configuration or an option is unknown, of the wrong type or impossible."""


class DataError(MuscleError):
    """Task data or predictions cannot be read as they are."""


class JoinError(DataError):
    """Two runs of predictions do not belong together."""


class UnclearColumns(DataError):
    """A table does not tell what decides, or which item a row is.

    Attributes:
        flags: options of the command line that would, made of the table's own columns.
        lacks: what it does not tell.
        versions: what to say behind the file's name for the one and the other run, where it may hold both versions.
    """

    def __init__(
        self,
        message: str,
        *,
        flags: str = "",
        lacks: Literal["decision", "item"] = "decision",
        versions: tuple[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.flags = flags
        self.lacks = lacks
        self.versions = versions


class UnfinishedError(DataError):
    """A file is not there, is empty or ends in the middle of a record; what writes it may not be done."""


class EndpointError(MuscleError):
    """An endpoint refuses what it is asked, or does not answer."""


class ModelError(MuscleError):
    """A base or an adapter is missing, damaged, or does not fit the other."""


class OutputError(MuscleError):
    """An output cannot be written."""


class ResourceError(MuscleError):
    """Memory ran out; what was finished is kept."""
