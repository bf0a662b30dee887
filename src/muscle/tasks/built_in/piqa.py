"""PIQA: which of two solutions reaches an everyday goal (Bisk et al., 2020).

Prompt and options are lm-evaluation-harness's task `piqa`, version 1.0. The official test labels are not public, so
the labelled validation split is the test set, as everywhere (Table 3: 3k).
"""

from __future__ import annotations

from muscle.tasks.fields import read_id, read_label, read_text
from muscle.tasks.task import Example, HubData, Row, Task


def to_question(row: Row, position: int) -> Example:
    r"""Build an example from `goal`, `sol1` and `sol2`, without its label.

    Raises:
        DataError: a field is missing or empty.

    >>> to_question({"goal": "Open a jar", "sol1": "Twist.", "sol2": "Sing."}, 0).context
    'Question: Open a jar\nAnswer:'
    """
    return Example(
        id=read_id(row, position),
        context=f"Question: {read_text(row, 'goal')}\nAnswer:",
        reference=(),
        target="",
        choices=(read_text(row, "sol1"), read_text(row, "sol2")),
    )


def to_example(row: Row, position: int) -> Example:
    """Build an example from `goal`, `sol1`, `sol2` and `label` (0: `sol1` is right).

    Raises:
        DataError: a field is missing, empty or out of range.
    """
    question = to_question(row, position)
    return question.answered(read_label(row, "label", len(question.choices)))


TASK = Task(
    name="piqa",
    kind="choice",
    to_example=to_example,
    to_question=to_question,
    columns=("goal", "sol1", "sol2", "label"),
    definition={
        "task": "piqa",
        "version": 1,
        "prompt": "Question: {goal}\nAnswer:",
        "choices": ["{sol1}", "{sol2}"],
        "delimiter": " ",
        "score": "acc",
    },
    hub=HubData(
        train="hub:baber/piqa:train",
        test="hub:baber/piqa:validation",
        num_train=16_113,
        num_test=1_838,
    ),
)
