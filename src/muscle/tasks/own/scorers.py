"""The scoring function that a task's YAML names: one of ours with its options, or an importable one."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from muscle.errors import ConfigError
from muscle.patterns import time_limit
from muscle.provenance import file_sha256
from muscle.tasks.fields import found
from muscle.tasks.own.settings import ScorerSettings
from muscle.tasks.scoring import INVALID, ROUGE_NAMES, exact_match, extract, last_number, number_match, rouge
from muscle.tasks.task import ScoreFunction

OwnFunction = Callable[[str, tuple[str, ...]], float | Mapping[str, float]]
"""A scoring function of the user's own: generated text and references in, a number or named numbers out."""


def built_in_score(scorer: ScorerSettings) -> ScoreFunction:
    """Return the scoring function of `exact_match`, `number_match` or ROUGE with its options."""
    if scorer.name == "number_match":
        return lambda output, references: {"number_match": number_match(output, references)}
    if scorer.name in ROUGE_NAMES:
        return lambda output, references: _main_first(rouge(output, references, stem=scorer.stem), scorer.name)
    extracted = built_in_extract(scorer)

    def score(output: str, references: tuple[str, ...]) -> Mapping[str, float]:
        text = output.strip() if extracted is None else extracted(output)
        if extracted is not None and text == INVALID:
            return {"exact_match": 0.0}
        matched = exact_match(
            text,
            [reference.strip() for reference in references],
            ignore_case=scorer.ignore_case,
            ignore_punctuation=scorer.ignore_punctuation,
        )
        return {"exact_match": matched}

    return score


def built_in_extract(scorer: ScorerSettings) -> Callable[[str], str] | None:
    """Return what reads the scored answer out of a text: the `regex` or the last number.

    Returns:
        None where the whole text is scored.
    """
    if scorer.name == "number_match":
        return _number_text
    if scorer.regex is None:
        return None
    pattern = re.compile(scorer.regex, re.IGNORECASE if scorer.ignore_case else re.NOFLAG)
    select = -1 if scorer.select == "last" else 0

    def extracted(output: str) -> str:
        with time_limit(f"scorer.regex {scorer.regex!r}"):
            return extract(output, pattern, select=select)

    return extracted


def _number_text(output: str) -> str:
    """Return the last number of a text, written in one way.

    >>> _number_text("It is $1,200.00"), _number_text("none")
    ('1200', '[invalid]')
    """
    number = last_number(output)
    return INVALID if number is None else f"{number.normalize():f}"


def _main_first(scores: Mapping[str, float], main: str) -> dict[str, float]:
    return {main: scores[main], **scores}


def function_score(function: OwnFunction, correct: str | None) -> ScoreFunction:
    """Return a scoring function around the user's own, which may return a number or named numbers.

    What it raises, and a wrong result, is the error of the item that was scored.
    """

    def score(output: str, references: tuple[str, ...]) -> Mapping[str, float]:
        result = function(output, references)
        scores: dict[str, float] = dict(result) if isinstance(result, Mapping) else {"score": result}
        if not scores:
            raise ValueError("expected at least one score, found none")
        if correct is not None and scores.get(correct) not in (0, 1):
            raise ValueError(f"score {correct!r}: expected 0 or 1, found {scores.get(correct)!r}")
        return {str(name): float(value) for name, value in scores.items()}

    return score


def import_function(name: str, folder: Path, place: str) -> OwnFunction:
    """Return the callable that `module:callable` names; modules beside the YAML are found too.

    Args:
        name: `module:callable`.
        folder: where the module is looked for first.
        place: where the name stands, for messages.

    Raises:
        ConfigError: the module cannot be imported, or has no such callable.
    """
    module_name, _, attribute = name.partition(":")
    try:
        with _importable(folder):
            module = importlib.import_module(module_name)
    except Exception as error:  # a module may raise anything while it is imported
        raise ConfigError(
            f"{place}: module {module_name!r} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    function: OwnFunction | None = getattr(module, attribute, None)
    if not callable(function):
        raise ConfigError(f"{place}: expected a callable {attribute!r} in {module_name!r}, found {found(function)}")
    return function


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    # In front: a module beside the YAML is meant, whatever is installed under its name.
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def source_sha256(function: OwnFunction) -> str | None:
    """Return the hash of the function's file, since a changed function is another task.

    Returns:
        None where the source cannot be read (a compiled function).
    """
    try:
        return file_sha256(Path(inspect.getfile(function)))
    except (TypeError, OSError):
        return None
