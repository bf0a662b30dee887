"""PIQA: which of two solutions reaches an everyday goal (Bisk et al., 2020).

Prompt and options are lm-evaluation-harness's task `piqa`, version 1.0. The official test labels are not public, so
the labelled validation split is the test set, as everywhere (Table 3: 3k).
"""

from __future__ import annotations

from muscle.tasks.fields import read_id, read_label, read_text
from muscle.tasks.task import Example, HubData, Row, Task


def to_example(row: Row, position: int) -> Example:
    r"""Build an example from `goal`, `sol1`, `sol2` and `label` (0: `sol1` is right).

    Raises:
        DataError: a field is missing, empty or out of range.

    >>> to_example({"goal": "Open a jar", "sol1": "Twist.", "sol2": "Sing.", "label": 0}, 0).context
    'Question: Open a jar\nAnswer:'
    """
    choices = (read_text(row, "sol1"), read_text(row, "sol2"))
    gold = read_label(row, "label", len(choices))
    return Example(
        id=read_id(row, position),
        context=f"Question: {read_text(row, 'goal')}\nAnswer:",
        reference=(choices[gold],),
        target=f" {choices[gold]}",
        choices=choices,
        gold=gold,
    )


TASK = Task(
    name="piqa",
    kind="choice",
    to_example=to_example,
    columns=("goal", "sol1", "sol2", "label"),
    definition={
        "task": "piqa",
        "version": 1,
        "prompt": "Question: {goal}\nAnswer:",
        "choices": ["{sol1}", "{sol2}"],
        "delimiter": " ",
        "score": "acc",
    },
    hub=HubData(train="hub:baber/piqa:train", test="hub:baber/piqa:validation"),
)
