"""The runs that a command line names: `PATH`, or `PATH::key=value` where the file holds more than one run.

results.json::provider=openai:gpt-4o        one of the providers of a promptfoo file
logs/new::metric=acc_norm::name=v2          another metric than the format's headline, and what reports call the run
old.csv::column=correct=is_right            a column that has another name in this file alone
"""

from __future__ import annotations

import logging
import re
import shlex
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from muscle.commands.groups import Reading
from muscle.errors import ConfigError, DataError, MuscleError, UnclearColumns, UnfinishedError
from muscle.foreign_text import middle_cut

if TYPE_CHECKING:
    from muscle.predictions.run import Run

logger = logging.getLogger(__name__)

KEYS = ("name", "format", "metric", "filter", "provider", "column")
"""What can stand behind `::`; each overrides the option of that name for one run. `column` may be repeated."""

_PART = re.compile(r"::(?=\w+=)")
_BYTES_A_SECOND = 1e8
_NAME = 30
"""Characters of a run's name in the line that shows progress: so its figures, which change, find room beside it."""

_COMPARING = 1.5
"""Seconds that comparing takes for each second of reading, about; only the bar's first guess."""


@dataclass(frozen=True)
class Source:
    """A run that was named.

    Attributes:
        path: its file or folder.
        options: what was said behind `::`, but for columns.
        columns: our field names to the file's, as far as they were said behind `::`.
    """

    path: Path
    options: Mapping[str, str]
    columns: Mapping[str, str]


def parse_source(text: str) -> Source:
    """Read a run's name on the command line.

    Raises:
        ConfigError: what stands behind `::` is not known.

    >>> parse_source("results.json::provider=openai:gpt-4o::name=new").options
    {'provider': 'openai:gpt-4o', 'name': 'new'}
    >>> parse_source("old.csv::column=correct=is_right::column=id=question").columns
    {'correct': 'is_right', 'id': 'question'}
    """
    if any("\ud800" <= character <= "\udfff" for character in text):  # how Python writes other bytes
        raise ConfigError(f"{text}: expected a name in UTF-8; rename the file")
    path, *parts = _PART.split(text)
    options: dict[str, str] = {}
    columns: dict[str, str] = {}
    for part in parts:
        key, _, value = part.partition("=")
        if key not in KEYS or not value:
            raise ConfigError(f"{text}: expected ::key=value with a key of {', '.join(KEYS)}, found {part!r}")
        if key == "column":
            columns |= column_map([value], said=f"{path}::column=")
        else:
            options[key] = value
    return Source(Path(path), options, columns)


def read_source(text: str, how: Reading) -> Run:
    """Read a run that was named on the command line."""
    return _read_named(parse_source(text), how)


def read_growing(text: str, how: Reading) -> Run:
    """Read a run that may still be written to: a last line that is not whole is not there yet.

    Raises:
        UnfinishedError: nothing of it is whole.
    """
    try:
        return read_source(text, how)
    except UnfinishedError:
        source = parse_source(text)
        written = source.path.read_bytes() if source.path.is_file() else b""
        whole = written[: written.rfind(b"\n") + 1]
        if len(whole) in (0, len(written)):
            raise
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, source.path.name)
        copy.write_bytes(whole)
        run = _read_named(replace(source, path=copy), how)
    return replace(run, metadata={**run.metadata, "source": str(source.path)})


def _read_named(source: Source, how: Reading) -> Run:
    from muscle.predictions.read import read_run

    options = {"format": how.format, "metric": how.metric, "filter": how.filter}
    columns = {**column_map(how.columns or ()), **source.columns}
    return read_run(source.path, columns=columns, hash_inputs=False, **{**options, **source.options})


def column_map(words: Sequence[str], *, said: str = "--column ") -> dict[str, str]:
    """Turn the OURS=THEIRS words of `--column` into a column map.

    Args:
        words: the words.
        said: what stood before a word, for messages.

    Raises:
        ConfigError: a word names no column.
    """
    columns = {}
    for word in words:
        ours, equals, theirs = word.partition("=")
        if not (ours and equals and theirs):
            raise ConfigError(f"{said}{word}: expected OURS=THEIRS, such as correct=is_right")
        columns[ours] = theirs
    return columns


def named_sources(words: Sequence[str]) -> dict[str, str]:
    """Read NAME=RUN words.

    Raises:
        ConfigError: a word names nothing, or two have one name.
    """
    found: dict[str, str] = {}
    for word in words:
        name, equals, run = word.partition("=")
        if not (name and equals and run):
            raise ConfigError(f"--other {word}: expected NAME=RUN, such as base=results/bare")
        if name in found:
            raise ConfigError(f"--other {word}: expected every name once, found {name!r} twice")
        found[name] = run
    return found


