"""The property: what is taken away from a run never makes the gate's verdict better."""

from __future__ import annotations

import random
import re
import shutil
import tempfile
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from muscle import MuscleError
from muscle.gate.policy import Policy
from muscle.gate.run import gate
from muscle.predictions.writers.convert import convert
from robust import blanking
from robust.answers import KINDS, pair
from robust.files import Bundle
from robust.formats import FORMATS

_POINT = {"negative_flip_rate": {"limit": 0.1, "test": "point"}}
_RATE = {"negative_flip_rate": {"limit": 0.1}, "harm": "block"}
POLICIES: dict[str, dict[str, Any]] = {
    "default": {},
    "point": {"min_items": 20, "default": _POINT, "scores": _POINT},
    "rate": {"min_items": 20, "default": _RATE, "scores": _RATE},
    "slices": {
        "min_items": 20,
        "slices": [
            {"slice": "topic", **_POINT},
            {"slice": "topic", "value": "rivers", "harm": "warn"},
        ],
    },
    "lengths": {"slices": [{"slice": "length", "min_items": 10, **_POINT}]},
}
SLICELESS = ("helm", "bfcl")
"""Formats that keep no slices."""

CONVERTED = ("x.jsonl", "x.parquet", "folder", "eee")
"""What `convert` writes: a file, our folder, Every Eval Ever."""

RANKS = {"pass": 0, "warn": 1, "block": 2, "cannot_tell": 2, "refused": 2}
"""How good a verdict is; blocked, undecided and refused all stop an update."""


@dataclass(frozen=True)
class Case:
    """A pair of runs and what is done to it; the seed chooses all of it.

    Attributes:
        seed: the case's number.
        format: of both runs.
        kind: what the gate should say of the whole pair.
        policy: one of `POLICIES`.
        items: of each task.
        tasks: how many.
        errors: share of the new run's items that failed.
    """

    seed: int
    format: str
    kind: str
    policy: str
    items: int
    tasks: int
    errors: float


@dataclass(frozen=True)
class Outcome:
    """What came of a case.

    Attributes:
        case: the case.
        change: what was done.
        before: the verdict on the whole pair.
        after: the verdict on what was left, or "refused".
        converted: the same through `convert`; None where that was not asked.
        crash: an error that is none of the project's own.
    """

    case: Case
    change: str
    before: str
    after: str
    converted: str | None = None
    crash: str | None = None

    @property
    def fault(self) -> str | None:
        """What is wrong with it; None where nothing is."""
        if self.crash:
            return f"raises {self.crash}"
        if RANKS[self.after] < RANKS[self.before]:
            return f"{self.before} became {self.after}"
        if self.converted is not None and RANKS[self.converted] < RANKS[self.before]:
            return f"{self.before} became {self.converted} through convert"
        if self.converted is not None and self.after != "refused" and self.converted != "refused":
            worse = RANKS[self.converted] < RANKS[self.after]
            return f"{self.after} became {self.converted} by convert alone" if worse else None
        return None


def case_of(seed: int, *, small: bool = False) -> Case:
    """Return the case of a seed: formats in turn, the rest by chance.

    Args:
        seed: the case's number.
        small: few items, for tests that must be quick.
    """
    chance = random.Random(seed)
    names = list(FORMATS)
    format = names[seed % len(names)]
    policies = [name for name in POLICIES if not (name == "slices" and format in SLICELESS)]
    items = chance.choice((40, 150) if small or "inspect" in format else (40, 150, 300))
    kind = chance.choices(list(KINDS), (4, 3, 1, 2))[0]
    errors = chance.choice((0.0, 0.0, 0.03)) if items >= 150 else 0.0
    tasks = 1 if small else chance.choice((1, 1, 2))
    return Case(seed, format, kind, chance.choice(policies), items, tasks, errors)


@lru_cache(maxsize=64)
def bundles(format: str, kind: str, items: int, tasks: int, errors: float) -> tuple[Bundle, Bundle]:
    """Return the files of the whole pair."""
    old, new = pair(kind, items=items, tasks=tasks, errors=errors)
    return FORMATS[format](old), FORMATS[format](new)


@cache
def verdict_before(case: Case) -> str:
    """Return the gate's verdict on the whole pair (of a case with seed 0, so that it is judged once)."""
    old, new = bundles(case.format, case.kind, case.items, case.tasks, case.errors)
    folder = Path(tempfile.mkdtemp())
    try:
        return _verdict(old.write(folder / "old"), new.write(folder / "new"), case.policy)
    finally:
        shutil.rmtree(folder)


@cache
def _policy(name: str) -> Policy:
    return Policy.model_validate({"name": name, **POLICIES[name]})


def _verdict(old: Path, new: Path, policy: str) -> str:
    try:
        return gate(old, new, _policy(policy)).verdict
    except MuscleError:
        return "refused"


def judged(format: str, kind: str) -> str:
    """Return the default policy's verdict on a whole pair of runs of 300 items."""
    return verdict_before(Case(0, format, kind, "default", 300, 1, 0.0))


def judged_after_convert(format: str, kind: str, folder: Path, *, to: str) -> str:
    """Return the same verdict on the runs as `convert` writes them: to one of `CONVERTED`."""
    names = ("old", "new")
    paths = [run.write(folder / n) for n, run in zip(names, bundles(format, kind, 300, 1, 0.0), strict=True)]
    outs = [_converted(path, folder / f"{n}_to" / to, to=to) for n, path in zip(names, paths, strict=True)]
    return _verdict(*outs, "default")


def _converted(source: Path, out: Path, *, to: str) -> Path:
    convert(source, out, to="eee" if to == "eee" else "records")
    return out


def run_case(case: Case, folder: Path, *, through_convert: bool = False) -> Outcome:
    """Take something away from a pair of runs, and have it judged.

    Args:
        case: the case.
        folder: an empty folder.
        through_convert: whether to convert both runs, and judge those too.
    """
    chance = random.Random(f"change/{case.seed}")
    before = verdict_before(replace(case, seed=0))
    old, new = (bundle.copy() for bundle in bundles(case.format, case.kind, case.items, case.tasks, case.errors))
    done = " and ".join(map(str, blanking.changes(old, new, chance)))
    paths = old.write(folder / "old"), new.write(folder / "new")
    to = chance.choice(CONVERTED)
    converted = None
    try:
        after = _verdict(*paths, case.policy)
        if through_convert:
            try:
                outs = [
                    _converted(path, folder / side / to, to=to)
                    for side, path in zip(("old_converted", "new_converted"), paths, strict=True)
                ]
                converted = _verdict(*outs, case.policy)
            except MuscleError:
                converted = "refused"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        return Outcome(case, done, before, "refused", None, place_of(error))
    return Outcome(case, done, before, after, converted)


def place_of(error: BaseException) -> str:
    """Return an error's type, and the last line of the project that it passed."""
    place, step = "?", error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        if "/muscle/" in code.co_filename:
            place = f"{code.co_filename.rpartition('/muscle/')[2]}:{step.tb_lineno} {code.co_name}"
        step = step.tb_next
    message = re.sub(r"\d{2,}", "#", (str(error).splitlines() or [""])[0])
    return f"{type(error).__name__} at {place}: {message[:100]}"
