"""Candidate answers to a task whose answers are generated: what an item's options are, where it has none.

An item's candidates are the reference, where it is known, and what models answered to it. Two texts are the same answer
where both are right (by the task's own scorer), or where the task reads the same answer out of both; such wordings
count together, as it is the answer that breaks or holds and not its wording. The reference comes first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from muscle.errors import DataError
from muscle.files import write_text
from muscle.tasks.scoring import INVALID
from muscle.tasks.sources import load_rows
from muscle.tasks.task import Example

RIGHT = 0
"""Number of the right answer, where it is known."""


@dataclass(frozen=True)
class Drawn:
    """An answer that a model gave.

    Attributes:
        text: the answer as it was generated.
        source: who gave it, and how.
        correct: whether the task's scorer accepts it; None where it doesn't say.
        extracted: what the task reads out of it; None where that is the whole text.
    """

    text: str
    source: str
    correct: bool | None = None
    extracted: str | None = None


@dataclass(frozen=True)
class Candidate:
    """One candidate answer of an item.

    Attributes:
        text: without the delimiter and without blanks around it.
        answer: number of the answer that it gives, from 0 in the order of first appearance.
        sources: who gave it; `reference` is the data.
    """

    text: str
    answer: int
    sources: tuple[str, ...]


def candidates_of(example: Example, drawn: Iterable[Drawn]) -> tuple[Candidate, ...]:
    """Return an item's candidates: each text once, the references first; none where nothing but blanks is there.

    Args:
        example: labelled, or without a label.
        drawn: what models answered to it.

    Example:
        >>> item = Example(id="1", context="2 + 2 =", reference=("4",), target=" 4")
        >>> [(each.text, each.answer) for each in candidates_of(item, [Drawn(" 5", "old"), Drawn(" 4 ", "new")])]
        [('4', 0), ('5', 1)]
    """
    given: list[Drawn] = []
    if example.target:
        # A built-in's references may be what is read out of an answer; what training appends is an answer.
        texts = (example.target, *example.reference[1:])
        given += [Drawn(text, "reference", correct=True) for text in texts]
    numbers: dict[tuple[str, str], int] = {}
    found: dict[str, Candidate] = {}
    for each in [*given, *drawn]:
        text = each.text.strip()
        if not text:
            continue
        if text not in found:
            found[text] = Candidate(text, numbers.setdefault(_same_answer_key(each, text), len(numbers)), ())
        if each.source not in found[text].sources:
            found[text] = replace(found[text], sources=(*found[text].sources, each.source))
    return tuple(found.values())


def _same_answer_key(drawn: Drawn, text: str) -> tuple[str, str]:
    """Return what two wordings of one answer have in common."""
    if drawn.correct:
        return ("right", "")
    if drawn.extracted is None or drawn.extracted == INVALID:
        return ("text", text)
    return ("read", drawn.extracted)


def with_candidates(example: Example, candidates: Sequence[Candidate]) -> Example:
    """Return an item with its candidates as its choices; the right answer is known where it is labelled."""
    return replace(
        example,
        choices=tuple(each.text for each in candidates),
        answers=tuple(each.answer for each in candidates),
        gold=RIGHT if example.target else None,
    )


def write_candidates(path: Path, items: Mapping[str, Sequence[Candidate]]) -> None:
    """Write the candidates of items by their keys, a JSON line an item.

    Raises:
        OutputError: it cannot be written.
    """
    rows = ({"item": key, "candidates": [asdict(each) for each in found]} for key, found in items.items())
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_candidates(path: Path) -> dict[str, tuple[Candidate, ...]]:
    """Read what `write_candidates` wrote.

    Raises:
        DataError: it is missing or damaged.
    """
    found = {}
    for source in load_rows(str(path)):
        try:
            written = source.row["candidates"]
            assert isinstance(written, list)
            found[str(source.row["item"])] = tuple(
                Candidate(str(each["text"]), int(each["answer"]), tuple(each["sources"])) for each in written
            )
        except (AssertionError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{source.place}: damaged candidate answers; delete the file to draw them again") from error
    return found
