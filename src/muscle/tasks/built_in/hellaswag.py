"""HellaSwag: which of four endings goes on with a text (Zellers et al., 2019).

Prompt and cleaning are lm-evaluation-harness's task `hellaswag`, version 1.0, which joins `ctx_a` and the capitalised
`ctx_b`. Rows that bring only the joined `ctx` are taken as they stand: where its last fragment begins cannot be told
for certain, so a lower-case beginning stays lower-case there. The score is the plain log-likelihood (`acc`), as in the
paper; the harness's length-normalised `acc_norm` stands beside it.
"""

from __future__ import annotations

import re

from muscle.errors import DataError
from muscle.tasks.fields import found, read_id, read_label, read_text, read_texts
from muscle.tasks.task import Example, HubData, Row, Task


def clean(text: str) -> str:
    """Return the text without the marks of the WikiHow part, exactly as the harness's `preprocess` does.

    >>> clean("How to tie a knot [title] Take a rope. [step] Cross the ends.")
    'How to tie a knot. Take a rope. Cross the ends.'
    """
    text = text.strip().replace(" [title]", ". ")
    return re.sub(r"\[.*?\]", "", text).replace("  ", " ")


def to_question(row: Row, position: int) -> Example:
    """Build an example from `activity_label`, `endings` and `ctx_a` with `ctx_b`, or `ctx`, without its label.

    Raises:
        DataError: a field is missing or empty, or there is no context.
    """
    activity = read_text(row, "activity_label")
    choices = tuple(clean(ending) for ending in read_texts(row, "endings"))
    if not all(choices):
        raise DataError(f"field 'endings': expected text beside the marks, found {found(row['endings'])}")
    return Example(
        id=read_id(row, position),
        context=clean(f"{activity}: {_context(row)}"),
        reference=(),
        target="",
        choices=choices,
        slices=_activity_slices(row, activity),
    )


def to_example(row: Row, position: int) -> Example:
    """Build an example from a row with its `label`.

    Raises:
        DataError: a field is missing, empty or out of range, or there is no context.
    """
    question = to_question(row, position)
    return question.answered(read_label(row, "label", len(question.choices)))


def _context(row: Row) -> str:
    # Copies of the data set differ: some bring the two fragments, some only the joined text.
    if "ctx_a" not in row:
        return read_text(row, "ctx")
    ending_part = row.get("ctx_b") or ""
    if not isinstance(ending_part, str):
        raise DataError(f"field 'ctx_b': expected text, found {found(ending_part)}")
    return f"{read_text(row, 'ctx_a')} {ending_part.capitalize()}"


def _activity_slices(row: Row, activity: str) -> dict[str, str]:
    # "activitynet~v_-IMXSEIabMM": which of the two data sets the item was made from, and its place there.
    source = row.get("source_id")
    named = {"source": source.split("~")[0]} if isinstance(source, str) and "~" in source else {}
    return {"activity": activity, **named}


TASK = Task(
    name="hellaswag",
    kind="choice",
    to_example=to_example,
    to_question=to_question,
    columns=("activity_label", "endings", "label"),
    definition={
        "task": "hellaswag",
        "version": 1,
        "prompt": "clean({activity_label}: {ctx_a} {ctx_b.capitalize()}) or clean({activity_label}: {ctx})",
        "choices": "clean(endings)",
        "delimiter": " ",
        "score": "acc",
    },
    hub=HubData(
        train="hub:Rowan/hellaswag:train",
        test="hub:Rowan/hellaswag:validation",
        num_train=39_905,
        num_test=10_042,
    ),
)
