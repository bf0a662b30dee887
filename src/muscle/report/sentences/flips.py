"""Which flips are shown where there is room for a few, and what is said of each."""

from __future__ import annotations

from muscle.flips.result.flip import Flip, ScoredAnswer
from muscle.flips.result.report import Report
from muscle.report.numbers import count, format_number


def flips_to_show(report: Report, limit: int) -> list[Flip]:
    """Return the flips that matter most: those that stay broken or that a candidate broke, then those given back."""

    def rank(flip: Flip) -> int:
        if flip.kind == "negative_flip":
            return 1 if flip.fixed else 0
        return 0 if flip.introduced else 2

    return sorted((flip for flip in report.flips if rank(flip) < 2), key=rank)[:limit]


def worst_flips(report: Report) -> str:
    """Name what `flips_to_show` shows; where the update broke nothing, what it shows is the candidate's."""
    total = report.flips_total.negative_flip
    if total > 1:
        return f"the worst of {count(total)} negative flips"
    if total == 0:
        return "the candidate's own flips"
    has_own = any(flip.introduced for flip in report.flips)
    return "the one negative flip" + (" and the candidate's own" if has_own else "")


def fate(flip: Flip) -> str:
    """Say what the candidate made of a flip."""
    if flip.introduced:
        return "broken by the candidate"
    if flip.fixed is None:
        return "broken"
    return "broken, given back by the candidate" if flip.fixed else "broken, also in the candidate"


def answers(flip: Flip, *, candidate: bool) -> dict[str, str]:
    """Write the answers of the old version, the new one and, where there is one, the candidate."""
    given = {"old": flip.old, "new": flip.new} | ({"candidate": flip.candidate} if candidate else {})
    return {role: _answer_text(flip, answer) for role, answer in given.items()}


def _answer_text(flip: Flip, answer: ScoredAnswer | None) -> str:
    """Write an answer: the chosen option's text, the output, or right and wrong.

    Its score stands beside it where it has no verdict.
    """
    if answer is None:
        return "not answered"
    choices = flip.choices or ()
    if answer.choice is not None and answer.choice < len(choices):
        text = f"[{answer.choice}] {choices[answer.choice]}"
    elif answer.output is not None:
        text = answer.output
    elif answer.choice is not None:
        text = f"option {answer.choice}"
    else:
        text = {True: "right", False: "wrong", None: ""}[answer.correct]
    if answer.correct is None and answer.score is not None:
        text = f"{text} (score {format_number(answer.score, 'score')})".strip()
    return text
