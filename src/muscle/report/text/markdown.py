"""The report as Markdown, made for a comment on a pull request.

All names and answers come from files that anyone may have written. Names stand in the text escaped, so that they are
neither markup nor mentions nor links; answers stand in code blocks whose fence is longer than any in them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from muscle.outgoing import visible
from muscle.report import rows
from muscle.report.numbers import Form
from muscle.report.rows import Report, clip, one_line
from muscle.report.sentences.before import before_lines
from muscle.report.sentences.noise import noise_lines
from muscle.report.sentences.resolution import resolution_lines
from muscle.report.sentences.why import why_lines
from muscle.report.text.escaping import escape
from muscle.report.text.slices import slices_markdown

MAX_CHARACTERS = 60_000
"""GitHub refuses a comment of more than 65,536 characters."""

MAX_TASKS = 40
MAX_FLIPS = 20
MAX_BEFORE = 15
MAX_RESOLUTIONS = 10
MAX_SLICED = 15_000
"""Characters of the tables by slice."""

MAX_ANSWER = 600


def _code_block(text: str) -> str:
    """Return a code block that its text cannot close."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def _table(head: list[str], lines: list[list[str]]) -> str:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *lines))


def _details(summary: str, body: str) -> str:
    return f"<details>\n<summary>{summary}</summary>\n\n{body}\n\n</details>"


def _task_table(report: Report) -> str:
    head = [
        "task",
        "version",
        "items",
        "accuracy or score",
        "difference",
        "broke",
        "gained",
        rows.p_title(report),
    ]
    lines = [
        [
            escape(one_line(row.task, 80)),
            escape(one_line(row.version, 60)),
            row.items,
            row.level,
            row.difference,
            f"{row.lost} {row.lost_interval}".strip(),
            f"{row.gained} {row.gained_interval}".strip(),
            row.p_value,
        ]
        for row in rows.task_rows(report, max_tasks=MAX_TASKS)
    ]
    table = _table(head, lines)
    hidden = len(report["tasks"]) - MAX_TASKS
    more = (
        f"\n\n{hidden} more tasks, with lower negative flip rates, are in the JSON report."
        if hidden > 0
        else ""
    )
    below = [
        *rows.pooled_lines(report),
        *noise_lines(report, max_tasks=MAX_TASKS),
        *(clip(line, 800) for line in why_lines(report, max_tasks=MAX_TASKS)),
        *resolution_lines(report, max_tasks=MAX_RESOLUTIONS),
    ]
    pooled = "".join(f"\n- {escape(clip(line, 600))}" for line in below)
    return (
        table
        + more
        + ("\n" + pooled if pooled else "")
        + "\n\nIn brackets: 95 % intervals. Differences of accuracy are in points."
    )


_FORMS: dict[str, Form] = {
    "inconsistency_rate": "rate",
    "backward_trust_compatibility": "rate",
    "backward_error_compatibility": "rate",
    "relative_negative_flip_rate": "score",
    "churn": "rate",
    "mean_gain": "score",
    "mean_regression": "score",
}
_EFFECTS: dict[str, tuple[str, Form]] = {
    "negative_flip_rate_change": ("negative flip rate, points", "points"),
    "negative_flip_rate_change_percent": ("negative flips, percent", "percent"),
    "accuracy_change": ("accuracy or score", "signed"),
    "mean_gain_change": ("mean gain", "signed"),
    "mean_regression_change": ("mean regression", "signed"),
}


def _metrics(report: Report) -> str:
    """Write the further metrics of every task."""
    parts = []
    for name in rows.shown_tasks(report, MAX_TASKS):
        task = report["tasks"][name]
        sides = [("plain update", task["old_vs_new"]), ("candidate", task.get("old_vs_candidate"))]
        present = [(title, metrics) for title, metrics in sides if metrics]
        lines = [
            [metric.replace("_", " "), *(rows.estimate(metrics[metric], form) for _, metrics in present)]
            for metric, form in _FORMS.items()
        ]
        table = _table(["metric", *(title for title, _ in present)], lines)
        parts.append(f"**{escape(one_line(name, 80))}**\n\n{table}{_effect(task)}")
    return "\n\n".join(parts)


