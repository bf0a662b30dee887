"""What a reader must know before trusting the numbers, and how the files were read: one sentence each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from muscle.flips.measuring.metrics import UNCHANGED_FLIPS, Quadrants
from muscle.flips.pairing.conflicting_references import told_conflicts
from muscle.flips.pairing.pair import Pair
from muscle.flips.result.grid import grid_warnings
from muscle.foreign_text import first_few
from muscle.predictions.run import Run

MAX_TASKS = 5
"""Tasks that a warning names."""

_MANY_TEXTS = 20
"""Different answers from which on two versions do not give all of them alike by chance: labels may be few."""


@dataclass(frozen=True)
class Remarks:
    """What a report says beside its numbers.

    Attributes:
        warnings: what a reader must know before trusting the numbers.
        readings: how the runs' files were read, where nothing in it makes the numbers doubtful.
    """

    warnings: list[str]
    readings: list[str]


def remarks_on(runs: Sequence[Run], pairs: Mapping[str, Pair], quadrants: Mapping[str, Sequence[Quadrants]]) -> Remarks:
    """Return what did not pair, and what their readers and likelihoods say.

    Args:
        runs: the runs that are compared.
        pairs: their pairs, by what they are called ("old vs new").
        quadrants: of each pair, the items of its tasks of right and wrong.
    """
    found = [f"{run.name}: not read: {each}" for run in runs for each in run.unread]
    found += [sentence for side, pair in pairs.items() for sentence in _about_pair(side, pair, quadrants[side])]
    found += [warning for run in runs for warning in grid_warnings(run)]
    conflicts = ((run.name, told_conflicts(run.frame)) for run in runs)
    found += with_names((name, sentence) for name, sentence in conflicts if sentence is not None)
    return Remarks([*found, *_of_readers(runs, "notes")], _of_readers(runs, "readings"))


def _of_readers(runs: Sequence[Run], kind: Literal["notes", "readings"]) -> list[str]:
    return with_names((run.name, sentence) for run in runs for sentence in run.metadata.get(kind) or ())


def with_names(said: Iterable[tuple[str, str]]) -> list[str]:
    """Return what is said of runs, each sentence once, with the names of the runs that it is about."""
    runs_of: dict[str, list[str]] = {}
    for name, sentence in said:
        runs_of.setdefault(sentence, []).append(name)
    return [f"{', '.join(dict.fromkeys(names))}: {sentence}" for sentence, names in runs_of.items()]


def _about_pair(side: str, pair: Pair, quadrants: Sequence[Quadrants]) -> Iterator[str]:
    report = pair.joined.report
    numbers = {
        "only in the first": report.only_old,
        "only in the second": report.only_new,
        "doubled": report.duplicates,
        "of them with different answers and left out": report.conflicting,
        "with another reference": report.reference_changed,
        "with another prompt under the same id": report.prompt_changed,
        "repeats that the other side lacks, paired with its answers again": report.surplus_repeats,
        "without an answer in the first (error)": report.errors_old,
        "without an answer in the second (error)": report.errors_new,
        "without a verdict or score (unscored)": pair.missing.unscored,
    }
    odd = [f"{number} {what}" for what, number in numbers.items() if number]
    unseen = pair.unseen_tasks
    if unseen:
        yield f"{side}: no item is scored in both runs of {first_few(unseen, MAX_TASKS)}"
    if odd:
        yield f"{side}: {report.paired} predictions paired; {', '.join(odd)}"
    old, new = (frame["output"] for frame in (pair.joined.old, pair.joined.new))
    if old.null_count() < old.len() and old.equals(new) and old.n_unique() >= _MANY_TEXTS:
        yield f"{side}: all {old.len():,} answers are the same texts: is one run a copy of the other?"
    same = sum(each.count(UNCHANGED_FLIPS) for each in quadrants if each.answers_known)
    if same:
        flips = "1 flip has" if same == 1 else f"{same} flips have"
        yield f"{side}: {flips} the same answer on both sides: the scoring changed, not the model"
