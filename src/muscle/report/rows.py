"""The lines that Markdown and terminal show alike: a task's figures for the plain update, the candidate and others.

The texts hold names from files; each renderer escapes them in its own way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from muscle.outgoing import visible
from muscle.report.numbers import Form, count, format_number

Report = Mapping[str, Any]

ABSENT = "\N{EN DASH}"
MAX_SCORES = 6
"""Scores that are named of those that are not compared."""

VERDICTS = {
    "pass": ("\N{WHITE HEAVY CHECK MARK}", "Pass"),
    "warn": ("\N{WARNING SIGN}\N{VARIATION SELECTOR-16}", "Warning"),
    "block": ("\N{NO ENTRY}", "Blocked"),
    "cannot_tell": ("\N{WHITE QUESTION MARK ORNAMENT}", "Cannot tell"),
}


@dataclass(frozen=True)
class Row:
    """One comparison with the old version on one task, written out.

    Attributes:
        task: the task's name, as it stands in the report.
        version: the name of what is compared with the old version.
        items: how many items.
        level: accuracy (or mean score) of old and of this version.
        difference: of the two, with its interval.
        lost: negative flips: count and rate.
        lost_interval: its 95 % interval, in brackets.
        gained: positive flips: count and rate.
        gained_interval: its 95 % interval, in brackets.
        p_value: exact McNemar; over the groups where items are grouped.
    """

    task: str
    version: str
    items: str
    level: str
    difference: str
    lost: str
    lost_interval: str
    gained: str
    gained_interval: str
    p_value: str


def estimate(metric: Mapping[str, Any] | None, form: Form) -> str:
    """Write a metric: value and interval, "undefined", or a dash where it was not computed."""
    if not metric:
        return ABSENT
    if metric.get("value") is None:
        return "undefined"
    text = format_number(metric["value"], form)
    if metric.get("low") is None or metric.get("high") is None:
        return text
    return f"{text} ({format_number(metric['low'], form)} to {format_number(metric['high'], form)})"


def value_alone(metric: Mapping[str, Any] | None, form: Form) -> str:
    """Write a metric without its interval."""
    if not metric:
        return ABSENT
    return "undefined" if metric["value"] is None else format_number(metric["value"], form)


def _flips(metric: Mapping[str, Any], total: int) -> tuple[str, str]:
    """Write a rate of flips with its count, and its interval."""
    if metric["value"] is None:
        return "undefined", ""
    text = f"{count(round(metric['value'] * total))}: {format_number(metric['value'], 'rate')}"
    return text, estimate(metric, "rate").partition(" ")[2]


def _row(task: str, version: str, metrics: Mapping[str, Any], *, binary: bool, total: int) -> Row:
    level: Form = "rate" if binary else "score"
    total = metrics.get("n", total)
    # Answers to one item are no independent pairs: their exact test would be too sure.
    p_value = metrics.get("clustered_p", metrics.get("mcnemar_exact_p"))
    return Row(
        task,
        version,
        count(total),
        f"{value_alone(metrics['accuracy_old'], level)} \N{RIGHTWARDS ARROW} {value_alone(metrics['accuracy_new'], level)}",
        estimate(metrics["accuracy_difference"], "points" if binary else "signed"),
        *_flips(metrics["negative_flip_rate"], total),
        *_flips(metrics["positive_flip_rate"], total),
        ABSENT if p_value is None else format_number(p_value, "probability"),
    )


def p_title(report: Report) -> str:
    """Return what heads the column of p-values: which test they are of."""
    grouped = {
        metrics.get("clustered_p") is not None
        for task in report["tasks"].values()
        for metrics in (task["old_vs_new"], task.get("old_vs_candidate"))
        if metrics
    }
    return {True: "p by groups", False: "McNemar p"}[grouped.pop()] if len(grouped) == 1 else "p"


def task_rows(report: Report, *, max_tasks: int) -> Iterator[Row]:
    """Write each task's comparisons with the old version: plain update, candidate, others.

    Args:
        report: the result object.
        max_tasks: of more tasks, those with the highest negative flip rate are shown.
    """
    for name in shown_tasks(report, max_tasks):
        task = report["tasks"][name]
        sides = [(report["new"], task["old_vs_new"]), (report["candidate"], task.get("old_vs_candidate"))]
        sides += [(other["name"], other["tasks"].get(name)) for other in report["others"]]
        for version, metrics in sides:
            if version is not None and metrics:
                yield _row(name, version, metrics, binary=task["kind"] == "binary", total=task["n"])


def pooled_lines(report: Report) -> list[str]:
    """Write the numbers over all tasks that are right or wrong, for the plain update and the candidate."""
    lines = []
    for side, name in (("old_vs_new", report["new"]), ("old_vs_candidate", report["candidate"])):
        pooled = (report.get("pooled") or {}).get(side)
        if not pooled:
            continue
        lost, gained = pooled["negative_flip_rate"]["value"], pooled["positive_flip_rate"]["value"]
        p_value = pooled.get("sign_flip_p", pooled.get("clustered_p"))
        lines.append(
            f"{name} over {count(pooled['tasks'])} tasks: broke {format_number(lost, 'rate')}, gained "
            f"{format_number(gained, 'rate')} of {count(pooled['n'])} items; accuracy, each task alike, "
            f"{estimate(pooled['macro_accuracy_difference'], 'points')} points, p {format_number(p_value, 'probability')}"
        )
    return lines


def judged_side(report: Report) -> str:
    """Return which comparison the verdict is on: that with the candidate where there is one."""
    return "old_vs_new" if report["candidate"] is None else "old_vs_candidate"


def slices_of(report: Report, name: str) -> Mapping[str, Any] | None:
    """Return a task's slices of the comparison that is judged; None without any."""
    return (report["tasks"][name].get("slices") or {}).get(judged_side(report))


