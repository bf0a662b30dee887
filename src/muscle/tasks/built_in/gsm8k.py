"""GSM8K: school mathematics, the final number counts (Cobbe et al., 2021).

Prompt, stop words, both extractions and the match's exceptions are lm-evaluation-harness's task `gsm8k`, version 3.0,
but for the shots: the harness puts five solved problems before the question to show the form of an answer, here the
adapter has been trained on that form, so there are none.

`correct` follows the strict extraction (`#### 42`): a trained adapter writes that line, and a number from anywhere in
the text can be right by chance. The flexible extraction (the last number) stands beside it as a score, which says what
an untrained base can do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from muscle.errors import DataError
from muscle.tasks.fields import found, read_id, read_text
from muscle.tasks.scoring import INVALID, exact_match, extract
from muscle.tasks.task import Example, Generation, HubData, Row, Task

# The harness's own expressions, letter by letter: with others the same text would get another score.
STRICT = re.compile(r"#### (\-?[0-9\.\,]+)")
FLEXIBLE = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")
IGNORED = (",", r"\$", r"(?s).*#### ", r"\.$")

UNTIL = ("Question:", "</s>", "<|im_end|>")


def to_example(row: Row, position: int) -> Example:
    """Build an example from `question` and `answer`, the worked solution that ends in `#### number`.

    Raises:
        DataError: a field is missing or empty, or the answer has no final number.
    """
    answer = read_text(row, "answer")
    final = extract(answer, STRICT)
    if final == INVALID:
        raise DataError(f"field 'answer': expected a last line '#### number', found {found(answer[-30:])}")
    steps = {"steps": str(len(answer.strip().splitlines()) - 1)}
    return replace(to_question(row, position), reference=(final,), target=f" {answer}", slices=steps)


def to_question(row: Row, position: int) -> Example:
    """Build an example from `question` alone; raises DataError where it is missing or empty."""
    context = f"Question: {read_text(row, 'question')}\nAnswer:"
    return Example(id=read_id(row, position), context=context, reference=(), target="")


def score(output: str, references: tuple[str, ...]) -> Mapping[str, float]:
    r"""Score an answer by the strict and by the flexible extraction, each 0 or 1.

    >>> score(" 3 + 4 = <<3+4=7>>7\n#### 7", ("7",))
    {'exact_match': 1.0, 'exact_match_flexible': 1.0}
    """
    strict = extract(output, STRICT)
    flexible = extract(output, FLEXIBLE, select=-1)
    return {
        "exact_match": exact_match(strict, references, ignore=IGNORED, ignore_case=True),
        "exact_match_flexible": exact_match(flexible, references, ignore=IGNORED, ignore_case=True),
    }


TASK = Task(
    name="gsm8k",
    kind="generation",
    to_example=to_example,
    to_question=to_question,
    columns=("question", "answer"),
    definition={
        "task": "gsm8k",
        "version": 1,
        "prompt": "Question: {question}\nAnswer:",
        "target": " {answer}",
        "until": list(UNTIL),
        "max_new_tokens": 256,
        "score": ["exact_match", STRICT.pattern, FLEXIBLE.pattern, *IGNORED],
    },
    generation=Generation(until=UNTIL, max_new_tokens=256),
    score=score,
    correct="exact_match",
    extract=lambda output: extract(output, STRICT),
    filter="strict-match",
    hub=HubData(
        train="hub:openai/gsm8k/main:train",
        test="hub:openai/gsm8k/main:test",
        num_train=7_473,
        num_test=1_319,
    ),
)
