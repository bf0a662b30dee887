"""The items of a record: of one file or several, with labels or without, each text once, each with an id of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from muscle.errors import DataError
from muscle.foreign_text import shorten
from muscle.predictions.records import input_hash
from muscle.tasks.data import build_examples
from muscle.tasks.sources import load_rows
from muscle.tasks.task import Example, Task


def load_items(
    task: Task, labelled: Sequence[str], unlabelled: Sequence[str] = (), *, limit: int | None = None
) -> tuple[Example, ...]:
    """Read what is to be asked.

    An item that stands in several files is asked once; with its label, where one of them has it. Where files are
    several, the name of an item's file stands before its id, which is unique only there.

    Args:
        task: whose items.
        labelled: files of rows with their right answers.
        unlabelled: files of rows without; labels that are there are not read.
        limit: the first so many rows of each file.

    Raises:
        DataError: no file, one that cannot be read, a row that does not fit the task, or two files of one name.
    """
    parts = [(source, True) for source in labelled] + [(source, False) for source in unlabelled]
    if not parts:
        raise DataError("--data: expected a file of items, or --unlabelled; found neither")
    names = [Path(source).stem for source, _ in parts]
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"--data: two files are called {name}; their names tell items of one id apart: rename one")
    found: dict[str, Example] = {}
    for name, (source, has_labels) in zip(names, parts, strict=True):
        for example in build_examples(task, load_rows(source, limit=limit), labelled=has_labels):
            own = replace(example, id=f"{name}:{example.id}") if len(parts) > 1 else example
            found.setdefault(input_hash(example.context, example.choices), own)
    return tuple(found.values())


def as_recorded(examples: Sequence[Example], rows: Sequence[Mapping[str, object]], path: Path) -> list[Example]:
    """Return items by the ids that a record has them by: an item is known by its text, in whichever file it stands.

    Args:
        examples: what is to be asked.
        rows: the record's lines.
        path: its file, for messages.

    Raises:
        DataError: an id stands for another text there.
    """
    id_of = {str(row["input_hash"]): str(row["id"]) for row in rows}
    text_of = {name: text for text, name in id_of.items()}
    found = []
    for example in examples:
        text = input_hash(example.context, example.choices)
        if text not in id_of and example.id in text_of:
            raise DataError(
                f"{path}: the item {shorten(example.id)} has another text there: have its rows been changed or moved? "
                "Give items ids of their own, add new rows at the end, or give another --out"
            )
        found.append(replace(example, id=id_of.get(text, example.id)))
    return found
