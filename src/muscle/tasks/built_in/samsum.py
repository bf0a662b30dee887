"""SAMSum: a summary of a chat, scored by ROUGE-1 (Gliwa et al., 2019).

As in the paper (Appendix A.5): greedy, no 2-gram twice, the answer ends before "Dialogue:", "Summary:", "</s>" or a
blank line. The harness has no SAMSum task of its own; the prompt has the form of its question tasks with the paper's
two words. For a decoder-only model the 2-grams of the dialogue count as seen, since transformers' n-gram rule
covers the whole sequence; the paper's numbers come from the same rule.

ROUGE is an F-measure in [0, 1] with stemming (`muscle.tasks.scoring`). The main score is continuous, so only the
smooth metrics apply (Sec. 3.2) and nothing is "correct". The data mixes line ends; they are all made line feeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from muscle.tasks.fields import read_id, read_text
from muscle.tasks.scoring import rouge
from muscle.tasks.task import Example, Generation, HubData, Row, Task

UNTIL = ("Dialogue:", "Summary:", "</s>", "\n\n")


def normalise_lines(text: str) -> str:
    r"""Return the text with `\n` line ends and no white space around it.

    >>> normalise_lines("A: Hi\r\nB: Hello\r")
    'A: Hi\nB: Hello'
    """
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def to_example(row: Row, position: int) -> Example:
    """Build an example from `dialogue` and `summary`.

    Raises:
        DataError: a field is missing or empty.
    """
    summary = normalise_lines(read_text(row, "summary"))
    return replace(to_question(row, position), reference=(summary,), target=f" {summary}")


def to_question(row: Row, position: int) -> Example:
    """Build an example from `dialogue` alone; raises DataError where it is missing or empty."""
    dialogue = normalise_lines(read_text(row, "dialogue"))
    return Example(
        id=read_id(row, position),
        context=f"Dialogue: {dialogue}\nSummary:",
        reference=(),
        target="",
        slices={"speakers": str(len({line.split(":")[0] for line in dialogue.split("\n") if ":" in line}))},
    )


def score(output: str, references: tuple[str, ...]) -> Mapping[str, float]:
    """Score a summary by ROUGE-1 (the main score), ROUGE-2 and ROUGE-L."""
    return rouge(output, references)


TASK = Task(
    name="samsum",
    kind="generation",
    to_example=to_example,
    to_question=to_question,
    columns=("dialogue", "summary"),
    definition={
        "task": "samsum",
        "version": 1,
        "prompt": "Dialogue: {dialogue}\nSummary:",
        "target": " {summary}",
        "until": list(UNTIL),
        "max_new_tokens": 128,
        "no_repeat_ngram_size": 2,
        "score": "rouge1, stemmed",
    },
    generation=Generation(until=UNTIL, max_new_tokens=128, no_repeat_ngram_size=2),
    score=score,
    hub=HubData(
        train="hub:knkarthick/samsum:train",
        test="hub:knkarthick/samsum:test",
        num_train=14_732,
        num_test=819,
    ),
)
