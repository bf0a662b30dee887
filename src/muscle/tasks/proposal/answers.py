"""What kind of answer a column holds: a label of a few, a number, a short text or a long one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from muscle.tasks.scoring import last_number

AnswerKind = Literal["labels", "worked number", "number", "long text", "short text"]

MOST_LABELS = 30
_MOST_LABEL_CHARACTERS = 60
_ROWS_A_LABEL = 3
_LONG_WORDS = 8
_NEARLY_ALL = 0.95
_WORKED = re.compile(r"####\s*-?[\d.,]+\s*$")
_CHARACTERS_A_TOKEN = 3
"""Of English text at the least; too few new tokens would cut answers off."""


@dataclass(frozen=True)
class AnswerForm:
    """What was seen of the answers.

    Attributes:
        kind: which scorer suits.
        reason: what speaks for it, in words.
        labels: of `labels`, each once, the most frequent first.
        until: texts before which a generated answer ends.
        max_new_tokens: that hold 99 answers of 100.
    """

    kind: AnswerKind
    reason: str
    labels: tuple[str, ...]
    until: tuple[str, ...]
    max_new_tokens: int


def answer_form(texts: Sequence[str], *, head: str) -> AnswerForm:
    """Tell what answers there are.

    Args:
        texts: the answers, without empty ones; at least one.
        head: what the prompt begins with, where an answer can be told to end if it may hold blank lines.
    """
    counts = Counter(text.strip() for text in texts)
    words = sorted(len(text.split()) for text in texts)
    middle, share = words[len(words) // 2], f"{len(counts):,} different in {len(texts):,} rows"
    kind: AnswerKind
    if _of_all(texts, lambda text: bool(_WORKED.search(text))):
        kind, reason = "worked number", "they end in `#### number`, a worked solution as GSM8K's"
    elif _are_labels(counts, len(texts)):
        kind, reason = "labels", f"{share}: a few labels"
    elif _of_all(texts, _is_bare_number):
        kind, reason = "number", "they are numbers"
    elif middle >= _LONG_WORDS and _of_all(texts, _ends_in_number):
        kind, reason = "worked number", "they are texts that end in a number"
    elif middle >= _LONG_WORDS:
        kind, reason = "long text", f"they are texts of {middle} words (median), {share}"
    else:
        kind, reason = "short text", f"they are short texts, {share}"
    labels = tuple(label for label, _ in counts.most_common()) if kind == "labels" else ()
    return AnswerForm(kind, reason, labels, _until(texts, head), _new_tokens(texts))


def _are_labels(counts: Counter[str], rows: int) -> bool:
    short = all(len(label) <= _MOST_LABEL_CHARACTERS and "\n" not in label for label in counts)
    return 2 <= len(counts) <= MOST_LABELS and short and rows >= _ROWS_A_LABEL * len(counts)


def _of_all(texts: Sequence[str], fits: object) -> bool:
    assert callable(fits), "tells whether a text fits"
    return sum(bool(fits(text)) for text in texts) >= _NEARLY_ALL * len(texts)


def _is_bare_number(text: str) -> bool:
    return re.fullmatch(r"[-+]?\$?\d[\d,]*(\.\d+)?%?", text.strip()) is not None


def _ends_in_number(text: str) -> bool:
    last = text.split()[-1].strip(".*$%)]}") if text.split() else ""
    return last_number(last) is not None and bool(re.search(r"\d$", last))


def _until(texts: Sequence[str], head: str) -> tuple[str, ...]:
    for stop in ("\n", "\n\n"):
        if not any(stop in text.strip() for text in texts):
            return (stop,)
    return (f"\n{head}",)


def _new_tokens(texts: Sequence[str]) -> int:
    lengths = sorted(len(text) for text in texts)
    long = lengths[min(len(lengths) - 1, len(lengths) * 99 // 100)]
    return next((size for size in (8, 16, 32, 64, 128, 256, 512) if size >= long / _CHARACTERS_A_TOKEN), 1024)
