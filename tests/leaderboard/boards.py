"""Leaderboards of small runs whose flips are known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from helpers.command_line import rows, write
from muscle.leaderboard.build import build_leaderboard
from muscle.leaderboard.entries import Entry, Group, Published
from muscle.leaderboard.result import Leaderboard

NUM = 400
"""Items, three quarters of them right in the old version."""

Flips = tuple[int, int]
"""Lost and gained; of two rows the one with more has those of the other among them."""


def run(folder: Path, name: str, seed: int, flips: Flips) -> Path:
    lost, gained = flips
    write(folder / name / str(seed) / "trivia.jsonl", rows(NUM, lost=lost, gained=gained))
    return folder / name / str(seed)


def entry(folder: Path, name: str, flips: Mapping[int, Flips], **more) -> Entry:
    given = {"role": "method", "eligible": more.get("role", "method") == "method", "what": "as it is", "group": "g"}
    return Entry(name=name, runs={seed: run(folder, name, seed, each) for seed, each in flips.items()}, **given | more)


def board_of(folder: Path, *entries: Entry, plain: Mapping[int, Flips], **names) -> Leaderboard:
    """Return a leaderboard of an old version, a plain update and further rows."""
    seeds = list(plain)
    old = {seed: run(folder, "old", seed, (0, 0)) for seed in seeds}
    first = Entry("old", "old", "in use", "g", old)
    second = entry(folder, "plain", plain, role="plain")
    group = Group("g", old, second.runs)
    return build_leaderboard([group], [first, second, *entries], **{"old": "v1", "new": "v2", **names})


def scored_board(folder: Path, plain: Mapping[float, int], method: Mapping[float, int]) -> Leaderboard:
    """Return a leaderboard of a task with a score alone: 0.5 in the old version, in others so many items have each."""
    runs = {}
    for name, scores in {"old": {0.5: sum(plain.values())}, "plain": plain, "m": method}.items():
        values = [value for value, number in scores.items() for _ in range(number)]
        lines = [
            {
                "id": f"s{number}",
                "task": "sums",
                "input": f"Text {number}",
                "output": f"{value}",
                "score": {"rouge1": value},
            }
            for number, value in enumerate(values)
        ]
        runs[name] = write(folder / name / "sums.jsonl", lines).parent
    entries = [
        Entry("old", "old", "in use", "g", {0: runs["old"]}),
        Entry("plain", "plain", "as it is", "g", {0: runs["plain"]}),
        Entry("m", "method", "better", "g", {0: runs["m"]}, controls={"plain": "plain"}, eligible=True),
    ]
    group = Group("g", {0: runs["old"]}, {0: runs["plain"]})
    return build_leaderboard([group], entries, old="v1", new="v2")


def hostile_board(folder: Path, name: str) -> Leaderboard:
    """Return a leaderboard in which every text that a user or a file can choose is hostile."""
    method = entry(
        folder,
        "method",
        {0: (5, 20)},
        what=name,
        controls={"plain": "plain"},
        uses_old=True,
        settings={"alignment.mask": name},
        seconds={0: 3.5},
        failed={1: name},
        published=Published(-3.97, -34.25, 0.54, 4.51),
    )
    renamed = Entry(**{**vars(method), "name": name})
    return board_of(folder, renamed, plain={0: (40, 20)}, old=name, new=name, title=name)