def _effect(task: Mapping[str, Any]) -> str:
    """Write what the candidate changes against the plain update."""
    effect = task.get("candidate_effect")
    if not effect:
        return ""
    lines = []
    for key, (name, form) in _EFFECTS.items():
        shown: Form = "points" if key == "accuracy_change" and task["kind"] == "binary" else form
        lines.append([name, rows.estimate(effect[key], shown)])
    return "\n\n" + _table(["candidate minus plain update", "change"], lines)


def _flip(number: int, flip: Mapping[str, Any], *, candidate: bool) -> str:
    title = f"{number}. **{escape(one_line(flip['task'], 80))}**, {escape(one_line(flip['id'], 80))}: {rows.fate(flip)}"
    fields = [("input", flip["input"]), ("reference", " | ".join(flip["reference"] or ()))]
    fields += [("input's SHA-256", flip.get("input_hash"))]
    fields += [
        (side, rows.answer(flip, side)) for side in ("old", "new", *(["candidate"] if candidate else []))
    ]
    text = "\n".join(
        f"{name}: {visible(clip(str(value), MAX_ANSWER), keep=chr(10))}" for name, value in fields if value
    )
    return f"{title}\n\n{_code_block(text)}"


def _flips(report: Report, room: int) -> str:
    """Write the flips that matter most, as many as there is room for, in characters."""
    candidate = report["candidate"] is not None
    written: list[str] = []
    for number, flip in enumerate(rows.flips_to_show(report, MAX_FLIPS), 1):
        entry = _flip(number, flip, candidate=candidate)
        room -= len(entry) + 2
        if room < 0:
            break
        written.append(entry)
    return "\n\n".join(written)


def _sliced(report: Report) -> str:
    """Write the tables by slice: open where the user asked for slices, else folded away."""
    parts: list[str] = []
    room = MAX_SLICED
    for name in rows.shown_tasks(report, MAX_TASKS):
        section = rows.slices_of(report, name)
        body = slices_markdown(section, binary=report["tasks"][name]["kind"] == "binary") if section else ""
        room -= len(body)
        if body and room >= 0:
            parts.append(f"**{escape(one_line(name, 80))}**, by slice\n\n{body}")
    told = "\n\n".join(parts)
    if not told or rows.slices_asked(report):
        return told
    return _details("Where flips concentrate", told)


def render_markdown(report: Mapping[str, Any]) -> str:
    """Write the report as GitHub-flavoured Markdown: what differs beside the model, verdict, table, then details and the worst flips folded away.

    Args:
        report: the result object of `muscle.compare`.

    Returns:
        At most about 60,000 characters, so that it fits into a comment; no raw text of the data outside code blocks.
    """
    sign, _ = rows.VERDICTS[report["verdict"]]
    before = [f"- {escape(clip(line, 400))}" for line in before_lines(report, limit=MAX_BEFORE)]
    parts = ["\n".join(before)] if before else []
    parts.append(f"### {sign} {escape(clip(report['headline'], 600))}")
    reasons = [f"- {escape(clip(reason, 400))}" for reason in report["reasons"][:10]]
    parts += ["\n".join(reasons)] if reasons else []
    parts.append(_task_table(report))
    parts += [sliced] if (sliced := _sliced(report)) else []
    parts.append(_details("More metrics", _metrics(report)))
    others = escape(rows.not_compared(report))
    others += " " if others else ""
    footer = f"{rows.join_line(report)}. {others}Written by muscle {escape(report['muscle_version'])}."
    room = MAX_CHARACTERS - sum(map(len, parts)) - len(footer) - 200
    flips = _flips(report, room)
    if flips:
        parts.append(_details(f"What broke: {rows.worst_flips(report)}", flips))
    return "\n\n".join([*parts, footer]) + "\n"
