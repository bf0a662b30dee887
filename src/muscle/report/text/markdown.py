"""The report as Markdown, made for a comment on a pull request.

All names and answers come from files that anyone may have written. Names stand in the text escaped, so that they are
neither markup nor mentions nor links; answers stand in code blocks whose fence is longer than any in them.
"""

from __future__ import annotations

from muscle.flips.result.flip import Flip
from muscle.flips.result.report import Report, TaskResult
from muscle.foreign_text import clip, one_line, visible
from muscle.report.entries import shown_tasks, sides, slices_named, slices_of, unit_of
from muscle.report.metric_names import EFFECTS, FURTHER_METRICS
from muscle.report.numbers import Form, estimate
from muscle.report.sentences.before import allowed_lines, before_lines
from muscle.report.sentences.flips import answers, fate, flips_to_show, worst_flips
from muscle.report.sentences.noise import noise_lines
from muscle.report.sentences.over_tasks import pooled_lines
from muscle.report.sentences.resolution import resolution_lines
from muscle.report.sentences.trained import trained_lines
from muscle.report.sentences.why import why_lines
from muscle.report.text.escaping import escape
from muscle.report.text.markdown_parts import (
    bullets,
    code_block,
    details,
    footer,
    markdown_table,
    recommendation,
    ways_in_markdown,
)
from muscle.report.text.rows import p_title, task_rows
from muscle.report.text.slices import slices_markdown

MAX_CHARACTERS = 60_000
"""GitHub refuses a comment of more than 65,536 characters."""

MAX_TASKS = 40
MAX_FLIPS = 20
MAX_BEFORE = 15
MAX_REASONS = 10
MAX_RESOLUTIONS = 10
MAX_SLICED = 15_000
"""Characters of the tables by slice."""

MAX_ANSWER = 600
"""Characters of an answer, so that one does not take the room of many flips."""


def render_markdown(report: Report) -> str:
    """Write the report as GitHub-flavoured Markdown.

    What was only allowed comes first, and what to do; then what else differs beside the model, the verdict and the
    table; details and the worst flips are folded away.

    Returns:
        At most about 60,000 characters, so that it fits into a comment; no raw text of the data outside code blocks.
    """
    parts = [
        bullets(escape(clip(line, 400)) for line in allowed_lines(report)),
        recommendation(report),
        bullets(escape(clip(line.text, 400)) for line in before_lines(report, limit=MAX_BEFORE)),
        escape(clip(report.headline, 600)) if report.decision is not None else "",
        bullets(escape(clip(reason, 400)) for reason in report.reasons[:MAX_REASONS]),
        _tasks_in_markdown(report),
        _slice_tables(report),
        ways_in_markdown(report),
        details("More metrics", _further_metrics(report)),
        _training(report),
    ]
    parts = [part for part in parts if part]
    last = footer(report)
    # What joins the parts and folds the flips away takes room, too.
    room = MAX_CHARACTERS - sum(map(len, parts)) - len(last) - 200
    flips = _worst_flips(report, room)
    if flips:
        parts.append(details(worst_flips(report, len(flips)), "\n\n".join(flips)))
    return "\n\n".join([*parts, last]) + "\n"


def _training(report: Report) -> str:
    """Write what was trained, a line an adapter."""
    lines = trained_lines(report, max_tasks=MAX_TASKS, all_adapters=True)
    return details("What was trained", bullets(escape(clip(line, 500)) for line in lines)) if lines else ""


def _tasks_in_markdown(report: Report) -> str:
    head = [
        "task",
        "version",
        unit_of(*report.tasks.values()),
        "accuracy or score",
        "difference",
        "broke",
        "gained",
        p_title(report),
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
        for row in task_rows(report, max_tasks=MAX_TASKS)
    ]
    hidden = len(report.tasks) - MAX_TASKS
    more = f"{hidden} more tasks, with lower negative flip rates, are in the JSON report."
    below = [
        *pooled_lines(report),
        *noise_lines(report, max_tasks=MAX_TASKS),
        *(clip(line, 800) for line in why_lines(report, max_tasks=MAX_TASKS)),
        *resolution_lines(report, max_tasks=MAX_RESOLUTIONS),
    ]
    parts = [
        markdown_table(head, lines),
        more if hidden > 0 else "",
        bullets(escape(clip(line, 600)) for line in below),
        "In brackets: 95 % intervals. Differences of accuracy are in points.",
    ]
    return "\n\n".join(part for part in parts if part)


def _further_metrics(report: Report) -> str:
    """Write the further metrics of every task."""
    parts = []
    for name in shown_tasks(report, MAX_TASKS):
        task = report.tasks[name]
        present = sides(task)
        lines = [
            [
                metric.key.replace("_", " "),
                *(estimate(side.numbers.metric(metric.key), metric.form) for side in present),
            ]
            for metric in FURTHER_METRICS
        ]
        table = markdown_table(["metric", *(side.title for side in present)], lines)
        parts.append(f"**{escape(one_line(name, 80))}**\n\n{table}{_effect_table(task)}")
    return "\n\n".join(parts)


def _effect_table(task: TaskResult) -> str:
    """Write what the candidate changes against the plain update."""
    effect = task.candidate_effect
    if effect is None:
        return ""
    lines = []
    for each in EFFECTS:
        is_accuracy = each.key == "accuracy_change" and task.kind == "binary"
        form: Form = "points" if is_accuracy else each.form
        lines.append([each.name, estimate(effect.change(each.key), form)])
    return "\n\n" + markdown_table(["candidate minus plain update", "change"], lines)


def _worst_flips(report: Report, room: int) -> list[str]:
    """Write the flips that matter most, as many as there is room for, in characters."""
    written: list[str] = []
    for number, flip in enumerate(flips_to_show(report, MAX_FLIPS), 1):
        entry = _flip_entry(number, flip, candidate=report.candidate is not None)
        room -= len(entry) + 2
        if room < 0:
            break
        written.append(entry)
    return written


def _flip_entry(number: int, flip: Flip, *, candidate: bool) -> str:
    title = f"{number}. **{escape(one_line(flip.task, 80))}**, {escape(one_line(flip.id, 80))}: {fate(flip)}"
    fields = {
        "input": flip.input,
        "reference": " | ".join(flip.reference or ()),
        "input's SHA-256": flip.input_hash,
        **answers(flip, candidate=candidate),
    }
    text = "\n".join(
        f"{name}: {visible(clip(value, MAX_ANSWER), keep=chr(10))}" for name, value in fields.items() if value
    )
    return f"{title}\n\n{code_block(text)}"


def _slice_tables(report: Report) -> str:
    """Write the tables by slice: open where the user named slices, else folded away."""
    parts: list[str] = []
    room = MAX_SLICED
    for name in shown_tasks(report, MAX_TASKS):
        sliced = slices_of(report, name)
        task = report.tasks[name]
        body = slices_markdown(sliced, binary=task.kind == "binary", unit=unit_of(task)) if sliced else ""
        room -= len(body)
        if body and room >= 0:
            parts.append(f"**{escape(one_line(name, 80))}**, by slice\n\n{body}")
    told = "\n\n".join(parts)
    return told if not told or slices_named(report) else details("Where flips concentrate", told)