def slices_asked(report: Report) -> bool:
    """Whether the user named what to slice by."""
    return bool((report.get("settings") or {}).get("slices"))


def shown_tasks(report: Report, max_tasks: int) -> list[str]:
    """Return the tasks' names; of too many, those with the highest negative flip rate first."""
    names = list(report["tasks"])
    if len(names) <= max_tasks:
        return names
    return sorted(
        names, key=lambda n: -(report["tasks"][n]["old_vs_new"]["negative_flip_rate"]["value"] or 0.0)
    )[:max_tasks]


def flips_to_show(report: Report, limit: int) -> list[Mapping[str, Any]]:
    """Return the flips that matter most: broken and not given back, then what a candidate newly broke, then the rest."""

    def rank(flip: Mapping[str, Any]) -> int:
        if flip["kind"] == "negative_flip":
            return 1 if flip["fixed"] else 0
        return 0 if flip["introduced"] else 2

    return sorted((f for f in report["flips"] if rank(f) < 2), key=rank)[:limit]


def worst_flips(report: Report) -> str:
    """Name what `flips_to_show` shows; where the update broke nothing, what it shows is the candidate's.

    >>> worst_flips({"flips_total": {"negative_flip": 1200}, "flips": []})
    'the worst of 1,200 negative flips'
    """
    total = report["flips_total"]["negative_flip"]
    if total > 1:
        return f"the worst of {count(total)} negative flips"
    if total == 0:
        return "the candidate's own flips"
    has_own = any(flip["introduced"] for flip in report["flips"])
    return "the one negative flip" + (" and the candidate's own" if has_own else "")


def fate(flip: Mapping[str, Any]) -> str:
    """Say what the candidate made of a flip."""
    if flip["introduced"]:
        return "broken by the candidate"
    if flip["fixed"] is None:
        return "broken"
    return "broken, given back by the candidate" if flip["fixed"] else "broken, also in the candidate"


def answer(flip: Mapping[str, Any], side: str) -> str:
    """Write a version's answer: the chosen option's text, the output, or right and wrong."""
    given = flip.get(side)
    if not given:
        return "not answered"
    choices = flip.get("choices") or ()
    if given["choice"] is not None and given["choice"] < len(choices):
        text = f"[{given['choice']}] {choices[given['choice']]}"
    elif given["output"] is not None:
        text = given["output"]
    elif given["choice"] is not None:
        text = f"option {given['choice']}"
    else:
        text = {True: "right", False: "wrong", None: ""}[given["correct"]]
    if given["correct"] is None and given["score"] is not None:
        text = f"{text} (score {format_number(given['score'], 'score')})".strip()
    return text


def join_line(report: Report) -> str:
    """Say how the runs fitted together."""
    join = report["join"] | (report.get("missing") or {}).get("old_vs_new", {})
    odd = [
        f"{count(join[key])} {words}"
        for key, words in (
            ("only_old", "only in the old run"),
            ("only_new", "only in the new run"),
            ("duplicates", "doubled"),
            ("changed", "with another prompt or reference"),
            ("errors_old", "errors in the old run"),
            ("errors_new", "errors in the new run"),
            ("unscored", "without a verdict"),
            ("unread", "not read"),
        )
        if join.get(key)
    ]
    return f"{count(join['paired'])} predictions paired" + (f"; {', '.join(odd)}" if odd else "")


def not_compared(report: Report) -> str:
    """Name the scores that stand in the runs and that nothing is measured in; empty where there are none. Not escaped."""
    named = dict.fromkeys(
        name for task in report["tasks"].values() for name in task.get("scores_not_compared") or ()
    )
    if not named:
        return ""
    more = f" and {count(len(named) - MAX_SCORES)} more" if len(named) > MAX_SCORES else ""
    return one_line(f"Scores that are not compared: {', '.join(list(named)[:MAX_SCORES])}{more}.", 300)


def clip(text: str, limit: int) -> str:
    """Cut a text that is too long, and say by how much."""
    return text if len(text) <= limit else f"{text[:limit]}… [{count(len(text) - limit)} more characters]"


def one_line(text: object, limit: int) -> str:
    """Bring a text into one line without control characters, cut at `limit` characters."""
    flat = visible(" ".join(str(text)[: 4 * limit].split()))
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def middle_cut(text: object, limit: int) -> str:
    """Bring a name into one line of at most `limit` characters; what is cut is its middle, as names mostly differ at the end.

    >>> middle_cut("summarise_long_texts_9", 13)
    'summar…exts_9'
    """
    flat = one_line(text, 4 * limit)
    if len(flat) <= limit:
        return flat
    end = (limit - 1) // 2
    return flat[: limit - 1 - end] + "…" + flat[len(flat) - end :]
