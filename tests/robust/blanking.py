"""Taking parts away from valid files: records, files, members and fields, at random or just those that would hurt.

A change only ever takes something away or blanks it. What was taken from one run, or differently from both, must make a
verdict more careful or leave it as it is.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from robust.answers import Answer
from robust.files import Bundle, File, Key

Picked = Callable[[Answer], bool]

_PICKS: tuple[str, ...] = ("one", "some", "many", "half", "all", "first", "last", "wrong", "right", "broke")
_PICK_WEIGHTS = (1, 2, 1, 1, 2, 1, 1, 4, 1, 8)
_SHARES = {"some": 0.1, "many": 0.3, "half": 0.5}
REMOVALS = ("drop", "cut_list", "cut_bytes", "drop_file", "drop_member", "no_records")
FIELD_CHANGES = ("null", "delete", "empty", "blank", "nan")
HEADER_CHANGES = ("header_null", "header_delete", "header_empty")


@dataclass(frozen=True)
class Change:
    """What was done to a pair of runs: the way, the side, the file's kind of part, the field, which records."""

    way: str
    side: str
    part: str
    picked: str

    def __str__(self) -> str:
        return f"{self.way} {self.part} of {self.picked} in {self.side}"


def changes(old: Bundle, new: Bundle, chance: random.Random) -> list[Change]:
    """Change one or both runs in place, once or twice; see `change`."""
    done = [change(old, new, chance)]
    if chance.random() < 0.25 and done[0].way not in ("cut_bytes", "drop_file", "no_records"):
        done.append(change(old, new, chance))
    return done


def change(old: Bundle, new: Bundle, chance: random.Random) -> Change:
    """Change one or both runs in place, and say what was done.

    Args:
        old: the old run; its values are changed, so hand over a copy.
        new: the new run, likewise.
        chance: what chooses.
    """
    way = chance.choices((*FIELD_CHANGES, *REMOVALS, *HEADER_CHANGES), (9, 6, 3, 3, 3, 8, 3, 3, 1, 3, 1, 1, 1, 1)[:14])[
        0
    ]
    if way in REMOVALS:
        # The same items taken from both runs would leave no trace in a plain file, so one run loses them.
        side = chance.choice(("old", "new", "new"))
        part, picked = _remove(way, new if side == "new" else old, chance)
        return Change(way, side, part, picked)
    side = chance.choice(("old", "new", "new", "both"))
    runs = [run for name, run in (("old", old), ("new", new)) if side in (name, "both")]
    if way in HEADER_CHANGES:
        return Change(way, side, _change_header(way.removeprefix("header_"), runs, chance), "settings")
    part, picked = _change_field(way, runs, chance)
    return Change(way, side, part, picked)


