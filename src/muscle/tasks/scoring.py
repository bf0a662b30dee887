"""Scoring generated text: exact match, number match, ROUGE.

`exact_match` normalises as lm-evaluation-harness's metric of that name does, in the same order, so that the same
text gets the same score. ROUGE is `rouge_score`'s F-measure with Porter stemming, as the harness's own summarisation
task (cnn_dailymail) computes it, in [0, 1]. With several references the best one counts.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import TYPE_CHECKING

from muscle.errors import ConfigError

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer

INVALID = "[invalid]"
"""What the harness's regex filter answers where nothing matches."""

ROUGE_NAMES = ("rouge1", "rouge2", "rougeL")

_NUMBER = re.compile(r"(?:(?<![\w.])[-+])?\$?(?:\d[\d,]*(?:\.\d+)?|\.\d+)")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def extract(text: str, pattern: re.Pattern[str], *, select: int = 0) -> str:
    r"""Return what a regular expression finds in a text, by the rules of the harness's regex filter.

    Args:
        text: a generated answer.
        pattern: its group is taken; of several groups the first that is not empty; without a group the whole match.
        select: which match: 0 the first, -1 the last.

    Returns:
        The match without white space around it, or `INVALID` where there is none.

    >>> extract("so 3 + 4\n#### 7", re.compile(r"#### (\d+)"))
    '7'
    """
    matches: list[str | tuple[str, ...]] = pattern.findall(text)
    if not matches:
        return INVALID
    match = matches[select]
    if isinstance(match, tuple):
        match = next((group for group in match if group), INVALID)
    return match.strip()


def exact_match(
    prediction: str,
    references: Sequence[str],
    *,
    ignore: Sequence[str] = (),
    ignore_case: bool = False,
    ignore_punctuation: bool = False,
) -> float:
    r"""Return 1.0 where the prediction equals one of the references, else 0.0.

    Args:
        prediction: the text that was read out of the answer.
        references: accepted answers.
        ignore: regular expressions whose matches are deleted from both sides, one after the other.
        ignore_case: compare in lower case.
        ignore_punctuation: delete ASCII punctuation from both sides.

    >>> exact_match("1,200.", ["1200"], ignore=(",", r"\.$"))
    1.0
    """

    def normal(text: str) -> str:
        # Patterns, then case, then punctuation, as the harness does it.
        for pattern in ignore:
            text = re.sub(pattern, "", text)
        text = text.lower() if ignore_case else text
        return text.translate(_PUNCTUATION) if ignore_punctuation else text

    return float(normal(prediction) in {normal(reference) for reference in references})


def last_number(text: str) -> Decimal | None:
    """Return the last number in a text, thousands commas and a dollar sign left out; None where there is none.

    >>> last_number("Of $1,200.50 she keeps 3."), last_number("none")
    (Decimal('3'), None)
    """
    matches = _NUMBER.findall(text)
    if not matches:
        return None
    # Decimal and not float, so that no two different numbers are equal to rounding.
    try:
        return Decimal(matches[-1].replace(",", "").replace("$", ""))
    except InvalidOperation:
        return None


def number_match(prediction: str, references: Sequence[str]) -> float:
    """Return 1.0 where the last number of the prediction has the value of a reference's last number, else 0.0.

    >>> number_match("That makes $1,200.00", ["1200"])
    1.0
    """
    number = last_number(prediction)
    return float(number is not None and any(number == last_number(reference) for reference in references))


def rouge(prediction: str, references: Sequence[str], *, stem: bool = True) -> dict[str, float]:
    """Return ROUGE-1, ROUGE-2 and ROUGE-L (F-measure, [0, 1]), each the best over the references.

    `rouge_score` keeps only the letters a-z and digits: texts in other scripts score 0.

    Raises:
        ConfigError: the package `rouge-score` is not installed.
    """
    scorer = _rouge_scorer(stem)
    scored = [scorer.score(reference, prediction) for reference in references]
    return {name: max(float(score[name].fmeasure) for score in scored) for name in ROUGE_NAMES}


@lru_cache(maxsize=2)
def _rouge_scorer(stem: bool) -> RougeScorer:
    try:
        from rouge_score import rouge_scorer
    except ImportError as error:
        raise ConfigError(
            "ROUGE needs the package rouge-score; install it with: pip install 'muscle-llm[eval]'"
        ) from error
    return rouge_scorer.RougeScorer(list(ROUGE_NAMES), use_stemmer=stem)
