"""A chain of versions as people read it: terminal and Markdown, pure functions of the history's result object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from muscle.flips.history import KIND_WORDS
from muscle.report.numbers import Form, count, format_number
from muscle.report.rows import estimate, one_line, value_alone
from muscle.report.text.escaping import escape

MAX_TASKS = 20
MAX_PATTERNS = 8
MAX_ITEMS = 10
MAX_BEFORE = 6
WIDE = 120
"""Columns of a terminal from which on intervals are shown."""

Report = Mapping[str, Any]


def _sentence(name: str, task: Report) -> str:
    """Say a task's story in a sentence: never the net alone."""
    ends = task["first_to_last"]
    lost = sum(step["negative_flips"] for step in task["steps"])
    words = ("gained", "broken") if task["kind"] == "binary" else ("better", "worse")
    net = f"+{count(ends['positive_flips'])} {words[0]} / -{count(ends['negative_flips'])} {words[1]}"
    story = (
        f"{name}: {ends['from']} to {ends['to']}: {net} of {count(task['n'])} {task['unit']}; "
        f"along the steps {count(lost)} {words[1]}"
    )
    if task["kinds"] is None:
        return f"{story}, {count(task['broke_somewhere'])} {task['unit']} got worse at some step."
    back = task["kinds"]["recovered"]
    return f"{story}, {count(task['broke_somewhere'])} {task['unit']} broke at some step, {count(back)} of them came back for good."


def _step_cells(task: Report, *, intervals: bool = True) -> list[list[str]]:
    """Write the steps and the whole way, a row each; with 95 % intervals where there is room for them."""
    written = estimate if intervals else value_alone
    form: Form = "points" if task["kind"] == "binary" else "signed"
    rows = [*task["steps"], task["first_to_last"]] if len(task["steps"]) > 1 else task["steps"]
    return [
        [
            f"{row['from']} \N{RIGHTWARDS ARROW} {row['to']}",
            written(row["accuracy_difference"], form),
            f"{count(row['negative_flips'])}: {written(row['negative_flip_rate'], 'rate')}",
            f"{count(row['positive_flips'])}: {written(row['positive_flip_rate'], 'rate')}",
            format_number(row.get("holm_p", row["p"]), "probability"),
        ]
        for row in rows
    ]


_STEP_HEAD = ("step", "difference", "broke", "gained", "p (Holm)")


def _level_line(runs: Sequence[str], task: Report) -> str:
    form: Form = "rate" if task["kind"] == "binary" else "score"
    levels = (f"{run} {format_number(level, form)}" for run, level in zip(runs, task["levels"], strict=True))
    return " \N{RIGHTWARDS ARROW} ".join(levels)


def _pattern_lines(task: Report, limit: int) -> list[str]:
    lines = [
        f"{entry['pattern']}  {count(entry['count'])} ({format_number(entry['share'], 'rate')})"
        for entry in task["patterns"][:limit]
    ]
    hidden = task["num_patterns"] - len(lines)
    return lines + ([f"and {count(hidden)} more patterns"] if hidden > 0 else [])


def _kind_line(task: Report) -> str:
    if task["kinds"] is None:
        return ""
    told = [f"{KIND_WORDS[kind]}: {count(number)}" for kind, number in task["kinds"].items() if number]
    return "; ".join(told)


def _tasks(report: Report) -> tuple[list[tuple[str, Report]], int]:
    """Return the tasks that have items, the most broken first, and how many are not shown."""
    present = [(name, task) for name, task in report["tasks"].items() if task["n"]]
    if len(present) > MAX_TASKS:
        present.sort(key=lambda entry: -entry[1]["broke_somewhere"] / entry[1]["n"])
    return present[:MAX_TASKS], max(0, len(present) - MAX_TASKS)


