"""One file in the place of two runs: held against itself it shows nothing, and a gate must not pass by a wrong path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path

import polars as pl

from muscle.errors import JoinError
from muscle.flips.pairing.pair import Pair
from muscle.predictions.run import Run

EXPECTED = "expected the results of two versions, each in a file of its own"


def refuse_one_file(runs: Mapping[str, Run]) -> None:
    """Refuse one file in the place of two runs.

    Args:
        runs: by role.

    Raises:
        JoinError: two of them are one file.
    """
    for told in files_that_stand_twice({role.upper(): run for role, run in runs.items()}):
        raise JoinError(f"{told}; {EXPECTED}")


def files_that_stand_twice(runs: Mapping[str, Run]) -> Iterator[str]:
    """Say of each two runs that are one file which file that is."""
    for (one, first), (other, second) in combinations(runs.items(), 2):
        path = _shared_path(first.metadata, second.metadata)
        if path is not None and first.frame.equals(second.frame):
            yield _one_file_words(path, one, other)


def one_file_twice(
    sources: Mapping[str, Mapping[str, object]], judged: Pair, rerun: Pair | None, *, role: str
) -> str | None:
    """Say which file stands in the place of two runs that a verdict rests on; None where none does.

    The new version may be the old one beside a candidate, which is judged then. Several runs out of one file (another
    provider, other columns) are several runs, and a kept baseline is a copy that its file may still equal.

    Args:
        sources: what is known of each run, by role, as a report has it.
        judged: the old version and the one that the verdict is on.
        rerun: the old version and its second run; None without one.
        role: of the version that the verdict is on.
    """
    joined = judged.joined
    held: list[tuple[str, str, pl.DataFrame, pl.DataFrame]] = [("old", role, joined.old, joined.new)]
    if rerun is not None:
        held += [
            ("old", "rerun", rerun.joined.old, rerun.joined.new),
            (role, "rerun", joined.new, rerun.joined.new),
        ]
    for one, other, first, second in held:
        path = _shared_path(sources[one], sources[other])
        if path is not None and first.equals(second):
            return _one_file_words(path, one.upper(), other.upper())
    return None


def _one_file_words(path: str, one: str, other: str) -> str:
    return f"{path}: {one} and {other} are one file, which cannot differ from itself"


def _shared_path(one: Mapping[str, object], other: Mapping[str, object]) -> str | None:
    """Return the path of two runs that were read from one; None where they were not."""
    if "baseline" in one or "baseline" in other:
        return None
    paths = [Path(str(each.get("source"))) for each in (one, other)]
    try:
        return str(paths[1]) if paths[0].exists() and paths[0].samefile(paths[1]) else None
    except OSError:
        return None
