"""One log of Inspect AI, whole or in an archive: its header and its samples, as they stand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from muscle.errors import DataError
from muscle.predictions.readers.shared.json_members import members, objects
from muscle.predictions.readers.shared.zip_archive import Archive, open_archive

_JSON_HEAD = re.compile(rb'\s*\{\s*"version"\s*:\s*\d+\s*,\s*"status"\s*:')
_HEADER_FIELDS = ("status", "eval", "plan", "results", "stats", "error")
_FIELDS = (
    "id",
    "epoch",
    "input",
    "choices",
    "target",
    "output",
    "scores",
    "metadata",
    "error",
    "invalidation",
)
_CHUNK = re.compile(r"samples/.+_epoch_\d+/(?:messages|events|calls|attachments)/[^/]+\.json|samples/.+/skeleton\.json")
_HEADERS = ("header.json", "_journal/start.json")


@dataclass(frozen=True)
class Sample:
    """A sample as the log has it.

    Attributes:
        value: its wanted fields, or whatever stands in a sample's place.
        where: file and place in it, for messages.
    """

    value: object
    where: str


def is_json_log(head: bytes) -> bool:
    """Tell whether a file that begins so is a log written as JSON."""
    return bool(_JSON_HEAD.match(head))


def is_log(path: Path) -> bool:
    """Tell whether a file in a folder is a log."""
    if path.suffix == ".eval":
        return True
    if path.suffix != ".json":
        return False
    with path.open("rb") as handle:
        return is_json_log(handle.read(256))


def read_header(log: Path) -> tuple[Mapping[str, object], str]:
    """Return what stands before a log's samples, and its place for messages.

    Raises:
        DataError: the log is damaged.
    """
    if _is_archive(log):
        with open_archive(log) as archive:
            return _archive_header(archive)
    with log.open("rb") as handle:
        (header,) = objects(handle, str(log), (), _HEADER_FIELDS)
    return _checked_header(header.value, str(log))


def read_samples(log: Path) -> Iterator[Sample]:
    """Yield a log's samples in its order.

    Raises:
        DataError: the log is damaged.
    """
    if _is_archive(log):
        with open_archive(log) as archive:
            yield from _archive_samples(archive)
        return
    with log.open("rb") as handle:
        for member in objects(handle, str(log), ("samples", "#"), _FIELDS):
            yield Sample(member.value, member.where)


def _is_archive(path: Path) -> bool:
    with path.open("rb") as handle:
        return path.suffix == ".eval" or handle.read(4) == b"PK\x03\x04"


def _checked_header(value: object, where: str) -> tuple[Mapping[str, object], str]:
    if not isinstance(value, dict) or not isinstance(value.get("eval"), dict):
        raise DataError(f"{where}, field 'eval': expected what was evaluated, as Inspect writes it, found none")
    return value, where


def _archive_header(archive: Archive) -> tuple[Mapping[str, object], str]:
    name = next((name for name in _HEADERS if name in archive.members), None)
    if name is None:
        found = ", ".join(list(archive.members)[:4]) or "no members"
        raise DataError(f"{archive.path}: expected a member {' or '.join(_HEADERS)}, found {found}")
    where = f"{archive.path}, member {name!r}"
    with archive.open(name) as stream:
        (header,) = objects(stream, where, (), _HEADER_FIELDS)
    return _checked_header(header.value, where)


def _archive_samples(archive: Archive) -> Iterator[Sample]:
    """Yield the samples of an archive, whole or chunked."""
    names = set(archive.members)
    for name in archive.members:
        if not name.startswith("samples/") or name.endswith("/") or _is_part(name, names):
            continue
        where = f"{archive.path}, member {name!r}"
        with archive.open(name) as stream:
            (sample,) = objects(stream, where, (), _FIELDS)
        value = sample.value
        apart = name.removesuffix("sample.json") + "metadata.json"
        if isinstance(value, dict) and name.endswith("/sample.json") and apart in names:
            with archive.open(apart) as stream:
                found = members(stream, f"{archive.path}, member {apart!r}", [("*",)])
                value["metadata"] = {str(member.keys[0]): member.value for member in found}
        yield Sample(value, where)


def _is_part(name: str, names: set[str]) -> bool:
    """Tell whether a member belongs to a chunked sample whose shell is another member."""
    if _CHUNK.fullmatch(name):
        return True
    return name.endswith("/metadata.json") and name.removesuffix("metadata.json") + "sample.json" in names