@contextmanager
def reading(
    words: Sequence[str],
    how: Reading,
    *,
    then: str = "comparing",
    read: Callable[[str, Reading], Run] | None = None,
) -> Iterator[list[Run]]:
    """Read the runs, and show how far reading and the block's work are.

    Args:
        words: the runs as they were named.
        how: how they are read.
        then: what the block's work is called.
        read: reads a run; None takes `read_source`.

    Yields:
        The runs, in the order in which they were named.

    Raises:
        ConfigError: what stands behind `::` is not known.
        DataError: a run cannot be read.
    """
    from muscle.progress import step_bar

    sizes = [_num_bytes(parse_source(word).path) / _BYTES_A_SECOND for word in words]
    steps = {
        f"reading {number} of {len(words)}: {middle_cut(word, _NAME)}": size
        for number, (word, size) in enumerate(zip(words, sizes, strict=True), 1)
    }
    with step_bar({**steps, then: _COMPARING * sum(sizes)}) as begin:
        runs = []
        for step, word in zip(steps, words, strict=True):
            begin(step)
            try:
                runs.append((read or read_source)(word, how))
            except UnclearColumns as error:
                raise DataError(f"{error}{_example(words, word, how, error)}") from None
        begin(then)
        yield runs


def _example(words: Sequence[str], word: str, how: Reading, error: UnclearColumns) -> str:
    """Return an example command for a message: what was typed, and what each of the runs has to be told.

    Args:
        words: the runs as they were named; the first two are compared.
        word: the one that is not clear.
        how: how they are read.
        error: what is not clear in it.
    """
    pair = words[:2]
    if error.versions and len(words) > 1 and words[0] == words[1]:
        return f". For example: muscle compare {_two_of_one(words[0], error.versions)}"
    if not error.flags:
        return ""
    if len(words) < 2:
        return f". For example: {error.flags}"
    if word not in pair:
        return f". For example: {shlex.quote(word + _for_one_run(error.flags))}"
    asked = [error.flags if each == word else _asked(each, how) for each in pair]
    told = [column_map(shlex.split(flags)[1::2]) for flags in asked]
    given = [f"--{key} {shlex.quote(said)}" for key, said in vars(how).items() if said and key != "columns"]
    for column in how.columns or ():
        if not all(column.partition("=")[0] in each for each in told):
            given.append(f"--column {shlex.quote(column)}")
    if asked[0] == asked[1]:
        given.append(asked[0])
    else:
        pair = [each + _for_one_run(flags) for each, flags in zip(pair, asked, strict=True)]
    return f". For example: {' '.join(['muscle compare', *map(shlex.quote, pair), *given])}"


def _asked(word: str, how: Reading) -> str:
    """Return the options that a run's own columns ask for; "" where it can be read, or not for another reason."""
    try:
        read_source(word, how)
    except UnclearColumns as error:
        return error.flags
    except MuscleError:
        pass
    return ""


def _for_one_run(flags: str) -> str:
    """Return `--column` options as they stand behind a run's name."""
    return "".join(f"::column={each}" for each in shlex.split(flags)[1::2])


def _two_of_one(word: str, versions: tuple[str, str]) -> str:
    """Return how two versions in one table are named."""
    return " ".join(shlex.quote(word + version) for version in versions)


def both_versions(word: str, how: Reading) -> str:
    """Return how to name the two versions that one table may hold; "" where it holds none that can be told."""
    try:
        read_source(word, how)
    except UnclearColumns as error:
        return f"muscle compare {_two_of_one(word, error.versions)}" if error.versions else ""
    except MuscleError:
        pass
    return ""


def decisions(runs: Sequence[Run]) -> list[str]:
    """Return the lines that say what decides in plain tables, where a run's report does not say so."""
    from muscle.flips.result.warnings import with_names

    found = []
    for run in runs:
        line = run.metadata.get("decided")
        told = [*(run.metadata.get("notes") or ()), *(run.metadata.get("readings") or ())]
        if line and line not in told:
            found.append((run.name, line))
    return with_names(found)


def tell_unread(runs: Sequence[Run]) -> None:
    """Name on standard error what the runs' sources held that was not read, where no report does."""
    for run in runs:
        for each in run.unread:
            logger.warning("%s: not read: %s", run.name, each)


def _num_bytes(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder; 0 where there is nothing."""
    try:
        if path.is_dir():
            return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        return path.stat().st_size
    except OSError:
        return 0