def _before_lines(report: Report) -> list[str]:
    """Say what differs between neighbours beside the model, before the first number."""
    lines = []
    for step, found in enumerate(report["comparability"]):
        way = f"{report['runs'][step]} to {report['runs'][step + 1]}"
        for entry in found:
            allowed = " (allowed)" if entry["severity"] == "refuse" else ""
            lines.append(f"{way} differs beside the model: {entry['what']}: {entry['message']}{allowed}")
    left = report.get("tasks_left_out") or []
    lines += [f"not all versions have: {', '.join(left)}"] if left else []
    lines += [f"note: {warning}" for warning in report.get("warnings") or ()]
    hidden = len(lines) - MAX_BEFORE
    return lines[:MAX_BEFORE] + ([f"and {hidden} more in the JSON"] if hidden > 0 else [])


def history_markdown(report: Report) -> str:
    """Write a history as Markdown: a section a task with its steps, patterns and restless items.

    Args:
        report: the result object of `muscle.flips.history.history`.
    """
    shown, hidden = _tasks(report)
    before = [f"- {escape(one_line(line, 400))}" for line in _before_lines(report)]
    parts = ["\n".join(before)] if before else []
    parts += [f"### {escape(one_line(' → '.join(report['runs']), 300))}"]
    for name, task in shown:
        table = _markdown_table(
            _STEP_HEAD, [[escape(one_line(cells[0], 120)), *cells[1:]] for cells in _step_cells(task)]
        )
        patterns = "\n".join(f"- `{line}`" for line in _pattern_lines(task, MAX_PATTERNS))
        told = [
            escape(one_line(_sentence(name, task), 400)),
            escape(_level_line(report["runs"], task)),
            table,
        ]
        told += [escape(_kind_line(task)), patterns, _markdown_items(task)]
        parts += [part for part in told if part]
    if hidden:
        parts.append(f"{hidden} more tasks, in which less broke, are in the JSON.")
    parts.append(
        "R right, W wrong in a version; of a score, + better, - worse, = equal at a step. In brackets: 95 % intervals."
    )
    return "\n\n".join(parts) + "\n"


def _markdown_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *lines))


def _markdown_items(task: Report) -> str:
    lines = [
        [f"`{item['pattern']}`", escape(one_line(item["id"], 60)), escape(one_line(item["input"] or "", 160))]
        for item in task["items"][:MAX_ITEMS]
    ]
    if not lines:
        return ""
    return f"<details>\n<summary>The most restless items</summary>\n\n{_markdown_table(('way', 'id', 'input'), lines)}\n\n</details>"


def print_history(report: Report, console: Console) -> None:
    """Print a history: a sentence, the steps and the commonest ways of each task.

    Args:
        report: the result object of `muscle.flips.history.history`.
        console: where to print.
    """
    for line in _before_lines(report):
        console.print(Text(one_line(line, 400), style="yellow"))
    shown, hidden = _tasks(report)
    for name, task in shown:
        console.print(Text(one_line(_sentence(name, task), 400), style="bold"))
        console.print(Text(f"  {one_line(_level_line(report['runs'], task), 400)}", style="dim"))
        table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 2))
        for number, title in enumerate(_STEP_HEAD):
            table.add_column(
                title, justify="left" if number == 0 else "right", no_wrap=True, overflow="ellipsis"
            )
        for cells in _step_cells(task, intervals=console.width >= WIDE):
            table.add_row(*(Text(one_line(cell, 80)) for cell in cells))
        console.print(table)
        if kinds := _kind_line(task):
            console.print(Text(f"  {kinds}"))
        for line in _pattern_lines(task, MAX_PATTERNS):
            console.print(Text(f"  {line}", style="dim"))
        for item in task["items"][:3]:
            text = Text(f"  {item['pattern']} ", style="bold")
            text.append(f"{one_line(item['id'], 24)}  {one_line(item['input'] or '', 60)}", style="not bold")
            console.print(text, no_wrap=True, overflow="ellipsis")
    if hidden:
        console.print(Text(f"and {hidden} more tasks, in which less broke", style="dim"))
