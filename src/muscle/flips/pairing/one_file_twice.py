"""One file in two places: a comparison of it with itself proves nothing, and a gate must not pass by a wrong path."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from muscle.errors import JoinError
from muscle.predictions.run import Run

_MEANT = {
    "new": "the new version's results",
    "candidate": "the candidate's results",
    "rerun": "the results of a second run of the old version",
    "floor": "the results of the old recipe trained again",
}


def refuse_one_file_twice(runs: Mapping[str, Run]) -> None:
    """Refuse a file that is given in the place of two runs whose difference a verdict rests on.

    The new version may be the old one beside a candidate, which is judged then. Several runs out of one file (another
    provider, other columns) are several runs.

    Args:
        runs: by role: old, new, candidate, rerun, floor.

    Raises:
        JoinError: the judged version, the second run or the floor is the old run's file, or one another's.
    """
    roles = [role for role in runs if role != "new" or "candidate" not in runs]
    for place, role in enumerate(roles):
        for other in roles[:place]:
            if _is_one(runs[role], runs[other]):
                raise JoinError(
                    f"{runs[role].metadata['source']}: expected {_MEANT[role]} as {role}, found the file that is "
                    f"given as {other}; a run held against itself shows nothing"
                )


def _is_one(one: Run, other: Run) -> bool:
    """Whether two runs are the same rows of the same file; a kept baseline is a copy, which its file may equal."""
    if any("baseline" in run.metadata for run in (one, other)):
        return False
    paths = [Path(str(run.metadata.get("source"))) for run in (one, other)]
    try:
        is_same_path = paths[0].exists() and paths[0].samefile(paths[1])
    except OSError:
        return False
    return is_same_path and one.frame.equals(other.frame)
