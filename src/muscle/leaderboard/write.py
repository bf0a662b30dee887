"""Writes a leaderboard: `leaderboard.json`, from which all other forms can be made again."""

from __future__ import annotations

from pathlib import Path

from muscle.files import write_json
from muscle.leaderboard.result import Leaderboard


def write_leaderboard(leaderboard: Leaderboard, folder: Path) -> None:
    """Write a leaderboard into a folder.

    Raises:
        OutputError: a file cannot be written.
    """
    write_json(folder / "leaderboard.json", leaderboard.to_json())