def _pick(kind: str, file: File, chance: random.Random) -> list[int]:
    """Return the places of the chosen records."""
    number = len(file.rows)
    places = range(number)
    if kind == "one":
        return [chance.randrange(number)] if number else []
    if kind in _SHARES:
        return sorted(chance.sample(places, round(_SHARES[kind] * number)))
    if kind in ("first", "last"):
        size = chance.randint(1, max(1, number // 2))
        return list(places[:size] if kind == "first" else places[-size:])
    if kind == "all" or len(file.answers) != number:
        return list(places)
    told: dict[str, Picked] = {
        "wrong": lambda answer: not answer.right,
        "right": lambda answer: answer.right,
        "broke": lambda answer: answer.broke,
    }
    fitting = [place for place in places if told[kind](file.answers[place])]
    return fitting if chance.random() < 0.6 else fitting[: max(1, len(fitting) // 2)]


def _with_records(run: Bundle, chance: random.Random) -> tuple[str, File]:
    """Choose a file that holds records."""
    return chance.choice([(path, file) for path, file in run.files.items() if file.answers])


def _remove(way: str, run: Bundle, chance: random.Random) -> tuple[str, str]:
    if way == "drop_file":
        several = [path for path in run.files if path != run.root]
        if several:
            path = chance.choice(several)
            del run.files[path]
            return path.rpartition(".")[2] + (" file" if path in several else ""), "file"
    path, file = _with_records(run, chance)
    rows = file.rows
    if way == "no_records":
        rows.clear()
        return "records", "all"
    if way == "cut_bytes":
        return "tail", _cut(run, path, file, chance)
    kind = ("last" if way == "cut_list" else None) or chance.choices(_PICKS, _PICK_WEIGHTS)[0]
    gone = set(_pick(kind, file, chance))
    if way == "drop_member":  # the record's place stays, with nothing in it
        blank = chance.choice((None, {}, ""))
        for place in gone:
            rows[place] = blank
        return f"records as {blank!r}", kind
    rows[:] = [row for place, row in enumerate(rows) if place not in gone]
    return "records", kind


def _cut(run: Bundle, path: str, file: File, chance: random.Random) -> str:
    """Cut the written file short: at a line's end, or anywhere."""
    data = next(data for name, data in run.encoded() if name == path)
    ends = [place + 1 for place, byte in enumerate(data) if byte == 10]
    at_line = bool(ends) and chance.random() < 0.5
    end = chance.choice(ends) if at_line else chance.randrange(len(data))
    run.files[path] = File("bytes", data[:end])
    return "a line's end" if at_line else "anywhere"


def _paths(value: Any, *, depth: int = 5) -> Iterator[tuple[Key, ...]]:
    """Yield the keys that lead to every part of a value."""
    entries: Iterator[tuple[Key, Any]] = iter(())
    if isinstance(value, dict):
        entries = iter(value.items())
    elif isinstance(value, list):
        entries = iter(enumerate(value[:3]))
    for key, entry in entries:
        yield (key,)
        if depth:
            for rest in _paths(entry, depth=depth - 1):
                yield (key, *rest)


def put(value: Any, keys: Sequence[Key], way: str) -> None:
    """Blank the part of a value that some keys lead to; nothing happens where there is none."""
    for key in keys[:-1]:
        if not _has(value, key):
            return
        value = value[key]
    last = keys[-1]
    if not _has(value, last):
        return
    found = value[last]
    if way == "delete":
        del value[last]
    elif way == "empty" and isinstance(found, str | list | dict):
        value[last] = type(found)()
    elif way == "blank" and isinstance(found, str):
        value[last] = " "
    elif way == "nan" and isinstance(found, int | float):
        value[last] = float("nan")
    else:
        value[last] = None


def _has(value: Any, key: Key) -> bool:
    if isinstance(value, dict):
        return key in value
    return isinstance(value, list) and isinstance(key, int) and key < len(value)


def _change_field(way: str, runs: Sequence[Bundle], chance: random.Random) -> tuple[str, str]:
    kind = chance.choices(_PICKS, _PICK_WEIGHTS)[0]
    path, file = _with_records(runs[0], chance)
    place = list(runs[0].files).index(path)
    every = list(_paths(next((row for row in file.rows if row), None)))
    if not every:
        return "nothing", kind
    telling = [keys for keys in every if _tells(keys, file)]
    keys = chance.choice(telling if telling and chance.random() < 0.6 else every)
    chosen: list[int] = []
    for run in runs:
        file = list(run.files.values())[place]
        chosen = chosen or _pick(kind, file, chance)
        for row in chosen:
            put(file.rows, (row, *keys), way)
    return ".".join(map(str, keys)), kind


def _part(value: Any, keys: Sequence[Key]) -> str:
    for key in keys:
        if not _has(value, key):
            return "none"
        value = value[key]
    return json.dumps(value)


def _tells(keys: Sequence[Key], file: File) -> bool:
    """Whether a part says which answers are right: it is one thing in right records and another in wrong ones."""
    told: dict[bool, set[str]] = {True: set(), False: set()}
    for answer, row in zip(file.answers[:40], file.rows[:40], strict=False):
        if not answer.failed:
            told[answer.right].add(_part(row, keys))
    return len(told[True]) == len(told[False]) == 1 and told[True] != told[False]


def _change_header(way: str, runs: Sequence[Bundle], chance: random.Random) -> str:
    """Blank a setting or a total: something that is outside of the records."""
    places = []
    for place, file in enumerate(runs[0].files.values()):
        outside = file.value if not file.answers else {k: v for k, v in _dict(file.value) if k not in file.records[:1]}
        places += [(place, keys) for keys in _paths(outside)]
    if not places:
        return "none"
    place, keys = chance.choice(places)
    for run in runs:
        put(list(run.files.values())[place].value, keys, way)
    return ".".join(map(str, keys))


def _dict(value: Any) -> list[tuple[Key, Any]]:
    return list(value.items()) if isinstance(value, dict) else []
