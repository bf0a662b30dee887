"""Which flips are shown where there is room for a few, and what is said of each."""

from __future__ import annotations

from collections.abc import Sequence

from muscle.flips.result.flip import Flip, ScoredAnswer
from muscle.flips.result.headline import balance
from muscle.flips.result.report import Report
from muscle.foreign_text import one_line
from muscle.report.numbers import count, format_number


def flips_to_show(report: Report, limit: int) -> list[Flip]:
    """Return what the judged version broke, the worst first; of a candidate what the plain update broke too."""
    broken = _broken(report)
    return sorted(broken, key=lambda flip: flip.kind != "negative_flip")[:limit]


def _broken(report: Report) -> list[Flip]:
    if report.candidate is None:
        return [flip for flip in report.flips if flip.kind == "negative_flip"]
    return [flip for flip in report.flips if flip.introduced or (flip.kind == "negative_flip" and flip.fixed is False)]


def worst_flips(report: Report, shown: int) -> str:
    """Name what `flips_to_show` shows and of how many items; entries are items, however often these were asked.

    Args:
        report: of a comparison or of the gate.
        shown: how many are shown.
    """
    who = "What broke" if report.candidate is None else "What the candidate broke"
    listed, is_whole = len(_broken(report)), report.flips_shown == report.flips_total.total
    if not is_whole and report.candidate is not None:
        return f"{who}: {count(shown)} items of a sample, the worst first"
    total = listed if is_whole else report.flips_total.negative_flip
    unlisted = _not_answered_by_plain(report, listed)
    if unlisted:
        rest = f"{count(unlisted)} more that the plain update did not answer are not listed"
        return f"{who}: {count(shown)} of {count(total + unlisted)} items, the worst first; {rest}"
    if total == 1:
        return f"{who}: the one item"
    if total == shown:
        return f"{who}: all {count(total)} items"
    return f"{who}: {count(shown)} of {count(total)} items, the worst first"


def _not_answered_by_plain(report: Report, listed: int) -> int:
    """Return how many of the candidate's negative flips the list lacks, as it is of items that all versions answered.

    Of items that were asked several times that is not known: flips are counted by answers then.
    """
    numbers = [task.old_vs_candidate for task in report.tasks.values() if task.old_vs_candidate is not None]
    if report.candidate is None or any(each.items is not None for each in numbers):
        return 0
    return max(0, balance(report.tasks, "old_vs_candidate").lost - listed)


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


def cut_to_the_difference(texts: Sequence[str], room: int) -> list[str]:
    """Cut answers to one line each, so that where they differ is seen: what they have in common is cut before it.

    Args:
        texts: answers to one item.
        room: characters of each, at least 8.

    >>> cut_to_the_difference(["The capital of Pakistan is Islamabad.", "The capital of Pakistan is Karachi."], 20)
    ['…istan is Islamabad.', '…istan is Karachi.']
    >>> cut_to_the_difference(["yes", "no"], 20)
    ['yes', 'no']
    """
    flat = [one_line(text, 4_000) for text in texts]
    if all(len(text) <= room for text in flat):
        return flat
    same = next((at for at, letters in enumerate(zip(*flat, strict=False)) if len(set(letters)) > 1), 0)
    start = max(0, same - room // 3)
    # No more is cut away than it takes for the longest to end within its room.
    start = min(start, max(0, max(map(len, flat)) - room + 1))
    cut = [text if start == 0 else f"…{text[start:]}" for text in flat]
    return [text if len(text) <= room else f"{text[: room - 1]}…" for text in cut]
